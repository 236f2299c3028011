//! The sequencer: decides each write against the newest sequenced state and gives it its revision.
//!
//! It runs in the writer's own thread under one short lock, so numbering and encoding go on while an fsync is under way; what
//! gathers meanwhile is the next group. Example: a put of key a (revision 7) is being fsynced when two writers both
//! ask to replace revision 7 of a, which they cannot have read yet but may have guessed. The first becomes 8, the second is a
//! conflict with 8. It may not be told so before 8 is durable, so its answer travels with the group.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::entry::Meta;
use crate::index::{Index, Published};
use crate::{CompactError, Entry, Event, EventKind, NewValue, Precondition, Revision, WriteError};

pub(crate) type WriteResult<A> = Result<Arc<Entry<A>>, WriteError<A>>;
pub(crate) type Answer<A> = oneshot::Receiver<WriteResult<A>>;

/// One thing that waits for the next append.
pub(crate) enum Pending<A> {
    /// A numbered write.
    Write { event: Arc<Event<A>>, reply: oneshot::Sender<WriteResult<A>> },
    /// A conflict with a write that is not durable yet.
    Conflict { current: Option<Arc<Entry<A>>>, reply: oneshot::Sender<WriteResult<A>> },
    /// A snapshot that is to be written whether or not it is time for one.
    Rewrite { reply: oneshot::Sender<Result<(), Arc<str>>> },
    /// A compaction to be recorded.
    Compact { revision: Revision, reply: oneshot::Sender<Result<(), CompactError>> },
}

/// What is appended and made durable together.
pub(crate) struct Group<A> {
    pub items: Vec<Pending<A>>,
    /// The state that holds once the group is durable.
    pub after: Published<A>,
}

/// What a writer asks for.
pub(crate) struct Request<'a> {
    pub kind: EventKind,
    pub key: &'a str,
    pub value: Change,
    pub precondition: Precondition,
}

pub(crate) enum Change {
    New {
        value: NewValue,
        expires_at: u64,
    },
    /// A deletion by the store itself: the current value with the new revision.
    Current,
}

pub(crate) struct Sequencer<A> {
    /// The state after everything numbered so far, durable or not.
    index: Index<A>,
    revision: Revision,
    gathered: Vec<Pending<A>>,
    pub gathered_bytes: usize,
    /// Why nothing is accepted any more.
    pub closed: Option<Arc<str>>,
    /// The committer waits for work.
    pub idle: bool,
}

impl<A> Sequencer<A> {
    pub fn new(state: &Published<A>) -> Self {
        Self {
            index: state.index.clone(),
            revision: state.revision,
            gathered: Vec::new(),
            gathered_bytes: 0,
            closed: None,
            idle: false,
        }
    }

    /// Decides a write. `durable` is the published state, against which conflicts may be answered at once.
    pub fn submit(
        &mut self,
        request: Request<'_>,
        quota_bytes: u64,
        durable: impl FnOnce() -> Arc<Published<A>>,
    ) -> Result<Answer<A>, WriteError<A>> {
        if let Some(reason) = &self.closed {
            return Err(WriteError::Closed(reason.clone()));
        }
        let Request { kind, key, value, precondition } = request;
        let current = self.index.get(key).cloned();
        if !precondition.holds(current.as_ref()) || (kind == EventKind::Delete && current.is_none()) {
            return self.conflict(key, current, &durable());
        }
        if kind == EventKind::Put
            && quota_bytes > 0
            && let Change::New { value, .. } = &value
        {
            self.check_quota(value.bytes.len() + key.len(), current.as_deref(), quota_bytes)?;
        }
        let revision = self.revision + 1;
        let (value, meta) = match (value, &current) {
            (Change::New { value, expires_at }, _) => {
                let (bytes, revision_at) = value.splice(revision);
                (bytes, Meta { revision_at, expires_at, malformed: false })
            }
            (Change::Current, Some(entry)) => (entry.value_at(revision), entry.meta),
            // Only a deletion asks for the current value, and a deletion of nothing was a conflict above.
            (Change::Current, None) => return Err(WriteError::Conflict(None)),
        };
        let (key, create_revision) = match &current {
            Some(entry) => (entry.key.clone(), entry.create_revision),
            None => (Arc::from(key), revision),
        };
        self.gathered_bytes += key.len() + value.len();
        let entry = Entry::new(key, create_revision, revision, value, meta);
        let event = Event::new(kind, entry, current);
        self.index.apply(&event);
        self.revision = revision;
        let (reply, answer) = oneshot::channel();
        self.gathered.push(Pending::Write { event, reply });
        Ok(answer)
    }

    fn check_quota(&self, new: usize, current: Option<&Entry<A>>, quota_bytes: u64) -> Result<(), WriteError<A>> {
        let old = current.map_or(0, |entry| entry.key.len() + entry.value.len());
        let used = self.index.total().bytes;
        // What makes the store smaller is always taken: it is the way out.
        if new > old && used + (new - old) as u64 > quota_bytes {
            let reason = format!("{used} of {quota_bytes} bytes are used (quota)");
            return Err(WriteError::Full(reason.into()));
        }
        Ok(())
    }

    fn conflict(
        &mut self,
        key: &str,
        current: Option<Arc<Entry<A>>>,
        durable: &Published<A>,
    ) -> Result<Answer<A>, WriteError<A>> {
        let known = match (durable.index.get(key), &current) {
            (Some(durable), Some(current)) => durable.revision == current.revision,
            (None, None) => true,
            _ => false,
        };
        if known {
            return Err(WriteError::Conflict(current));
        }
        let (reply, answer) = oneshot::channel();
        self.gathered.push(Pending::Conflict { current, reply });
        Ok(answer)
    }

    pub fn submit_compact(&mut self, revision: Revision, reply: oneshot::Sender<Result<(), CompactError>>) {
        self.gathered.push(Pending::Compact { revision, reply });
    }

    pub fn submit_rewrite(&mut self, reply: oneshot::Sender<Result<(), Arc<str>>>) {
        self.gathered.push(Pending::Rewrite { reply });
    }

    pub fn has_work(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Takes what has gathered.
    pub fn take(&mut self) -> Group<A> {
        self.gathered_bytes = 0;
        let items = std::mem::take(&mut self.gathered);
        Group { items, after: Published { index: self.index.clone(), revision: self.revision } }
    }

    /// Goes back to the durable state after a failed append; gives back what had gathered upon the failed group.
    pub fn reset(&mut self, durable: &Published<A>) -> Vec<Pending<A>> {
        self.index = durable.index.clone();
        self.revision = durable.revision;
        self.gathered_bytes = 0;
        std::mem::take(&mut self.gathered)
    }
}
