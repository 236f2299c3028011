//! A disk in memory that keeps only what was synced, fails and fills up on request, and takes writes in pieces.
//!
//! What was not synced is lost in part when power is cut: any of the sectors, completed in any order, and any of the changes of
//! names, of different files in any order. A sync that fails loses them for good, for the data; a file system that cannot write
//! its names stops altogether, so those can be synced again.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::journal::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// Small and repeatable randomness (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An input/output error; of a write any part may have happened, of a sync any part may be lost for good.
    Eio,
    /// No space; of a write any part may have happened.
    Enospc,
    /// Power is cut: this and everything after it fails until `restart`.
    Crash,
}

#[derive(Clone)]
pub(crate) struct FaultyDisk(Arc<Mutex<State>>);

struct State {
    random: Random,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Changes of the names since they were last synced, oldest first.
    unsynced_names: Vec<NameChange>,
    files: HashMap<usize, Content>,
    next: usize,
    capacity: u64,
    fault: Option<(u64, Fault)>,
    crashed: bool,
    operations: u64,
}

/// A change of a file's names.
struct NameChange {
    id: usize,
    /// The name that goes, unless the file is new.
    from: Option<String>,
    /// The name that comes, unless the file is removed.
    to: Option<String>,
}

#[derive(Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.now, offset, bytes);
        self.unsynced.push((offset, bytes.to_vec()));
    }

    /// What is on the disk if nothing more is synced: any of the sectors written since may be, in any combination and order.
    fn lose(&mut self, random: &mut Random) {
        let fate = random.below(5);
        let mut completed = Vec::new();
        for (offset, bytes) in std::mem::take(&mut self.unsynced) {
            let cut = random.below(bytes.len() as u64 + 1) as usize;
            let mut at = 0;
            while at < bytes.len() {
                // Sectors are whole: a piece ends where the next sector of the file begins.
                let end = (at + SECTOR - (offset + at) % SECTOR).min(bytes.len());
                let kept = match fate {
                    0 => false,
                    1 => true,
                    2 => end <= cut,
                    3 => random.one_in(2),
                    _ => !random.one_in(4),
                };
                if kept {
                    completed.push((offset + at, bytes[at..end].to_vec()));
                }
                at = end;
            }
        }
        if fate == 4 {
            random.shuffle(&mut completed);
        }
        for (offset, sector) in completed {
            put(&mut self.durable, offset, &sector);
        }
    }
}

fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[offset..end].copy_from_slice(bytes);
}

fn crashed() -> io::Error {
    io::Error::other("the power is cut")
}

impl FaultyDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            files: HashMap::new(),
            next: 0,
            capacity: u64::MAX,
            fault: None,
            crashed: false,
            operations: 0,
        })))
    }

    /// Lets `count` more operations pass, then fails one.
    pub fn fail_after(&self, count: u64, fault: Fault) {
        self.0.lock().fault = Some((count, fault));
    }

    /// Whether a fault is still to come.
    pub fn is_to_fail(&self) -> bool {
        self.0.lock().fault.is_some()
    }

    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = bytes;
    }

    pub fn used(&self) -> u64 {
        self.0.lock().used()
    }

    pub fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    /// The process is killed, the machine goes on: what was written is there, synced or not.
    pub fn kill(&self) {
        let mut state = self.0.lock();
        state.crashed = false;
        state.fault = None;
    }

    /// Power off and on: what was not synced is there in part or not at all.
    pub fn restart(&self) {
        let mut state = self.0.lock();
        let state = &mut *state;
        state.lose_names();
        state.names = state.durable_names.clone();
        for content in state.files.values_mut() {
            content.lose(&mut state.random);
            content.now = content.durable.clone();
        }
        let live: Vec<usize> = state.names.values().copied().collect();
        state.files.retain(|id, _| live.contains(id));
        state.crashed = false;
        state.fault = None;
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        if let Some(from) = self.from {
            if names.get(&from) != Some(&self.id) {
                // It never had this name, as far as the disk knows.
                return;
            }
            names.remove(&from);
        }
        if let Some(to) = self.to {
            names.insert(to, self.id);
        }
    }
}

impl State {
    /// Any of the changes may be missing: worse than a journaling file system, which only loses the last ones.
    fn lose_names(&mut self) {
        let mut changes = std::mem::take(&mut self.unsynced_names);
        match self.random.below(4) {
            0 => changes.clear(),
            1 => {}
            2 => changes.retain(|_| self.random.one_in(2)),
            _ => {
                // Each file's changes up to a point, the files in any order.
                let mut files: Vec<usize> = changes.iter().map(|change| change.id).collect();
                files.sort_unstable();
                files.dedup();
                self.random.shuffle(&mut files);
                let place = |change: &NameChange| files.iter().position(|id| *id == change.id);
                changes.sort_by_key(place);
                let mut lost = None;
                changes.retain(|change| {
                    if lost != Some(change.id) && self.random.one_in(4) {
                        lost = Some(change.id);
                    }
                    lost != Some(change.id)
                });
            }
        }
        changes.into_iter().for_each(|change| change.apply(&mut self.durable_names));
    }

