//! Time and chance, handed in: a simulation hands in its own. Sleeping goes through tokio's clock, which a simulation
//! pauses; wall-clock times that end up in objects come from [`Clock`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The wall-clock time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until moved, for tests.
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(Mutex::new(start))
    }

    /// Moves the clock on; at the end of time it stops.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock();
        *now = now.checked_add(by).unwrap_or(Timestamp::MAX);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

/// What a component takes from outside: a clock and a stream of random numbers.
#[derive(Clone)]
pub struct Environment {
    clock: Arc<dyn Clock>,
    random_state: Arc<AtomicU64>,
}

impl Environment {
    /// The real world.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), rand::random())
    }

    /// A world with this clock and this seed.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, random_state: Arc::new(AtomicU64::new(seed)) }
    }

    /// The wall-clock time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A random number (SplitMix64: good for jitter and names, not for secrets).
    pub fn random(&self) -> u64 {
        let state = self.random_state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mut z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A random number below `bound` (0 if the bound is 0).
    pub fn random_below(&self, bound: u64) -> u64 {
        self.random().checked_rem(bound).unwrap_or(0)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("now", &self.now()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_chance() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let (a, b) = (Environment::new(clock.clone(), 7), Environment::new(clock, 7));
        assert_eq!([a.random(), a.random()], [b.random(), b.random()]);
        assert_ne!(a.random(), a.random());
        assert!(a.random_below(10) < 10);
        assert_eq!(a.random_below(0), 0);
    }
}
