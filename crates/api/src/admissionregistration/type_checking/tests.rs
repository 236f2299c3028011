//! Policies and what is said of them.

use serde_json::{Value, json};

use super::*;

fn policy(rules: Value, validations: Value, more: Value) -> ValidatingAdmissionPolicy {
    let mut policy = json!({"metadata": {"name": "p"},
        "spec": {"matchConstraints": {"resourceRules": rules}, "validations": validations}});
    for (key, value) in more.as_object().into_iter().flatten() {
        policy["spec"][key] = value.clone();
    }
    serde_json::from_value(policy).unwrap()
}

fn rule(groups: &[&str], versions: &[&str], resources: &[&str]) -> Value {
    json!({"apiGroups": groups, "apiVersions": versions, "resources": resources, "operations": ["*"]})
}

fn warnings(policy: &ValidatingAdmissionPolicy, published: &Published) -> Vec<(String, String)> {
    check(policy, published).into_iter().map(|found| (found.field_ref, found.warning)).collect()
}

fn places(rules: Value, validations: Value, more: Value) -> Vec<String> {
    warnings(&policy(rules, validations, more), &Published::default()).into_iter().map(|(place, _)| place).collect()
}

#[test]
fn expressions_are_held_against_the_types_that_rules_name() {
    let validations = json!([
        {"expression": "object.spec.replicas > 'x'"},
        {"expression": "object.spec.bogus == 1"},
        {"expression": "object.spec.replicas > 1", "messageExpression": "string(object.nope)"},
        {"expression": "object.spec.replicas > 1", "messageExpression": "object.metadata.name"},
    ]);
    let found = warnings(
        &policy(json!([rule(&["apps"], &["v1"], &["deployments"])]), validations, json!({})),
        &Published::default(),
    );
    let wanted = [
        (
            "spec.validations[0].expression",
            "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n | object.spec.replicas > 'x'\n | .....................^\n",
        ),
        (
            "spec.validations[1].expression",
            "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'bogus'\n | object.spec.bogus == 1\n | ...........^\n",
        ),
        (
            "spec.validations[2].messageExpression",
            "apps/v1, Kind=Deployment: ERROR: <input>:1:14: undefined field 'nope'\n | string(object.nope)\n | .............^\n",
        ),
    ];
    assert_eq!(found, wanted.map(|(place, text)| (place.to_owned(), text.to_owned())));
}

#[test]
fn each_type_has_its_say_in_the_order_of_names() {
    let rules =
        json!([rule(&["apps", ""], &["v1"], &["pods", "replicasets", "deployments", "pods/status", "nothings"])]);
    let found =
        warnings(&policy(rules, json!([{"expression": "object.replicas > 1"}]), json!({})), &Published::default());
    let [(place, text)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(place, "spec.validations[0].expression");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("ERROR")).collect();
    let error = "ERROR: <input>:1:7: undefined field 'replicas'";
    let wanted = ["/v1, Kind=Pod", "apps/v1, Kind=Deployment", "apps/v1, Kind=ReplicaSet"]
        .map(|name| format!("{name}: {error}"));
    assert_eq!(lines, wanted);
    assert!(text.contains("^\n\napps/v1, Kind=Deployment"), "{text}");
}

#[test]
fn what_rules_do_not_name_outright_is_left_alone() {
    let bogus = || json!([{"expression": "object.bogus == 1"}]);
    for rules in [
        json!([rule(&["*"], &["v1"], &["pods"])]),
        json!([rule(&["", "*"], &["v1"], &["pods"])]),
        json!([rule(&[""], &["*"], &["pods"])]),
        json!([rule(&[""], &["v1"], &["*", "pods/*", "pods/status"])]),
        json!([rule(&["apps"], &["v1"], &["pods"])]),
        json!([]),
    ] {
        assert!(places(rules.clone(), bogus(), json!({})).is_empty(), "{rules}");
    }
    assert_eq!(
        places(json!([rule(&[""], &["v1"], &["*", "pod"])]), bogus(), json!({})).len(),
        1,
        "by the singular name"
    );
}

#[test]
fn ten_types_of_a_rule_are_looked_at() {
    let names = [
        "bindings",
        "configmaps",
        "endpoints",
        "events",
        "limitranges",
        "namespaces",
        "nodes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "secrets",
        "services",
    ];
    let rules = json!([rule(&[""], &["v1"], &names), rule(&["apps"], &["v1"], &["deployments"])]);
    let found =
        warnings(&policy(rules, json!([{"expression": "object.bogus == 1"}]), json!({})), &Published::default());
    assert_eq!(found[0].1.matches("ERROR").count(), TYPES_MAX);
    assert!(!found[0].1.contains("Secret") && !found[0].1.contains("Deployment"));
}

