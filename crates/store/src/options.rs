//! What can be set when a store is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::journal::Transformer;
use crate::{Clock, SystemClock};

/// Runs background work (writing snapshots).
pub type Spawn = Arc<dyn Fn(Box<dyn FnOnce() + Send>) + Send + Sync>;

/// Settings of a store; `Options::default()` suits a server.
#[derive(Clone)]
pub struct Options {
    /// How long old versions are kept for lists at an exact revision and for watches that come back.
    pub history: Duration,
    /// Old versions beyond this many bytes are dropped before their time.
    pub history_bytes_max: usize,
    /// Events kept for the watchers of one resource. A watcher further behind than this is ended with `WatchError::Slow`.
    pub ring_events_max: usize,
    /// The sum of all keys and values; a write beyond it gets `WriteError::Full`. 0 is no limit.
    /// There is a warning, and [`crate::Stats::quota_alarm`], from 80 % of it on until less than 75 % are used.
    pub quota_bytes: u64,
    /// Writers wait while this many bytes are gathered for the next append.
    pub group_bytes_max: usize,
    /// The largest value.
    pub value_bytes_max: usize,
    /// Length of the resource part of a key: watches and totals are kept per resource. It must give the same for a key and for
    /// each of its prefixes that reach beyond the resource part.
    pub resource_of: fn(&str) -> usize,
    /// The value of a field that lists and watches of a resource often ask for, from a key and its value; `None` where a
    /// resource has no such field. See [`crate::Snapshot::indexed`].
    pub index_of: fn(&str, &[u8]) -> Option<Arc<str>>,
    /// Changes values on their way to the journal and back; `None` keeps them as they are.
    pub transformer: Option<Arc<dyn Transformer>>,
    /// The times.
    pub clock: Arc<dyn Clock>,
    /// Runs background work; the default is an own thread for each piece.
    pub spawn: Spawn,
}

/// What the store knows of keys and values.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub resource_of: fn(&str) -> usize,
    pub index_of: fn(&str, &[u8]) -> Option<Arc<str>>,
}

impl Options {
    pub(crate) fn layout(&self) -> Layout {
        Layout { resource_of: self.resource_of, index_of: self.index_of }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history: Duration::from_secs(300),
            history_bytes_max: 128 << 20,
            ring_events_max: 8192,
            quota_bytes: 0,
            group_bytes_max: 16 << 20,
            value_bytes_max: 16 << 20,
            resource_of,
            index_of: |_, _| None,
            transformer: None,
            clock: Arc::new(SystemClock::default()),
            spawn: Arc::new(|work| drop(std::thread::spawn(work))),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("history", &self.history)
            .field("history_bytes_max", &self.history_bytes_max)
            .field("ring_events_max", &self.ring_events_max)
            .field("quota_bytes", &self.quota_bytes)
            .finish_non_exhaustive()
    }
}

/// The resource part of a key laid out as upstream lays them out: `/registry/pods/` of `/registry/pods/default/a`, and the group
/// too where there is one (a second component with a dot in it): `/registry/example.com/widgets/`. The closing slash belongs to
/// it. Of a key or prefix that ends before its resource part does, the result is 0: it spans resources.
pub fn resource_of(key: &str) -> usize {
    let component = |from: usize| key.get(from..).and_then(|rest| rest.find('/')).map(|at| from + at + 1);
    let after_root = if key.starts_with('/') { component(1) } else { component(0) };
    let Some(root) = after_root else { return 0 };
    let Some(resource) = component(root) else { return 0 };
    if key[root..resource].contains('.') { component(resource).unwrap_or(0) } else { resource }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_part_of_keys() {
        let of = |key: &'static str| &key[..resource_of(key)];
        assert_eq!(of("/registry/pods/default/a"), "/registry/pods/");
        assert_eq!(of("/registry/pods/"), "/registry/pods/");
        assert_eq!(of("/registry/example.com/widgets/default/a"), "/registry/example.com/widgets/");
        assert_eq!(of("/registry/namespaces/default"), "/registry/namespaces/");
        for spanning in ["", "/", "/registry", "/registry/", "/registry/pods", "/registry/example.com/wid"] {
            assert_eq!(of(spanning), "", "{spanning}");
        }
    }
}
