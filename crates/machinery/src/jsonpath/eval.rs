//! From a template and a value to text.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{Comparison, Node, Step};
use crate::go_text;

/// A path that leads to more values than this says nothing that anybody could read.
const VALUES_MAX: usize = 1_000_000;

pub(super) fn print(nodes: &[Node], root: &Value, current: &Value, out: &mut String) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Path(steps) => {
                let found: Vec<String> = path(steps, root, current)?.into_iter().map(show).collect();
                out.push_str(&found.join(" "));
            }
            Node::Range(steps, body) => {
                for value in path(steps, root, current)? {
                    print(body, root, value, out)?;
                }
            }
        }
    }
    Ok(())
}

/// A value as output shows it.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Number(number) => go_text::number(number),
        other => go_text::json(&sorted(other)),
    }
}

/// The same with the keys of all maps in order.
fn sorted(value: &Value) -> Value {
    let mut value = value.clone();
    value.sort_all_objects();
    value
}

/// The values that a path leads to.
pub(super) fn path<'v>(steps: &'v [Step], root: &'v Value, current: &'v Value) -> Result<Vec<&'v Value>, String> {
    let mut here = vec![current];
    for step in steps {
        let mut next = Vec::new();
        for value in &here {
            take(step, root, current, value, &mut next)?;
            if next.len() > VALUES_MAX {
                return Err(format!("more than {VALUES_MAX} values"));
            }
        }
        here = next;
    }
    Ok(here)
}

fn take<'v>(
    step: &'v Step,
    root: &'v Value,
    current: &'v Value,
    value: &'v Value,
    out: &mut Vec<&'v Value>,
) -> Result<(), String> {
    match step {
        Step::Root => out.push(root),
        Step::Current => out.push(current),
        Step::Literal(literal) => out.push(literal),
        Step::Field(name) => out.extend(value.get(name).filter(|found| !found.is_null())),
        Step::Wildcard => match value {
            Value::Array(items) => out.extend(items),
            Value::Object(map) => out.extend(in_order(map)),
            _ => {}
        },
        Step::Recursive => descend(value, out),
        Step::Index(index) => {
            let Value::Array(items) = value else { return Ok(()) };
            let length = items.len() as i64;
            let at = if *index < 0 { index + length } else { *index };
            match usize::try_from(at).ok().and_then(|at| items.get(at)) {
                Some(item) => out.push(item),
                None => return Err(format!("array index out of bounds: index {at}, length {length}")),
            }
        }
        Step::Slice(from, to, step) => {
            let Value::Array(items) = value else { return Ok(()) };
            let length = items.len() as i64;
            let place = |given: Option<i64>, default: i64| {
                let at = given.unwrap_or(default);
                (if at < 0 { at + length } else { at }).clamp(0, length)
            };
            let (from, to) = (place(*from, 0), place(*to, length));
            let mut at = from;
            while at < to {
                out.push(&items[at as usize]);
                at += step;
            }
        }
        Step::Union(parts) => {
            for part in parts {
                take(part, root, current, value, out)?;
            }
        }
        Step::Path(steps) => out.extend(path(steps, root, value)?),
        Step::Filter(left, right) => {
            let Value::Array(items) = value else { return Ok(()) };
            for item in items {
                if holds(left, right.as_ref(), root, item)? {
                    out.push(item);
                }
            }
        }
    }
    Ok(())
}

/// The values of a map in the order of their keys.
fn in_order(map: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let mut entries: Vec<(&String, &Value)> = map.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries.into_iter().map(|(_, value)| value)
}

/// The value and everything below it.
fn descend<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    out.push(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| descend(item, out)),
        Value::Object(map) => in_order(map).for_each(|value| descend(value, out)),
        _ => {}
    }
}

fn holds(left: &[Step], right: Option<&(Comparison, Vec<Step>)>, root: &Value, item: &Value) -> Result<bool, String> {
    let lefts = path(left, root, item)?;
    let Some((comparison, right)) = right else { return Ok(!lefts.is_empty()) };
    let rights = path(right, root, item)?;
    let (Some(left), Some(right)) = (lefts.first(), rights.first()) else { return Ok(false) };
    if lefts.len() > 1 || rights.len() > 1 {
        return Err("can only compare one element at a time".to_owned());
    }
    let order = compare(left, right);
    Ok(match comparison {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::NotEqual => order != Some(Ordering::Equal),
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (left, right) => (left == right).then_some(Ordering::Equal),
    }
}
