//! What is stored: entries (one version of one key), events (one step of one key), and what a writer hands in.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use crate::options::Layout;

/// The number of a write. One counter for the whole store; an empty store stands at 1, as etcd's does.
pub type Revision = u64;

/// One version of one key. Shared: the index, the history, events and readers point to the same entry.
pub struct Entry<A> {
    /// The whole key; all versions of a key share one allocation.
    pub key: Arc<str>,
    /// The revision that created the key (after its last deletion).
    pub create_revision: Revision,
    /// The revision that wrote this version.
    pub revision: Revision,
    /// The stored bytes, the revision already written into them.
    pub value: Bytes,
    pub(crate) meta: Meta,
    indexed: OnceLock<Option<Arc<str>>>,
    attrs: OnceLock<A>,
}

/// What the store itself remembers with a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Where in the value the digits of the revision begin.
    pub revision_at: Option<u32>,
    /// Unix seconds at which the store deletes the key by itself; 0 is never.
    pub expires_at: u64,
    /// The value is what another server left, and nobody can read it.
    pub malformed: bool,
}

impl<A> Entry<A> {
    pub(crate) fn new(
        key: Arc<str>,
        create_revision: Revision,
        revision: Revision,
        value: Bytes,
        meta: Meta,
    ) -> Arc<Self> {
        Arc::new(Self { key, create_revision, revision, value, meta, indexed: OnceLock::new(), attrs: OnceLock::new() })
    }

    /// An entry of no store: a value that was made when it was asked for.
    pub fn unstored(key: &str, value: Bytes) -> Arc<Self> {
        Self::new(key.into(), 0, 0, value, Meta::default())
    }

    /// Whether the value is not what the store serves but what somebody left in etcd that cannot be read.
    pub fn is_malformed(&self) -> bool {
        self.meta.malformed
    }

    /// The value of the indexed field.
    pub(crate) fn indexed(&self, layout: Layout) -> Option<&Arc<str>> {
        self.indexed.get_or_init(|| (layout.index_of)(&self.key, &self.value)).as_ref()
    }

    /// What the caller derives from the bytes, made on first use and kept as long as the entry.
    pub fn attrs(&self, make: impl FnOnce(&Self) -> A) -> &A {
        self.attrs.get_or_init(|| make(self))
    }

    /// The value with `revision` in the place of its own: the last state of a key that the store deletes by itself.
    pub(crate) fn value_at(&self, revision: Revision) -> Bytes {
        match self.around_revision() {
            Some((head, tail)) => join(head, Digits::new(revision).as_bytes(), tail),
            None => self.value.clone(),
        }
    }

    /// The value as it was before its revision was written into it.
    pub(crate) fn without_revision(&self) -> Vec<u8> {
        self.around_revision().map_or_else(|| self.value.to_vec(), |(head, tail)| [head, tail].concat())
    }

    /// What stands before and behind the revision in the value.
    fn around_revision(&self) -> Option<(&[u8], &[u8])> {
        let at = self.meta.revision_at? as usize;
        let end = at + Digits::new(self.revision).as_bytes().len();
        Some((self.value.get(..at)?, self.value.get(end..)?))
    }
}

impl<A> fmt::Debug for Entry<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("create_revision", &self.create_revision)
            .field("revision", &self.revision)
            .field("bytes", &self.value.len())
            .finish_non_exhaustive()
    }
}

/// A value to be written.
#[derive(Clone, Debug, Default)]
pub struct NewValue {
    /// The bytes without the revision.
    pub bytes: Vec<u8>,
    /// Offset in `bytes` at which the decimal revision is spliced in when the write is numbered, so that stored bytes can be
    /// sent as they are. An offset past the end means the end.
    pub revision_at: Option<usize>,
    /// The store deletes the key by itself when this much time has passed (whole seconds; kept over restarts). Events use it.
    pub ttl: Option<Duration>,
}

impl NewValue {
    /// A value without expiry.
    pub fn new(bytes: impl Into<Vec<u8>>, revision_at: Option<usize>) -> Self {
        Self { bytes: bytes.into(), revision_at, ttl: None }
    }

