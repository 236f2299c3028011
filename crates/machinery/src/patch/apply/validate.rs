//! Whether a value fits the schema: what an applied configuration must before anything is merged.

use std::collections::BTreeSet;

use serde_json::Value;

use super::path::{Step, path_text};
use super::place::{Atom, Items, Place, Scalar};
use crate::codec::json_kind;
use crate::go_text;

/// What is wrong with an applied object, as one message.
pub fn validate(place: Place, object: &Value) -> Result<(), String> {
    let mut problems = Vec::new();
    check(place, object, &mut Vec::new(), &mut problems);
    match problems.len() {
        0 => Ok(()),
        1 => Err(problems.remove(0)),
        _ => Err(problems.iter().fold("errors:".to_owned(), |text, problem| format!("{text}\n  {problem}"))),
    }
}

fn check(place: Place, value: &Value, path: &mut Vec<Step>, problems: &mut Vec<String>) {
    match (place.atom(value), value) {
        (_, Value::Null) => {}
        (Atom::Scalar(scalar), value) => {
            if let Some(problem) = misfit(scalar, value) {
                report(path, problem, problems);
            }
        }
        (Atom::Map { entries, .. }, Value::Object(map)) => {
            for (key, value) in map {
                let place = entries.place(key);
                path.push(Step::field(key));
                if place.is_undeclared() {
                    report(path, "field not declared in schema".to_owned(), problems);
                    path.pop();
                    return;
                }
                check(place, value, path, problems);
                path.pop();
            }
        }
        (Atom::List { item, kind }, Value::Array(items)) => list(item, kind, items, path, problems),
        (Atom::Map { .. }, value) => report(path, format!("expected map, got {}", printed(value)), problems),
        (Atom::List { .. }, value) => report(path, format!("expected list, got {}", printed(value)), problems),
    }
}

fn list(item: Place, kind: Items, items: &[Value], path: &mut Vec<Step>, problems: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (index, value) in items.iter().enumerate() {
        let step = match item.step_to(kind, index, value) {
            Ok(step) => step,
            Err(problem) => return report(path, format!("element {index}: {problem}"), problems),
        };
        if !seen.insert(step.clone()) {
            let key = path_text(std::slice::from_ref(&step));
            report(path, format!("duplicate entries for key {key}"), problems);
        }
        path.push(step);
        check(item, value, path, problems);
        path.pop();
    }
}

fn misfit(scalar: Scalar, value: &Value) -> Option<String> {
    let text = match scalar {
        Scalar::String if !value.is_string() => format!("expected string, got {}", printed_in_full(value)),
        Scalar::Number if !value.is_number() => {
            format!("expected numeric (int or float), got {}", go_type(value))
        }
        Scalar::Bool if !value.is_boolean() => format!("expected boolean, got {}", printed(value)),
        Scalar::Any if value.is_array() || value.is_object() => {
            format!("expected any scalar, got {}", printed(value))
        }
        _ => return None,
    };
    Some(text)
}

fn report(path: &[Step], problem: String, problems: &mut Vec<String>) {
    let path = path_text(path);
    problems.push(if path.is_empty() { problem } else { format!("{path}: {problem}") });
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "map[string]interface {}",
        Value::Array(_) => "[]interface {}",
        _ => json_kind(value),
    }
}

/// Upstream prints its wrapper around the value.
fn printed(value: &Value) -> String {
    format!("&{{{}}}", go_text::plain(value))
}

fn printed_in_full(value: &Value) -> String {
    format!("&value.valueUnstructured{{Value:{}}}", go_syntax(value))
}

/// A value as source text of upstream's language (`%#v`).
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(on) => on.to_string(),
        Value::Number(number) => go_text::number(number),
        Value::String(text) => go_text::quote(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_syntax).collect();
            format!("[]interface {{}}{{{}}}", items.join(", "))
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            let entries: Vec<String> = entries
                .into_iter()
                .map(|(key, value)| format!("{}:{}", go_text::quote(key), go_syntax(value)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
    }
}
