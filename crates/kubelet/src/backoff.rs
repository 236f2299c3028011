//! Waiting longer each time: 10 s, 20 s, ... 300 s, and from the start again after twice the longest wait without need.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

#[derive(Debug, Clone, Copy)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

/// Delays by key.
#[derive(Debug, Clone)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
    entries: HashMap<String, Entry>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_secs(10), max: Duration::from_secs(300), entries: HashMap::new() }
    }
}

impl Backoff {
    /// Until when `key` must wait after what happened at `event`; None if it need not, at `now`.
    pub fn blocked_until(&self, key: &str, event: Timestamp, now: Timestamp) -> Option<(Timestamp, Duration)> {
        let entry = self.entries.get(key)?;
        if self.expired(entry, event) {
            return None;
        }
        let until = event + signed(entry.delay);
        (now < until).then_some((until, entry.delay))
    }

    /// Counts another try at `now`, after what happened at `event`.
    pub fn next(&mut self, key: &str, event: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if !self.expired(entry, event) => (entry.delay * 2).min(self.max),
            _ => self.initial,
        };
        self.entries.insert(key.to_owned(), Entry { delay, updated: now });
    }

    /// The delay that holds for `key`.
    pub fn delay(&self, key: &str) -> Option<Duration> {
        self.entries.get(key).map(|entry| entry.delay)
    }

    /// Forgets `key`.
    pub fn reset(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// Forgets everything that has not been needed for long.
    pub fn collect(&mut self, now: Timestamp) {
        let limit = signed(self.max * 2);
        self.entries.retain(|_, entry| now.duration_since(entry.updated) <= limit);
    }

    fn expired(&self, entry: &Entry, event: Timestamp) -> bool {
        event.duration_since(entry.updated) > signed(self.max * 2)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    #[test]
    fn doubles_up_to_the_limit_and_starts_again_after_a_quiet_time() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.blocked_until("c", at(0), at(0)), None, "the first restart is at once");
        backoff.next("c", at(0), at(0));
        assert_eq!(backoff.blocked_until("c", at(1), at(2)), Some((at(11), Duration::from_secs(10))));
        assert_eq!(backoff.blocked_until("c", at(1), at(11)), None);
        for _ in 0..10 {
            backoff.next("c", at(12), at(12));
        }
        assert_eq!(backoff.delay("c"), Some(Duration::from_secs(300)));
        assert_eq!(backoff.blocked_until("c", at(12 + 601), at(12 + 601)), None);
        backoff.next("c", at(12 + 601), at(12 + 601));
        assert_eq!(backoff.delay("c"), Some(Duration::from_secs(10)));
    }
}
