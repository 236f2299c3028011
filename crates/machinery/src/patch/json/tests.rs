use super::*;
use proptest::prelude::*;
use serde_json::json;

fn patched(object: Value, patch: Value) -> Result<Value, PatchError> {
    let mut object = object;
    apply(&mut object, patch.to_string().as_bytes()).map(|()| object)
}

fn document() -> Value {
    json!({"data": {"j": "w", "k": "v"}, "list": [{"n": "a"}, {"n": "b"}], "none": null, "e": {"a/b": 1, "m~n": 2}})
}

#[test]
fn operations_work_as_upstreams() {
    for (operations, pointer, want) in [
        (json!([{"op": "add", "path": "/list/1", "value": 1}]), "/list", json!([{"n": "a"}, 1, {"n": "b"}])),
        (json!([{"op": "add", "path": "/list/-", "value": 1}]), "/list", json!([{"n": "a"}, {"n": "b"}, 1])),
        (json!([{"op": "add", "path": "/list/-1", "value": 1}]), "/list", json!([{"n": "a"}, {"n": "b"}, 1])),
        (json!([{"op": "remove", "path": "/list/0"}]), "/list", json!([{"n": "b"}])),
        (json!([{"op": "remove", "path": "/list/-1"}]), "/list", json!([{"n": "a"}])),
        (json!([{"op": "replace", "path": "/list/0/n", "value": "z"}]), "/list/0", json!({"n": "z"})),
        (json!([{"op": "replace", "path": "/data/none", "value": "x"}]), "/data/none", json!("x")),
        (json!([{"op": "add", "path": "data/k", "value": "x"}]), "/k", json!("x")),
        (json!([{"op": "add", "path": "/data/k"}]), "/data/k", json!(null)),
        (json!([{"op": "move", "from": "/data/k", "path": "/data/z"}]), "/data", json!({"j": "w", "z": "v"})),
        (json!([{"op": "copy", "from": "/data/none", "path": "/data/z"}]), "/data/z", json!(null)),
        (json!([{"op": "replace", "path": "/e/a~1b", "value": 3}]), "/e/a~1b", json!(3)),
        (json!([{"op": "replace", "path": "/e/m~0n", "value": 3}]), "/e/m~0n", json!(3)),
        (json!([{"op": "test", "path": "/list/0", "value": {"n": "a"}}]), "/data/j", json!("w")),
        (json!([{"op": "test", "path": "/data/none", "value": null}]), "/data/j", json!("w")),
        (json!([{"op": "test", "path": "/none", "value": null}]), "/data/j", json!("w")),
        (json!(null), "/data/j", json!("w")),
    ] {
        let result = patched(document(), operations.clone()).unwrap_or_else(|e| panic!("{operations}: {e}"));
        assert_eq!(result.pointer(pointer), Some(&want), "{operations}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for operation in [
        json!({"op": "remove", "path": "/data/none"}),
        json!({"op": "add", "path": "/none/deep", "value": 1}),
        json!({"op": "add", "path": "/missing/deep", "value": 1}),
        json!({"op": "add", "path": "/data/k/deep", "value": 1}),
        json!({"op": "add", "path": "/list/9", "value": 1}),
        json!({"op": "replace", "path": "/list/x", "value": 1}),
        json!({"op": "replace", "path": "/list/2", "value": 1}),
        json!({"op": "remove", "path": "/list/-3"}),
        json!({"op": "remove", "path": ""}),
        json!({"op": "replace", "path": "", "value": "x"}),
        json!({"op": "move", "from": "/data/x", "path": "/data/z"}),
        json!({"op": "move", "path": "/data/x"}),
        json!({"op": "bogus", "path": "/data/k"}),
        json!({"path": "/data/k", "value": "1"}),
        json!({"op": "add", "value": "x"}),
        json!({}),
    ] {
        let result = patched(document(), json!([operation]));
        assert!(matches!(result, Err(PatchError::DoesNotApply(_))), "{operation}: {result:?}");
    }
    for (path, value) in [("/data/k", "no"), ("/data/none", "x")] {
        let result = patched(document(), json!([{"op": "test", "path": path, "value": value}]));
        assert_eq!(result, Err(PatchError::TestFailed(format!("testing value {path} failed: test failed"))));
    }
}

#[test]
fn refusals_say_which_operation_found_what() {
    let table = [
        (
            json!({"op": "remove", "path": "/no/x"}),
            "remove operation does not apply: doc is missing path: \"/no/x\": missing value",
        ),
        (
            json!({"op": "remove", "path": "/data/no"}),
            "error in remove for path: '/data/no': unable to remove nonexistent key: no: missing value",
        ),
        (
            json!({"op": "add", "path": "/list/9", "value": 1}),
            "error in add for path: '/list/9': Unable to access invalid index: 9: invalid index referenced",
        ),
        (
            json!({"op": "replace", "path": "/list/-", "value": 1}),
            "replace operation does not apply: doc is missing key: /list/-: missing value",
        ),
        (
            json!({"op": "copy", "from": "/no/x", "path": "/y"}),
            "copy operation does not apply: doc is missing from path: /no/x: missing value",
        ),
        (json!({"op": "other", "path": "/x"}), "Unexpected kind: other"),
    ];
    for (operation, wanted) in table {
        assert_eq!(patched(document(), json!([operation])).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn malformed_patches_have_upstreams_messages() {
    for (body, want) in [
        ("{}", "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        ("\"x\"", "error decoding patch: json: cannot unmarshal string into Go value of type []handlers.jsonPatchOp"),
        ("[1]", "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
        (
            "[{\"op\":1}]",
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
        ),
        ("[", "error decoding patch: unexpected end of JSON input"),
    ] {
        assert_eq!(Patch::parse(body.as_bytes()), Err(PatchError::Malformed(want.to_owned())));
    }
}

#[test]
fn unknown_fields_are_problems() {
    let patch = Patch::parse(br#"[{"op":"test","path":"/a"},{"op":"add","path":"/a","value":1,"x":2}]"#).unwrap();
    assert_eq!(patch.problems, [r#"json patch unknown field "[1].x""#]);
}

#[test]
fn patches_are_bounded() {
    let many: Vec<Value> = (0..=OPERATIONS_MAX).map(|_| json!({"op": "test", "path": "/x"})).collect();
    assert_eq!(patched(json!({}), Value::from(many)), Err(PatchError::TooManyOperations(OPERATIONS_MAX + 1)));

    let copies: Vec<Value> = (0..4).map(|i| json!({"op": "copy", "from": "/k", "path": format!("/k{i}")})).collect();
    let result = patched(json!({"k": "x".repeat(1 << 20)}), Value::from(copies));
    assert!(matches!(result, Err(PatchError::DoesNotApply(_))), "four copies of a megabyte");

    // Each copy into itself doubles the depth.
    let nest: Vec<Value> =
        (0..12).map(|_| json!({"op": "copy", "from": "/a", "path": format!("/a{}", "/a".repeat(60))})).collect();
    let deep = (0..62).fold(json!({}), |inner, _| json!({"a": inner}));
    let result = patched(deep, Value::from(nest));
    assert!(
        matches!(&result, Ok(object) if depth(object) <= DEPTH_MAX)
            || matches!(result, Err(PatchError::DoesNotApply(_)))
    );
    let deeper = format!("[{{\"op\":\"add\",\"path\":\"{}\",\"value\":1}}]", "/a".repeat(DEPTH_MAX + 1));
    assert!(matches!(apply(&mut json!({}), deeper.as_bytes()), Err(PatchError::DoesNotApply(_))));
}

proptest! {
    #[test]
    fn nothing_panics(
        object in crate::patch::tests::object(),
        operations in prop::collection::vec(
            ("(add|remove|replace|move|copy|test)", "(/(metadata|spec|a|containers|-|-1|0|1|~1|~)){0,4}", "(/(metadata|spec|a|0)){0,3}", crate::patch::tests::object()),
            0..6,
        ),
    ) {
        let operations: Vec<Value> = operations.into_iter().map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value})).collect();
        let _ = patched(object, Value::from(operations));
    }

    #[test]
    fn parsing_never_panics(body in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Patch::parse(&body);
    }

    #[test]
    fn added_values_are_found_and_removed_again(object in crate::patch::tests::object(), value in crate::patch::tests::object()) {
        let there = patched(object.clone(), json!([{"op": "add", "path": "/new~1key", "value": value}, {"op": "test", "path": "/new~1key", "value": value}]));
        prop_assert!(there.is_ok());
        prop_assert_eq!(patched(there.unwrap_or_default(), json!([{"op": "remove", "path": "/new~1key"}])), Ok(object));
    }
}
