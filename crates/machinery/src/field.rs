//! Field paths and field errors: what validation returns, and how its entries read.
//!
//! A `Path` borrows its parent, so a validation that finds nothing wrong allocates nothing; the text is made when an error is.

use crate::go_text;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// A place in an object, such as `spec.containers[0].name` or `metadata.labels[k]`.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// A path that starts with this field.
    pub const fn new(name: &'a str) -> Self {
        Path { parent: None, step: Step::Field(name) }
    }

    /// The object itself; its text is empty.
    pub const fn root() -> Self {
        Path { parent: None, step: Step::Root }
    }

    /// A field below this one. A dotted literal stands for several steps.
    #[must_use]
    pub const fn child(&'a self, name: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Field(name) }
    }

    /// An element of a list.
    #[must_use]
    pub const fn index(&'a self, index: usize) -> Path<'a> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// An entry of a map.
    #[must_use]
    pub const fn key(&'a self, key: &'a str) -> Path<'a> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    fn is_root(&self) -> bool {
        matches!(self.step, Step::Root) && self.parent.is_none_or(Path::is_root)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if self.parent.is_none_or(Path::is_root) => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

impl fmt::Debug for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TooFew,
    Internal,
    TypeInvalid,
}

impl ErrorKind {
    /// The machine-readable reason in a Status' cause.
    pub const fn reason(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "FieldValueNotFound",
            ErrorKind::Required => "FieldValueRequired",
            ErrorKind::Duplicate => "FieldValueDuplicate",
            ErrorKind::Invalid => "FieldValueInvalid",
            ErrorKind::NotSupported => "FieldValueNotSupported",
            ErrorKind::Forbidden => "FieldValueForbidden",
            ErrorKind::TooLong => "FieldValueTooLong",
            ErrorKind::TooMany => "FieldValueTooMany",
            ErrorKind::TooFew => "FieldValueTooFew",
            ErrorKind::Internal => "InternalError",
            ErrorKind::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    /// The words that open the error's text.
    pub const fn text(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "Not found",
            ErrorKind::Required => "Required value",
            ErrorKind::Duplicate => "Duplicate value",
            ErrorKind::Invalid | ErrorKind::TypeInvalid => "Invalid value",
            ErrorKind::NotSupported => "Unsupported value",
            ErrorKind::Forbidden => "Forbidden",
            ErrorKind::TooLong => "Too long",
            ErrorKind::TooMany => "Too many",
            ErrorKind::TooFew => "Too few",
            ErrorKind::Internal => "Internal error",
        }
    }

    const fn shows_value(self) -> bool {
        !matches!(self, ErrorKind::Required | ErrorKind::Forbidden | ErrorKind::TooLong | ErrorKind::Internal)
    }
}

/// One thing wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    pub kind: ErrorKind,
    /// The path's text.
    pub field: String,
    /// What was there, if it should be shown.
    pub bad_value: Option<Value>,
    pub detail: String,
}

/// All that validation found, in the order in which it looked.
pub type ErrorList = Vec<Error>;

impl Error {
    fn new(kind: ErrorKind, field: &Path, bad_value: Option<Value>, detail: impl Into<String>) -> Self {
        Error { kind, field: field.to_string(), bad_value, detail: detail.into() }
    }

