//! What the documents show of custom kinds: the schema of the definition with the fields that every object has, and its list.
//!
//! kubectl's reader of v2 knows no junctors, takes a nullable field for one without a type, and refuses unknown fields wherever
//! it sees properties: for v2 schemas are therefore reduced to what it understands.

use api::apiextensions::served::Served;
use api::{Kind, Version};
use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::schemas::{Dialect, reference_field};

const POD: &str = "io.k8s.api.core.v1.Pod";
pub const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
/// Keywords that say nothing of objects.
const LEFT_OUT: [&str; 3] = ["$schema", "example", "externalDocs"];

/// The name of the list's schema.
pub fn list_name(kind: &Kind, version: &Version) -> String {
    let own = version.schema.strip_suffix(kind.kind).unwrap_or_default();
    format!("{own}{}", kind.list_kind)
}

/// The schemas of one version of a custom kind and of its list, by name; none of a built-in kind.
pub fn schemas(kind: &Kind, version: &Version, descriptions: &Descriptions, dialect: Dialect) -> Vec<(String, Value)> {
    let Some(behaviour) = Served::of(kind).map(Served::behaviour) else { return Vec::new() };
    let Some(published) = behaviour.version(version.name).map(|own| &own.published) else { return Vec::new() };
    let maker = Maker { descriptions, dialect };
    let mut object = maker.object(published.schema.as_ref(), published.preserve_unknown_fields);
    let mut list = maker.list(kind, version);
    for (schema, name) in [(&mut object, kind.kind), (&mut list, kind.list_kind)] {
        schema["x-kubernetes-group-version-kind"] =
            json!([{ "group": kind.group, "kind": name, "version": version.name }]);
    }
    vec![(version.schema.to_owned(), object), (list_name(kind, version), list)]
}

struct Maker<'d> {
    descriptions: &'d Descriptions,
    dialect: Dialect,
}

impl Maker<'_> {
    fn object(&self, written: Option<&Value>, preserves_unknown: bool) -> Value {
        let open = |schema: &&Value| self.dialect == Dialect::V2 && (preserves_unknown || schema[PRESERVE] == true);
        // With fields of its own such a schema would be taken for one that allows no others.
        let Some(written) = written.filter(|schema| !open(schema)) else { return json!({ "type": "object" }) };
        let mut schema = written.clone();
        self.reduce(&mut schema);
        self.add_own_fields(&mut schema);
        schema
    }

    fn list(&self, kind: &Kind, version: &Version) -> Value {
        let mut list = json!({
            "description": format!("{} is a list of {}", kind.list_kind, kind.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "items": {
                    "description": format!("List of {}.", kind.plural),
                    "type": "array",
                    "items": { "$ref": self.dialect.reference(version.schema) },
                },
            },
        });
        self.add_own_fields(&mut list);
        let description = "What the list itself is about.".to_owned();
        list["properties"]["metadata"] = reference_field(self.dialect, LIST_META, Some(description));
        list
    }

    fn add_own_fields(&self, schema: &mut Value) {
        for field in ["apiVersion", "kind"] {
            let description = self.descriptions.of_field(POD, field).unwrap_or_default();
            schema["properties"][field] = json!({ "description": description, "type": "string" });
        }
        let description = self.descriptions.of_field(POD, "metadata");
        schema["properties"]["metadata"] = reference_field(self.dialect, OBJECT_META, description);
    }

    /// Makes of a schema, and of all below it, what the dialect can say.
    fn reduce(&self, schema: &mut Value) {
        let Some(fields) = schema.as_object_mut() else { return };
        fields.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
        match self.dialect {
            Dialect::V2 => reduce_for_v2(fields),
            Dialect::V3 => add_forms_of_int_or_string(fields),
        }
        for property in fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
            self.reduce(property.1);
        }
        for key in ["items", "additionalProperties"] {
            if let Some(inner) = fields.get_mut(key) {
                self.reduce(inner);
            }
        }
        let flag = |key: &str| fields.get(key).and_then(Value::as_bool) == Some(true);
        if flag("x-kubernetes-embedded-resource") && !(self.dialect == Dialect::V2 && flag(PRESERVE)) {
            let mut required = fields.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            for name in ["kind", "apiVersion"] {
                if !required.iter().any(|known| known == name) {
                    required.push(name.into());
                }
            }
            fields.insert("required".to_owned(), required.into());
            self.add_own_fields(schema);
        }
    }
}

fn add_forms_of_int_or_string(fields: &mut Map<String, Value>) {
    let is_either = fields.get("x-kubernetes-int-or-string").and_then(Value::as_bool) == Some(true);
    if is_either && !fields.contains_key("anyOf") && !fields.contains_key("allOf") {
        fields.insert("anyOf".to_owned(), json!([{ "type": "integer" }, { "type": "string" }]));
    }
}

