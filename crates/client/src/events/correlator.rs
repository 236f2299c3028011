//! Decides what becomes of an event: a new one, a higher count of a known one, or silence. Pure but for its memory,
//! which is bounded.
//!
//! Three rules, in this order: an object may cause 25 events at once and one more every five minutes; more than ten
//! events within ten minutes that differ only in their message become one "(combined from similar events)"; the same
//! event again raises its count.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use jiff::Timestamp;

use crate::plan::{EventType, Note};

const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;
const SIMILAR_MAX: usize = 10;
const SIMILAR_WINDOW_SECONDS: i64 = 600;
const MEMORY_MAX: usize = 4096;

/// Whether the event is to be created or counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Create it.
    New,
    /// Raise its count.
    Again,
}

/// An event as it is to be written.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// What to tell, with the message as it is to appear.
    pub note: Note,
    /// Name of the Event object.
    pub name: String,
    /// How often it has happened.
    pub count: u32,
    /// When it happened first.
    pub first: Timestamp,
    /// When it happened last.
    pub last: Timestamp,
    /// Create or count.
    pub verdict: Verdict,
}

impl Occurrence {
    /// The namespace of the event: that of its object, "default" for cluster-scoped ones.
    pub fn namespace(&self) -> &str {
        self.note.about.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct About {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    field_path: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Similar {
    about: About,
    kind: EventType,
    reason: &'static str,
}

/// The memory.
#[derive(Default)]
pub struct Correlator {
    buckets: Memory<About, Bucket>,
    similar: Memory<Similar, Messages>,
    /// A combined event is known by no message.
    known: Memory<(Similar, Option<String>), Known>,
    last_name_ns: i128,
}

struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

struct Messages {
    seen: HashSet<String>,
    last: Timestamp,
}

struct Known {
    name: String,
    count: u32,
    first: Timestamp,
}

impl Correlator {
    /// What to write for this event; nothing if its object has caused too many.
    pub fn observe(&mut self, note: &Note, now: Timestamp) -> Option<Occurrence> {
        let about = About {
            kind: note.about.kind.clone(),
            namespace: note.about.namespace.clone(),
            name: note.about.name.clone(),
            uid: note.about.uid.clone(),
            field_path: note.about.field_path.clone(),
        };
        if !self.take_token(&about, now) {
            return None;
        }
        let similar = Similar { about, kind: note.kind, reason: note.reason };
        let combined = self.is_one_of_many(&similar, &note.message, now);
        let mut note = note.clone();
        let identity = (similar, (!combined).then(|| note.message.clone()));
        if combined {
            note.message = format!("(combined from similar events): {}", note.message);
        }
        if let Some(known) = self.known.get_mut(&identity) {
            known.count = known.count.saturating_add(1);
            let (name, count, first) = (known.name.clone(), known.count, known.first);
            return Some(Occurrence { note, name, count, first, last: now, verdict: Verdict::Again });
        }
        let object = note.about.name.clone().unwrap_or_default();
        // Two events of one object in one tick of the clock must not share a name.
        self.last_name_ns = now.as_nanosecond().max(self.last_name_ns + 1);
        let name = format!("{object}.{:x}", self.last_name_ns);
        self.known.insert(identity, Known { name: name.clone(), count: 1, first: now });
        Some(Occurrence { note, name, count: 1, first: now, last: now, verdict: Verdict::New })
    }

    fn take_token(&mut self, about: &About, now: Timestamp) -> bool {
        if self.buckets.get_mut(about).is_none() {
            self.buckets.insert(about.clone(), Bucket { tokens: BURST, filled: now });
        }
        let Some(bucket) = self.buckets.get_mut(about) else { return true };
        let idle_seconds = now.duration_since(bucket.filled).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + idle_seconds * REFILL_PER_SECOND).min(BURST);
        bucket.filled = now;
        let enough = bucket.tokens >= 1.0;
        if enough {
            bucket.tokens -= 1.0;
        }
        enough
    }

    fn is_one_of_many(&mut self, similar: &Similar, message: &str, now: Timestamp) -> bool {
        if self.similar.get_mut(similar).is_none() {
            self.similar.insert(similar.clone(), Messages { seen: HashSet::new(), last: now });
        }
        let Some(messages) = self.similar.get_mut(similar) else { return false };
        if now.duration_since(messages.last).as_secs() > SIMILAR_WINDOW_SECONDS {
            messages.seen.clear();
        }
        messages.last = now;
        if messages.seen.contains(message) {
            return messages.seen.len() >= SIMILAR_MAX;
        }
        if messages.seen.len() + 1 < SIMILAR_MAX {
            messages.seen.insert(message.to_owned());
            return false;
        }
        true
    }
}

/// A map that forgets what was put in first when it is full.
struct Memory<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Memory<K, V> {
    fn default() -> Self {
        Self { map: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Memory<K, V> {
    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.map.get_mut(key)
    }

    fn insert(&mut self, key: K, value: V) {
        if self.map.len() >= MEMORY_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.map.remove(&oldest);
        }
        if self.map.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use k8s_openapi::api::core::v1::ObjectReference;

    fn note(name: &str, message: &str) -> Note {
        let about = ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some("n".to_owned()),
            name: Some(name.to_owned()),
            ..Default::default()
        };
        Note { about, kind: EventType::Warning, reason: "Failed", message: message.to_owned() }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn the_same_event_again_raises_the_count_of_the_first() {
        let mut correlator = Correlator::default();
        let first = correlator.observe(&note("p", "m"), at(1)).unwrap();
        let again = correlator.observe(&note("p", "m"), at(9)).unwrap();
        assert_eq!((first.verdict, first.count, first.name.as_str()), (Verdict::New, 1, "p.3b9aca00"));
        assert_eq!(
            (again.verdict, again.count, &again.name, again.first, again.last),
            (Verdict::Again, 2, &first.name, at(1), at(9))
        );
    }

    #[test]
    fn many_alike_are_combined() {
        let mut correlator = Correlator::default();
        let seen: Vec<_> = (0..12).map(|n| correlator.observe(&note("p", &n.to_string()), at(n)).unwrap()).collect();
        assert_eq!(seen[8].note.message, "8");
        assert_eq!(
            (seen[9].note.message.as_str(), seen[9].verdict),
            ("(combined from similar events): 9", Verdict::New)
        );
        assert_eq!((seen[11].verdict, seen[11].count, &seen[11].name), (Verdict::Again, 3, &seen[9].name));
    }

    #[test]
    fn an_object_that_is_complained_about_too_often_falls_silent() {
        let mut correlator = Correlator::default();
        let told = (0..40).filter(|_| correlator.observe(&note("p", "m"), at(0)).is_some()).count();
        assert_eq!(told, 25);
        assert!(correlator.observe(&note("q", "m"), at(0)).is_some(), "others are still heard");
        assert!(correlator.observe(&note("p", "m"), at(301)).is_some(), "one more after five minutes");
        assert!(correlator.observe(&note("p", "m"), at(302)).is_none());
    }
}
