//! The value validations of a schema, with upstream's texts.
//!
//! Upstream validates with a JSON schema library whose errors know a path as text; its quirks are part of the answers:
//! errors of junctors have no field, the same text is reported once, and of the alternatives of an anyOf or oneOf that all
//! fail those errors are shown whose schema had most matches. `Found::matches` counts for that as upstream does.
//!
//! On an update what has not changed is not held against the object: errors below a value that is equal to its old self
//! are dropped (ratcheting). Old and new values are matched by `Correlated`.

mod numbers;

use std::fmt;

use machinery::field::{Error, ErrorList, Path};
use machinery::go_text;
use serde_json::{Map, Value};

use super::{Additional, Correlated, Schema, formats};

/// What is wrong with a new value. `base` is put before the paths of the errors.
pub fn validate(value: &Value, schema: &Schema, base: &Path) -> ErrorList {
    let place = Place { parent: None, step: Step::Root };
    Validator.node(value, schema, &place, None).into_errors(base)
}

/// The same for an update; `old` may be absent or of any other form.
pub fn validate_update(correlated: &Correlated, schema: &Schema, base: &Path) -> ErrorList {
    let place = Place { parent: None, step: Step::Root };
    Validator.ratcheted(correlated, schema, &place).into_errors(base)
}

/// Where a value is, as upstream writes it into messages.
pub(super) struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

