//! Steps of a path to a field, their order and their texts.

use std::cmp::Ordering;
use std::fmt::Write;

use serde_json::Value;

use crate::go_text;

/// One step: into a map or struct, or to an item of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A field or a key of a map.
    Field(String),
    /// The item of a list whose keys have these values; sorted by the keys' names.
    Key(Vec<(String, Datum)>),
    /// The item of a set that is this value.
    Value(Datum),
    /// The item at a place.
    Index(i64),
}

impl Step {
    pub fn field(name: &str) -> Self {
        Step::Field(name.to_owned())
    }

    /// The step as messages write it: `.spec`, `[name="a"]`, `[="a"]`, `[0]`.
    pub fn write(&self, out: &mut String) {
        match self {
            Step::Field(name) => {
                out.push('.');
                out.push_str(name);
            }
            Step::Key(keys) => {
                out.push('[');
                for (i, (name, value)) in keys.iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    let _ = write!(out, "{comma}{name}={}", value.text());
                }
                out.push(']');
            }
            Step::Value(value) => {
                let _ = write!(out, "[={}]", value.text());
            }
            Step::Index(index) => {
                let _ = write!(out, "[{index}]");
            }
        }
    }
}

/// A whole path as messages write it.
pub fn path_text(steps: &[Step]) -> String {
    let mut out = String::new();
    steps.iter().for_each(|step| step.write(&mut out));
    out
}

/// A JSON value with an order: numbers, strings, booleans, lists, maps, null.
#[derive(Clone, Debug)]
pub struct Datum(pub Value);

impl Datum {
    fn rank(&self) -> u8 {
        match self.0 {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }

    fn text(&self) -> String {
        match &self.0 {
            Value::String(text) => go_text::quote(text),
            Value::Number(number) => go_text::number(number),
            other => other.to_string(),
        }
    }
}

impl Ord for Datum {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (Value::String(a), Value::String(b)) => a.cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
            },
            (a, b) => self.rank().cmp(&other.rank()).then_with(|| a.to_string().cmp(&b.to_string())),
        }
    }
}

impl PartialOrd for Datum {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Datum {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Datum {}
