//! A client: asks for this and that, and notes what it was answered and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Operation, Seen, State};
use crate::tests::faulty_disk::Random;
use crate::tests::value;
use crate::{Entry, EventKind, Precondition, ReadError, Revision, Store, Watch, WatchError, WriteError};

const KEYS: [&str; 4] = ["/registry/pods/a/1", "/registry/pods/a/2", "/registry/pods/b/1", "/registry/nodes/1"];
const PREFIXES: [&str; 4] = ["/registry/pods/", "/registry/pods/a/", "/registry/nodes/", ""];
const STEPS: u64 = 250;

pub(super) struct Client {
    store: Store<()>,
    time: Arc<AtomicU64>,
    random: Random,
    history: Vec<Operation>,
    watch: Option<(Watch<()>, &'static str, Revision)>,
    /// The newest revision known of each key, to write upon.
    known: BTreeMap<&'static str, Revision>,
}

fn revision(entry: &Arc<Entry<()>>) -> Revision {
    entry.revision
}

fn state(snapshot: &crate::Snapshot<()>) -> State {
    snapshot.range("", None).map(|entry| (entry.key.clone(), (entry.create_revision, entry.revision))).collect()
}

impl Client {
    pub fn new(store: Store<()>, time: Arc<AtomicU64>, seed: u64) -> Self {
        Self { store, time, random: Random(seed), history: Vec::new(), watch: None, known: BTreeMap::new() }
    }

    fn now(&self) -> u64 {
        self.time.fetch_add(1, Ordering::SeqCst)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.random.below(from.len() as u64) as usize]
    }

    pub async fn run(mut self) -> Vec<Operation> {
        for _ in 0..STEPS {
            let asked = self.now();
            let seen = match self.random.below(20) {
                0..10 => self.write().await,
                10..13 => self.read(),
                13..16 => {
                    let snapshot = self.store.snapshot();
                    Seen::Whole { revision: snapshot.revision(), state: state(&snapshot) }
                }
                16..19 => match self.told() {
                    Some(seen) => seen,
                    None => continue,
                },
                _ => {
                    self.compact_and_read_back().await;
                    continue;
                }
            };
            let answered = self.now();
            self.history.push(Operation { asked, answered, seen });
        }
        self.history
    }

    async fn write(&mut self) -> Seen {
        let key = self.pick(&KEYS);
        let kind = if self.random.one_in(3) { EventKind::Delete } else { EventKind::Put };
        let precondition = match (self.random.below(4), self.known.get(key)) {
            (0, _) => Precondition::Any,
            (1, _) => Precondition::Absent,
            (2, Some(known)) => Precondition::Revision(*known),
            _ => Precondition::Exists,
        };
        let answer = match kind {
            EventKind::Put => self.store.put(key, value("x"), precondition).await,
            EventKind::Delete => self.store.delete(key, value("x"), precondition).await,
        };
        match answer {
            Ok(entry) => {
                self.known.insert(key, entry.revision);
                let (key, created) = (entry.key.clone(), entry.create_revision);
                Seen::Written { kind, key, precondition, created, revision: entry.revision }
            }
            Err(WriteError::Conflict(current)) => {
                let current = current.as_ref().map(revision);
                self.known.extend(current.map(|current| (key, current)));
                Seen::Refused { kind, key, precondition, current }
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    fn read(&mut self) -> Seen {
        let key = self.pick(&KEYS);
        let current = self.store.get(key).as_ref().map(revision);
        self.known.extend(current.map(|current| (key, current)));
        Seen::Read { key, current }
    }

    /// Everything that a watch has to tell now; of a new one now and then.
    fn told(&mut self) -> Option<Seen> {
        if self.watch.is_none() || self.random.one_in(8) {
            let prefix = self.pick(&PREFIXES);
            let after = self.store.revision().saturating_sub(self.random.below(20)) + self.random.below(4);
            let watch = self.store.watch(prefix, after);
            let refused = |error: &ReadError| matches!(error, ReadError::Compacted { oldest } if *oldest > after);
            assert!(watch.as_ref().err().is_none_or(refused), "{watch:?}");
            self.watch = watch.ok().map(|watch| (watch, prefix, after));
        }
        let (watch, prefix, after) = self.watch.as_mut()?;
        let (prefix, began) = (*prefix, *after);
        let mut events = Vec::new();
        loop {
            // What progress says before an event must not be beyond it.
            let before = watch.revision();
            match watch.try_next() {
                Some(Ok(event)) => {
                    assert!(event.revision > before, "progress {before} was ahead of {}", event.revision);
                    events.push((event.revision, event.kind, event.entry.key.clone()));
                }
                Some(Err(WatchError::Slow)) => {
                    self.watch = None;
                    return None;
                }
                Some(Err(WatchError::Closed)) => panic!("the store is open"),
                None => break,
            }
        }
        // What has come since holds progress back until it is taken.
        let told = events.last().map_or(began, |(revision, ..)| *revision);
        let progress = watch.revision().max(told);
        *after = progress;
        Some(Seen::Told { prefix, after: began, events, progress })
    }

    /// Old states stay what they were while history is compacted under them.
    async fn compact_and_read_back(&mut self) {
        let now = self.store.snapshot();
        if self.random.one_in(3) {
            // Another may have gone further.
            let _ = self.store.compact(now.revision().saturating_sub(self.random.below(30)).max(1)).await;
        }
        for _ in 0..3 {
            tokio::task::yield_now().await;
            match self.store.snapshot_at(now.revision()) {
                Ok(then) => assert_eq!(state(&then), state(&now), "the state at {}", now.revision()),
                Err(error) => assert!(matches!(error, ReadError::Compacted { oldest } if oldest > now.revision())),
            }
        }
    }
}