#[test]
fn variables_and_params_have_types_too() {
    let rules = || json!([rule(&["apps"], &["v1"], &["deployments"])]);
    let validations = json!([
        {"expression": "variables.count > 1"},
        {"expression": "variables.count > 'x'"},
        {"expression": "params.data['x'] == '1'"},
        {"expression": "params.data['x'] == 1"},
        {"expression": "request.namespace == namespaceObject.metadata.name"},
        {"expression": "authorizer.requestResource.check('get').allowed()"},
        {"expression": "'a text'"},
        {"expression": "int('x') == 1"},
        {"expression": "object.spec.template.spec.containers.all(c, quantity(c.resources.limits['cpu']).isInteger())"},
    ]);
    let variables = json!([{"name": "count", "expression": "object.spec.replicas"}]);
    let more = json!({"variables": variables, "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}});
    assert_eq!(
        places(rules(), validations, more),
        ["spec.validations[1].expression", "spec.validations[3].expression"]
    );
    // A kind of parameters that nobody knows is as good as none.
    let validations = || json!([{"expression": "params.data == 1"}]);
    let more = json!({"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}});
    assert_eq!(places(rules(), validations(), more.clone()).len(), 1);
    assert_eq!(foreign(&policy(rules(), validations(), more)), [("example.com".to_owned(), "v1".to_owned())].into());
}

fn widgets() -> Published {
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let widget = json!({
        "type": "object",
        "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [{"$ref": format!("#/components/schemas/{meta}")}]},
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer"},
                "port": {"x-kubernetes-int-or-string": true},
                "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
            }},
        },
    });
    let part = json!({"type": "object", "properties": {
        "name": {"type": "string", "pattern": "("},
        "part": {"$ref": "#/components/schemas/Part"},
    }});
    let object_meta = json!({"type": "object", "properties": {
        "name": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    }});
    let resources = json!({"resources": [
        {"name": "widgets", "singularName": "widget", "kind": "Widget"},
        {"name": "widgets/status", "singularName": "", "kind": "Widget"},
    ]});
    let mut published = Published::default();
    let schemas = json!({"Widget": widget, "Part": part, meta: object_meta});
    published.add("example.com", "v1", resources, json!({"components": {"schemas": schemas}}));
    published
}

#[test]
fn custom_kinds_are_known_by_what_is_published_of_them() {
    let rules = json!([rule(&["example.com"], &["v1"], &["widgets", "gadgets"])]);
    let validations = json!([
        {"expression": "object.spec.size > 1 && object.metadata.labels['a'] == 'b'"},
        {"expression": "object.spec.parts.all(part, part.part.name == 'x')"},
        {"expression": "object.spec.port == 80 || object.spec.port == 'http'"},
        {"expression": "object.spec.size == 'x'"},
        {"expression": "object.spec == object.metadata"},
    ]);
    let policy = policy(rules, validations, json!({}));
    assert_eq!(foreign(&policy).len(), 1);
    assert!(check(&policy, &Published::default()).is_empty());
    let found = warnings(&policy, &widgets());
    let texts: Vec<&str> = found.iter().map(|(_, text)| text.lines().next().unwrap_or_default()).collect();
    let prefix = "example.com/v1, Kind=Widget: ERROR: <input>";
    let wanted = [
        "1:38: undefined field 'name'",
        "1:18: found no matching overload for '_==_' applied to '(int, string)'",
        "1:13: found no matching overload for '_==_' applied to '(Widget.spec, Widget.metadata)'",
    ];
    assert_eq!(texts, wanted.map(|text| format!("{prefix}:{text}")));
}

#[test]
fn documents_without_end_are_left_alone() {
    let mut schemas = json!({"S0": {"type": "object",
        "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}]}});
    for level in 0..40 {
        let next = json!({"$ref": format!("#/components/schemas/S{}", level + 1)});
        schemas[format!("S{level}")]["type"] = "object".into();
        schemas[format!("S{level}")]["properties"] = json!({"a": next, "b": next});
    }
    schemas["S40"] = json!({"type": "string"});
    let mut published = Published::default();
    let resources = json!({"resources": [{"name": "widgets", "kind": "Widget"}]});
    published.add("example.com", "v1", resources, json!({"components": {"schemas": schemas}}));
    let rules = json!([rule(&["example.com"], &["v1"], &["widgets"])]);
    assert!(check(&policy(rules, json!([{"expression": "object.x == 1"}]), json!({})), &published).is_empty());
}
