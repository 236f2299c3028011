//! Label selectors: their text form (`env in (a,b),!tier,n>5`), their object form (matchLabels, matchExpressions), matching.

mod parser;

use crate::field::{Error, ErrorList, Path, aggregate};
use crate::names;
use serde_json::{Map, Value};
use std::fmt;

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one label. Values are sorted and each is there once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

impl Requirement {
    /// Checks that the values suit the operator and that key and values can be a label's.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, String> {
        values.sort_unstable();
        values.dedup();
        let errors = check(key, operator, &values);
        if errors.is_empty() {
            Ok(Requirement { key: key.to_owned(), operator, values })
        } else {
            Err(aggregate(&errors))
        }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn operator(&self) -> Operator {
        self.operator
    }

    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether a label's value (`None`: there is no such label) fulfils this.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value, |value, bound| value > bound),
            Operator::LessThan => self.compare(value, |value, bound| value < bound),
        }
    }

    fn compare(&self, value: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        match (value.and_then(number), self.values.first().and_then(|v| number(v))) {
            (Some(value), Some(bound)) => holds(value, bound),
            _ => false,
        }
    }
}

/// What parsing reports about a key; the place of a requirement within the text has no path, which prints as `<nil>`.
fn key_error(key: &str) -> Option<Error> {
    let errors = names::qualified_name(key);
    (!errors.is_empty())
        .then(|| Error { field: "<nil>".to_owned(), ..Error::invalid(&Path::root(), key, errors.join("; ")) })
}

fn check(key: &str, operator: Operator, values: &[String]) -> ErrorList {
    let mut errors: ErrorList = key_error(key).into_iter().map(|e| Error { field: "key".to_owned(), ..e }).collect();
    let path = Path::new("values");
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            errors.push(Error::invalid(&path, values, "for 'in', 'notin' operators, values set can't be empty"));
        }
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
            errors.push(Error::invalid(&path, values, "exact-match compatibility requires one single value"));
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            errors.push(Error::invalid(&path, values, "values set must be empty for exists and does not exist"));
        }
        Operator::GreaterThan | Operator::LessThan => {
            if values.len() != 1 {
                errors.push(Error::invalid(&path, values, "for 'Gt', 'Lt' operators, exactly one value is required"));
            }
            for (i, value) in values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err()) {
                let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                errors.push(Error::invalid(&path.index(i), value, detail));
            }
        }
        _ => {}
    }
    for (i, value) in values.iter().enumerate() {
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            errors.push(Error::invalid(&path.index(i).key(key), value, wrong.join("; ")));
        }
    }
    errors
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol = match self.operator {
            Operator::Exists => return f.write_str(&self.key),
            Operator::DoesNotExist => return write!(f, "!{}", self.key),
            Operator::In => return write!(f, "{} in ({})", self.key, self.values.join(",")),
            Operator::NotIn => return write!(f, "{} notin ({})", self.key, self.values.join(",")),
            Operator::Equals => "=",
            Operator::DoubleEquals => "==",
            Operator::NotEquals => "!=",
            Operator::GreaterThan => ">",
            Operator::LessThan => "<",
        };
        write!(f, "{}{symbol}{}", self.key, self.values.join(","))
    }
}

/// A conjunction of requirements, sorted by key; or one that nothing fulfils.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Selector {
    nothing: bool,
    requirements: Vec<Requirement>,
}

impl Selector {
    /// From the text of a `labelSelector` parameter; the error is the API's message.
    pub fn parse(text: &str) -> Result<Self, String> {
        parser::parse(text).map(Self::new)
    }

    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Selector { nothing: false, requirements }
    }

    /// Selects every object.
    pub fn everything() -> Self {
        Selector::default()
    }

    /// Selects no object.
    pub fn nothing() -> Self {
        Selector { nothing: true, requirements: Vec::new() }
    }

    /// From a plain map, as Services and ReplicationControllers have it. Values are compared as they are, valid or not.
    pub fn from_map<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let equals = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::Equals,
            values: vec![value.to_owned()],
        };
        Self::new(labels.into_iter().map(equals).collect())
    }

    /// From a JSON map; entries that are no strings select nothing.
    pub fn from_json_map(labels: &Map<String, Value>) -> Self {
        if labels.values().any(|value| !value.is_string()) {
            return Self::nothing();
        }
        Self::from_map(labels.iter().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default())))
    }

    /// From a meta/v1 LabelSelector: null selects nothing, `{}` everything.
    pub fn from_label_selector(selector: &Value) -> Result<Self, String> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            requirements.push(Requirement::new(
                key,
                Operator::Equals,
                vec![value.as_str().unwrap_or_default().to_owned()],
            )?);
        }
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let text = |field| expression.get(field).and_then(Value::as_str).unwrap_or_default();
            let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
            let values = values.map(|value| value.as_str().unwrap_or_default().to_owned()).collect();
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(format!("{} is not a valid label selector operator", crate::go_text::quote(other)));
                }
            };
            requirements.push(Requirement::new(text("key"), operator, values)?);
        }
        Ok(Self::new(requirements))
    }

    /// Whether an object is selected whose labels `label` looks up.
    pub fn matches<S: AsRef<str>>(&self, label: impl Fn(&str) -> Option<S>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(label(&r.key).as_ref().map(AsRef::as_ref)))
    }

    /// Whether a JSON map of labels is selected.
    pub fn matches_map(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.matches(|key| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str))
    }

    /// Whether an object is selected.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches_map(crate::meta::labels(object))
    }

    /// True if there is no condition at all.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    pub fn is_nothing(&self) -> bool {
        self.nothing
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The one value that this key must have, if there is one: an index can answer then.
    pub fn exact(&self, key: &str) -> Option<&str> {
        let exact = |r: &&Requirement| {
            r.key == key
                && r.values.len() == 1
                && matches!(r.operator, Operator::In | Operator::Equals | Operator::DoubleEquals)
        };
        self.requirements.iter().find(exact).map(|r| r.values[0].as_str())
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