fn reduce_for_v2(fields: &mut Map<String, Value>) {
    // What may be null cannot be required: null counts as absent there.
    let nullable = |schema: &Value| schema["nullable"] == true;
    let may_be_null = |fields: &Map<String, Value>, name: &str| {
        fields.get("properties").and_then(|properties| properties.get(name)).is_some_and(nullable)
    };
    let mut required = fields.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    required.retain(|name| !may_be_null(fields, name.as_str().unwrap_or_default()));
    if required.is_empty() || fields.get("additionalProperties").is_some_and(nullable) {
        fields.shift_remove("required");
    } else {
        fields.insert("required".to_owned(), required.into());
    }
    for junctor in ["allOf", "anyOf", "oneOf", "not"] {
        fields.shift_remove(junctor);
    }
    let is_null = fields.shift_remove("nullable") == Some(true.into());
    let is_open = fields.get(PRESERVE).and_then(Value::as_bool) == Some(true);
    if is_null || is_open {
        fields.shift_remove("items");
        fields.shift_remove("properties");
    }
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    let is_bare_list = kind == "array" && !fields.contains_key("items");
    if is_null || is_bare_list || is_open && kind == "object" {
        fields.shift_remove("type");
    }
}

#[cfg(test)]
mod tests {
    use api::apiextensions::served::{Behaviour, Declared};

    use super::*;

    fn reduced(mut schema: Value, dialect: Dialect) -> Value {
        Maker { descriptions: &Descriptions::default(), dialect }.reduce(&mut schema);
        schema
    }

    #[test]
    fn a_definition_and_its_list_are_shown_with_the_fields_of_all_objects() {
        let definition = json!({
            "spec": {
                "group": "stable.example.com",
                "names": { "kind": "CronTab" },
                "scope": "Namespaced",
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                    "description": "A table.", "type": "object", "properties": { "spec": { "type": "object" } },
                } } }],
            },
            "status": { "acceptedNames": { "kind": "CronTab", "listKind": "CronTabs", "plural": "crontabs" } },
        });
        let kind = Declared::of(&definition).unwrap().leak(Behaviour::of(&definition, None));
        let made = schemas(kind, &kind.versions[0], &Descriptions::read(), Dialect::V3);
        let (names, made): (Vec<String>, Vec<Value>) = made.into_iter().unzip();
        assert_eq!(names, ["com.example.stable.v1.CronTab", "com.example.stable.v1.CronTabs"]);
        let (object, list) = (&made[0], &made[1]);
        assert_eq!(object["description"], "A table.");
        assert_eq!(object["x-kubernetes-group-version-kind"][0]["kind"], "CronTab");
        assert_eq!(object["properties"]["spec"], json!({ "type": "object" }));
        let metadata = object["properties"]["metadata"]["description"].as_str().unwrap();
        assert!(metadata.starts_with("Standard object's metadata."), "{metadata}");
        assert_eq!(list["properties"]["items"]["items"]["$ref"], Dialect::V3.reference(&names[0]));
        assert_eq!(list["x-kubernetes-group-version-kind"][0]["kind"], "CronTabs");
    }

    #[test]
    fn v2_says_only_what_kubectl_understands() {
        let schema = json!({
            "type": "object",
            "required": ["a", "b"],
            "anyOf": [{ "required": ["b"] }],
            "properties": {
                "a": { "type": "string", "nullable": true, "description": "an a" },
                "b": { "type": "array", "items": { "type": "object", PRESERVE: true, "properties": { "c": {} } } },
                "d": { "type": "array", PRESERVE: true, "items": { "type": "string" } },
                "e": { "x-kubernetes-int-or-string": true },
            },
        });
        let want = json!({
            "type": "object",
            "required": ["b"],
            "properties": {
                "a": { "description": "an a" },
                "b": { "type": "array", "items": { PRESERVE: true } },
                "d": { PRESERVE: true },
                "e": { "x-kubernetes-int-or-string": true },
            },
        });
        assert_eq!(reduced(schema.clone(), Dialect::V2), want);
        let v3 = reduced(schema.clone(), Dialect::V3);
        assert_eq!(v3["properties"]["e"]["anyOf"], json!([{ "type": "integer" }, { "type": "string" }]));
        assert_eq!(v3["properties"]["a"], schema["properties"]["a"]);
    }

    #[test]
    fn embedded_objects_have_the_fields_of_objects() {
        let schema = json!({ "type": "object", "x-kubernetes-embedded-resource": true, "required": ["kind"] });
        let v3 = reduced(schema.clone(), Dialect::V3);
        assert_eq!(v3["required"], json!(["kind", "apiVersion"]));
        assert_eq!(v3["properties"]["metadata"]["allOf"][0]["$ref"], Dialect::V3.reference(OBJECT_META));
        let mut open = schema;
        open[PRESERVE] = true.into();
        assert_eq!(reduced(open, Dialect::V2)["properties"], Value::Null);
    }
}
