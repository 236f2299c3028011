//! Tests of the store as a whole: behaviour, real files, and a model under a faulty disk.

mod basics;
mod concurrency;
mod etcd;
mod etcd_bugs;
mod faulty_disk;
mod files;
mod history;
mod kill;
mod limits;
mod model;
mod past;
mod narrow;
mod pause;
mod scrub;
mod serializability;
mod tools;
mod transformed;
mod upgrade;
mod watches;

use std::sync::Arc;

use crate::committer::Committer;
use crate::journal::{Journal, Memory};
use crate::sequencer::{Answer, Change, Request};
use crate::shared::{Shared, Work};
use crate::{EventKind, NewValue, OpenError, Options, Precondition, Store, WriteError};

pub(crate) type TestStore = Store<()>;

pub(crate) fn memory() -> TestStore {
    Store::open(Box::new(Memory::default()), Options::default()).expect("an empty journal opens")
}

pub(crate) fn value(text: &str) -> NewValue {
    NewValue::new(text, None)
}

/// A store without a thread: the test decides when a group is committed, so every interleaving is its own choice.
pub(crate) struct Manual {
    pub store: TestStore,
    pub shared: Arc<Shared<()>>,
    pub committer: Option<Committer<()>>,
}

impl Manual {
    pub fn open(journal: Box<dyn Journal>, options: Options) -> Result<Self, OpenError> {
        let (shared, committer) = TestStore::prepare(journal, options)?;
        Ok(Self { store: Store::assemble(shared.clone(), None), shared, committer: Some(committer) })
    }

    pub fn submit(
        &self,
        kind: EventKind,
        key: &str,
        value: NewValue,
        precondition: Precondition,
    ) -> Result<Answer<()>, WriteError<()>> {
        let change = Change::New { value, expires_at: 0 };
        let mut request = Some(Request { kind, key, value: change, precondition });
        self.shared.submit(&mut request).expect("room in the group")
    }

    pub fn put(&self, key: &str, text: &str) -> Answer<()> {
        self.submit(EventKind::Put, key, value(text), Precondition::Any).expect("a put without precondition is taken")
    }

    /// Commits what has gathered, if anything.
    pub fn commit(&mut self) {
        if self.shared.sequencer.lock().has_work()
            && let Work::Group(group) = self.shared.wait()
            && let Some(committer) = &mut self.committer
        {
            committer.commit(group);
        }
    }
}
