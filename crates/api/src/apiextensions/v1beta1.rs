//! Between the stored form of a definition and v1beta1, where what all versions share may stand once at the top of the
//! spec, and where unknown fields of objects are kept unless it says otherwise.
//!
//! What keeps them today is a mark on each schema of an object. A definition made in v1beta1 gets these marks, and reads
//! back as one that drops unknown fields where no mark is.

use serde_json::{Map, Value, json};

use crate::kind::Convert;

pub const CONVERT: Convert = Convert { to_storage, from_storage };
/// (at the top of the spec, in a version)
const SHARED: &[(&str, &str)] = &[
    ("validation", "schema"),
    ("subresources", "subresources"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
    ("selectableFields", "selectableFields"),
];
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

/// Defaults that today's version has no more.
pub fn default(object: &mut Value) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if spec.get("scope").and_then(Value::as_str).unwrap_or("").is_empty() {
        spec.insert("scope".to_string(), "Namespaced".into());
    }
}

fn to_storage(object: &mut Value) {
    set_api_version(object, "apiextensions.k8s.io/v1");
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let name = take(spec, "version");
    let preserves = take(spec, "preserveUnknownFields") != Some(Value::Bool(false));
    let shared: Vec<_> = SHARED
        .iter()
        .filter_map(|(top, own)| Some((*own, take(spec, top).filter(|value| !is_empty(value))?)))
        .collect();
    let mut versions = match take(spec, "versions") {
        Some(Value::Array(versions)) => versions,
        _ => Vec::new(),
    };
    if let Some(name) = name.filter(|_| versions.is_empty()) {
        versions.push(json!({"name": name, "served": true, "storage": true}));
    }
    for version in versions.iter_mut().filter_map(Value::as_object_mut) {
        for (field, value) in &shared {
            if version.get(*field).is_none_or(is_empty) {
                version.insert((*field).to_string(), value.clone());
            }
        }
        rename_paths(version, "JSONPath", "jsonPath");
        if preserves {
            let schema = version.entry("schema").or_insert_with(|| json!({}));
            preserve_root(schema);
        }
    }
    spec.insert("versions".to_string(), versions.into());
    if let Some(conversion) = spec.get_mut("conversion").and_then(Value::as_object_mut) {
        let (client, reviews) = (take(conversion, "webhookClientConfig"), take(conversion, "conversionReviewVersions"));
        if client.is_some() || reviews.is_some() {
            let reviews = reviews.unwrap_or_else(|| json!(["v1beta1"]));
            let mut webhook = json!({"conversionReviewVersions": reviews});
            if let Some(client) = client {
                webhook["clientConfig"] = client;
            }
            conversion.insert("webhook".to_string(), webhook);
        }
    }
}

fn from_storage(object: &mut Value) {
    set_api_version(object, "apiextensions.k8s.io/v1beta1");
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let mut versions = match take(spec, "versions") {
        Some(Value::Array(versions)) => versions,
        _ => Vec::new(),
    };
    for version in versions.iter_mut().filter_map(Value::as_object_mut) {
        rename_paths(version, "jsonPath", "JSONPath");
    }
    for (top, own) in SHARED {
        let first = versions.first().and_then(|version| version.get(*own)).cloned();
        let Some(value) = first.filter(|value| !is_empty(value)) else { continue };
        if versions.iter().all(|version| version.get(*own) == Some(&value)) {
            versions.iter_mut().filter_map(Value::as_object_mut).for_each(|version| drop(version.shift_remove(*own)));
            spec.insert((*top).to_string(), value);
        }
    }
    if let Some(first) = versions.first() {
        spec.insert("version".to_string(), first["name"].clone());
    }
    spec.insert("versions".to_string(), versions.into());
    // Said aloud, because silence would mean that they are kept.
    spec.entry("preserveUnknownFields").or_insert(Value::Bool(false));
    if let Some(conversion) = spec.get_mut("conversion").and_then(Value::as_object_mut)
        && let Some(Value::Object(mut webhook)) = take(conversion, "webhook")
    {
        for (own, old) in
            [("clientConfig", "webhookClientConfig"), ("conversionReviewVersions", "conversionReviewVersions")]
        {
            if let Some(value) = webhook.shift_remove(own) {
                conversion.insert(old.to_string(), value);
            }
        }
    }
}

