//! JSON merge patch: a map of changes, in which null removes.

use super::{PatchError, parse_map};
use crate::codec::Parsed;
use serde_json::{Map, Value};

/// Reads a merge patch's body.
pub fn parse(body: &[u8]) -> Result<Parsed, PatchError> {
    parse_map(body).map_err(|message| PatchError::Malformed(format!("error decoding patch: {message}")))
}

/// Reads a patch and merges it into an object.
pub fn apply(object: &mut Value, body: &[u8]) -> Result<(), PatchError> {
    apply_value(object, parse(body)?.value)
}

/// Merges a patch into an object.
pub fn apply_value(object: &mut Value, patch: Value) -> Result<(), PatchError> {
    let invalid = |what: &str| PatchError::Malformed(format!("Invalid JSON {what}"));
    let Value::Object(patch) = patch else { return Err(invalid("Patch")) };
    let Value::Object(object) = object else { return Err(invalid("Document")) };
    merge(object, patch);
    Ok(())
}

fn merge(object: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, change) in patch {
        match (object.get_mut(&key), change) {
            (_, Value::Null) => drop(object.shift_remove(&key)),
            (Some(Value::Object(current)), Value::Object(change)) => merge(current, change),
            // A list replaces a map just as it is; in everything else nulls mean nothing and go.
            (Some(current @ Value::Object(_)), change) => *current = change,
            (_, mut change) => {
                prune(&mut change);
                object.insert(key, change);
            }
        }
    }
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn merged(mut object: Value, patch: Value) -> Value {
        apply_value(&mut object, patch).unwrap();
        object
    }

    #[test]
    fn examples_of_the_rfc_hold() {
        for (object, patch, want) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merged(object, patch), want);
        }
    }

    #[test]
    fn errors_are_upstreams() {
        for (body, want) in [
            ("[]", "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
            ("{", "error decoding patch: unexpected end of JSON input"),
            (
                "\"x\"",
                "error decoding patch: json: cannot unmarshal string into Go value of type map[string]interface {}",
            ),
            ("", "error decoding patch: unexpected end of JSON input"),
            ("data:\n  k: y\n", "error decoding patch: invalid character 'd' looking for beginning of value"),
        ] {
            assert_eq!(parse(body.as_bytes()).unwrap_err(), PatchError::Malformed(want.to_owned()));
        }
        assert_eq!(apply(&mut json!({}), b"null"), Err(PatchError::Malformed("Invalid JSON Patch".to_owned())));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_thrice_is_twice(object in crate::patch::tests::object(), patch in crate::patch::tests::object()) {
            // A list that has replaced a map loses its nulls when it replaces itself.
            let twice = merged(merged(object, patch.clone()), patch.clone());
            prop_assert_eq!(merged(twice.clone(), patch), twice);
        }
    }
}