    /// The same value, deleted by the store after `ttl`.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// The bytes as stored, exactly as long as they need to be, and where the revision stands in them.
    pub(crate) fn splice(self, revision: Revision) -> (Bytes, Option<u32>) {
        match self.revision_at {
            None => (self.bytes.into_boxed_slice().into(), None),
            Some(at) => {
                let (head, tail) = self.bytes.split_at(at.min(self.bytes.len()));
                let value = join(head, Digits::new(revision).as_bytes(), tail);
                // A value of 4 GiB cannot be written (frames are smaller), so the offset always fits.
                (value, u32::try_from(head.len()).ok())
            }
        }
    }
}

impl From<Vec<u8>> for NewValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes, None)
    }
}

fn join(head: &[u8], middle: &[u8], tail: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(head.len() + middle.len() + tail.len());
    out.extend_from_slice(head);
    out.extend_from_slice(middle);
    out.extend_from_slice(tail);
    out.into()
}

/// The decimal digits of a number, without an allocation.
struct Digits {
    buffer: [u8; 20],
    start: usize,
}

impl Digits {
    fn new(mut number: u64) -> Self {
        let mut digits = Self { buffer: [0; 20], start: 20 };
        loop {
            digits.start -= 1;
            digits.buffer[digits.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return digits;
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }
}

/// What must hold of a key for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    Any,
    /// The key is not there.
    Absent,
    /// The key is there and its last write has this revision.
    Revision(Revision),
    /// The key is there.
    Exists,
}

impl Precondition {
    pub(crate) fn holds<A>(self, current: Option<&Arc<Entry<A>>>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Revision(revision) => current.is_some_and(|entry| entry.revision == revision),
            Self::Exists => current.is_some(),
        }
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Created (`previous` is none) or replaced.
    Put,
    /// Deleted; `entry` is the last state with the deletion's revision.
    Delete,
}

/// One write, as watchers see it. Shared by all of them.
pub struct Event<A> {
    /// Put or delete.
    pub kind: EventKind,
    /// The state written; of a deletion the last state, carrying the deletion's revision.
    pub entry: Arc<Entry<A>>,
    /// The state before.
    pub previous: Option<Arc<Entry<A>>>,
    /// The revision of the write, equal to `entry.revision`.
    pub revision: Revision,
}

impl<A> Event<A> {
    pub(crate) fn new(kind: EventKind, entry: Arc<Entry<A>>, previous: Option<Arc<Entry<A>>>) -> Arc<Self> {
        let revision = entry.revision;
        Arc::new(Self { kind, entry, previous, revision })
    }

    /// The memory that keeping this event costs beyond the current state: the version it replaced, or both of a deletion.
    pub(crate) fn retained_bytes(&self) -> usize {
        // Measured: event and entry, places in ring and history, a share of the index nodes that checkpoints keep.
        const OVERHEAD: usize = 600;
        let previous = self.previous.as_ref().map_or(0, |entry| entry.value.len());
        let last = if self.kind == EventKind::Delete { self.entry.value.len() } else { 0 };
        OVERHEAD + previous + last
    }
}

impl<A> fmt::Debug for Event<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, entry, revision, .. } = self;
        write!(f, "{kind:?} {} at {revision}", entry.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revision_is_spliced_in_and_replaced_later() {
        let (value, at) = NewValue::new(*b"{\"rv\":\"\"}", Some(7)).splice(120);
        assert_eq!((&value[..], at), (&b"{\"rv\":\"120\"}"[..], Some(7)));
        let entry = Entry::<()>::new("k".into(), 1, 120, value, Meta { revision_at: at, ..Meta::default() });
        assert_eq!(&entry.value_at(99_999)[..], b"{\"rv\":\"99999\"}");
    }

    #[test]
    fn splice_bounds_are_safe() {
        assert_eq!(&NewValue::new(*b"ab", Some(99)).splice(7).0[..], b"ab7");
        assert_eq!(&NewValue::new(*b"", Some(0)).splice(u64::MAX).0[..], b"18446744073709551615");
        assert_eq!(&NewValue::new(*b"ab", None).splice(7).0[..], b"ab");
        assert_eq!(Digits::new(0).as_bytes(), b"0");
    }

    #[test]
    fn attrs_are_made_once() {
        let entry = Entry::<usize>::new("k".into(), 1, 1, Bytes::from_static(b"abc"), Meta::default());
        assert_eq!(*entry.attrs(|entry| entry.value.len()), 3);
        assert_eq!(*entry.attrs(|_| 99), 3);
    }
}
