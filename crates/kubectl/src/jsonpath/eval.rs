//! From a template and a value to text.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Comparison, Node, Step};

pub(super) fn print(nodes: &[Node], root: &Value, current: &Value, out: &mut String) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Path(steps) => {
                let found: Vec<String> = path(steps, root, current)?.iter().map(show).collect();
                out.push_str(&found.join(" "));
            }
            Node::Range(steps, body) => {
                for value in path(steps, root, current)? {
                    print(body, root, &value, out)?;
                }
            }
        }
    }
    Ok(())
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Number(number) => machinery::go_text::number(number),
        other => machinery::go_text::json(&crate::value::sorted(other)),
    }
}

/// The values that a path leads to.
pub(super) fn path(steps: &[Step], root: &Value, current: &Value) -> Result<Vec<Value>, String> {
    let mut here = vec![current.clone()];
    for step in steps {
        let mut next = Vec::new();
        for value in &here {
            take(step, root, current, value, &mut next)?;
        }
        here = next;
    }
    Ok(here)
}

fn take(step: &Step, root: &Value, current: &Value, value: &Value, out: &mut Vec<Value>) -> Result<(), String> {
    match step {
        Step::Root => out.push(root.clone()),
        Step::Current => out.push(current.clone()),
        Step::Literal(literal) => out.push(literal.clone()),
        Step::Field(name) => out.extend(value.get(name).filter(|found| !found.is_null()).cloned()),
        Step::Wildcard => match value {
            Value::Array(items) => out.extend(items.iter().cloned()),
            Value::Object(_) => {
                if let Value::Object(sorted) = crate::value::sorted(value) {
                    out.extend(sorted.into_iter().map(|(_, item)| item));
                }
            }
            _ => {}
        },
        Step::Recursive => descend(value, out),
        Step::Index(index) => {
            let Value::Array(items) = value else { return Ok(()) };
            let length = items.len() as i64;
            let at = if *index < 0 { index + length } else { *index };
            match usize::try_from(at).ok().and_then(|at| items.get(at)) {
                Some(item) => out.push(item.clone()),
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
                out.push(items[at as usize].clone());
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
                    out.push(item.clone());
                }
            }
        }
    }
    Ok(())
}

/// The value and everything below it.
fn descend(value: &Value, out: &mut Vec<Value>) {
    out.push(value.clone());
    match value {
        Value::Array(items) => items.iter().for_each(|item| descend(item, out)),
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            keys.into_iter().for_each(|key| descend(&map[key], out));
        }
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
