//! Equality and order. Values of different types are unequal; numbers compare by value whatever their types.
//!
//! A value may hold another several times without copies, so that what is small in memory may be endless to walk; walks count
//! their steps.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::{List, Map, Value};
use crate::errors::EvalError;
use crate::types::ListKind;

/// How many values one walk through a value may see.
pub(crate) const WALK_STEPS_MAX: u32 = 2_000_000;

/// Counts the steps of a walk.
pub(crate) struct Steps(u32);

impl Steps {
    pub fn new() -> Self {
        Steps(WALK_STEPS_MAX)
    }

    pub fn step(&mut self) -> Result<(), EvalError> {
        self.0 = self.0.checked_sub(1).ok_or_else(EvalError::cost_exceeded)?;
        Ok(())
    }
}

/// Whether two values are equal.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>) -> Result<bool, EvalError> {
    equal_in(a, b, &mut Steps::new())
}

fn equal_in(a: &Value<'_>, b: &Value<'_>, steps: &mut Steps) -> Result<bool, EvalError> {
    steps.step()?;
    Ok(match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => **a == **b,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a.runtime_name() == b.runtime_name(),
        (Value::List(a), Value::List(b)) => lists_equal(a, b, steps)?,
        (Value::Map(a), Value::Map(b)) => maps_equal(a, b, steps)?,
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal_in(a, b, steps)?,
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Object(a), Value::Object(b)) => {
            if a.ty.name != b.ty.name || a.fields.len() != b.fields.len() {
                return Ok(false);
            }
            for (name, value) in &a.fields {
                let Some(other) = b.fields.get(name) else { return Ok(false) };
                if !equal_in(value, other, steps)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Opaque(a), Value::Opaque(b)) => a.equals(b)?,
        _ => numeric(a, b) == Some(Ordering::Equal),
    })
}

fn lists_equal<'a>(a: &List<'a>, b: &List<'a>, steps: &mut Steps) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a.kind() {
        ListKind::Atomic => {}
        // Sets of validated objects have each item once.
        ListKind::Set => {
            let items: HashSet<String> = a.iter().map(|item| identity(&item?)).collect::<Result<_, _>>()?;
            for item in b.iter() {
                if !items.contains(&identity(&item?)?) {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        ListKind::Map(keys) => {
            let mut by_key = std::collections::HashMap::new();
            for item in a.iter() {
                let item = item?;
                by_key.insert(key_identity(&item, keys)?, item);
            }
            for item in b.iter() {
                let item = item?;
                match by_key.get(&key_identity(&item, keys)?) {
                    Some(other) if equal_in(other, &item, steps)? => {}
                    _ => return Ok(false),
                }
            }
            return Ok(true);
        }
    }
    for (a, b) in a.iter().zip(b.iter()) {
        if !equal_in(&a?, &b?, steps)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps_equal<'a>(a: &Map<'a>, b: &Map<'a>, steps: &mut Steps) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (key, value) in a.entries() {
        let Some(other) = b.get(&key) else { return Ok(false) };
        if !equal_in(&value?, &other?, steps)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A text that equal items of a set share.
pub(crate) fn identity(value: &Value<'_>) -> Result<String, EvalError> {
    match value {
        Value::Double(value) if value.fract() == 0.0 => Ok(format!("{}", *value as i128)),
        Value::Timestamp(time) => Ok(time.nanos().to_string()),
        Value::Map(map) if map.json().is_some() => {
            let mut json = value.to_json()?;
            json.sort_all_objects();
            Ok(json.to_string())
        }
        value => Ok(value.to_json()?.to_string()),
    }
}

/// A text that items of a keyed list share which have the same keys.
pub(crate) fn key_identity(item: &Value<'_>, keys: &[String]) -> Result<String, EvalError> {
    let mut out = String::new();
    for key in keys {
        if let Value::Map(map) = item {
            match map.field(key) {
                Some(value) => out.push_str(&identity(&value?)?),
                None => out.push('-'),
            }
        }
        out.push('\n');
    }
    Ok(out)
}

/// The order of two values that have one.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Result<Ordering, EvalError> {
    Ok(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
        _ if is_number(a) && is_number(b) => {
            return numeric(a, b).ok_or_else(|| EvalError::new("NaN values cannot be ordered"));
        }
        _ => return Err(EvalError::no_such_overload()),
    })
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

/// None if one is no number.
fn numeric(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Uint(a), Value::Uint(b)) => a.cmp(b),
        (Value::Int(a), Value::Uint(b)) => i128::from(*a).cmp(&i128::from(*b)),
        (Value::Uint(a), Value::Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
        (Value::Double(a), Value::Double(b)) => return a.partial_cmp(b),
        (Value::Double(a), Value::Int(b)) => return with_double(*a, i128::from(*b)),
        (Value::Double(a), Value::Uint(b)) => return with_double(*a, i128::from(*b)),
        (Value::Int(a), Value::Double(b)) => return with_double(*b, i128::from(*a)).map(Ordering::reverse),
        (Value::Uint(a), Value::Double(b)) => return with_double(*b, i128::from(*a)).map(Ordering::reverse),
        _ => return None,
    })
}

/// Upstream compares as floats, but for floats beyond what whole numbers reach.
fn with_double(float: f64, whole: i128) -> Option<Ordering> {
    float.partial_cmp(&(whole as f64))
}