    /// A value must be given and is not.
    pub fn required(field: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Required, field, None, detail)
    }

    /// The value is malformed or breaks a rule.
    pub fn invalid(field: &Path, value: impl Serialize, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, field, Some(show(value)), detail)
    }

    /// The value breaks a rule that is not about what it is, so that it is not shown.
    pub fn invalid_unshown(field: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, field, None, detail)
    }

    /// The value is none of the known ones, which are listed in the order given.
    pub fn not_supported<S: AsRef<str>>(field: &Path, value: impl Serialize, supported: &[S]) -> Self {
        let detail = match supported {
            [] => String::new(),
            values => format!("supported values: {}", go_text::quote_all(values)),
        };
        Self::new(ErrorKind::NotSupported, field, Some(show(value)), detail)
    }

    /// The value must be unique and is not.
    pub fn duplicate(field: &Path, value: impl Serialize) -> Self {
        Self::new(ErrorKind::Duplicate, field, Some(show(value)), "")
    }

    /// A value may not be given here, or not be changed.
    pub fn forbidden(field: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, field, None, detail)
    }

    /// The value is longer than `max` bytes; it is not shown.
    pub fn too_long(field: &Path, _value: impl Serialize, max: usize) -> Self {
        Self::new(ErrorKind::TooLong, field, None, format!("may not be more than {max} {}", plural(max, "byte")))
    }

    /// A list or map has more than `max` entries.
    pub fn too_many(field: &Path, actual: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} {}", plural(max, "item"));
        Self::new(ErrorKind::TooMany, field, Some(Value::from(actual)), detail)
    }

    /// A list or map has fewer than `min` entries.
    pub fn too_few(field: &Path, actual: usize, min: usize) -> Self {
        let detail = format!("must have at least {min} {}", plural(min, "item"));
        Self::new(ErrorKind::TooFew, field, Some(Value::from(actual)), detail)
    }

    /// The value names something that does not exist.
    pub fn not_found(field: &Path, value: impl Serialize) -> Self {
        Self::new(ErrorKind::NotFound, field, Some(show(value)), "")
    }

    /// The value has the wrong JSON type.
    pub fn type_invalid(field: &Path, value: impl Serialize, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::TypeInvalid, field, Some(show(value)), detail)
    }

    /// Validation itself failed.
    pub fn internal(field: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, field, None, detail)
    }

    /// The text without the field: what a Status' cause says.
    pub fn body(&self) -> String {
        let mut text = self.kind.text().to_owned();
        if let Some(value) = self.bad_value.as_ref().filter(|_| self.kind.shows_value()) {
            text.push_str(": ");
            match value {
                Value::Null => text.push_str("null"),
                Value::Bool(b) => text.push_str(if *b { "true" } else { "false" }),
                Value::Number(n) => text.push_str(&go_text::number(n)),
                Value::String(s) => text.push_str(&go_text::quote(s)),
                other => text.push_str(&go_text::json(other)),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for Error {}

/// The joined text of a list: one error as it is, several in brackets, each text once.
pub fn aggregate(errors: &[Error]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for text in errors.iter().map(Error::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.len() {
        1 => texts.swap_remove(0),
        _ => format!("[{}]", texts.join(", ")),
    }
}

fn show(value: impl Serialize) -> Value {
    // What cannot be JSON (a map with other than string keys) is shown as if it were absent.
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_read_as_upstream_writes_them() {
        let spec = Path::new("spec");
        let containers = spec.child("containers");
        let first = containers.index(0);
        assert_eq!(first.child("name").to_string(), "spec.containers[0].name");
        assert_eq!(Path::new("metadata").child("labels").key("a/b").to_string(), "metadata.labels[a/b]");
        assert_eq!(Path::root().to_string(), "");
        assert_eq!(Path::root().child("spec.x").child("y").to_string(), "spec.x.y");
        assert_eq!(Path::root().index(1).child("y").to_string(), "[1].y");
    }

    #[test]
    fn errors_read_as_upstream_writes_them() {
        let p = Path::new("spec.x");
        for (error, want) in [
            (Error::required(&p, ""), "spec.x: Required value"),
            (Error::required(&p, "name it"), "spec.x: Required value: name it"),
            (Error::invalid(&p, "v\"", "bad"), "spec.x: Invalid value: \"v\\\"\": bad"),
            (Error::invalid(&p, -1, "bad"), "spec.x: Invalid value: -1: bad"),
            (Error::invalid(&p, false, "bad"), "spec.x: Invalid value: false: bad"),
            (Error::invalid(&p, json!({"a": "<"}), "bad"), "spec.x: Invalid value: {\"a\":\"\\u003c\"}: bad"),
            (Error::invalid(&p, Value::Null, "bad"), "spec.x: Invalid value: null: bad"),
            (
                Error::not_supported(&p, "Bogus", &["Exact", ""]),
                "spec.x: Unsupported value: \"Bogus\": supported values: \"Exact\", \"\"",
            ),
            (Error::duplicate(&p, "c"), "spec.x: Duplicate value: \"c\""),
            (Error::forbidden(&p, "no"), "spec.x: Forbidden: no"),
            (Error::too_long(&p, "xxxx", 3), "spec.x: Too long: may not be more than 3 bytes"),
            (Error::too_many(&p, 4, 3), "spec.x: Too many: 4: must have at most 3 items"),
            (Error::not_found(&p, "zz"), "spec.x: Not found: \"zz\""),
            (Error::internal(&p, "oops"), "spec.x: Internal error: oops"),
        ] {
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn aggregates_say_each_thing_once() {
        let (a, b) = (Error::required(&Path::new("a"), ""), Error::required(&Path::new("b"), ""));
        assert_eq!(aggregate(&[a.clone(), a.clone()]), "a: Required value");
        assert_eq!(aggregate(&[a.clone(), b, a]), "[a: Required value, b: Required value]");
    }
}
