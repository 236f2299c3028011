//! Any kind, field by field: `podIP` becomes `Pod IP`.

use serde_json::Value;

use super::text::Text;
use crate::value::{self, show};

pub fn describe(out: &mut Text, object: &Value) {
    out.head(object, true);
    out.labels(0, object);
    out.annotations(0, object);
    let mut rest = value::sorted(object);
    for gone in ["name", "namespace", "labels", "annotations", "managedFields"] {
        value::remove(&mut rest, &["metadata", gone]);
    }
    fields(out, &rest, 0);
}

fn fields(out: &mut Text, value: &Value, level: usize) {
    for (key, field) in value.as_object().into_iter().flatten() {
        let label = words(key);
        match field {
            Value::Object(inner) if inner.is_empty() => out.line(level, format!("{label}:")),
            Value::Object(_) => {
                out.line(level, format!("{label}:"));
                fields(out, field, level + 1);
            }
            Value::Array(items) => {
                out.line(level, format!("{label}:"));
                for item in items {
                    match item {
                        Value::Object(_) => fields(out, item, level + 1),
                        scalar => out.line(level + 1, show(scalar)),
                    }
                }
            }
            Value::Null => out.field(level, &label, "<nil>"),
            scalar => out.field(level, &label, show(scalar)),
        }
    }
}

/// `lastTransitionTime` as `Last Transition Time`; names that are not of that form stay.
fn words(key: &str) -> String {
    if !key.chars().all(|c| c.is_ascii_alphanumeric()) {
        return key.to_owned();
    }
    let characters: Vec<char> = key.chars().collect();
    let mut out = String::new();
    for (index, &c) in characters.iter().enumerate() {
        let before_lower = characters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        let after_lower = index > 0 && characters[index - 1].is_ascii_lowercase();
        if index > 0 && c.is_ascii_uppercase() && (after_lower || before_lower) {
            out.push(' ');
        }
        out.push(if index == 0 { c.to_ascii_uppercase() } else { c });
    }
    match out.as_str() {
        "Api Version" => "API Version".to_owned(),
        "Uid" => "UID".to_owned(),
        _ => out,
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn keys_become_words() {
        assert_eq!(words("lastTransitionTime"), "Last Transition Time");
        assert_eq!(words("podIP"), "Pod IP");
        assert_eq!(words("uid"), "UID");
        assert_eq!(words("a.b/c"), "a.b/c");
    }
}
