//! Strategic merge patch: a merge patch that knows which lists merge by a key, with directives among the values.
//!
//! - `$patch: replace | delete` in a map replaces or empties it; in an item of a merging list it replaces the list, or deletes the
//!   item with that key.
//! - `$retainKeys: [..]` removes all other keys of the map.
//! - `$setElementOrder/<list>: [..]` orders a list's items; `$deleteFromPrimitiveList/<list>: [..]` removes values from one.
//!
//! Worked example, merging `containers` by `name`: [a, b] patched with [b', c] gives [c, a, b'], because new items come before
//! those that only the server knows, and known items keep the server's order.

mod lists;
mod lookup;

use super::{PatchError, not_a_map, parse_map};
use crate::codec::Parsed;
use crate::go_text;
use crate::schema::{TypeId, Types};
use lookup::{Lookup, Rule};
use serde_json::{Map, Value};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ELEMENT_ORDER: &str = "$setElementOrder";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList";

/// Reads a strategic merge patch's body.
pub fn parse(body: &[u8]) -> Result<Parsed, PatchError> {
    parse_map(body).map_err(PatchError::Malformed)
}

/// Merges a patch into an object of a type; null changes nothing.
pub fn apply(types: &Types, id: TypeId, object: &mut Value, patch: Value) -> Result<(), PatchError> {
    let patch = match patch {
        Value::Null => return Ok(()),
        Value::Object(patch) => patch,
        other => return Err(PatchError::Malformed(not_a_map(&other))),
    };
    let Value::Object(object) = object else {
        return Err(PatchError::Malformed("invalid JSON document".to_owned()));
    };
    merge_map(object, patch, Lookup::of_type(types, id))
}

fn merge_map(
    original: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
    lookup: Lookup,
) -> Result<(), PatchError> {
    if let Some(directive) = patch.get(PATCH) {
        match directive.as_str() {
            Some("replace") => {
                patch.shift_remove(PATCH);
                *original = patch;
            }
            Some("delete") => original.clear(),
            _ => return Err(unknown_directive(&patch)),
        }
        return Ok(());
    }
    retain_keys(original, &mut patch)?;
    set_element_orders(original, &mut patch, lookup)?;
    for (key, change) in patch {
        let (field, delete) = match directive_target(&key, DELETE_FROM_LIST) {
            Some(target) => (target?, true),
            None => (key.as_str(), false),
        };
        if change.is_null() {
            original.shift_remove(field);
            continue;
        }
        match (original.get_mut(field), change) {
            (Some(Value::Object(current)), Value::Object(change)) => {
                let rule = lookup.field(field)?;
                if rule.replace {
                    *current = change;
                } else {
                    merge_map(current, change, rule.inner)?;
                }
            }
            (Some(Value::Array(current)), Value::Array(change)) => {
                let rule = lookup.field(field)?;
                merge_list_field(current, change, &rule, delete)?;
            }
            (_, _) if delete => {}
            (Some(current), change) if !change.is_object() && !change.is_array() => *current = change,
            (_, change) => match without_directives(change) {
                Some(change) => drop(original.insert(field.to_owned(), change)),
                None => drop(original.shift_remove(field)),
            },
        }
    }
    Ok(())
}

fn merge_list_field(current: &mut Vec<Value>, change: Vec<Value>, rule: &Rule, delete: bool) -> Result<(), PatchError> {
    if rule.merge || delete {
        *current = lists::merge(std::mem::take(current), change, rule, delete)?;
    } else {
        *current = change;
    }
    Ok(())
}

fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), PatchError> {
    let Some(retained) = patch.shift_remove(RETAIN_KEYS) else { return Ok(()) };
    let invalid = || PatchError::Malformed("invalid patch format of retainKeys".to_owned());
    let retained = retained.as_array().ok_or_else(invalid)?;
    let retained: std::collections::HashSet<&str> = retained.iter().filter_map(Value::as_str).collect();
    for (key, change) in patch.iter() {
        let directive =
            directive_target(key, DELETE_FROM_LIST).is_some() || directive_target(key, SET_ELEMENT_ORDER).is_some();
        if !change.is_null() && !directive && !retained.contains(key.as_str()) {
            return Err(invalid());
        }
    }
    original.retain(|key, _| retained.contains(key.as_str()));
    Ok(())
}

/// Merges each list that comes with an order and orders it; what is done is taken out of the patch.
fn set_element_orders(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    lookup: Lookup,
) -> Result<(), PatchError> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ELEMENT_ORDER)).cloned().collect();
    for directive in directives {
        let Some(order) = patch.shift_remove(&directive) else { continue };
        let order = list(order)?;
        let field = match directive_target(&directive, SET_ELEMENT_ORDER) {
            Some(target) => target?,
            None => continue,
        };
        let rule = lookup.field(field)?;
        let changes = match patch.shift_remove(field) {
            // A list that is to go needs no order.
            Some(Value::Null) => {
                patch.insert(field.to_owned(), Value::Null);
                continue;
            }
            change => change.map(list).transpose()?,
        };
        if let Some(changes) = &changes {
            lists::check_order(changes, &order, rule.merge_key)?;
        }
        let current = original.get_mut(field).map(|value| list(value.take())).transpose()?;
        let server_order = current.clone().unwrap_or_default();
        let merged = match (current, changes) {
            (Some(current), None) => current,
            (None, Some(changes)) => {
                without_directives(Value::Array(changes)).map(list).transpose()?.unwrap_or_default()
            }
            (Some(mut current), Some(changes)) => {
                merge_list_field(&mut current, changes, &rule, false)?;
                current
            }
            (None, None) => continue,
        };
        let ordered = lists::order(merged, &order, &server_order, rule.merge_key)?;
        original.insert(field.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

fn list(value: Value) -> Result<Vec<Value>, PatchError> {
    match value {
        Value::Array(items) => Ok(items),
        other => {
            let kind = match other {
                Value::Object(_) => "map[string]interface {}",
                Value::String(_) => "string",
                Value::Bool(_) => "bool",
                Value::Number(n) if n.is_f64() => "float64",
                Value::Number(_) => "int64",
                _ => "<nil>",
            };
            Err(PatchError::Unexpected(format!("expected a []interface {{}}, but received a {kind}")))
        }
    }
}

/// The field that a directive is about: `$setElementOrder/<field>`. `None`: the key is no such directive.
fn directive_target<'k>(key: &'k str, directive: &str) -> Option<Result<&'k str, PatchError>> {
    let rest = key.strip_prefix(directive)?;
    Some(rest.strip_prefix('/').ok_or_else(|| {
        let what = if directive == DELETE_FROM_LIST { "primitive list" } else { "setElementOrder list" };
        PatchError::Malformed(format!("invalid patch format of {what}"))
    }))
}

fn unknown_directive(patch: &Map<String, Value>) -> PatchError {
    let directive = patch.get(PATCH).map(go_text::plain).unwrap_or_default();
    let patch = go_text::plain(&Value::Object(patch.clone()));
    PatchError::Unexpected(format!("unknown patch type: {directive} in map: {patch}"))
}

/// A value that meets nothing to merge with: nulls and directives have nothing to act on. `None` if the value itself is a deletion.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(mut map) => {
            if map.shift_remove(PATCH).is_some_and(|directive| directive != "replace") {
                return None;
            }
            let is_directive = |key: &str| {
                key == RETAIN_KEYS || key.starts_with(SET_ELEMENT_ORDER) || key.starts_with(DELETE_FROM_LIST)
            };
            let kept = map.into_iter().filter(|(key, value)| !value.is_null() && !is_directive(key));
            Some(Value::Object(kept.filter_map(|(key, value)| Some((key, without_directives(value)?))).collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
