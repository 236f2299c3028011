//! A store whose disk fails at each of its operations in turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::journal::{Wal, WalOptions};
use crate::sequencer::Answer;
use crate::tests::faulty_disk::{Fault, FaultyDisk};
use crate::tests::{Manual, value};
use crate::{EventKind, Options, Precondition, Revision, Snapshot};

/// Key to (created, written, value).
type State = BTreeMap<String, (Revision, Revision, String)>;
type Step = (EventKind, String, String);

/// How the store comes back after a fault.
#[derive(Clone, Copy, Debug)]
enum Return {
    /// Power off and on.
    Restart,
    /// The process alone was killed.
    Kill,
}

/// A store and what was asked of it.
pub(super) struct Rig {
    pub manual: Manual,
    wal: WalOptions,
    disk: FaultyDisk,
    /// What was acknowledged, in the order of revisions from 2 on.
    steps: Vec<Step>,
    /// What was asked for and not refused: it may have happened.
    unanswered: Vec<Step>,
    compacted: Revision,
}

fn open(disk: &FaultyDisk, wal: WalOptions) -> Manual {
    let options = Options { spawn: Arc::new(|work| work()), ..Options::default() };
    Manual::open(Box::new(Wal::on(Arc::new(disk.clone()), wal)), options).expect("nothing that was durable is damaged")
}

impl Rig {
    fn new(seed: u64, wal: WalOptions) -> Self {
        let disk = FaultyDisk::new(seed);
        let manual = open(&disk, wal);
        Self { manual, wal, disk, steps: Vec::new(), unanswered: Vec::new(), compacted: 1 }
    }

    pub fn put(&mut self, keys: &[&str], text: &str) {
        self.write(keys.iter().map(|key| (EventKind::Put, (*key).to_owned(), text.to_owned())).collect());
    }

    pub fn delete(&mut self, keys: &[&str]) {
        self.write(keys.iter().map(|key| (EventKind::Delete, (*key).to_owned(), String::new())).collect());
    }

    /// Several writers at once: one group.
    fn write(&mut self, steps: Vec<Step>) {
        let submit = |(kind, key, text): &Step| self.manual.submit(*kind, key, value(text), Precondition::Any);
        // A write that is refused at once (the store takes no more, or there is nothing to delete) changes nothing.
        let taken: Vec<(Step, Answer<()>)> =
            steps.into_iter().filter_map(|step| submit(&step).ok().map(|answer| (step, answer))).collect();
        self.manual.commit();
        for (step, mut answer) in taken {
            match answer.try_recv().expect("a commit answers all") {
                Ok(entry) => {
                    self.steps.push(step);
                    assert_eq!(
                        entry.revision,
                        self.steps.len() as u64 + 1,
                        "no revision is passed over or given twice"
                    );
                }
                Err(crate::WriteError::Full(_)) => {}
                Err(_) => self.unanswered.push(step),
            }
        }
    }

    /// Forgets history before the newest revision.
    pub fn compact(&mut self) {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        let revision = self.manual.store.revision();
        self.manual.shared.sequencer.lock().submit_compact(revision, reply);
        self.manual.commit();
        if answer.try_recv().expect("a commit answers all").is_ok() {
            self.compacted = revision;
        }
    }

    /// The store is gone and comes back.
    fn come_back(&mut self, how: Return) {
        self.manual.committer = None;
        match how {
            Return::Restart => self.disk.restart(),
            Return::Kill => self.disk.kill(),
        }
        self.manual = open(&self.disk, self.wal);
    }

    /// What the writes up to a revision make.
    fn state_at(&self, revision: Revision) -> State {
        let mut state = State::new();
        for ((kind, key, text), at) in self.steps.iter().chain(&self.unanswered).zip(2..=revision) {
            let created = state.get(key).map_or(at, |(created, ..)| *created);
            match kind {
                EventKind::Put => drop(state.insert(key.clone(), (created, at, text.clone()))),
                EventKind::Delete => drop(state.remove(key)),
            }
        }
        state
    }

    /// The store stands where it was acknowledged to stand or, whole, where the group under way would have brought it; its
    /// state is what that many writes make; what was forgotten stays so.
    fn check(&self, what: &str) {
        let store = &self.manual.store;
        let revision = store.revision();
        let (acknowledged, asked) =
            (self.steps.len() as u64 + 1, (self.steps.len() + self.unanswered.len()) as u64 + 1);
        assert!(revision == acknowledged || revision == asked, "{what}: at {revision}, not {acknowledged} or {asked}");
        assert_eq!(content(&store.snapshot()), self.state_at(revision), "{what}");
        if let Some(count) = self.wal.retention.revisions {
            let oldest = store.kept_since().expect("it is read");
            assert!(oldest == 1 || oldest + count <= acknowledged, "{what}: kept since {oldest} alone");
            for at in oldest..=revision {
                let past = store.past("", at).unwrap_or_else(|error| panic!("{what}: at {at}: {error:?}"));
                assert_eq!(content(&past), self.state_at(at), "{what}: at {at}");
            }
        }
        let compacted = store.compact_revision();
        assert!((self.compacted..=revision).contains(&compacted), "{what}: {} became {compacted}", self.compacted);
        assert!(self.compacted == 1 || store.watch("", self.compacted - 1).is_err(), "{what}: history is back");
    }
}

fn content(snapshot: &Snapshot<()>) -> State {
    let entry = |entry: &Arc<crate::Entry<()>>| {
        let text = String::from_utf8_lossy(&entry.value).into_owned();
        (entry.key.to_string(), (entry.create_revision, entry.revision, text))
    };
    snapshot.range("", None).map(entry).collect()
}

/// Makes a store by `prepare`, lets the disk fail at one of the operations of `work`, and looks at what comes back, twice (as
/// recovery writes too), and at the first write afterwards. This with each kind of failure at each operation until `work` gets
/// through.
pub(super) fn at_every_operation(wal: WalOptions, prepare: impl Fn(&mut Rig), work: impl Fn(&mut Rig)) {
    for fault in [Fault::Crash, Fault::Eio, Fault::Enospc] {
        for how in [Return::Restart, Return::Kill] {
            let mut point = 0;
            loop {
                // What of unsynced writes survives is another matter each time.
                let lucks = if fault == Fault::Crash { 8 } else { 2 };
                let missed = (0..lucks).filter(|luck| {
                    let mut rig = Rig::new(point * 100 + luck, wal);
                    prepare(&mut rig);
                    rig.disk.fail_after(point, fault);
                    work(&mut rig);
                    let missed = rig.disk.is_to_fail();
                    let what = format!("{fault:?} at operation {point}, {how:?}, luck {luck}");
                    rig.come_back(how);
                    rig.check(&what);
                    let revision = rig.manual.store.revision();
                    rig.come_back(how);
                    assert_eq!(rig.manual.store.revision(), revision, "{what}: opened again");
                    rig.check(&what);
                    let next = rig.manual.put("/registry/pods/a/next", "x");
                    rig.manual.commit();
                    let next = next.blocking_recv().expect("answered").expect("written");
                    assert_eq!(next.revision, revision + 1, "{what}: the next write");
                    missed
                });
                if missed.count() > 0 {
                    break;
                }
                point += 1;
                assert!(point < 10_000, "the work never ends");
            }
            assert!(point > 3, "{fault:?}: {point} operations are no work");
        }
    }
}
