//! The walkers over schemas, with the texts of recorded answers.

use machinery::field::Path;
use serde_json::{Value, json};

use super::meta::Malformed;
use super::*;

fn schema(properties: Value) -> Schema {
    let spec = json!({"type": "object", "properties": properties});
    Schema::parse(&json!({"type": "object", "properties": {"spec": spec}})).unwrap()
}

fn errors(properties: Value, spec: Value) -> Vec<String> {
    let found = validate(&json!({ "spec": spec }), &schema(properties), &Path::root());
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn unknown_fields_are_dropped_and_reported() {
    let schema = schema(json!({
        "keep": {"type": "string"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"p": {"type": "object", "properties": {"q": {"type": "string"}}}}},
        "any": {"type": "object", "additionalProperties": true},
        "raw": {"type": "array", "x-kubernetes-preserve-unknown-fields": true,
            "items": {"type": "object", "properties": {"o": {"type": "object"}}}},
    }));
    let mut object = json!({
        "apiVersion": "g/v1", "kind": "W", "metadata": {"name": "a", "x": 1}, "data": 3,
        "spec": {
            "drop": 1, "keep": "k", "list": [{"m": 2, "n": 1}], "map": {"a": {"m": 2, "n": 1}},
            "open": {"any": {"x": 1}, "p": {"q": "1", "r": "2"}}, "any": {"x": {"y": 1}, "z": 2},
            "raw": [{"kept": 1, "o": {"gone": 1}}],
        },
    });
    let dropped = prune(&mut object, &schema, true);
    assert_eq!(
        dropped,
        ["data", "spec.any.x.y", "spec.drop", "spec.list[0].m", "spec.map.a.m", "spec.open.p.r", "spec.raw[0].o.gone"]
    );
    assert_eq!(
        object,
        json!({
            "apiVersion": "g/v1", "kind": "W", "metadata": {"name": "a", "x": 1},
            "spec": {
                "keep": "k", "list": [{"n": 1}], "map": {"a": {"n": 1}}, "open": {"any": {"x": 1}, "p": {"q": "1"}},
                "any": {"x": {}, "z": 2}, "raw": [{"kept": 1, "o": {}}],
            },
        })
    );
}

#[test]
fn defaults_fill_in_what_is_absent_or_may_not_be_null() {
    let schema = Schema::parse(&json!({"type": "object", "properties": {"spec": {
        "type": "object", "default": {},
        "properties": {
            "a": {"type": "string", "default": "A"},
            "l": {"type": "array", "items": {"type": "object", "properties": {"p": {"type": "string", "default": "tcp"}}}},
            "n": {"type": "string", "nullable": true, "default": "N"},
            "o": {"type": "object", "default": {}, "properties": {"x": {"type": "boolean", "default": true}}},
            "x": {"type": "string"},
        },
    }}}))
    .unwrap();
    let filled = |mut object: Value| {
        prune_nulls(&mut object, Some(&schema));
        apply_defaults(&mut object, &schema);
        object
    };
    assert_eq!(filled(json!({})), json!({"spec": {"a": "A", "n": "N", "o": {"x": true}}}));
    assert_eq!(
        filled(json!({"spec": {"a": null, "l": [{}, {"p": "udp"}], "n": null, "x": null}})),
        json!({"spec": {"a": "A", "l": [{"p": "tcp"}, {"p": "udp"}], "n": null, "o": {"x": true}}})
    );
}

#[test]
fn values_are_judged_in_upstreams_words() {
    let number =
        json!({"n": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 5, "exclusiveMaximum": true}});
    assert_eq!(
        errors(number.clone(), json!({"n": 0})),
        ["spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1"]
    );
    assert_eq!(
        errors(number.clone(), json!({"n": 5})),
        ["spec.n: Invalid value: 5: spec.n in body should be less than 5"]
    );
    assert_eq!(
        errors(json!({"n": {"type": "integer", "format": "int32"}}), json!({"n": 3_000_000_000_i64})),
        ["<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in spec.n"]
    );
    assert_eq!(errors(number, json!({"n": 4})), [""; 0]);
    assert_eq!(
        errors(json!({"n": {"type": "number", "multipleOf": 0.5}}), json!({"n": 1.2})),
        ["spec.n: Invalid value: 1.2: spec.n in body should be a multiple of 0.5"]
    );
    assert_eq!(
        errors(json!({"e": {"type": "string", "enum": ["a", "b"]}}), json!({"e": "c"})),
        ["spec.e: Unsupported value: \"c\": supported values: \"a\", \"b\""]
    );
    assert_eq!(
        errors(json!({"a": {"type": "array", "items": {"type": "integer"}}}), json!({"a": ["x"]})),
        ["spec.a[0]: Invalid value: \"string\": spec.a[0] in body must be of type integer: \"string\""]
    );
    assert_eq!(
        errors(
            json!({"o": {"type": "object", "additionalProperties": {"type": "integer"}}}),
            json!({"o": {"k": null}})
        ),
        ["spec.o.k: Invalid value: \"null\": spec.o.k in body must be of type integer: \"null\""]
    );
    assert_eq!(
        errors(json!({"u": {"type": "string", "format": "uri"}}), json!({"u": "!!"})),
        ["spec.u: Invalid value: \"!!\": spec.u in body must be of type uri: \"!!\""]
    );
    assert_eq!(
        errors(json!({"i": {"x-kubernetes-int-or-string": true}}), json!({"i": true})),
        ["spec.i: Invalid value: \"boolean\": spec.i in body must be of type integer,string: \"boolean\""]
    );
    assert_eq!(
        errors(
            json!({"o": {"type": "object", "required": ["x"], "properties": {"x": {"type": "string"}}}}),
            json!({"o": {}})
        ),
        ["spec.o.x: Required value"]
    );
}

