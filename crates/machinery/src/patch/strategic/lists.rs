//! Merging lists, and the order of what comes out.

use super::lookup::Rule;
use super::{PATCH, PatchError, merge_map, unknown_directive, without_directives};
use crate::go_text;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// Merges a list by its rule, or (with `delete`) removes the given values from it.
pub(super) fn merge(
    original: Vec<Value>,
    patch: Vec<Value>,
    rule: &Rule,
    delete: bool,
) -> Result<Vec<Value>, PatchError> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if !are_maps(&original, &patch)? {
        if delete {
            let gone: HashSet<String> = patch.iter().map(identity).collect();
            return Ok(original.into_iter().filter(|item| !gone.contains(&identity(item))).collect());
        }
        let mut seen = HashSet::new();
        let both = original.iter().chain(&patch).filter(|item| seen.insert(identity(item))).cloned().collect();
        return order(both, &patch, &original, None);
    }
    let Some(key) = rule.merge_key else {
        let message = format!("cannot merge lists without merge key for {}", rule.inner.name());
        return Err(PatchError::Unexpected(message));
    };
    let (mut merged, patch) = special_items(original, patch, key)?;
    let server_order = keys_only(&merged, key);
    let patch_order = keys_only(&patch, key);
    let mut places = positions(&merged, key);
    for change in patch {
        let id = merge_value(&change, key)?;
        match (places.get(&id).copied(), change) {
            (Some(at), Value::Object(change)) => {
                // Positions are those of maps.
                if let Some(Value::Object(current)) = merged.get_mut(at) {
                    merge_map(current, change, rule.inner)?;
                }
            }
            (_, change) => {
                if let Some(change) = without_directives(change) {
                    places.insert(id, merged.len());
                    merged.push(change);
                }
            }
        }
    }
    order(merged, &patch_order, &server_order, Some(key))
}

/// Carries out the items that are directives and returns the list and the items that are left to merge.
fn special_items(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut deleted = HashSet::new();
    let mut replace = false;
    for item in patch {
        match item.get(PATCH) {
            None => plain.push(item),
            Some(Value::String(directive)) if directive == "delete" => drop(deleted.insert(merge_value(&item, key)?)),
            Some(Value::String(directive)) if directive == "replace" => replace = true,
            Some(Value::String(directive)) if directive == "merge" => {
                return Err(PatchError::Unexpected("merging lists cannot yet be specified in the patch".to_owned()));
            }
            Some(_) => return Err(unknown_directive(item.as_object().unwrap_or(&Map::new()))),
        }
    }
    if replace {
        return Ok((plain, Vec::new()));
    }
    if !deleted.is_empty() {
        original.retain(|item| !item.get(key).is_some_and(|value| deleted.contains(&identity(value))));
    }
    Ok((original, plain))
}

/// Puts the items that `wanted` names into its order and weaves them with the others, which keep the server's: an item that the
/// server did not have goes before the next of its items, one that it had keeps its place among them.
pub(super) fn order(
    items: Vec<Value>,
    wanted: &[Value],
    server: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    if let Some(key) = key {
        for item in items.iter().chain(wanted) {
            merge_value(item, key)?;
        }
    }
    let id = |item: &Value| identity(key.and_then(|key| item.get(key)).unwrap_or(item));
    let places = |list: &[Value]| {
        let mut places = HashMap::new();
        for (at, item) in list.iter().enumerate() {
            places.entry(id(item)).or_insert(at);
        }
        places
    };
    let (wanted, server) = (places(wanted), places(server));
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in items {
        let id = id(&item);
        match wanted.get(&id) {
            Some(at) => named.push((*at, server.get(&id).copied(), item)),
            None => others.push((server.get(&id).copied(), item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    others.sort_by_key(|(at, _)| at.unwrap_or(usize::MAX));

    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (Some((other, _)), Some((_, named, _))) => {
                matches!((other, named), (Some(other), Some(named)) if other < named)
            }
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return Ok(out),
        };
        let next = if other_first { others.next().map(|(_, item)| item) } else { named.next().map(|(.., item)| item) };
        out.extend(next);
    }
}

/// Changed items must stand in the order that is asked for.
pub(super) fn check_order(patch: &[Value], wanted: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if patch.is_empty() || wanted.is_empty() {
        return Ok(());
    }
    let id = |item: &Value| -> Result<String, PatchError> {
        match key {
            Some(key) => merge_value(item, key),
            None => Ok(identity(item)),
        }
    };
    let mut remaining = wanted.iter();
    let deleted = |item: &Value| key.is_some() && item.get(PATCH).is_some_and(|directive| directive == "delete");
    for item in patch.iter().filter(|item| !deleted(item)) {
        let item_id = id(item)?;
        let mut found = false;
        for candidate in remaining.by_ref() {
            if id(candidate)? == item_id {
                found = true;
                break;
            }
        }
        if !found {
            let text = |items: &[Value]| go_text::plain(&Value::Array(items.to_vec()));
            return Err(PatchError::Unexpected(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                text(patch),
                text(wanted)
            )));
        }
    }
    Ok(())
}

/// Whether the items are maps. All must be of one kind, and none a list.
fn are_maps(original: &[Value], patch: &[Value]) -> Result<bool, PatchError> {
    let mut items = original.iter().chain(patch);
    let Some(first) = items.next() else { return Ok(false) };
    if first.is_array() {
        return Err(PatchError::DoesNotApply("lists of lists are not supported".to_owned()));
    }
    if items.any(|item| std::mem::discriminant(item) != std::mem::discriminant(first)) {
        return Err(PatchError::Unexpected("list element types are not identical".to_owned()));
    }
    Ok(first.is_object())
}

fn merge_value(item: &Value, key: &str) -> Result<String, PatchError> {
    item.get(key).map(identity).ok_or_else(|| {
        PatchError::Unexpected(format!("map: {} does not contain declared merge key: {key}", go_text::plain(item)))
    })
}

fn positions(items: &[Value], key: &str) -> HashMap<String, usize> {
    let mut places = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        if let Some(value) = item.get(key) {
            places.entry(identity(value)).or_insert(at);
        }
    }
    places
}

/// The items with nothing but their keys: enough to order by.
fn keys_only(items: &[Value], key: &str) -> Vec<Value> {
    let only =
        |item: &Value| item.get(key).map(|value| Value::Object(Map::from_iter([(key.to_owned(), value.clone())])));
    items.iter().filter_map(only).collect()
}

/// A text that is equal exactly for equal values.
fn identity(value: &Value) -> String {
    value.to_string()
}
