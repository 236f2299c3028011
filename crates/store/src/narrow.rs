//! Rings for watchers of a part of a resource: one key, or the keys with one value of the indexed field.
//!
//! A thousand nodes watch pods, each its own. From one ring each of them would look at every pod's event; here an event goes to the
//! rings of the key and of the value (the one it had before too: who watches that sees the object leave), and only their watchers
//! wake up. A ring is there while somebody watches.

use std::collections::HashMap;
use std::sync::Arc;

use crate::options::Layout;
use crate::ring::Ring;
use crate::{Event, Revision};

/// Which events of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrow<'a> {
    /// Those of one key.
    Key(&'a str),
    /// Those of entries whose indexed field (see [`crate::Options::index_of`]) has or had this value.
    Value(&'a str),
}

impl Narrow<'_> {
    pub(crate) fn takes<A>(self, event: &Event<A>, layout: Layout) -> bool {
        match self {
            Self::Key(key) => *event.entry.key == *key,
            Self::Value(value) => values(event, layout).into_iter().flatten().any(|own| **own == *value),
        }
    }
}

/// The value after an event, and the one before where it is another.
fn values<A>(event: &Event<A>, layout: Layout) -> [Option<&Arc<str>>; 2] {
    let now = event.entry.indexed(layout);
    let before = event.previous.as_ref().and_then(|previous| previous.indexed(layout));
    [now, before.filter(|before| Some(*before) != now)]
}

pub(crate) struct NarrowRings<A> {
    by_key: HashMap<Box<str>, Arc<Ring<A>>>,
    by_value: HashMap<Box<str>, Arc<Ring<A>>>,
}

impl<A> Default for NarrowRings<A> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), by_value: HashMap::new() }
    }
}

impl<A> NarrowRings<A> {
    /// The ring, made if there is none.
    pub fn of(&mut self, narrow: Narrow<'_>, make: impl FnOnce() -> Ring<A>) -> Arc<Ring<A>> {
        let (rings, key) = match narrow {
            Narrow::Key(key) => (&mut self.by_key, key),
            Narrow::Value(value) => (&mut self.by_value, value),
        };
        if let Some(ring) = rings.get(key) {
            return ring.clone();
        }
        rings.entry(key.into()).or_insert_with(|| Arc::new(make())).clone()
    }

    /// Adds an event to the rings that it belongs to, and those to `touched`. `floor` is that of the whole resource.
    pub fn push(&self, event: &Arc<Event<A>>, layout: Layout, floor: Revision, touched: &mut Vec<Arc<Ring<A>>>) {
        let by_key = if self.by_key.is_empty() { None } else { self.by_key.get(&*event.entry.key) };
        let values = if self.by_value.is_empty() { [None, None] } else { values(event, layout) };
        let by_value = values.into_iter().flatten().filter_map(|value| self.by_value.get(&**value));
        for ring in by_key.into_iter().chain(by_value) {
            ring.push_after(floor, event.clone());
            if !touched.iter().any(|known| Arc::ptr_eq(known, ring)) {
                touched.push(ring.clone());
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Ring<A>>> {
        self.by_key.values().chain(self.by_value.values())
    }

    /// Lets go of rings that nobody watches.
    pub fn tidy(&mut self) {
        for rings in [&mut self.by_key, &mut self.by_value] {
            rings.retain(|_, ring| Arc::strong_count(ring) > 1);
        }
    }
}
