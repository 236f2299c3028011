//! Merges an applied configuration into an object: what the configuration states is taken, everything else stays.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::path::Step;
use super::place::{Atom, Entries, Items, Place, filled_list, filled_map};

/// The object with the configuration in it.
pub fn merge(place: Place, live: &Value, config: &Value) -> Value {
    let atom = place.atom(if config.is_null() { live } else { config });
    match atom {
        Atom::Map { entries, atomic: false } => {
            let (before, given) = (filled_map(Some(live)), filled_map(Some(config)));
            match (before, given) {
                (Some(before), Some(given)) => Value::Object(maps(&entries, before, given)),
                (Some(_), None) if config.is_null() || config.is_object() => live.clone(),
                _ => config.clone(),
            }
        }
        Atom::List { item, kind: kind @ (Items::Set | Items::Map(_)) } => {
            let (before, given) = (filled_list(Some(live)), filled_list(Some(config)));
            match (before, given) {
                (Some(before), Some(given)) => Value::Array(lists(item, kind, before, given)),
                (Some(_), None) if config.is_null() || config.is_array() => live.clone(),
                _ => config.clone(),
            }
        }
        _ => config.clone(),
    }
}

fn maps(entries: &Entries, live: &Map<String, Value>, config: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = live.clone();
    for (key, given) in config {
        let value = match live.get(key) {
            Some(before) => merge(entries.place(key), before, given),
            None => given.clone(),
        };
        merged.insert(key.clone(), value);
    }
    merged
}

/// The configuration's order counts. Items that only the object has stay before the item that followed them, or at the end.
///
/// Worked example: [a, x, b] with [n, b] gives [a, x, n, b].
fn lists(item: Place, kind: Items, live: &[Value], config: &[Value]) -> Vec<Value> {
    let step = |(index, value): (usize, &Value)| item.step_to(kind, index, value).ok();
    let live_steps: Vec<Option<Step>> = live.iter().enumerate().map(step).collect();
    let given_steps: Vec<Option<Step>> = config.iter().enumerate().map(step).collect();
    let given: BTreeSet<&Step> = given_steps.iter().flatten().collect();
    let is_shared = |step: &Option<Step>| step.as_ref().is_some_and(|step| given.contains(step));
    let mut known: BTreeMap<&Step, Vec<usize>> = BTreeMap::new();
    for (index, step) in live_steps.iter().enumerate() {
        if let Some(step) = step {
            known.entry(step).or_default().push(index);
        }
    }
    // For each given item, the next one (itself included) that the object has too.
    let mut anchors: Vec<Option<&Step>> = vec![None; config.len()];
    let mut next = None;
    for (index, step) in given_steps.iter().enumerate().rev() {
        next = step.as_ref().filter(|step| known.contains_key(*step)).or(next);
        anchors[index] = next;
    }
    let mut merged = Vec::with_capacity(live.len().max(config.len()));
    let mut at = 0;
    for (index, value) in config.iter().enumerate() {
        let anchor = anchors[index];
        while at < live.len() && (anchor.is_none() || live_steps[at].as_ref() != anchor) {
            if !is_shared(&live_steps[at]) {
                merged.push(live[at].clone());
            }
            at += 1;
        }
        let own = given_steps[index].as_ref();
        match own.and_then(|step| known.get(step)).map(Vec::as_slice) {
            Some([before]) => merged.push(merge(item, &live[*before], value)),
            _ => merged.push(value.clone()),
        }
        if own.is_some() && own == anchor && at < live.len() {
            at += 1;
        }
    }
    let rest = live_steps[at..].iter().zip(&live[at..]);
    merged.extend(rest.filter(|(step, _)| !is_shared(step)).map(|(_, value)| value.clone()));
    merged
}