    fn used(&self) -> u64 {
        self.names.values().map(|id| self.files[id].now.len() as u64).sum()
    }

    /// Counts an operation and says whether it is to fail.
    fn step(&mut self) -> Result<Option<Fault>, io::Error> {
        if self.crashed {
            return Err(crashed());
        }
        self.operations += 1;
        match &mut self.fault {
            Some((0, fault)) => {
                let fault = *fault;
                self.fault = None;
                self.crashed = fault == Fault::Crash;
                Ok(Some(fault))
            }
            Some((count, _)) => {
                *count -= 1;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn simple_step(&mut self) -> io::Result<()> {
        self.step()?.map_or(Ok(()), |fault| Err(error(fault)))
    }

    fn id(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn error(fault: Fault) -> io::Error {
    match fault {
        Fault::Eio => io::Error::other("input/output error"),
        Fault::Enospc => io::ErrorKind::StorageFull.into(),
        Fault::Crash => crashed(),
    }
}

impl Disk for FaultyDisk {
    fn folder(&self) -> PathBuf {
        "faulty".into()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.0.lock();
        state.simple_step()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut state = self.0.lock();
        state.simple_step()?;
        Ok(state.files[&state.id(name)?].now.clone())
    }

    fn reader(&self, name: &str) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.read(name)?)))
    }

    fn read_head(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
        Ok(self.read(name)?.into_iter().take(bytes).collect())
    }

    fn create(&self, name: &str, allocate: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.simple_step()?;
        if state.used() + allocate > state.capacity {
            return Err(error(Fault::Enospc));
        }
        let id = state.next;
        state.next += 1;
        let mut content = Content::default();
        if allocate > 0 {
            content.write(0, &vec![0; allocate as usize]);
        }
        state.files.insert(id, content);
        state.names.insert(name.into(), id);
        state.unsynced_names.push(NameChange { id, from: None, to: Some(name.into()) });
        Ok(Box::new(FaultyFile { disk: self.0.clone(), id }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.simple_step()?;
        Ok(Box::new(FaultyFile { disk: self.0.clone(), id: state.id(name)? }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.simple_step()?;
        let id = state.id(from)?;
        state.names.remove(from);
        state.names.insert(to.into(), id);
        state.unsynced_names.push(NameChange { id, from: Some(from.into()), to: Some(to.into()) });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.simple_step()?;
        let id = state.id(name)?;
        state.names.remove(name);
        state.unsynced_names.push(NameChange { id, from: Some(name.into()), to: None });
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.simple_step()?;
        state.durable_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }

    fn unique(&self) -> u64 {
        self.0.lock().random.next()
    }
}

struct FaultyFile {
    disk: Arc<Mutex<State>>,
    id: usize,
}

impl DiskFile for FaultyFile {
    fn write_some_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        let fault = state.step()?;
        let state = &mut *state;
        let is_short = state.random.one_in(16);
        let part = state.random.below(bytes.len() as u64 + 1) as usize;
        let Some(content) = state.files.get(&self.id) else { return Err(crashed()) };
        let growth = (offset + bytes.len() as u64).saturating_sub(content.now.len() as u64);
        let full = growth > 0 && state.used() + growth > state.capacity;
        let fault = fault.or(full.then_some(Fault::Enospc));
        let Some(content) = state.files.get_mut(&self.id) else { return Err(crashed()) };
        let written = match fault {
            Some(_) => part,
            None if is_short => part.max(1),
            None => bytes.len(),
        };
        content.write(offset as usize, &bytes[..written]);
        fault.map_or(Ok(written), |fault| Err(error(fault)))
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let fault = state.step()?;
        let state = &mut *state;
        let Some(content) = state.files.get_mut(&self.id) else { return Err(crashed()) };
        match fault {
            None => {
                // Only what is dirty is written: what an earlier failed sync lost stays lost.
                for (offset, bytes) in std::mem::take(&mut content.unsynced) {
                    put(&mut content.durable, offset, &bytes);
                }
                Ok(())
            }
            // As Linux does: what could not be written is marked clean all the same, and is lost if memory is.
            Some(Fault::Eio | Fault::Enospc) => {
                content.lose(&mut state.random);
                Err(error(Fault::Eio))
            }
            Some(Fault::Crash) => Err(crashed()),
        }
    }

    fn length(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        if state.crashed {
            return Err(crashed());
        }
        state.files.get(&self.id).map(|content| content.now.len() as u64).ok_or_else(crashed)
    }
}