#[test]
fn junctors_report_the_alternative_that_came_nearest() {
    let schema = json!({
        "all": {"type": "integer", "allOf": [{"minimum": 1}, {"multipleOf": 2}]},
        "any": {"type": "string", "anyOf": [{"minLength": 5}, {"enum": ["x"]}]},
        "one": {"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "b$"}]},
        "not": {"type": "string", "not": {"enum": ["bad"]}},
    });
    assert_eq!(
        errors(schema.clone(), json!({"one": "ab"})),
        [
            "<nil>: Invalid value: \"\": \"spec.one\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
        ]
    );
    assert_eq!(
        errors(schema.clone(), json!({"any": "zz"})),
        [
            "<nil>: Invalid value: \"\": \"spec.any\" must validate at least one schema (anyOf)",
            "spec.any: Invalid value: \"zz\": spec.any in body should be at least 5 chars long",
        ]
    );
    assert_eq!(
        errors(schema.clone(), json!({"all": -1})),
        [
            "spec.all: Invalid value: -1: spec.all in body should be greater than or equal to 1",
            "spec.all: Invalid value: -1: spec.all in body should be a multiple of 2",
            "<nil>: Invalid value: \"\": \"spec.all\" must validate all the schemas (allOf). None validated",
        ]
    );
    assert_eq!(
        errors(schema, json!({"not": "bad"})),
        ["<nil>: Invalid value: \"\": \"spec.not\" must not validate the schema (not)"]
    );
}

#[test]
fn what_has_not_changed_is_not_held_against_an_update() {
    let schema = schema(json!({
        "a": {"type": "string", "maxLength": 3},
        "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
        "l": {"type": "array", "items": {"type": "integer", "maximum": 1}},
    }));
    let old = json!({"spec": {"a": "toolong", "m": [{"k": "x", "v": 9}], "l": [9]}});
    let update = |new: Value| -> Vec<String> {
        let correlated = Correlated::new(&new, &old, &schema);
        validate_update(&correlated, &schema, &Path::root()).iter().map(ToString::to_string).collect()
    };
    assert_eq!(update(json!({"spec": {"a": "toolong", "m": [{"k": "y"}, {"k": "x", "v": 9}], "l": [9]}})), [""; 0]);
    assert_eq!(update(json!({"spec": {"a": "alsolong"}})), ["spec.a: Too long: may not be more than 3 bytes"]);
    assert_eq!(
        update(json!({"spec": {"m": [{"k": "z", "v": 9}]}})),
        ["spec.m[0].v: Invalid value: 9: spec.m[0].v in body should be less than or equal to 1"]
    );
    assert_eq!(
        update(json!({"spec": {"l": [9, 0]}})),
        ["spec.l[0]: Invalid value: 9: spec.l[0] in body should be less than or equal to 1"]
    );
}

#[test]
fn lists_that_are_sets_or_maps_hold_nothing_twice() {
    let schema = schema(json!({
        "s": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "p"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "p": {"type": "string"}}}},
    }));
    let object = json!({"spec": {"s": ["a", "b", "a", "b", "a"], "m": [{"k": "a", "p": "T"}, {"p": "T", "k": "a"}, {"k": "a"}]}});
    let found: Vec<String> = validate_lists(&object, &schema, &Path::root()).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "spec.s[2]: Duplicate value: \"a\"",
            "spec.s[3]: Duplicate value: \"b\"",
            "spec.m[1]: Duplicate value: {\"k\":\"a\",\"p\":\"T\"}",
        ]
    );
}

#[test]
fn embedded_resources_have_types_and_metadata() {
    let schema = schema(json!({"t": {
        "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
    }}));
    let mut object =
        json!({"spec": {"t": {"apiVersion": "v1/x/y", "kind": "Bad Kind", "metadata": {"bogus": 1, "name": "x"}}}});
    let mut unknown = Vec::new();
    coerce(&mut object, &schema, &Path::root(), Malformed::Refuse, &mut unknown).unwrap();
    assert_eq!(unknown, ["spec.t.metadata.bogus"]);
    let found: Vec<String> =
        validate_embedded(&object, &schema, &Path::root()).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], "spec.t.apiVersion: Invalid value: \"v1/x/y\": unexpected GroupVersion string: v1/x/y");
    assert!(
        found[1]
            .starts_with("spec.t.kind: Invalid value: \"Bad Kind\": may have mixed case, but should otherwise match: ")
    );

    let mut malformed = json!({"spec": {"t": {"metadata": {"labels": {"a": 1}, "name": "x"}}}});
    let refused =
        coerce(&mut malformed.clone(), &schema, &Path::root(), Malformed::Refuse, &mut Vec::new()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "spec.t.metadata: Invalid value: {\"labels\":{\"a\":1},\"name\":\"x\"}: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"
    );
    coerce(&mut malformed, &schema, &Path::root(), Malformed::Drop, &mut Vec::new()).unwrap();
    assert_eq!(malformed, json!({"spec": {"t": {"metadata": {"name": "x"}}}}));
}

#[test]
fn schemas_become_types_with_list_kinds() {
    let schema = schema(json!({
        "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}}}},
    }));
    let (types, id) = schema.types("W");
    let spec = types.get(id).find("spec").and_then(|field| field.shape.type_id()).unwrap();
    let list = types.get(spec).find("m").unwrap();
    assert_eq!(list.list, machinery::schema::ListKind::Map(vec!["k".into()]));
    assert!(types.get(id).find("metadata").unwrap().shape.type_id().is_some());
}
