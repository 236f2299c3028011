//! JSON patch, with the peculiarities that clients of the API have come to rely on: what stands before the first slash of a path
//! is ignored, negative indexes count from the end, replacing an absent key adds it, and the whole document cannot be addressed.

use super::{DEPTH_MAX, PatchError};
use crate::codec::{self, Limits};
use serde_json::{Map, Value};

/// More operations than this are refused.
pub const OPERATIONS_MAX: usize = 10_000;
/// What all copies of one patch may add together, in bytes of JSON.
pub const COPY_BYTES_MAX: usize = 3 << 20;

/// The name of the struct that upstream reads an operation into; its errors show it.
const OPERATION: &str = "jsonPatchOp";

/// A list of operations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    operations: Vec<Operation>,
    /// What field validation has to say: unknown and repeated fields of operations.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Operation {
    op: String,
    path: Option<String>,
    from: Option<String>,
    /// `None` and null both add null, but only a given null equals an absent value in a test.
    value: Option<Value>,
}

impl Patch {
    pub fn parse(body: &[u8]) -> Result<Self, PatchError> {
        let malformed = |message: String| PatchError::Malformed(format!("error decoding patch: {message}"));
        let parsed = codec::json::parse(body, Limits { depth: DEPTH_MAX, ..Limits::default() }).map_err(malformed)?;
        let items = match parsed.value {
            Value::Null => Vec::new(),
            Value::Array(items) => items,
            other => return Err(malformed(mismatch(&other, &format!("value of type []handlers.{OPERATION}")))),
        };
        let mut problems: Vec<String> =
            parsed.duplicates.iter().map(|d| format!("json patch duplicate field \"{}\"", d.path)).collect();
        let mut operations = Vec::with_capacity(items.len());
        for (i, item) in items.into_iter().enumerate() {
            let fields = match item {
                Value::Object(fields) => fields,
                Value::Null => Map::new(),
                other => return Err(malformed(mismatch(&other, &format!("value of type handlers.{OPERATION}")))),
            };
            operations.push(operation(fields, i, &mut problems).map_err(malformed)?);
        }
        if operations.len() > OPERATIONS_MAX {
            return Err(PatchError::TooManyOperations(operations.len()));
        }
        Ok(Patch { operations, problems })
    }

    /// Runs all operations in order, stopping at the first that fails.
    pub fn apply(&self, object: &mut Value) -> Result<(), PatchError> {
        let mut run = Run { copied: 0, depth: depth(object) };
        for operation in &self.operations {
            run.step(object, operation).map_err(PatchError::DoesNotApply)?;
        }
        Ok(())
    }
}

/// Reads a patch and runs it.
pub fn apply(object: &mut Value, body: &[u8]) -> Result<(), PatchError> {
    Patch::parse(body)?.apply(object)
}

fn mismatch(value: &Value, target: &str) -> String {
    format!("json: cannot unmarshal {} into Go {target}", codec::json_kind(value))
}

fn operation(mut fields: Map<String, Value>, index: usize, problems: &mut Vec<String>) -> Result<Operation, String> {
    let mut text = |name: &str| match fields.shift_remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(mismatch(&other, &format!("struct field {OPERATION}.{name} of type string"))),
    };
    let (op, path, from) = (text("op")?.unwrap_or_default(), text("path")?, text("from")?);
    let value = fields.shift_remove("value");
    problems.extend(fields.keys().map(|name| format!("json patch unknown field \"[{index}].{name}\"")));
    Ok(Operation { op, path, from, value })
}

/// One application of a patch.
struct Run {
    copied: usize,
    /// No less than the object's depth.
    depth: usize,
}

impl Run {
    fn step(&mut self, object: &mut Value, operation: &Operation) -> Result<(), String> {
        let path = operation.path.as_deref().ok_or("missing path");
        let from = operation.from.as_deref().ok_or("missing from");
        let value = || operation.value.clone().unwrap_or(Value::Null);
        match operation.op.as_str() {
            "add" => self.add(object, path?, value()),
            "remove" => remove(object, path?).map(drop),
            "replace" => {
                let value = value();
                let path = path?;
                self.grow(object, path, &value, depth(&value))?;
                replace(object, path, value)
            }
            "move" => {
                let (from, path) = (from?, path?);
                let value = remove(object, from)?;
                // Measuring the value each time would make many moves of a large value slow.
                self.grow(object, path, &value, self.depth.saturating_sub(steps(from)))?;
                add(object, path, value)
            }
            "copy" => {
                let value = get(object, from?)?.cloned();
                self.copied += value.as_ref().map_or(0, |value| value.to_string().len());
                if self.copied > COPY_BYTES_MAX {
                    return Err(format!("copies add more than {COPY_BYTES_MAX} bytes"));
                }
                self.add(object, path?, value.unwrap_or(Value::Null))
            }
            "test" => match (get(object, path?)?, operation.value.as_ref()) {
                (None, None | Some(Value::Null)) => Ok(()),
                (Some(found), Some(wanted)) if found == wanted => Ok(()),
                _ => Err("testing value failed".to_owned()),
            },
            other => Err(format!("unexpected kind: {other}")),
        }
    }

