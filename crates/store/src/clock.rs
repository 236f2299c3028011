//! Time, handed in: history is compacted and leases expire by this clock, so that a simulation can turn it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// The two times the store needs.
pub trait Clock: Send + Sync {
    /// Time since some fixed start; never goes backwards.
    fn monotonic(&self) -> Duration;
    /// Seconds since 1970, for expiry times that outlive a restart.
    fn unix_seconds(&self) -> u64;
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

    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
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

    fn unix_seconds(&self) -> u64 {
        // Some day in 2023, so that differences to small numbers stay positive.
        1_700_000_000 + self.0.lock().as_secs()
    }
}
