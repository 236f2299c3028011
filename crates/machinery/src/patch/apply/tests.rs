use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::{Field, ListKind, MapKind, Shape, Type, TypeId, Types};
use crate::status::Status;

/// A type with each kind of list and map, as a kind of the version v1.
fn types() -> (Types, TypeId) {
    let mut types = Types::default();
    let port = types.declare("test.Port");
    let mut protocol = Field::new("protocol", Shape::String);
    protocol.default = Some("TCP".into());
    let fields = vec![Field::new("number", Shape::Int32), protocol, Field::new("name", Shape::String)];
    types.define(port, of_fields("test.Port", fields));
    let meta = types.declare("test.Meta");
    let strings = || Shape::Map(Box::new(Shape::String));
    let mut finalizers = Field::new("finalizers", Shape::List(Box::new(Shape::String)));
    finalizers.list = ListKind::Set;
    let fields = vec![
        Field::new("name", Shape::String),
        Field::new("labels", strings()),
        Field::new("annotations", strings()),
        finalizers,
    ];
    types.define(meta, of_fields("test.Meta", fields));
    let spec = types.declare("test.Spec");
    let list = |name: &'static str, shape: Shape, kind: ListKind| {
        let mut field = Field::new(name, Shape::List(Box::new(shape)));
        field.list = kind;
        field
    };
    let mut selector = Field::new("selector", strings());
    selector.map = MapKind::Atomic;
    let fields = vec![
        Field::new("replicas", Shape::Int32),
        selector,
        list("args", Shape::String, ListKind::Atomic),
        list("set", Shape::String, ListKind::Set),
        list("ports", Shape::Ref(port), ListKind::Map(vec!["number".into(), "protocol".into()])),
        Field::new("free", Shape::Any),
        Field::new("paused", Shape::Bool),
    ];
    types.define(spec, of_fields("test.Spec", fields));
    let root = types.declare("test.Thing");
    let fields = vec![
        Field::new("apiVersion", Shape::String),
        Field::new("kind", Shape::String),
        Field::new("metadata", Shape::Ref(meta)),
        Field::new("data", strings()),
        Field::new("spec", Shape::Ref(spec)),
        Field::new("status", Shape::Any),
    ];
    types.define(root, of_fields("test.Thing", fields));
    (types, root)
}

fn of_fields(name: &'static str, fields: Vec<Field>) -> Type {
    let mut ty = Type::new(name);
    ty.fields = fields;
    ty
}

struct One(Types, TypeId);

impl One {
    fn new() -> Self {
        let (types, id) = types();
        One(types, id)
    }

    fn place(&self) -> Place<'_> {
        Place::root(&self.0, self.1)
    }
}

/// The version v2 has `replicas` of the spec at the top of `data`.
impl Versions for One {
    fn place(&self, api_version: &str) -> Option<Place<'_>> {
        matches!(api_version, "v1" | "v2").then(|| One::place(self))
    }

    fn empty(&self, _: &str) -> Value {
        json!({"metadata": {}, "spec": {}})
    }

    fn convert(&self, object: &Value, from: &str, to: &str) -> Value {
        let mut object = object.clone();
        let (old, new) = if to == "v2" { ("replicas", "paused") } else { ("paused", "replicas") };
        if let Some(spec) = object["spec"].as_object_mut().filter(|_| from != to)
            && let Some(value) = spec.shift_remove(old)
        {
            spec.insert(new.to_owned(), value);
        }
        object
    }
}

const NOW: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2026-01-01T00:00:09Z";

fn updated(managed: &Managed, manager: &str, old: Value, new: Value, now: &str) -> Managed {
    let reset = Set::of_fields(&[&["status"]]);
    let id = ManagerId::new(manager, Operation::Update, "v1", "");
    let writer = Writer { id, api_version: "v1", now, reset: &reset };
    update(&One::new(), &writer, &old, &new, managed.clone())
}

