//! Time, handed in: history is compacted and leases expire by this clock, so that a simulation can turn it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// The times the store needs.
pub trait Clock: Send + Sync {
    /// Time since some fixed start; never goes backwards.
    fn monotonic(&self) -> Duration;
    /// Milliseconds since 1970, for what outlives a restart.
    fn unix_millis(&self) -> u64;
    /// Seconds since 1970.
    fn unix_seconds(&self) -> u64 {
        self.unix_millis() / 1000
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix_millis(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
    }
}

/// A `u64` holds half a billion years of them.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<Duration>);

impl ManualClock {
    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        *self.0.lock() += by;
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        *self.0.lock()
    }

    fn unix_millis(&self) -> u64 {
        // Some day in 2023, so that differences to small numbers stay positive.
        1_700_000_000_000 + millis(*self.0.lock())
    }
}
