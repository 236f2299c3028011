//! The paths that whoever applies a value owns: its leaves, the items of its lists, and what it states to be empty.

use serde_json::Value;

use super::path::Step;
use super::place::{Atom, Items, Place};
use super::set::{Node, Set};

/// The paths of an object that is applied.
pub fn owned(place: Place, object: &Value) -> Set {
    node(place, object).below
}

fn node(place: Place, value: &Value) -> Node {
    match (place.atom(value), value) {
        (Atom::Scalar(_), _) | (Atom::Map { atomic: true, .. }, _) | (Atom::List { kind: Items::Atomic, .. }, _) => {
            Node::MEMBER
        }
        (Atom::Map { entries, .. }, Value::Object(map)) => {
            let mut own = Node::default();
            for (key, value) in map {
                let mut inner = node(entries.place(key), value);
                let empty = value.is_null() || value.as_object().is_some_and(|map| map.is_empty());
                inner.member |= empty || !entries.is_named(key);
                own.below.put(Step::field(key), inner);
            }
            own
        }
        (Atom::List { item, kind }, Value::Array(items)) => {
            let mut own = Node::default();
            for (index, value) in items.iter().enumerate() {
                let Ok(step) = item.step_to(kind, index, value) else { continue };
                match own.below.get(&step) {
                    // An item that stands twice is one value, whatever is in it.
                    Some(_) => own.below.put_alone(step),
                    None => own.below.put(step, Node { member: true, ..node(item, value) }),
                }
            }
            own
        }
        _ => Node::default(),
    }
}
