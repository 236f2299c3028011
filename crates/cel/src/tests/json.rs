//! JSON read by declarations, and values written as JSON.

use serde_json::{Value as Json, json};

use super::{eval_in, show};
use crate::{Activation, Budget, Declaration, Env, ListKind, ObjectType, Type, Value};

/// A schema with one field of each sort.
fn declaration() -> Declaration {
    let port = ObjectType::builder("Self.ports.@idx")
        .field("name", Declaration::string(None), false)
        .field("protocol", Declaration::string(None), false)
        .field("port", Declaration::from(Type::Int), true);
    let keys = ListKind::Map(["name".to_owned(), "protocol".to_owned()].into());
    ObjectType::builder("Self")
        .type_and_object_meta()
        .field("count", Declaration::from(Type::Int), false)
        .field("ratio", Declaration::from(Type::Double), false)
        .field("flag", Declaration::from(Type::Bool), false)
        .field("text", Declaration::string(Some(10)), false)
        .field("blob", Declaration::bytes(None), false)
        .field("when", Declaration::date_time(), false)
        .field("day", Declaration::date(), false)
        .field("span", Declaration::duration(), false)
        .field("either", Declaration::int_or_string(None), false)
        .field("atoms", Declaration::list(Declaration::from(Type::Int), None, ListKind::Atomic), false)
        .field("set", Declaration::list(Declaration::string(None), None, ListKind::Set), false)
        .field("ports", Declaration::list(port.declaration(), None, keys), false)
        .field("labels", Declaration::map(Declaration::string(None), None), false)
        .field("in", Declaration::string(None), false)
        .field("namespace", Declaration::string(None), false)
        .field("x-dash", Declaration::string(None), false)
        .field("any", Declaration::dynamic(), false)
        .declaration()
}

fn object() -> Json {
    json!({
        "kind": "Thing",
        "metadata": {"name": "a", "labels": {"hidden": "yes"}},
        "count": 3, "ratio": 2, "flag": true, "text": "abc", "blob": "aGVsbG8=",
        "when": "2024-01-02T03:04:05Z", "day": "2024-01-02", "span": "90s", "either": "10%",
        "atoms": [1, 2], "set": ["a", "b"],
        "ports": [{"name": "web", "protocol": "TCP", "port": 80}, {"name": "dns", "protocol": "UDP", "port": 53}],
        "labels": {"app.kubernetes.io/name": "x", "tier": "front"},
        "in": "keyword", "namespace": "here", "x-dash": "dashed", "unknown": 1,
        "any": {"deep": [1, {"x": null}], "big": 1e30}
    })
}

