//! Defaulting: absent properties get the default of their schema, and nulls that may not be are replaced or removed.

use serde_json::Value;

use super::Schema;

/// Removes nulls where the schema neither allows nor replaces them.
pub fn prune_nulls(value: &mut Value, schema: Option<&Schema>) {
    match value {
        Value::Object(fields) => fields.retain(|key, value| {
            let below = schema.and_then(|schema| schema.property(key));
            if value.is_null() && below.is_some_and(|below| !below.nullable && below.default.is_none()) {
                return false;
            }
            prune_nulls(value, below);
            true
        }),
        Value::Array(items) => {
            let below = schema.and_then(|schema| schema.items.as_deref());
            items.iter_mut().for_each(|item| prune_nulls(item, below));
        }
        _ => {}
    }
}

/// Fills defaults in, also below what defaults brought.
pub fn apply(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                if fields.get(name).is_none_or(|value| is_forbidden_null(value, property)) {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (key, value) in fields.iter_mut() {
                let Some(below) = schema.property(key) else { continue };
                replace_null(value, below);
                apply(value, below);
            }
        }
        Value::Array(items) => {
            let Some(below) = schema.items.as_deref() else { return };
            for item in items {
                replace_null(item, below);
                apply(item, below);
            }
        }
        _ => {}
    }
}

fn is_forbidden_null(value: &Value, schema: &Schema) -> bool {
    value.is_null() && !schema.nullable
}

fn replace_null(value: &mut Value, schema: &Schema) {
    if is_forbidden_null(value, schema)
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
}
