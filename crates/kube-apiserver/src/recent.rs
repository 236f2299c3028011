//! Answers remembered for a while: bounded in number and in time, so that neither many questions nor an old answer harm.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

pub struct Recent<K, V> {
    inner: Mutex<Inner<K, V>>,
    size_max: usize,
}

struct Inner<K, V> {
    entries: HashMap<K, (V, Instant, u64)>,
    /// By when they came: the oldest goes when there is no room.
    order: BTreeMap<u64, K>,
    next: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Recent<K, V> {
    pub fn new(size_max: usize) -> Self {
        let inner = Inner { entries: HashMap::new(), order: BTreeMap::new(), next: 0 };
        Self { inner: Mutex::new(inner), size_max }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let inner = self.inner.lock();
        let (value, until, _) = inner.entries.get(key)?;
        (Instant::now() < *until).then(|| value.clone())
    }

    /// Remembers for so long; not at all when the time is nothing.
    pub fn put(&self, key: K, value: V, time: Duration) {
        if time.is_zero() || self.size_max == 0 {
            return;
        }
        let mut inner = self.inner.lock();
        let at = inner.next;
        inner.next += 1;
        if let Some((.., before)) = inner.entries.insert(key.clone(), (value, Instant::now() + time, at)) {
            inner.order.remove(&before);
        }
        inner.order.insert(at, key);
        while inner.entries.len() > self.size_max {
            let Some((_, oldest)) = inner.order.pop_first() else { break };
            inner.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn entries_go_with_time_and_when_there_is_no_room() {
        let recent = Recent::new(2);
        recent.put("a", 1, Duration::from_secs(10));
        recent.put("b", 2, Duration::from_secs(1));
        recent.put("never", 0, Duration::ZERO);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!([recent.get(&"a"), recent.get(&"b"), recent.get(&"never")], [Some(1), None, None]);
        recent.put("c", 3, Duration::from_secs(10));
        recent.put("d", 4, Duration::from_secs(10));
        assert_eq!([recent.get(&"a"), recent.get(&"c"), recent.get(&"d")], [None, Some(3), Some(4)]);
    }
}
