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
            run.step(object, operation)?;
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
    fn step(&mut self, object: &mut Value, operation: &Operation) -> Result<(), PatchError> {
        let does_not_apply = PatchError::DoesNotApply;
        let given = |part: &'_ Option<String>, name: &str| {
            part.clone().ok_or_else(|| does_not_apply(format!("missing {name}")))
        };
        let path = || given(&operation.path, "path");
        let from = || given(&operation.from, "from");
        let value = || operation.value.clone().unwrap_or(Value::Null);
        match operation.op.as_str() {
            "add" => self.add(object, &path()?, value()).map_err(does_not_apply),
            "remove" => remove(object, &path()?).map(drop).map_err(does_not_apply),
            "replace" => self.replace(object, &path()?, value()).map_err(does_not_apply),
            "move" => self.shift(object, &from()?, &path()?).map_err(does_not_apply),
            "copy" => self.copy(object, &from()?, &path()?).map_err(does_not_apply),
            "test" => test(object, &path()?, operation.value.as_ref()),
            other => Err(does_not_apply(format!("Unexpected kind: {other}"))),
        }
    }

    fn add(&mut self, object: &mut Value, path: &str, value: Value) -> Result<(), String> {
        self.grow(object, path, &value, depth(&value))?;
        let (parent, key) = find(object, path)
            .ok_or_else(|| format!("add operation does not apply: doc is missing path: {path:?}: {MISSING}"))?;
        insert(parent, key, value).map_err(|error| format!("error in add for path: '{path}': {error}"))
    }

    fn replace(&mut self, object: &mut Value, path: &str, value: Value) -> Result<(), String> {
        self.grow(object, path, &value, depth(&value))?;
        let lacks = |what: &str| format!("replace operation does not apply: doc is missing {what}: {path}: {MISSING}");
        match find(object, path).ok_or_else(|| lacks("path"))? {
            (Place::Map(map), key) => drop(map.insert(key, value)),
            (Place::List(items), key) => {
                let at = index(&key, items.len()).map_err(|_| lacks("key"))?;
                items[at] = value;
            }
        }
        Ok(())
    }

    /// `move`, which is a word of the language.
    fn shift(&mut self, object: &mut Value, from: &str, path: &str) -> Result<(), String> {
        let lacks =
            |what: &str, path: &str| format!("move operation does not apply: doc is missing {what}: {path}: {MISSING}");
        let (parent, key) = find(object, from).ok_or_else(|| lacks("from path", from))?;
        let value = take(parent, &key).map_err(|error| format!("error in move for path: '{key}': {error}"))?;
        // Measuring the value each time would make many moves of a large value slow.
        self.grow(object, path, &value, self.depth.saturating_sub(steps(from)))?;
        let (parent, key) = find(object, path).ok_or_else(|| lacks("destination path", path))?;
        insert(parent, key, value).map_err(|error| format!("error in move for path: '{path}': {error}"))
    }

    fn copy(&mut self, object: &mut Value, from: &str, path: &str) -> Result<(), String> {
        let lacks =
            |what: &str, path: &str| format!("copy operation does not apply: doc is missing {what}: {path}: {MISSING}");
        let (parent, key) = find(object, from).ok_or_else(|| lacks("from path", from))?;
        let value = get(&parent, &key).map_err(|error| format!("error in copy for from: '{from}': {error}"))?.cloned();
        self.copied += value.as_ref().map_or(0, |value| value.to_string().len());
        if self.copied > COPY_BYTES_MAX {
            return Err(format!("copies add more than {COPY_BYTES_MAX} bytes"));
        }
        let value = value.unwrap_or(Value::Null);
        self.grow(object, path, &value, depth(&value))?;
        let (parent, key) = find(object, path).ok_or_else(|| lacks("destination path", path))?;
        insert(parent, key, value).map_err(|error| format!("error while adding value during copy: {error}"))
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

/// What a path leads into.
enum Place<'v> {
    Map(&'v mut Map<String, Value>),
    List(&'v mut Vec<Value>),
}

const MISSING: &str = "missing value";

fn insert(parent: Place<'_>, key: String, value: Value) -> Result<(), String> {
    match parent {
        Place::Map(map) => drop(map.insert(key, value)),
        Place::List(items) => {
            let at = if key == "-" { items.len() } else { index(&key, items.len() + 1)? };
            items.insert(at, value);
        }
    }
    Ok(())
}

fn take(parent: Place<'_>, key: &str) -> Result<Value, String> {
    match parent {
        Place::Map(map) => {
            map.shift_remove(key).ok_or_else(|| format!("unable to remove nonexistent key: {key}: {MISSING}"))
        }
        Place::List(items) => index(key, items.len()).map(|at| items.remove(at)),
    }
}

fn remove(object: &mut Value, path: &str) -> Result<Value, String> {
    let (parent, key) = find(object, path)
        .ok_or_else(|| format!("remove operation does not apply: doc is missing path: {path:?}: {MISSING}"))?;
    take(parent, &key).map_err(|error| format!("error in remove for path: '{path}': {error}"))
}

fn test(object: &mut Value, path: &str, wanted: Option<&Value>) -> Result<(), PatchError> {
    let (parent, key) = find(object, path).ok_or_else(|| {
        PatchError::DoesNotApply(format!("test operation does not apply: is missing path: {path}: {MISSING}"))
    })?;
    let found = get(&parent, &key);
    let found =
        found.map_err(|error| PatchError::DoesNotApply(format!("error in test for path: '{path}': {error}")))?;
    match (found, wanted) {
        (None, None | Some(Value::Null)) => Ok(()),
        (Some(found), Some(wanted)) if found == wanted => Ok(()),
        _ => Err(PatchError::TestFailed(format!("testing value {path} failed: test failed"))),
    }
}

/// The value at a key; an absent key and null are the same.
fn get<'v>(parent: &'v Place<'_>, key: &str) -> Result<Option<&'v Value>, String> {
    let found = match parent {
        Place::Map(map) => map.get(key),
        Place::List(items) => items.get(index(key, items.len())?),
    };
    Ok(found.filter(|value| !value.is_null()))
}

/// The map or list that holds the path's last step, and that step.
fn find<'v>(object: &'v mut Value, path: &str) -> Option<(Place<'v>, String)> {
    let (_, steps) = path.split_once('/')?;
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
                let at = index(&step, items.len()).ok()?;
                items.get_mut(at)
            }
            _ => None,
        }?;
    }
    let place = match place {
        Value::Object(map) => Place::Map(map),
        Value::Array(items) => Place::List(items),
        _ => return None,
    };
    Some((place, unescape(last)))
}

fn index(step: &str, length: usize) -> Result<usize, String> {
    let number: i64 = step.parse().map_err(|_| format!("strconv.Atoi: parsing {step:?}: invalid syntax"))?;
    let at = if number < 0 { number + length as i64 } else { number };
    let at = usize::try_from(at).ok().filter(|at| *at < length);
    at.ok_or_else(|| format!("Unable to access invalid index: {number}: invalid index referenced"))
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
