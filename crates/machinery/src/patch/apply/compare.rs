//! What differs between two states of an object, as paths that were added, modified or removed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path::Step;
use super::place::{Atom, Entries, Items, Place, filled_list, filled_map};
use super::set::{Node, Set};

/// What differs between two states of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Paths that only the new state has, those that lead to others included.
    pub added: Set,
    pub modified: Set,
    pub removed: Set,
}

impl Comparison {
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Leaves out what is below these paths.
    pub fn ignore(&mut self, paths: &Set) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.subtract_with_all_below(paths);
        }
    }

    /// What was given a value: added or modified.
    pub fn set(&self) -> Set {
        let mut set = self.added.clone();
        set.add(self.modified.clone());
        set
    }
}

/// Compares two objects of one type.
pub fn compare(place: Place, old: &Value, new: &Value) -> Comparison {
    let nodes = nodes(place, Some(old), Some(new));
    Comparison { added: nodes.added.below, modified: nodes.modified.below, removed: nodes.removed.below }
}

#[derive(Default)]
struct Nodes {
    added: Node,
    modified: Node,
    removed: Node,
}

impl Nodes {
    fn put(&mut self, step: &Step, inner: Nodes) {
        for (own, inner) in
            [(&mut self.added, inner.added), (&mut self.modified, inner.modified), (&mut self.removed, inner.removed)]
        {
            if !inner.is_empty() {
                own.below.put(step.clone(), inner);
            }
        }
    }

    /// One value, whatever is in it.
    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, _) => self.added.member = true,
            (_, None) => self.removed.member = true,
            (Some(old), Some(new)) => self.modified.member |= old != new,
        }
    }
}

fn nodes(place: Place, old: Option<&Value>, new: Option<&Value>) -> Nodes {
    let mut out = Nodes::default();
    if old == new {
        return out;
    }
    let atom = |value: Option<&Value>| value.filter(|value| !value.is_null()).map(|value| place.atom(value));
    let leaf = match (atom(old), atom(new)) {
        (Some(before), Some(after)) if !before.is_like(&after) => {
            let first = inside(&before, old, new, &mut out);
            inside(&after, old, new, &mut out) && first
        }
        (_, Some(atom)) | (Some(atom), _) => inside(&atom, old, new, &mut out),
        (None, None) => {
            out.leaf(old, new);
            true
        }
    };
    if !leaf {
        out.added.member |= old.is_none();
        out.removed.member |= new.is_none();
    }
    out
}

/// Compares what is inside; says whether the values were taken as a whole instead.
fn inside(atom: &Atom, old: Option<&Value>, new: Option<&Value>, out: &mut Nodes) -> bool {
    match atom {
        Atom::Map { entries, atomic: false } => {
            let (before, after) = (filled_map(old), filled_map(new));
            if before.is_some() || after.is_some() {
                maps(entries, before, after, out);
                return false;
            }
        }
        Atom::List { item, kind: kind @ (Items::Set | Items::Map(_)) } => {
            let (before, after) = (filled_list(old), filled_list(new));
            if (before.is_some() || after.is_some()) && lists(*item, *kind, before, after, out) {
                return false;
            }
        }
        _ => {}
    }
    out.leaf(old, new);
    true
}

fn maps(entries: &Entries, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>, out: &mut Nodes) {
    for (key, before) in old.into_iter().flatten() {
        let after = new.and_then(|new| new.get(key));
        out.put(&Step::field(key), nodes(entries.place(key), Some(before), after));
    }
    let added = new.into_iter().flatten().filter(|(key, _)| old.is_none_or(|old| !old.contains_key(*key)));
    for (key, after) in added {
        out.put(&Step::field(key), nodes(entries.place(key), None, Some(after)));
    }
}

/// False when the items cannot be told apart, so that the list is one value.
fn lists(item: Place, kind: Items, old: Option<&Vec<Value>>, new: Option<&Vec<Value>>, out: &mut Nodes) -> bool {
    let mut items: BTreeMap<Step, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for (index, value) in old.into_iter().flatten().enumerate() {
        let Ok(step) = item.step_to(kind, index, value) else { return false };
        items.entry(step).or_default().0.push(value);
    }
    for (index, value) in new.into_iter().flatten().enumerate() {
        let Ok(step) = item.step_to(kind, index, value) else { return false };
        items.entry(step).or_default().1.push(value);
    }
    for (step, (before, after)) in items {
        if before.len() <= 1 && after.len() <= 1 {
            out.put(&step, nodes(item, before.first().copied(), after.first().copied()));
            continue;
        }
        // What stands more than once is one value.
        let mut inner = Nodes::default();
        inner.added.member = before.is_empty();
        inner.removed.member = after.is_empty();
        inner.modified.member = !before.is_empty() && !after.is_empty() && before != after;
        out.put(&step, inner);
    }
    true
}
