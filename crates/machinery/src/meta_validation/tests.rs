use super::*;
use serde_json::json;

fn subdomain(name: &str, _prefix: bool) -> Vec<String> {
    names::is_dns1123_subdomain(name)
}

fn texts(errors: ErrorList) -> Vec<String> {
    errors.iter().map(Error::to_string).collect()
}

fn check(metadata: Value) -> Vec<String> {
    texts(validate_object_meta(&json!({"metadata": metadata}), true, subdomain, &Path::new("metadata")))
}

fn check_owner(owner: Value) -> Vec<String> {
    check(json!({"name": "a", "namespace": "n", "ownerReferences": [owner]}))
}

#[test]
fn plain_metadata_is_valid() {
    let metadata = json!({
        "name": "a", "namespace": "n", "labels": {"k": "", "e.com/k": "v"}, "annotations": {"Upper.Com/Key": "any value ! é \n"},
        "finalizers": ["e.com/a", "e.com/a", "orphan"], "managedFields": [{"manager": "m", "operation": "Update", "fieldsType": "FieldsV1"}],
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", "controller": true}],
    });
    assert_eq!(check(metadata), Vec::<String>::new());
}

#[test]
fn names_and_namespaces_are_checked() {
    assert_eq!(check(json!({"namespace": "n"})), ["metadata.name: Required value: name or generateName is required"]);
    assert_eq!(check(json!({"name": "a"})), ["metadata.namespace: Required value"]);
    let cluster = validate_object_meta(
        &json!({"metadata": {"name": "a", "namespace": "n"}}),
        false,
        subdomain,
        &Path::new("metadata"),
    );
    assert_eq!(texts(cluster), ["metadata.namespace: Forbidden: not allowed on this type"]);
    let both = check(json!({"generateName": "Bad_", "name": "Bad_x", "namespace": "n"}));
    assert!(
        both[0].starts_with("metadata.generateName: Invalid value: \"Bad_\"")
            && both[1].starts_with("metadata.name: Invalid")
    );
}

#[test]
fn labels_and_annotations_are_checked() {
    let errors = check(json!({"name": "a", "namespace": "n", "labels": {"/k": "bad!"}, "annotations": {"": "v"}}));
    assert_eq!(errors.len(), 4);
    assert_eq!(errors[0], "metadata.labels: Invalid value: \"/k\": prefix part must be non-empty");
    assert!(errors[1].starts_with("metadata.labels: Invalid value: \"bad!\": a valid label must be an empty string"));
    assert_eq!(errors[2], "metadata.annotations: Invalid value: \"\": name part must be non-empty");
    let big = check(json!({"name": "a", "namespace": "n", "annotations": {"k": "x".repeat(ANNOTATIONS_BYTES_MAX)}}));
    assert_eq!(big, ["metadata.annotations: Too long: may not be more than 262144 bytes"]);
}

#[test]
fn finalizers_are_checked() {
    let finalizers = |names: Value| check(json!({"name": "a", "namespace": "n", "finalizers": names}));
    assert_eq!(
        finalizers(json!(["bogus"])),
        [
            "metadata.finalizers[0]: Invalid value: \"bogus\": name is neither a standard finalizer name nor is it fully qualified"
        ]
    );
    assert_eq!(
        finalizers(json!(["orphan", "foregroundDeletion"])),
        [
            "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set"
        ]
    );
    assert_eq!(finalizers(json!([""])).len(), 3);
}

#[test]
fn owners_are_checked() {
    let owner = json!({"kind": "ConfigMap", "apiVersion": "v1", "uid": "u1", "name": "o"});
    let with = |field: &str, value: &str| {
        let mut owner = owner.clone();
        owner[field] = value.into();
        check_owner(owner)
    };
    assert_eq!(with("uid", ""), ["metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"]);
    assert_eq!(
        with("apiVersion", ""),
        ["metadata.ownerReferences.apiVersion: Invalid value: \"\": version must not be empty"]
    );
    assert_eq!(
        with("apiVersion", "a/b/c"),
        ["metadata.ownerReferences.apiVersion: Invalid value: \"a/b/c\": version must not be empty"]
    );
    assert_eq!(
        with("kind", "Event"),
        [
            r#"metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"o","uid":"u1"}: /v1, Kind=Event is disallowed from being an owner"#
        ]
    );
    let owners: Vec<Value> = ["o", "p"]
        .into_iter()
        .map(|name| json!({"kind": "ConfigMap", "apiVersion": "v1", "uid": "u1", "name": name, "controller": true}))
        .collect();
    assert_eq!(
        check(json!({"name": "a", "namespace": "n", "ownerReferences": owners})),
        [
            r#"metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","kind":"ConfigMap","name":"o","uid":"u1","controller":true},{"apiVersion":"v1","kind":"ConfigMap","name":"p","uid":"u1","controller":true}]: Only one reference can have Controller set to true. Found "true" in references for ConfigMap/o and ConfigMap/p"#
        ]
    );
}

#[test]
fn updates_keep_what_the_server_set() {
    let old = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "generation": 2, "finalizers": ["a.b/c"], "deletionTimestamp": "2026-11-20T17:50:30Z"}});
    let update = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new["metadata"]);
        texts(validate_object_meta_update(&new, &old, &Path::new("metadata")))
    };
    assert_eq!(update(&|_| ()), Vec::<String>::new());
    assert_eq!(update(&|m| m["uid"] = "v".into()), ["metadata.uid: Invalid value: \"v\": field is immutable"]);
    assert_eq!(
        update(&|m| m["generation"] = 1.into()),
        ["metadata.generation: Invalid value: 1: must not be decremented"]
    );
    assert_eq!(
        update(&|m| m["resourceVersion"] = "".into()),
        ["metadata.resourceVersion: Invalid value: \"\": must be specified for an update"]
    );
    assert_eq!(
        update(&|m| m["finalizers"] = json!(["a.b/d", "a.b/c"])),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.b/d\"}"
        ]
    );
}

#[test]
fn field_managers_are_printable_and_short() {
    let path = Path::new("fieldManager");
    assert_eq!(
        texts(field_manager("a\u{1}b", &path)),
        ["fieldManager: Invalid value: \"a\\x01b\": invalid character U+0001 (at position 1)"]
    );
    assert_eq!(
        texts(field_manager(&"m".repeat(129), &path)),
        ["fieldManager: Too long: may not be more than 128 bytes"]
    );
}

#[test]
fn selectors_are_checked() {
    let path = Path::new("spec.selector");
    let selector = json!({"matchLabels": {"a": "-"}, "matchExpressions": [
        {"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]}, {"key": "", "operator": "Bogus"},
    ]});
    let errors = texts(label_selector(&selector, &path));
    assert!(errors[0].starts_with("spec.selector.matchLabels: Invalid value: \"-\""));
    assert_eq!(
        errors[1],
        "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
    );
    assert_eq!(
        errors[2],
        "spec.selector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
    );
    assert_eq!(
        errors[3],
        "spec.selector.matchExpressions[2].operator: Invalid value: \"Bogus\": not a valid selector operator"
    );
    assert_eq!(errors.len(), 6);
}
