//! Takes paths out of a value, and the rule by which paths that lead to others count as present.

use serde_json::{Map, Value};

use super::path::Step;
use super::place::{Atom, Items, Place};
use super::set::{Node, Set};

/// The value without these paths. A map or a list that loses all it had becomes null.
pub fn remove(place: Place, value: &Value, paths: &Set) -> Value {
    match (place.atom(value), value) {
        (Atom::Map { entries, atomic: false }, Value::Object(map)) => {
            let mut kept = Map::new();
            for (key, value) in map {
                match paths.get(&Step::field(key)) {
                    Some(node) if node.member => {}
                    Some(node) => drop(kept.insert(key.clone(), remove(entries.place(key), value, &node.below))),
                    None => drop(kept.insert(key.clone(), value.clone())),
                }
            }
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        (Atom::List { item, kind: kind @ (Items::Set | Items::Map(_)) }, Value::Array(items)) => {
            let mut kept = Vec::new();
            for (index, value) in items.iter().enumerate() {
                let step = item.step_to(kind, index, value).ok();
                match step.as_ref().and_then(|step| paths.get(step)) {
                    Some(node) if node.member => {}
                    Some(node) => kept.push(remove(item, value, &node.below)),
                    None => kept.push(value.clone()),
                }
            }
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        _ => value.clone(),
    }
}

/// The set with each named field that leads to a member as a member itself: whoever owns `.spec.replicas` keeps `.spec` alive.
/// Keys of maps and items of lists do not count so.
pub fn with_named_fields(place: Place, set: &Set) -> Set {
    let mut named = Set::default();
    for (step, node) in set.iter() {
        let (is_named, inner) = match step {
            Step::Field(key) => match place.atom(&Value::Object(Map::new())) {
                Atom::Map { entries, .. } => (entries.is_named(key), Some(entries.place(key))),
                _ => (false, None),
            },
            _ => match place.atom(&Value::Array(Vec::new())) {
                Atom::List { item, .. } => (false, Some(item)),
                _ => (false, None),
            },
        };
        let below = inner.map_or_else(|| node.below.clone(), |inner| with_named_fields(inner, &node.below));
        let member = node.member || (is_named && !below.is_empty());
        named.put(step.clone(), Node { member, below });
    }
    named
}
