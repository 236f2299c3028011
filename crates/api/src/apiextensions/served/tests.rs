use machinery::codec::Parsed;
use machinery::schema::FieldValidation;
use serde_json::{Value, json};

use super::{Behaviour, Declared, Served};
use crate::Kind;

fn definition() -> Value {
    json!({
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList" },
            "versions": [
                { "name": "v2", "served": true, "storage": false, "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": { "type": "object", "properties": {
                        "a": { "type": "string" }, "c": { "type": "string", "default": "v2" } } } } } } },
                { "name": "v1", "served": true, "storage": true,
                  "subresources": { "status": {}, "scale": {
                      "specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n" } },
                  "selectableFields": [{ "jsonPath": ".spec.n" }],
                  "additionalPrinterColumns": [
                      { "name": "N", "type": "integer", "jsonPath": ".spec.n" },
                      { "name": "A", "type": "string", "jsonPath": ".spec.a" } ],
                  "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": { "type": "object",
                            "x-kubernetes-validations": [
                                { "rule": "!has(self.a) || self.a != 'bad'", "message": "a is bad", "fieldPath": ".a" },
                                { "rule": "!has(self.n) || !has(oldSelf.n) || self.n >= oldSelf.n" } ],
                            "properties": {
                            "a": { "type": "string" }, "b": { "type": "string", "default": "v1" },
                            "n": { "type": "integer" } } },
                        "status": { "type": "object", "properties": { "n": { "type": "integer" } } } } } } },
            ],
        },
        "status": { "acceptedNames": {
            "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList" } },
    })
}

fn kind() -> &'static Kind {
    let definition = definition();
    Declared::of(&definition).unwrap().leak(Behaviour::of(&definition, None))
}

