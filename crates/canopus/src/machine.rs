//! What this machine is and has: its name, its address, the programs that a node needs.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Programs that a node runs, with the Debian package that brings each.
const PROGRAMS: &[(&str, &str)] = &[
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("mount", "mount"),
];

/// The host's name as a node name: lower case.
pub fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("failed to ask for the host's name")?;
    let name = name.to_string_lossy().to_lowercase();
    if name.is_empty() {
        bail!("the host has no name; give one with --node-name");
    }
    Ok(name)
}

/// The address that others reach this machine at: that of the interface with the default route, else the first one that
/// is not loopback, else loopback.
pub fn address() -> Result<IpAddr> {
    // Connecting a datagram socket sends nothing; the kernel only chooses the way. The address is one for documentation.
    let routed = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)).and_then(|()| socket.local_addr()));
    if let Ok(address) = routed {
        return Ok(address.ip());
    }
    let interfaces = nix::ifaddrs::getifaddrs().context("failed to list the machine's addresses")?;
    let addresses = interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    Ok(IpAddr::V4(addresses.filter(|address| !address.is_loopback()).min().unwrap_or(Ipv4Addr::LOCALHOST)))
}

/// Fails with the command that installs what is missing.
pub fn check_programs(with_containerd: bool) -> Result<()> {
    let wanted = PROGRAMS.iter().filter(|(program, _)| with_containerd || !matches!(*program, "containerd" | "runc"));
    let missing: Vec<&(&str, &str)> = wanted.filter(|(program, _)| find_program(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    bail!("this machine lacks {}; on Debian: apt-get install {}", programs.join(", "), packages.join(" "))
}

/// Fails unless this process may make namespaces, mounts and firewall rules.
pub fn check_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("a node needs root: it makes namespaces, mounts and firewall rules")
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|folder| folder.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
