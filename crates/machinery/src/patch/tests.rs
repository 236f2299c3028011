use super::*;
use proptest::prelude::*;
use serde_json::json;

/// Small objects with few names, so that patches hit what is there.
pub fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3u8).prop_map(Value::from),
        "[ab]?".prop_map(Value::from)
    ];
    let names = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("containers"),
        Just("name"),
        Just("finalizers"),
        Just("labels"),
        Just("$patch"),
        Just("$retainKeys"),
        Just("$setElementOrder/containers"),
        Just("$deleteFromPrimitiveList/finalizers"),
        Just("$setElementOrder/finalizers"),
        Just("a"),
    ];
    let any = leaf.prop_recursive(5, 48, 4, move |inner| {
        let names = names.clone().prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    });
    any.prop_filter("a map", Value::is_object)
}

#[test]
fn errors_become_statuses() {
    for (error, code, message) in [
        (PatchError::Malformed("m".to_owned()), 400, "m"),
        (
            PatchError::DoesNotApply("d".to_owned()),
            422,
            "the server rejected our request due to an error in our request",
        ),
        (PatchError::Unexpected("u".to_owned()), 500, "u"),
        (
            PatchError::TooManyOperations(10_001),
            413,
            "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001",
        ),
    ] {
        let status = Status::from(error);
        assert_eq!((status.code(), status.message()), (code, message));
    }
}

#[test]
fn bodies_are_maps() {
    assert_eq!(parse_map(b"{\"a\":1,\"a\":2}").unwrap().value, json!({"a": 2}));
    assert_eq!(parse_map(b"null").unwrap().value, Value::Null);
    assert_eq!(
        parse_map(b"[]").unwrap_err(),
        "json: cannot unmarshal array into Go value of type map[string]interface {}"
    );
    assert!(parse_map(&[b'['; 100_000]).is_err());
}