fn check_self(table: &[(&str, &str)]) {
    let (declaration, object) = (declaration(), object());
    let env = Env::builder().variable("self", declaration.clone()).variable("other", declaration.clone()).build();
    let mut changed = object.clone();
    changed["set"] = json!(["b", "a"]);
    changed["ports"] = json!([object["ports"][1], object["ports"][0]]);
    changed["atoms"] = json!([2, 1]);
    let mut activation = Activation::new();
    activation.set_json("self", &object, &declaration).unwrap();
    activation.set_json("other", &changed, &declaration).unwrap();
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(source, wanted)| {
            let found = eval_in(&env, &activation, source);
            (found != *wanted).then(|| format!("{source}\n  wanted {wanted}\n  found  {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn fields_have_their_declared_types() {
    check_self(&[
        ("self.count + 1", "4"),
        ("self.ratio + 0.5", "2.5"),
        ("self.flag && self.text == 'abc'", "true"),
        ("self.blob", "b\"hello\""),
        ("self.when.getHours()", "3"),
        ("self.day == timestamp('2024-01-02T00:00:00Z')", "true"),
        ("self.span", "90s"),
        ("self.either == '10%'", "true"),
        ("type(self.either) == string ? self.either.endsWith('%') : self.either > 0", "true"),
        ("self.labels['tier']", r#""front""#),
        ("self.labels.exists(k, k.startsWith('app.kubernetes.io/'))", "true"),
        ("self.metadata.name", r#""a""#),
        ("self.ports.map(p, p.port)", "[80, 53]"),
        ("self.any.deep[1].x", "null"),
        ("self.any.big > 1.0", "true"),
        ("has(self.any.none)", "false"),
        ("has(self.text)", "true"),
        ("has(self.apiVersion)", "false"),
        ("self.?apiVersion", "none"),
        ("self.?text.orValue('')", r#""abc""#),
        ("self.apiVersion", "error: no such key: apiVersion"),
    ]);
}

#[test]
fn names_that_are_no_identifiers_are_escaped() {
    check_self(&[
        ("self.__in__", r#""keyword""#),
        ("self.x__dash__dash", r#""dashed""#),
        ("has(self.__in__)", "true"),
        ("self.namespace + '/' + self.__namespace__", r#""here/here""#),
        ("has(self.namespace)", "true"),
        ("self.labels['app.kubernetes.io/name']", r#""x""#),
    ]);
}

#[test]
fn what_is_not_declared_is_out_of_reach() {
    let env = Env::builder().variable("self", declaration()).build();
    for (source, message) in [
        ("self.unknown", "undefined field 'unknown'"),
        ("self.metadata.labels", "undefined field 'labels'"),
        ("self.text == 1", "found no matching overload for '_==_' applied to '(string, int)'"),
        ("self.ports[0].port == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
    ] {
        let error = env.compile(source).unwrap_err();
        assert_eq!(error.issues()[0].message(), message, "{source}");
    }
}

#[test]
fn lists_compare_and_add_up_by_their_kind() {
    check_self(&[
        ("self.atoms == other.atoms", "false"),
        ("self.set == other.set", "true"),
        ("self.ports == other.ports", "true"),
        ("self.atoms + [1]", "[1, 2, 1]"),
        ("self.set + ['a', 'c']", r#"["a", "b", "c"]"#),
        ("(self.ports + other.ports).size()", "2"),
        ("self == other", "false"),
    ]);
}

#[test]
fn misfits_are_errors_where_they_are_read() {
    let declaration = declaration();
    let env = Env::builder().variable("self", declaration.clone()).build();
    let object = json!({"when": "yesterday", "span": "long", "blob": "!", "text": null});
    let mut activation = Activation::new();
    activation.set_json("self", &object, &declaration).unwrap();
    for (source, wanted) in [
        ("self.when.getHours()", "error: invalid data, expected timestamp, got yesterday"),
        ("self.span == duration('1s')", "error: invalid data, expected duration, got long"),
        ("self.text == ''", "false"),
    ] {
        assert_eq!(eval_in(&env, &activation, source), wanted, "{source}");
    }
}

#[test]
fn values_become_json() {
    let env = Env::builder().mutation().build();
    for (source, wanted) in [
        ("1", json!(1)),
        ("18446744073709551615u", json!(18_446_744_073_709_551_615_u64)),
        ("1.5", json!(1.5)),
        ("'a'", json!("a")),
        ("b'a'", json!("YQ==")),
        ("null", json!(null)),
        ("[dyn(1), dyn('a')]", json!([1, "a"])),
        ("{'a': [true]}", json!({"a": [true]})),
        ("timestamp(0)", json!("1970-01-01T00:00:00Z")),
        ("duration('1m')", json!("60s")),
        ("optional.of(1)", json!(1)),
        ("quantity('100m')", json!("100m")),
        ("Object{spec: Object.spec{x__dash__y: 1, __in__: 'a'}}", json!({"spec": {"x-y": 1, "in": "a"}})),
        ("JSONPatch{op: 'remove', path: '/a'}", json!({"op": "remove", "path": "/a"})),
    ] {
        let program = env.compile(source).unwrap();
        let value = program.evaluate(&Activation::new(), &mut Budget::default()).unwrap();
        assert_eq!(value.to_json().unwrap(), wanted, "{source}");
    }
    for source in ["{1: 2}", "type(1)", "ip('::1')"] {
        let program = env.compile(source).unwrap();
        let value = program.evaluate(&Activation::new(), &mut Budget::default()).unwrap();
        assert!(value.to_json().is_err(), "{source}");
    }
}

#[test]
fn computed_variables_are_computed_once() {
    let base =
        Env::builder().variable("count", Type::Int).variable("variables", Type::map(Type::String, Type::Dyn)).build();
    let programs: Vec<_> = [("double", "count * 2"), ("quadruple", "variables.double * 2"), ("bad", "1 / (count - 3)")]
        .into_iter()
        .map(|(name, source)| (name.to_owned(), base.compile(source).unwrap()))
        .collect();
    let mut activation = Activation::new();
    activation.set("count", Value::Int(3)).set_programs("variables", &programs);
    let mut budget = Budget::default();
    let mut eval = |source: &str| {
        let before = budget.spent();
        let result = base.compile(source).unwrap().evaluate(&activation, &mut budget);
        (result.map_or_else(|error| error.to_string(), |value| show(&value)), budget.spent() - before)
    };
    let (value, first) = eval("variables.quadruple + variables.quadruple");
    assert_eq!(value, "24");
    let (value, second) = eval("variables.quadruple + variables.quadruple");
    assert_eq!(value, "24");
    assert!(second < first, "{second} {first}");
    assert_eq!(eval("variables.bad").0, "division by zero");
    assert_eq!(eval("variables.none").0, "no such key: none");
}

#[test]
fn variables_that_use_themselves_end() {
    let base = Env::builder().variable("variables", Type::map(Type::String, Type::Dyn)).build();
    let programs = vec![
        ("a".to_owned(), base.compile("variables.b").unwrap()),
        ("b".to_owned(), base.compile("variables.a").unwrap()),
    ];
    let mut activation = Activation::new();
    activation.set_programs("variables", &programs);
    assert_eq!(
        eval_in(&base, &activation, "variables.a"),
        "error: operation cancelled: evaluation is nested too deeply"
    );
}