fn set_api_version(object: &mut Value, version: &str) {
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".to_string(), version.into());
    }
}

fn take(fields: &mut Map<String, Value>, name: &str) -> Option<Value> {
    fields.shift_remove(name).filter(|value| !value.is_null())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn rename_paths(version: &mut Map<String, Value>, from: &str, to: &str) {
    let columns = version.get_mut("additionalPrinterColumns").and_then(Value::as_array_mut);
    for column in columns.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(path) = column.shift_remove(from) {
            column.insert(to.to_string(), path);
        }
    }
}

fn preserve_root(validation: &mut Value) {
    let Some(validation) = validation.as_object_mut() else { return };
    let schema = validation.entry("openAPIV3Schema").or_insert_with(|| json!({}));
    if let Some(schema) = schema.as_object_mut() {
        schema.entry("type").or_insert_with(|| "object".into());
    }
    preserve(schema);
}

/// Marks the schemas of objects. The nesting of a body is bounded, and so is the depth here.
fn preserve(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    if schema.get("type").and_then(Value::as_str) == Some("object") && !schema.contains_key("additionalProperties") {
        schema.insert(PRESERVE.to_string(), true.into());
    }
    for field in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(field) {
            preserve(inner);
        }
    }
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flatten().for_each(|(_, inner)| preserve(inner));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old() -> Value {
        json!({"apiVersion": "apiextensions.k8s.io/v1beta1", "spec": {"group": "x.io", "version": "v1",
            "scope": "Cluster", "names": {"plural": "as", "kind": "A"},
            "validation": {"openAPIV3Schema": {"properties": {"spec": {"type": "object"}}}},
            "additionalPrinterColumns": [{"name": "N", "type": "string", "JSONPath": ".spec.n"}],
            "conversion": {"strategy": "Webhook", "webhookClientConfig": {"url": "https://c.x.io"}}}})
    }

    #[test]
    fn what_versions_share_stands_in_each_today() {
        let mut definition = old();
        to_storage(&mut definition);
        let spec = &definition["spec"];
        assert_eq!((spec.get("version"), spec.get("validation")), (None, None));
        let version = &spec["versions"][0];
        assert_eq!((&version["name"], &version["storage"]), (&json!("v1"), &json!(true)));
        assert_eq!(version["additionalPrinterColumns"][0]["jsonPath"], ".spec.n");
        let schema = &version["schema"]["openAPIV3Schema"];
        assert_eq!((&schema["type"], &schema[PRESERVE]), (&json!("object"), &json!(true)));
        assert_eq!(schema["properties"]["spec"][PRESERVE], true, "at every depth");
        assert_eq!(
            spec["conversion"]["webhook"],
            json!({"conversionReviewVersions": ["v1beta1"], "clientConfig": {"url": "https://c.x.io"}})
        );
    }

    #[test]
    fn what_is_read_back_means_the_same_when_it_is_written_again() {
        let mut stored = old();
        to_storage(&mut stored);
        let mut definition = stored.clone();
        from_storage(&mut definition);
        assert_eq!(definition["spec"]["version"], "v1");
        assert_eq!(definition["spec"]["preserveUnknownFields"], false);
        assert_eq!(definition["spec"]["additionalPrinterColumns"][0]["JSONPath"], ".spec.n");
        assert_eq!(definition["spec"]["versions"], json!([{"name": "v1", "served": true, "storage": true}]));
        to_storage(&mut definition);
        assert_eq!(definition["spec"]["versions"][0]["schema"], stored["spec"]["versions"][0]["schema"]);
        assert_eq!(definition["spec"]["conversion"], stored["spec"]["conversion"]);
    }
}
