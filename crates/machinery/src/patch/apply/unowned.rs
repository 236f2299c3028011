//! A configuration that is merged for nobody: mutating policies set fields and own none.
//!
//! Whoever owns fields may leave out those of an atomic value to remove them. Here nobody knows what was set before, so atomic
//! values are refused: one that is meant to change a little would lose all the rest.

use serde_json::Value;

use super::merge::merge;
use super::path::{Step, path_text};
use super::place::{Atom, Items, Place};
use super::validate::validate;

/// The object with the configuration in it, or why it does not go in.
pub fn merge_unowned(place: Place, object: &Value, config: &Value) -> Result<Value, String> {
    validate(place, config).map_err(|error| format!("failed to convert patch object to typed object: {error}"))?;
    let mut atomics = Vec::new();
    find_atomics(place, config, &mut Vec::new(), &mut atomics);
    if !atomics.is_empty() {
        let atomics = atomics.join(", ");
        return Err(format!("invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {atomics}"));
    }
    Ok(merge(place, object, config))
}

fn find_atomics(place: Place, value: &Value, path: &mut Vec<Step>, found: &mut Vec<String>) {
    match (place.atom(value), value) {
        (Atom::Map { entries, atomic }, Value::Object(map)) => {
            if atomic {
                found.push(path_text(path));
            }
            for (key, value) in map.iter().filter(|(key, _)| entries.is_named(key)) {
                path.push(Step::field(key));
                find_atomics(entries.place(key), value, path, found);
                path.pop();
            }
        }
        (Atom::List { item, kind }, Value::Array(items)) => {
            if matches!(kind, Items::Atomic) {
                found.push(path_text(path));
            }
            for (index, value) in (0..).zip(items) {
                path.push(Step::Index(index));
                find_atomics(item, value, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}