fn widget(version: &str, spec: Value) -> Value {
    json!({ "apiVersion": format!("example.com/{version}"), "kind": "Widget",
            "metadata": { "name": "a", "namespace": "n", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": spec })
}

#[test]
fn the_stored_version_is_the_first_of_the_declaration() {
    let kind = kind();
    assert_eq!(kind.storage_version().name, "v1");
    assert_eq!(kind.version("example.com", "v2").unwrap().schema, "com.example.v2.Widget");
    assert!(kind.versions[0].has_status(kind) && !kind.versions[1].has_status(kind));
    assert!(Served::of(kind).is_some());
}

#[test]
fn what_is_stored_is_read_with_the_defaults_of_its_own_version() {
    let custom = kind().custom.unwrap();
    let stored = widget("v1", json!({ "a": "x" }));
    let read = |version: &str| custom.read(vec![stored.clone()], version).unwrap().remove(0);
    assert_eq!(read("v1")["spec"], json!({ "a": "x", "b": "v1" }));
    assert_eq!(read("v2")["spec"], json!({ "a": "x" }));
    assert_eq!(read("v2")["apiVersion"], "example.com/v2");
}

#[test]
fn unknown_and_repeated_fields_are_reported_in_order() {
    let custom = kind().custom.unwrap();
    let body = r#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a","name":"b","bogus":1},
        "spec":{"a":"1","a":"2","zz":1},"top":1}"#;
    let parsed =
        || -> Parsed { machinery::codec::json::parse(body.as_bytes(), machinery::codec::Limits::default()).unwrap() };
    let refused = custom.decode("v1", parsed(), FieldValidation::Strict).unwrap_err();
    assert_eq!(
        refused,
        "strict decoding error: duplicate field \"metadata.name\", duplicate field \"spec.a\", unknown field \"metadata.bogus\", unknown field \"spec.zz\", unknown field \"top\""
    );
    let decoded = custom.decode("v1", parsed(), FieldValidation::Ignore).unwrap();
    assert_eq!(decoded.value["spec"], json!({ "a": "2" }));
    assert!(decoded.warnings.is_empty());
    assert!(custom.decode("v1", json!({ "metadata": 3 }).into(), FieldValidation::Warn).is_err());
}

#[test]
fn the_status_and_the_generation_are_the_servers() {
    let custom = kind().custom.unwrap();
    let mut object = widget("v1", json!({}));
    object["status"] = json!({ "n": 3 });
    custom.prepare_create(&mut object).unwrap();
    assert!(object.get("status").is_none());
    assert_eq!(object["metadata"]["generation"], 1);
    let mut new = widget("v1", json!({ "a": "y" }));
    custom.prepare_update(&mut new, &object).unwrap();
    assert_eq!(new["metadata"]["generation"], 2);
    let mut status = widget("v1", json!({ "a": "z" }));
    status["status"] = json!({ "n": 1 });
    custom.prepare_status_update(&mut status, &new).unwrap();
    assert_eq!((&status["spec"]["a"], &status["status"]["n"]), (&json!("y"), &json!(1)));
}

#[test]
fn an_object_is_judged_by_the_schema_of_its_version() {
    let custom = kind().custom.unwrap();
    let wrong = |object: &Value| custom.validate(object).iter().map(|error| error.field.clone()).collect::<Vec<_>>();
    assert!(wrong(&widget("v1", json!({ "n": 3 }))).is_empty());
    assert_eq!(wrong(&widget("v1", json!({ "n": "3" }))), ["spec.n", ".spec.n", "<nil>"]);
    assert_eq!(wrong(&widget("v1", json!({ "n": -1 }))), [".spec.n"]);
    assert!(wrong(&widget("v2", json!({ "a": "3" }))).is_empty());
    let before = widget("v1", json!({ "n": 3 }));
    let mut after = before.clone();
    after["status"] = json!({ "n": "x" });
    let errors = custom.validate_status_update(&after, &before);
    assert!(errors.iter().any(|error| error.field == "status.n"), "{errors:?}");
}

#[test]
fn rows_and_selectors_read_the_paths_of_the_definition() {
    let custom = kind().custom.unwrap();
    let object = widget("v1", json!({ "n": 3, "a": { "x": 1 } }));
    let now = "2026-01-01T00:01:00Z".parse().unwrap();
    assert_eq!(custom.cells("v1", &object, now), [json!("a"), json!(3), json!("{\"x\":1}")]);
    assert_eq!(custom.cells("v2", &object, now), [json!("a"), json!("60s")]);
    assert_eq!(
        custom.columns("v1")[1]["description"],
        "Custom resource definition column (in JSONPath format): .spec.n"
    );
    assert_eq!(custom.selectable("v1"), ["spec.n"]);
    assert_eq!(custom.selected("v1", "spec.n", &object), "3");
    assert_eq!(custom.selected("v1", "spec.n", &widget("v1", json!({}))), "");
}

#[test]
fn rules_are_evaluated_on_what_changes() {
    let custom = kind().custom.unwrap();
    let wrong = custom.validate(&widget("v1", json!({ "a": "bad" })));
    let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["spec.a: Invalid value: a is bad"]);
    let (before, after) = (widget("v1", json!({ "n": 3 })), widget("v1", json!({ "n": 2 })));
    let update = |new: &Value, old: &Value| {
        let mut errors = custom.validate_update(new, old);
        errors.retain(|error| error.field.starts_with("spec"));
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let rule = "!has(self.n) || !has(oldSelf.n) || self.n >= oldSelf.n";
    assert_eq!(update(&after, &before), [format!("spec: Invalid value: \"object\": failed rule: {rule}")]);
    assert!(update(&before, &after).is_empty());
    // What was wrong before and has not changed is not held against an update.
    let bad = widget("v1", json!({ "a": "bad" }));
    assert!(update(&bad, &bad).is_empty());
    assert_eq!(custom.warnings(&bad, Some(&bad)), ["spec.a: Invalid value: a is bad"]);
    assert!(custom.warnings(&bad, Some(&before)).is_empty() && custom.warnings(&bad, None).is_empty());
}
