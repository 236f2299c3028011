//! Numbers about the store for metrics and `stats`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use crate::journal::JournalStats;
use crate::{Revision, Totals};

/// A snapshot of the store's numbers; counts are since it was opened.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Newest published revision.
    pub revision: Revision,
    /// Oldest revision that can be listed exactly.
    pub compact_revision: Revision,
    /// Keys and bytes of everything.
    pub totals: Totals,
    /// Keys and bytes per resource.
    pub resources: Vec<(Arc<str>, Totals)>,
    /// The limit set on bytes; 0 is none.
    pub quota_bytes: u64,
    /// Whether most of the quota is used, see [`crate::Options::quota_bytes`].
    pub quota_alarm: bool,
    /// Writes made durable.
    pub writes: u64,
    /// Writes refused by their precondition.
    pub conflicts: u64,
    /// Writes refused or failed for want of room.
    pub full: u64,
    /// Appends to the journal: one fsync each.
    pub appends: u64,
    /// The most writes that shared one append.
    pub append_writes_max: usize,
    /// Bytes of the keys and values written; with `journal.bytes_written` and `snapshot_bytes` this is the write amplification.
    pub bytes_accepted: u64,
    /// Duration of appends, fsync included.
    pub append_duration: Histogram,
    /// Events kept as history, and the memory they hold on to.
    pub history_events: usize,
    /// See `history_events`.
    pub history_bytes: usize,
    /// Open watches.
    pub watchers: usize,
    /// Watches ended because they were too slow.
    pub watchers_slow: u64,
    /// Snapshots of the whole state written to disk.
    pub snapshots: u64,
    /// Bytes of these snapshots.
    pub snapshot_bytes: u64,
    /// Snapshots that failed.
    pub snapshots_failed: u64,
    /// The journal's own numbers.
    pub journal: JournalStats,
    /// Why no writes are taken, if so.
    pub closed: Option<Arc<str>>,
}

/// Durations in buckets, each twice as long as the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Number of durations up to [`Histogram::bound`] of the place and above the one before; the last one has no bound.
    pub buckets: [u64; 16],
    /// Number of all.
    pub count: u64,
    /// Sum of all.
    pub sum: Duration,
    /// The latest.
    pub last: Duration,
    /// The longest.
    pub max: Duration,
}

impl Histogram {
    /// Upper bound of a bucket: 62.5 us, 125 us, ... about 1 s.
    pub fn bound(bucket: usize) -> Duration {
        Duration::from_nanos(62_500 << bucket.min(40))
    }

    pub(crate) fn observe(&mut self, duration: Duration) {
        let last = self.buckets.len() - 1;
        let bucket = (0..last).find(|bucket| duration <= Self::bound(*bucket)).unwrap_or(last);
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum += duration;
        self.last = duration;
        self.max = self.max.max(duration);
    }
}

/// The counters behind `Stats`.
#[derive(Default)]
pub(crate) struct Counters {
    pub writes: AtomicU64,
    pub conflicts: AtomicU64,
    pub full: AtomicU64,
    pub bytes_accepted: AtomicU64,
    pub watchers: AtomicUsize,
    pub watchers_slow: AtomicU64,
    pub snapshots: AtomicU64,
    pub snapshot_bytes: AtomicU64,
    pub snapshots_failed: AtomicU64,
    pub quota_alarm: AtomicBool,
    pub appends: Mutex<Appends>,
}

#[derive(Default)]
pub(crate) struct Appends {
    pub duration: Histogram,
    pub writes_max: usize,
    pub journal: JournalStats,
}

impl Counters {
    pub fn fill(&self, stats: &mut Stats) {
        let appends = self.appends.lock();
        stats.writes = self.writes.load(Relaxed);
        stats.conflicts = self.conflicts.load(Relaxed);
        stats.full = self.full.load(Relaxed);
        stats.bytes_accepted = self.bytes_accepted.load(Relaxed);
        stats.watchers = self.watchers.load(Relaxed);
        stats.watchers_slow = self.watchers_slow.load(Relaxed);
        stats.snapshots = self.snapshots.load(Relaxed);
        stats.snapshot_bytes = self.snapshot_bytes.load(Relaxed);
        stats.quota_alarm = self.quota_alarm.load(Relaxed);
        stats.snapshots_failed = self.snapshots_failed.load(Relaxed);
        stats.appends = appends.duration.count;
        stats.append_writes_max = appends.writes_max;
        stats.append_duration = appends.duration.clone();
        stats.journal = appends.journal.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let mut histogram = Histogram::default();
        for micros in [1, 62, 63, 125, 126, 10_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!(histogram.buckets[..3], [2, 2, 1]);
        assert_eq!(histogram.buckets[15], 1);
        assert_eq!((histogram.count, histogram.last), (6, Duration::from_secs(10)));
    }
}