    fn add(&mut self, object: &mut Value, path: &str, value: Value) -> Result<(), String> {
        self.grow(object, path, &value, depth(&value))?;
        add(object, path, value)
    }

    /// Refuses what would make the object too deep. `bound` is no less than the value's depth; only where bounds do not suffice
    /// is anything measured.
    fn grow(&mut self, object: &Value, path: &str, value: &Value, bound: usize) -> Result<(), String> {
        let mut reached = steps(path) + bound;
        if reached > DEPTH_MAX {
            reached = steps(path) + depth(value);
            self.depth = depth(object);
        }
        if reached > DEPTH_MAX {
            return Err(format!("object becomes deeper than {DEPTH_MAX}"));
        }
        self.depth = self.depth.max(reached);
        Ok(())
    }
}

fn steps(path: &str) -> usize {
    path.matches('/').count()
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let (parent, key) = find(object, path)?;
    match parent {
        Value::Object(map) => drop(map.insert(key, value)),
        Value::Array(items) => {
            let at = if key == "-" { items.len() } else { index(&key, items.len() + 1)? };
            items.insert(at, value);
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn replace(object: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let (parent, key) = find(object, path)?;
    match parent {
        Value::Object(map) => drop(map.insert(key, value)),
        Value::Array(items) => {
            let at = index(&key, items.len())?;
            items[at] = value;
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Result<Value, String> {
    let (parent, key) = find(object, path)?;
    match parent {
        Value::Object(map) => map.shift_remove(&key).ok_or_else(|| missing(path)),
        Value::Array(items) => {
            let at = index(&key, items.len())?;
            Ok(items.remove(at))
        }
        _ => Err(missing(path)),
    }
}

/// The value at a path; an absent key and null are the same.
fn get<'v>(object: &'v mut Value, path: &str) -> Result<Option<&'v Value>, String> {
    let (parent, key) = find(object, path)?;
    let found = match parent {
        Value::Object(map) => map.get(&key),
        Value::Array(items) => {
            let at = index(&key, items.len())?;
            items.get(at)
        }
        _ => return Err(missing(path)),
    };
    Ok(found.filter(|value| !value.is_null()))
}

/// The map or list that holds the path's last step, and that step.
fn find<'v>(object: &'v mut Value, path: &str) -> Result<(&'v mut Value, String), String> {
    let (_, steps) = path.split_once('/').ok_or_else(|| missing(path))?;
    let (parents, last) = match steps.rsplit_once('/') {
        Some((parents, last)) => (Some(parents), last),
        None => (None, steps),
    };
    let mut place = object;
    for step in parents.into_iter().flat_map(|parents| parents.split('/')) {
        let step = unescape(step);
        place = match place {
            Value::Object(map) => map.get_mut(&step),
            Value::Array(items) => {
                let at = index(&step, items.len())?;
                items.get_mut(at)
            }
            _ => None,
        }
        .ok_or_else(|| missing(path))?;
    }
    Ok((place, unescape(last)))
}

fn missing(path: &str) -> String {
    format!("doc is missing path: {path:?}")
}

fn index(step: &str, length: usize) -> Result<usize, String> {
    let wrong = || format!("invalid index: {step:?}");
    let number: i64 = step.parse().map_err(|_| wrong())?;
    let at = if number < 0 { number + length as i64 } else { number };
    usize::try_from(at).ok().filter(|at| *at < length).ok_or_else(wrong)
}

/// "~1" is a slash and "~0" a tilde, read in one pass.
fn unescape(step: &str) -> String {
    let mut parts = step.split('~');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.as_bytes().first() {
            Some(b'1') => out.push('/'),
            Some(b'0') => out.push('~'),
            _ => {
                out.push('~');
                out.push_str(part);
                continue;
            }
        }
        out.push_str(&part[1..]);
    }
    out
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