enum Step<'a> {
    Root,
    /// A property: a dot before it unless it is the first.
    Field(&'a str),
    /// An additional property or a missing one: always a dot before it.
    Dotted(&'a str),
    Index(usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if self.parent.is_none_or(|parent| matches!(parent.step, Step::Root)) => {
                f.write_str(name)
            }
            Step::Field(name) | Step::Dotted(name) => write!(f, ".{name}"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl<'a> Place<'a> {
    fn then(&'a self, step: Step<'a>) -> Place<'a> {
        Place { parent: Some(self), step }
    }
}

/// What an error becomes in the answer.
pub(super) enum Fault {
    Required,
    NotSupported(Value, Vec<Value>),
    TooLong(i64),
    TooMany(usize, i64),
    Type(Value),
    Invalid(Value),
    /// About no field.
    Loose,
}

pub(super) struct Problem {
    fault: Fault,
    field: String,
    /// Also what tells problems apart.
    message: String,
}

/// What a validation found: problems, and how much was in order.
#[derive(Default)]
pub(super) struct Found {
    problems: Vec<Problem>,
    matches: usize,
}

impl Found {
    fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }

    fn add(&mut self, problem: Problem) {
        if !self.problems.iter().any(|known| known.message == problem.message) {
            self.problems.push(problem);
        }
    }

    pub(super) fn at(&mut self, place: &Place, fault: Fault, message: String) {
        self.add(Problem { fault, field: place.to_string(), message });
    }

    pub(super) fn loose(&mut self, message: String) {
        self.add(Problem { fault: Fault::Loose, field: String::new(), message });
    }

    fn merge(&mut self, other: Found) {
        self.matches += other.matches;
        other.problems.into_iter().for_each(|problem| self.add(problem));
    }

    fn into_errors(self, base: &Path) -> ErrorList {
        self.problems.into_iter().map(|problem| problem.into_error(base)).collect()
    }
}

impl Problem {
    fn into_error(self, base: &Path) -> Error {
        let field = self.field.strip_prefix('.').unwrap_or(&self.field);
        let path = if field.is_empty() { *base } else { base.child(field) };
        let mut error = match self.fault {
            Fault::Required => Error::required(&path, ""),
            Fault::NotSupported(value, allowed) => {
                let allowed: Vec<String> = allowed
                    .iter()
                    .map(|value| value.as_str().map_or_else(|| go_text::json(value), str::to_owned))
                    .collect();
                Error::not_supported(&path, value, &allowed)
            }
            Fault::TooLong(max) => Error::too_long(&path, "", usize::try_from(max).unwrap_or_default()),
            Fault::TooMany(actual, max) => Error::too_many(&path, actual, usize::try_from(max).unwrap_or_default()),
            Fault::Type(value) => Error::type_invalid(&path, value, self.message),
            Fault::Invalid(value) => Error::invalid(&path, value, self.message),
            Fault::Loose => Error::invalid(base, "", self.message),
        };
        if error.field.is_empty() {
            error.field = super::NO_FIELD.to_owned();
        }
        error
    }
}

struct Validator;

impl Validator {
    fn ratcheted(&self, correlated: &Correlated, schema: &Schema, place: &Place) -> Found {
        let mut found = self.node(correlated.new, schema, place, Some(correlated));
        if !found.is_valid() && correlated.is_unchanged() {
            found.problems.clear();
        }
        found
    }

    fn node(&self, value: &Value, schema: &Schema, place: &Place, old: Option<&Correlated>) -> Found {
        let mut found = Found::default();
        if value.is_null() {
            found.merge(self.kind(value, schema, place));
            self.enumeration(value, schema, place, &mut found);
            return found;
        }
        if schema.int_or_string || !schema.kind.is_empty() || !schema.limits.format.is_empty() {
            found.merge(self.kind(value, schema, place));
            found.matches += 1;
        }
        found.merge(self.junctors(value, schema, place, old));
        found.matches += 1;
        match value {
            Value::String(text) => {
                self.string(text, schema, place, &mut found);
                found.matches += 1;
                if formats::is_known(&schema.limits.format) {
                    if !formats::matches(&schema.limits.format, text) {
                        let format = &schema.limits.format;
                        let message = format!("{place} in body must be of type {format}: {}", go_text::quote(text));
                        found.at(place, Fault::Type(value.clone()), message);
                    }
                    found.matches += 1;
                }
            }
            Value::Number(number) => {
                found.merge(numbers::validate(number, schema, place));
                found.matches += 1;
            }
            Value::Array(items) => {
                found.merge(self.list(items, schema, place, old));
                found.matches += 1;
            }
            _ => {}
        }
        self.enumeration(value, schema, place, &mut found);
        found.matches += 1;
        if let Value::Object(fields) = value {
            found.merge(self.object(fields, schema, place, old));
            found.matches += 1;
        }
        found.matches += 1;
        found
    }

    fn kind(&self, value: &Value, schema: &Schema, place: &Place) -> Found {
        let mut found = Found::default();
        let own = kind_of(value);
        let wanted = if schema.int_or_string { "integer,string" } else { &schema.kind };
        let wants = |kind: &str| wanted.split(',').any(|wanted| wanted == kind);
        let refuse = |found: &mut Found, wanted: &str, own: &str| {
            let message = format!("{place} in body must be of type {wanted}: {}", go_text::quote(own));
            found.at(place, Fault::Type(own.into()), message);
        };
        if value.is_null() {
            match !wanted.is_empty() && !schema.nullable {
                true => refuse(&mut found, wanted, "null"),
                false => found.matches += 1,
            }
            return found;
        }
        let fits = wants(own)
            || (own == "number" && wants("integer") && value.as_f64().is_some_and(is_whole))
            || (own == "integer" && wants("number"));
        let textual = matches!(value, Value::String(_) | Value::Array(_));
        let format = schema.limits.format.as_str();
        if !format.is_empty() && !textual && !fits {
            let own = match own {
                "integer" => "int64",
                "number" => "float64",
                _ => "",
            };
            if own != format {
                refuse(&mut found, format, own);
                return found;
            }
        }
        // The format of a text is looked at on its own.
        let left_to_format = !format.is_empty() && textual && !wants("number") && !wants("integer");
        if fits || left_to_format {
            found.matches += 1;
        } else {
            refuse(&mut found, wanted, own);
        }
        found
    }

    fn junctors(&self, value: &Value, schema: &Schema, place: &Place, old: Option<&Correlated>) -> Found {
        let limits = &schema.limits;
        let mut found = Found::default();
        let quoted = || go_text::quote(&place.to_string());
        if !limits.any_of.is_empty() {
            let mut best: Option<Found> = None;
            let mut passed = None;
            for alternative in &limits.any_of {
                let result = self.node(value, alternative, place, old);
                if result.is_valid() {
                    passed = Some(result);
                    break;
                }
                if best.as_ref().is_none_or(|best| result.matches > best.matches) {
                    best = Some(result);
                }
            }
            match passed {
                Some(result) => found.merge(result),
                None => {
                    found.loose(format!("{} must validate at least one schema (anyOf)", quoted()));
                    found.merge(best.unwrap_or_default());
                }
            }
        }
        if !limits.one_of.is_empty() {
            self.one_of(value, schema, place, old, &mut found);
        }
        if !limits.all_of.is_empty() {
            let mut passed = 0;
            for part in &limits.all_of {
                let result = self.node(value, part, place, old);
                passed += usize::from(result.is_valid());
                found.merge(result);
            }
            if passed != limits.all_of.len() {
                let none = if passed == 0 { ". None validated" } else { "" };
                found.loose(format!("{} must validate all the schemas (allOf){none}", quoted()));
            }
        }
        if let Some(not) = &limits.not
            && self.node(value, not, place, old).is_valid()
        {
            found.loose(format!("{} must not validate the schema (not)", quoted()));
        }
        found.matches += 1;
        found
    }

    fn one_of(&self, value: &Value, schema: &Schema, place: &Place, old: Option<&Correlated>, found: &mut Found) {
        let mut best: Option<Found> = None;
        let mut first = None;
        let mut passed = 0;
        for alternative in &schema.limits.one_of {
            let result = self.node(value, alternative, place, old);
            if result.is_valid() {
                passed += 1;
                best = None;
                first.get_or_insert(result);
            } else if passed == 0 && best.as_ref().is_none_or(|best| result.matches > best.matches) {
                best = Some(result);
            }
        }
        if passed == 1 {
            return found.merge(first.unwrap_or_default());
        }
        let how = if passed == 0 { "none valid".to_owned() } else { format!("{passed} valid alternatives") };
        let place = go_text::quote(&place.to_string());
        found.loose(format!("{place} must validate one and only one schema (oneOf). Found {how}"));
        found.merge(best.unwrap_or_default());
    }

    fn string(&self, text: &str, schema: &Schema, place: &Place, found: &mut Found) {
        let limits = &schema.limits;
        // Only the first of these is reported.
        let length = text.chars().count() as i64;
        if let Some(max) = limits.max_length.filter(|max| length > *max) {
            let message = format!("{place} in body should be at most {max} chars long");
            return found.at(place, Fault::TooLong(max), message);
        }
        if let Some(min) = limits.min_length.filter(|min| length < *min) {
            let message = format!("{place} in body should be at least {min} chars long");
            return found.at(place, Fault::Invalid(text.into()), message);
        }
        let Some(pattern) = &limits.pattern else { return };
        let wanted = match &pattern.regex {
            Ok(regex) if regex.is_match(text) => return,
            Ok(_) => pattern.text.clone(),
            Err(error) => format!("{}, but pattern is invalid: {error}", pattern.text),
        };
        found.at(place, Fault::Invalid(text.into()), format!("{place} in body should match '{wanted}'"));
    }

    fn list(&self, items: &[Value], schema: &Schema, place: &Place, old: Option<&Correlated>) -> Found {
        let mut found = Found::default();
        if let Some(below) = schema.items.as_deref() {
            for (index, item) in items.iter().enumerate() {
                let place = place.then(Step::Index(index));
                found.merge(match old.and_then(|old| old.index(index)) {
                    Some(old) => self.ratcheted(&old, below, &place),
                    None => self.node(item, below, &place, None),
                });
            }
        }
        let limits = &schema.limits;
        let size = items.len() as i64;
        if let Some(min) = limits.min_items.filter(|min| size < *min) {
            let message = format!("{place} in body should have at least {min} items");
            found.at(place, Fault::Invalid(size.into()), message);
        }
        if let Some(max) = limits.max_items.filter(|max| size > *max) {
            let message = format!("{place} in body should have at most {max} items");
            found.at(place, Fault::TooMany(items.len(), max), message);
        }
        if limits.unique_items && items.iter().enumerate().any(|(at, item)| items[..at].contains(item)) {
            found.at(place, Fault::Invalid("".into()), format!("{place} in body shouldn't contain duplicates"));
        }
        found.matches += 1;
        found
    }

    fn enumeration(&self, value: &Value, schema: &Schema, place: &Place, found: &mut Found) {
        let allowed = &schema.limits.enumeration;
        if allowed.is_empty() || allowed.iter().any(|allowed| equals(value, allowed)) {
            return;
        }
        let shown: Vec<String> = allowed.iter().map(go_text::plain).collect();
        let message = format!("{place} in body should be one of [{}]", shown.join(" "));
        found.at(place, Fault::NotSupported(value.clone(), allowed.clone()), message);
    }

    fn object(&self, fields: &Map<String, Value>, schema: &Schema, place: &Place, old: Option<&Correlated>) -> Found {
        let mut found = Found::default();
        let limits = &schema.limits;
        let size = fields.len() as i64;
        if let Some(min) = limits.min_properties.filter(|min| size < *min) {
            let message = format!("{place} in body should have at least {min} properties");
            found.at(place, Fault::Invalid(size.into()), message);
        }
        if let Some(max) = limits.max_properties.filter(|max| size > *max) {
            let message = format!("{place} in body should have at most {max} properties");
            found.at(place, Fault::TooMany(fields.len(), max), message);
        }
        let others = fields.iter().filter(|(key, _)| !schema.properties.contains_key(*key));
        match &schema.additional {
            Some(Additional::Any(false)) => {
                for (key, _) in others {
                    let message = format!("{place}.{key} in body is a forbidden property");
                    found.at(place, Fault::Invalid(key.as_str().into()), message);
                }
            }
            Some(Additional::Schema(below)) => {
                for (key, value) in others {
                    let place = place.then(Step::Dotted(key));
                    found.merge(self.field(key, value, below, &place, old));
                }
            }
            Some(Additional::Any(true)) | None => {}
        }
        for (name, below) in &schema.properties {
            if let Some(value) = fields.get(name) {
                let place = place.then(Step::Field(name));
                found.merge(self.field(name, value, below, &place, old));
            }
        }
        for name in limits.required.iter().filter(|name| !fields.contains_key(*name)) {
            let place = place.then(Step::Dotted(name));
            let message = format!("{place} in body is required");
            found.at(&place, Fault::Required, message);
        }
        found
    }

    fn field(&self, name: &str, value: &Value, schema: &Schema, place: &Place, old: Option<&Correlated>) -> Found {
        // Types do not differ between old and new: both are shown in one version.
        let is_root = place.parent.is_some_and(|parent| matches!(parent.step, Step::Root));
        let is_type = is_root && matches!(name, "kind" | "apiVersion");
        match old.filter(|_| !is_type).and_then(|old| old.key(name)) {
            Some(old) => self.ratcheted(&old, schema, place),
            None => self.node(value, schema, place, None),
        }
    }
}

/// JSON schema's name of a value's type.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_whole(number: f64) -> bool {
    number.is_finite() && number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0
}

/// Numbers are compared by value.
fn equals(value: &Value, allowed: &Value) -> bool {
    match (value, allowed) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => value == allowed,
    }
}
