//! Addresses of pods: one file an address in the state folder, named by the address, holding the sandbox's id. A lock on
//! the folder orders concurrent calls; the last address given is remembered so that a released one is not reused at once.
//!
//! Example: with `10.244.0.2` (sandbox a) and `.3` (sandbox b) taken and `last` = `.3`, the next sandbox gets `.4`,
//! also after a has gone.

use std::fs::File;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::Error;
use crate::config::{PortMapping, Subnet};

/// The state folder, locked for this process.
pub struct Ipam {
    folder: PathBuf,
    _lock: Flock<File>,
}

/// What is remembered of a sandbox.
#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    pub container_id: String,
    #[serde(default)]
    pub port_mappings: Vec<PortMapping>,
}

impl Ipam {
    /// Waits for other calls on the same folder to end.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::io(format!("make {}", folder.display())))?;
        let path = folder.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io(format!("open {}", path.display())))?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, error)| Error::Io { action: format!("lock {}", path.display()), source: error.into() })?;
        Ok(Self { folder: folder.to_path_buf(), _lock: lock })
    }

    /// Takes a free address for a sandbox; one that the sandbox already has is given again.
    pub fn reserve(&self, subnet: &Subnet, reservation: &Reservation) -> Result<Ipv4Addr, Error> {
        if let Some((address, _)) = self.find(&reservation.container_id)? {
            self.write(address, reservation)?;
            return Ok(address);
        }
        let last = std::fs::read_to_string(self.folder.join("last"))
            .ok()
            .and_then(|text| text.trim().parse::<Ipv4Addr>().ok());
        let after_last = subnet.pod_addresses().filter(|address| last.is_some_and(|last| *address > last));
        let address = after_last
            .chain(subnet.pod_addresses())
            .find(|address| !self.path(*address).exists())
            .ok_or_else(|| Error::AddressesExhausted(subnet.to_string()))?;
        self.write(address, reservation)?;
        let last_file = self.folder.join("last");
        std::fs::write(&last_file, address.to_string()).map_err(Error::io(format!("write {}", last_file.display())))?;
        Ok(address)
    }

    /// Gives a sandbox's address back and says what it was; nothing happens when it has none.
    pub fn release(&self, container_id: &str) -> Result<Option<(Ipv4Addr, Reservation)>, Error> {
        let Some(found) = self.find(container_id)? else { return Ok(None) };
        let path = self.path(found.0);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", path.display()))(error))
            }
            _ => Ok(Some(found)),
        }
    }

    /// The address of a sandbox.
    pub fn find(&self, container_id: &str) -> Result<Option<(Ipv4Addr, Reservation)>, Error> {
        Ok(self.all()?.into_iter().find(|(_, reservation)| reservation.container_id == container_id))
    }

    /// All addresses that are taken. A file that cannot be read back counts as taken by nobody known.
    pub fn all(&self) -> Result<Vec<(Ipv4Addr, Reservation)>, Error> {
        let entries = std::fs::read_dir(&self.folder).map_err(Error::io(format!("read {}", self.folder.display())))?;
        Ok(entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let address: Ipv4Addr = entry.file_name().to_str()?.parse().ok()?;
                Some((address, serde_json::from_slice(&std::fs::read(entry.path()).ok()?).ok()?))
            })
            .collect())
    }

    fn path(&self, address: Ipv4Addr) -> PathBuf {
        self.folder.join(address.to_string())
    }

    fn write(&self, address: Ipv4Addr, reservation: &Reservation) -> Result<(), Error> {
        let path = self.path(address);
        let text = serde_json::to_vec(reservation).map_err(|error| Error::Invalid(error.to_string()))?;
        std::fs::write(&path, text).map_err(Error::io(format!("write {}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(id: &str) -> Reservation {
        Reservation { container_id: id.into(), port_mappings: Vec::new() }
    }

    #[test]
    fn addresses_go_round_and_come_back_only_when_needed() {
        let folder = tempfile::tempdir().unwrap();
        let subnet: Subnet = "10.9.0.0/29".parse().unwrap(); // pods: .2 to .6
        let ipam = Ipam::open(folder.path()).unwrap();
        let take = |id: &str| ipam.reserve(&subnet, &sandbox(id)).unwrap().octets()[3];
        assert_eq!((take("a"), take("b"), take("a")), (2, 3, 2));
        ipam.release("a").unwrap();
        assert_eq!((take("c"), take("d"), take("e"), take("f")), (4, 5, 6, 2));
        assert!(matches!(ipam.reserve(&subnet, &sandbox("g")), Err(Error::AddressesExhausted(_))));
        assert_eq!(ipam.release("d").unwrap().unwrap().0.octets()[3], 5);
        assert_eq!(ipam.release("d").unwrap(), None);
        assert_eq!(take("g"), 5);
    }
}