/// Applies like a server: the object and its entries after it.
fn applied(
    state: &(Value, Managed),
    manager: &str,
    config: Value,
    force: bool,
) -> Result<(Value, Managed), ApplyError> {
    let reset = Set::of_fields(&[&["status"]]);
    let id = ManagerId::new(manager, Operation::Apply, "v1", "");
    let writer = Writer { id, api_version: "v1", now: NOW, reset: &reset };
    let live = Some(&state.0).filter(|live| !live.is_null());
    let applied = apply(&One::new(), &writer, live, &config, state.1.clone(), force)?;
    Ok((applied.object.unwrap_or_else(|| state.0.clone()), applied.managed))
}

fn nothing() -> (Value, Managed) {
    (Value::Null, Managed::default())
}

fn fields_of(managed: &Managed, manager: &str) -> Value {
    let entry = managed.entries.iter().find(|(id, _)| id.manager == manager);
    entry.map_or(Value::Null, |(_, entry)| fields_v1::encode(&entry.fields))
}

#[test]
fn what_is_applied_is_owned_by_its_leaves() {
    let one = One::new();
    let object = json!({"metadata": {"name": "a", "labels": {"l": "1"}, "finalizers": ["f"]}, "spec": {
        "replicas": 1, "selector": {"a": "b"}, "args": ["x"], "set": [], "paused": null,
        "ports": [{"number": 80}, {"number": 80, "protocol": "UDP", "name": "u"}],
        "free": {"x": {"y": [1, {"z": 2}]}, "w": 1}}});
    assert_eq!(
        fields_v1::encode(&owned(one.place(), &object)),
        json!({"f:metadata": {"f:finalizers": {"v:\"f\"": {}}, "f:labels": {"f:l": {}}, "f:name": {}}, "f:spec": {
            "f:args": {}, "f:free": {"f:w": {}, "f:x": {".": {}, "f:y": {}}}, "f:paused": {},
            "f:ports": {
                "k:{\"number\":80,\"protocol\":\"TCP\"}": {".": {}, "f:number": {}},
                "k:{\"number\":80,\"protocol\":\"UDP\"}": {".": {}, "f:name": {}, "f:number": {}, "f:protocol": {}}},
            "f:replicas": {}, "f:selector": {}}})
    );
}

#[test]
fn fields_are_encoded_in_the_order_of_steps() {
    let tree = r#"{"f:a":{".":{},"f:c":{}},"f:b":{},"k:{\"n\":\"\\u003cx\"}":{},"k:{\"n\":\"y\"}":{".":{},"f:n":{}},"v:2":{},"v:10":{},"v:\"a\"":{},"v:false":{},"i:3":{}}"#;
    let shuffled: Value = serde_json::from_str(
        r#"{"i:3":{},"v:false":{},"v:\"a\"":{},"v:10":{},"v:2":{},"k:{\"n\":\"y\"}":{"f:n":{},".":{}},"k:{\"n\":\"<x\"}":{},"f:b":{},"f:a":{"f:c":{},".":{}},"x:later":{"f:a":{}}}"#,
    )
    .unwrap();
    assert_eq!(fields_v1::encode(&fields_v1::decode(&shuffled).unwrap()).to_string(), tree);
    for wrong in
        [json!([]), json!({"bad": {}}), json!({"f:a": 1}), json!({"k:1": {}}), json!({"i:x": {}}), json!({"v:": {}})]
    {
        assert!(fields_v1::decode(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn comparison_names_what_was_added_modified_and_removed() {
    let old = json!({"data": {"a": "1", "b": "1"}, "spec": {"set": ["x", "y"], "ports": [{"number": 1, "name": "n"}], "args": ["a"]}});
    let new = json!({"data": {"a": "2", "c": "1"}, "spec": {"set": ["y", "z"], "ports": [{"number": 1}, {"number": 2}], "args": []}});
    let one = One::new();
    let found = compare(one.place(), &old, &new);
    let text = |set: &Set| set.paths().iter().map(|path| path_text(path)).collect::<Vec<_>>().join(" ");
    assert_eq!(
        text(&found.added),
        ".data.c .spec.ports[number=2,protocol=\"TCP\"] .spec.ports[number=2,protocol=\"TCP\"].number .spec.set[=\"z\"]"
    );
    assert_eq!(text(&found.modified), ".data.a .spec.args");
    assert_eq!(text(&found.removed), ".data.b .spec.ports[number=1,protocol=\"TCP\"].name .spec.set[=\"x\"]");
    // A value that changes its form loses all that was in it.
    let found = compare(one.place(), &json!({"status": {"a": {"b": 1}}}), &json!({"status": {"a": 3}}));
    assert_eq!((text(&found.modified), text(&found.removed)), (".status.a".to_owned(), ".status.a.b".to_owned()));
}

#[test]
fn updates_take_over_what_they_change() {
    let none = Managed::default();
    let created =
        json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "data": {"k": "v"}, "spec": {}, "status": {"s": 1}});
    let one = updated(&none, "one", json!({"metadata": {}, "spec": {}}), created.clone(), NOW);
    assert_eq!(
        one.encode(),
        vec![
            json!({"manager": "one", "operation": "Update", "apiVersion": "v1", "time": NOW, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:k": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}}})
        ]
    );
    let mut changed = created.clone();
    changed["data"] = json!({"k": "w", "x": "1"});
    let two = updated(&one, "two", created.clone(), changed.clone(), LATER);
    assert_eq!(fields_of(&two, "one"), json!({"f:data": {}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}}));
    assert_eq!(fields_of(&two, "two"), json!({"f:data": {"f:k": {}, "f:x": {}}}));
    // Nothing new: no entry, no other time. Removing something only takes.
    assert_eq!(updated(&two, "three", changed.clone(), changed.clone(), LATER), two);
    let removed = updated(&two, "three", changed.clone(), created, LATER);
    assert_eq!(fields_of(&removed, "three"), json!({"f:data": {"f:k": {}}}));
    assert_eq!(fields_of(&removed, "two"), Value::Null);
    // A changed value counts as a new one of the same owner.
    let again = updated(
        &two,
        "two",
        changed.clone(),
        json!({"data": {"k": "z", "x": "1"}, "metadata": changed["metadata"], "spec": {}}),
        NOW,
    );
    assert_eq!(again.encode()[1]["time"], NOW);
}

#[test]
fn at_most_ten_updaters_are_told_apart() {
    let mut managed = Managed::default();
    let mut object = json!({"metadata": {}, "data": {}, "spec": {}});
    for i in 0..13 {
        let mut new = object.clone();
        new["data"][format!("k{i:02}")] = "v".into();
        managed = updated(&managed, &format!("m{i:02}"), object, new.clone(), &format!("2026-01-01T00:00:{i:02}Z"));
        object = new;
    }
    let entries = managed.encode();
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[0]["manager"], "ancient-changes");
    assert_eq!(entries[0]["fieldsV1"], json!({"f:data": {"f:k00": {}, "f:k01": {}, "f:k02": {}, "f:k03": {}}}));
    assert_eq!(entries[0]["time"], "2026-01-01T00:00:03Z");
}

#[test]
fn dropped_fields_go_unless_somebody_else_owns_them() {
    let config = |data: Value| json!({"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a"}, "data": data});
    let state = applied(&nothing(), "one", config(json!({"a": "1", "b": "1", "c": "1"})), false).unwrap();
    let state = applied(&state, "two", config(json!({"b": "1"})), false).unwrap();
    let (object, managed) = applied(&state, "one", config(json!({"a": "1"})), false).unwrap();
    assert_eq!(object["data"], json!({"a": "1", "b": "1"}));
    assert_eq!(fields_of(&managed, "one"), json!({"f:data": {"f:a": {}}}));
    // One who owns nothing any more has no entry.
    let (object, managed) = applied(&(object, managed), "one", config(Value::Null), false).unwrap();
    assert_eq!(object["data"], json!({"b": "1"}));
    assert_eq!(fields_of(&managed, "one"), json!({"f:data": {}}));
}

#[test]
fn an_apply_that_changes_nothing_has_no_object_and_no_time() {
    let config = json!({"metadata": {"name": "a"}, "data": {"a": "1"}});
    let (object, managed) = applied(&nothing(), "one", config.clone(), false).unwrap();
    let reset = Set::default();
    let id = ManagerId::new("two", Operation::Apply, "v1", "");
    let writer = Writer { id, api_version: "v1", now: LATER, reset: &reset };
    let two = apply(&One::new(), &writer, Some(&object), &config, managed, false).unwrap();
    assert_eq!(two.object, None);
    let times: Vec<_> =
        two.managed.encode().iter().map(|entry| (entry["manager"].clone(), entry["time"].clone())).collect();
    assert_eq!(times, vec![("two".into(), Value::Null), ("one".into(), NOW.into())]);
}

#[test]
fn conflicts_name_owners_and_fields() {
    let config = |k: &str, args: &str| json!({"metadata": {"name": "a"}, "data": {"k": k}, "spec": {"args": [args], "ports": [{"number": 1, "name": k}]}});
    let (object, managed) = applied(&nothing(), "one", config("1", "a"), false).unwrap();
    let mut changed = object.clone();
    changed["data"]["u"] = "1".into();
    let state = (changed.clone(), updated(&managed, "upd", object, changed, NOW));
    let mut wanted = config("2", "b");
    wanted["data"]["u"] = "2".into();
    let status = Status::from(applied(&state, "two", wanted.clone(), false).unwrap_err());
    assert_eq!((status.code(), status.reason()), (409, "Conflict"));
    assert_eq!(
        status.message(),
        "Apply failed with 4 conflicts: conflicts with \"one\":\n- .data.k\n- .spec.args\n- .spec.ports[number=1,protocol=\"TCP\"].name\nconflicts with \"upd\" using v1:\n- .data.u"
    );
    assert_eq!(status.causes()[3].field, ".data.u");
    assert_eq!(status.causes()[3].message, "conflict with \"upd\" using v1");
    let (object, managed) = applied(&state, "two", wanted, true).unwrap();
    assert_eq!(object["data"], json!({"k": "2", "u": "2"}));
    assert_eq!(
        fields_of(&managed, "one"),
        json!({"f:spec": {"f:ports": {"k:{\"number\":1,\"protocol\":\"TCP\"}": {".": {}, "f:number": {}}}}})
    );
    let status = Status::from(applied(&(object, managed), "x", json!({"data": {"k": "3"}}), false).unwrap_err());
    assert_eq!(status.message(), "Apply failed with 1 conflict: conflict with \"two\": .data.k");
}

#[test]
fn lists_merge_in_the_order_of_the_configuration() {
    let set = |items: &[&str]| json!({"metadata": {"name": "a"}, "spec": {"set": items}});
    for (live, config, want) in [
        (&["a", "x", "b"][..], &["n", "b"][..], &["a", "x", "n", "b"][..]),
        (&["a"], &["b"], &["a", "b"]),
        (&["x", "a", "y", "b"], &["y", "x"], &["a", "y", "b", "x"]),
        (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
        (&["a", "b"], &["a", "n"], &["a", "b", "n"]),
        (&[], &["n"], &["n"]),
        (&["a"], &[], &["a"]),
    ] {
        let one = One::new();
        assert_eq!(merge::merge(one.place(), &set(live), &set(config)), set(want), "{live:?} {config:?}");
    }
}

#[test]
fn a_configuration_must_fit_the_schema() {
    for (spec, want) in [
        (json!({"replicas": "x"}), ".spec.replicas: expected numeric (int or float), got string"),
        (json!({"selector": {"a": 5}}), ".spec.selector.a: expected string, got &value.valueUnstructured{Value:5}"),
        (json!({"nope": 1}), ".spec.nope: field not declared in schema"),
        (json!({"set": ["c", "c"]}), ".spec.set: duplicate entries for key [=\"c\"]"),
        (json!({"ports": [3]}), ".spec.ports: element 0: associative list with keys may not have non-map elements"),
        (json!({"args": {}}), ".spec.args: expected list, got &{map[]}"),
        (
            json!({"replicas": "x", "paused": 3}),
            "errors:\n  .spec.replicas: expected numeric (int or float), got string\n  .spec.paused: expected boolean, got &{3}",
        ),
    ] {
        let config = json!({"apiVersion": "apps/v1", "kind": "Thing", "metadata": {"name": "a"}, "spec": spec});
        let error = applied(&nothing(), "one", config, false).unwrap_err().to_string();
        assert_eq!(error, format!("failed to create typed patch object (/a; apps/v1, Kind=Thing): {want}"));
    }
}

#[test]
fn untracked_objects_belong_to_whoever_came_before() {
    let live = json!({"metadata": {"name": "a", "labels": {"l": "1"}}, "data": {"k": "v"}, "spec": {"replicas": 2}});
    let config = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    let (_, managed) = applied(&(live.clone(), Managed::default()), "one", config.clone(), false).unwrap();
    assert_eq!(
        fields_of(&managed, "before-first-apply"),
        json!({"f:data": {".": {}, "f:k": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}, "f:spec": {"f:replicas": {}}})
    );
    assert_eq!(fields_of(&managed, "one"), json!({"f:data": {"f:k": {}}}));
}

#[test]
fn kubectl_takes_over_what_it_applied_before() {
    let last = json!({"apiVersion": "v1", "data": {"k": "v", "stale": "old"}});
    let mut live = json!({"metadata": {"name": "a", "annotations": {LAST_APPLIED: last.to_string()}}, "data": {"k": "v", "stale": "new"}});
    let managed = updated(&Managed::default(), "kubectl-client-side-apply", json!({"metadata": {}}), live.clone(), NOW);
    let state = (live.clone(), managed);
    let config = json!({"apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": "w"}});
    assert!(applied(&state, "other", config.clone(), false).is_err());
    let (object, managed) = applied(&state, "kubectl", config.clone(), false).unwrap();
    assert_eq!(object["data"]["k"], "w");
    assert_eq!(fields_of(&managed, "kubectl"), json!({"f:data": {"f:k": {}}}));
    let stale = json!({"apiVersion": "v1", "metadata": {"name": "a"}, "data": {"k": "w", "stale": "mine"}});
    let error = applied(&state, "kubectl", stale, false).unwrap_err().to_string();
    assert!(error.starts_with("Apply failed with 1 conflict: ") && error.ends_with(": .data.stale"), "{error}");
    refresh_last_applied(&mut live, &config, "other");
    assert!(live["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap().contains("stale"));
    refresh_last_applied(&mut live, &config, "kubectl");
    assert_eq!(
        live["metadata"]["annotations"][LAST_APPLIED],
        "{\"apiVersion\":\"v1\",\"data\":{\"k\":\"w\"},\"metadata\":{\"name\":\"a\"}}\n"
    );
}

#[test]
fn entries_of_other_versions_are_compared_in_theirs() {
    let (v2, gone) = ("v2", "v0");
    let entry = |version: &str, field: &str| Entry {
        fields: Set::of_fields(&[&["spec", field]]),
        api_version: version.to_owned(),
        time: None,
    };
    let mut managed = Managed::default();
    managed.entries.insert(ManagerId::new("a", Operation::Update, v2, ""), entry(v2, "paused"));
    managed.entries.insert(ManagerId::new("b", Operation::Update, gone, ""), entry(gone, "replicas"));
    let after = updated(&managed, "c", json!({"spec": {"replicas": 1}}), json!({"spec": {"replicas": 2}}), NOW);
    // The other version calls the field otherwise; a version that is gone owns nothing.
    assert_eq!(after.entries.len(), 1);
    assert_eq!(fields_of(&after, "c"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn managed_fields_that_cannot_be_read_are_refused() {
    let good = json!({"manager": "m", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}});
    assert_eq!(Managed::decode(std::slice::from_ref(&good)).unwrap().encode(), vec![good.clone()]);
    for (field, value) in [
        ("operation", json!("Bogus")),
        ("apiVersion", json!("")),
        ("fieldsType", json!("FieldsV2")),
        ("fieldsType", json!("")),
        ("fieldsV1", json!({"bad": {}})),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        assert!(Managed::decode(&[bad]).is_err(), "{field}");
    }
}

fn step() -> impl Strategy<Value = Step> {
    let datum = || {
        prop_oneof![
            "[a-z<\"\\\\]{0,3}".prop_map(|text| Datum(text.into())),
            (-9i64..9).prop_map(|number| Datum(number.into())),
            any::<bool>().prop_map(|on| Datum(on.into())),
        ]
    };
    prop_oneof![
        "[a-z.:/]{1,4}".prop_map(Step::Field),
        proptest::collection::btree_map("[a-c]{1,2}", datum(), 1..3)
            .prop_map(|keys| Step::Key(keys.into_iter().collect())),
        datum().prop_map(Step::Value),
        (0i64..5).prop_map(Step::Index),
    ]
}

fn set() -> impl Strategy<Value = Set> {
    proptest::collection::vec(proptest::collection::vec(step(), 1..4), 0..12).prop_map(|paths| {
        let mut set = Set::default();
        paths.iter().for_each(|path| set.insert(path));
        set
    })
}

fn thing() -> impl Strategy<Value = Value> {
    let data = proptest::option::of(proptest::collection::btree_map("[a-c]", "[xy]", 0..3));
    let set = proptest::collection::btree_set("[a-d]", 0..4);
    let ports = proptest::collection::btree_map(0i64..4, "[xy]", 0..3);
    let args = proptest::option::of(proptest::collection::vec("[xy]", 0..2));
    (data, set, ports, args).prop_map(|(data, set, ports, args)| {
        let ports: Vec<Value> =
            ports.into_iter().map(|(number, name)| json!({"number": number, "name": name})).collect();
        let mut object = json!({"metadata": {"name": "a"}, "spec": {"set": set, "ports": ports}});
        if let Some(data) = data {
            object["data"] = json!(data);
        }
        if let Some(args) = args {
            object["spec"]["args"] = json!(args);
        }
        object
    })
}

proptest! {
    #[test]
    fn every_set_survives_its_encoding(set in set()) {
        let encoded = fields_v1::encode(&set);
        let text = encoded.to_string();
        let decoded = fields_v1::decode(&serde_json::from_str(&text).unwrap()).unwrap();
        prop_assert_eq!(&decoded, &set);
        prop_assert_eq!(fields_v1::encode(&decoded).to_string(), text);
    }

    #[test]
    fn sets_are_sets(a in set(), b in set()) {
        let mut both = a.clone();
        both.add(b.clone());
        let mut only_a = both.clone();
        only_a.subtract(&b);
        prop_assert!(only_a.intersection(&b).is_empty());
        let mut again = only_a.clone();
        again.add(b.clone());
        prop_assert_eq!(&again, &both);
        for path in a.paths() {
            prop_assert!(both.contains(&path));
            prop_assert_eq!(a.intersection(&b).contains(&path), b.contains(&path));
        }
    }

    /// What is applied is there afterwards, applying it again changes nothing, and dropping all of it removes it.
    #[test]
    fn applying_holds_and_settles(live in thing(), config in thing()) {
        let state = applied(&nothing(), "other", live, false).unwrap();
        let once = applied(&state, "me", config.clone(), true).unwrap();
        let twice = applied(&once, "me", config.clone(), false).unwrap();
        prop_assert_eq!(&twice, &once);
        prop_assert!(compare(One::new().place(), &once.0, &merge::merge(One::new().place(), &once.0, &config)).is_same());
        let back = applied(&once, "me", json!({"metadata": {"name": "a"}}), false).unwrap();
        prop_assert_eq!(fields_of(&back.1, "me"), Value::Null);
    }
}
