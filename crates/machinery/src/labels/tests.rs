use super::*;
use proptest::prelude::*;
use serde_json::json;

fn object(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}})
}

#[test]
fn selectors_select() {
    let a = object(json!({"env": "prod", "n": "5", "in": "x"}));
    for (text, selects) in [
        ("", true),
        (" ", true),
        ("env", true),
        ("!env", false),
        ("! tier", true),
        ("env=prod", true),
        ("env==prod", true),
        ("env!=prod", false),
        ("tier!=prod", true),
        ("env in (prod,dev)", true),
        ("env in (,prod)", true),
        ("env in ()", false),
        ("env notin (prod)", false),
        ("tier notin (prod)", true),
        ("n>4,n<6", true),
        ("n>5", false),
        ("env>1", false),
        ("in=x", true),
        ("in in (x)", true),
        ("in notin (x)", false),
        ("env = prod , n", true),
        ("env=", false),
    ] {
        let selector = Selector::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(selector.matches_object(&a), selects, "{text}");
    }
    assert!(!Selector::nothing().matches_object(&a));
}

#[test]
fn errors_are_upstreams() {
    for (text, want) in [
        ("env=prod=x", "found '=', expected: ',' or 'end of string'"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("env in", "unable to parse requirement: found '' expected: '('"),
        ("env in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("env in a", "unable to parse requirement: found 'a' expected: '('"),
        ("env,", "found '', expected: identifier after ','"),
        (
            "env=-bad",
            "unable to parse requirement: values[0][env]: Invalid value: \"-bad\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt"),
        (
            "env>",
            "unable to parse requirement: values[0]: Invalid value: \"\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("!env=x", "found '=', expected: ',' or 'end of string'"),
    ] {
        assert_eq!(Selector::parse(text).unwrap_err(), want, "{text}");
    }
    let long = "k".repeat(64);
    assert_eq!(
        Selector::parse(&format!("{long}=x")).unwrap_err(),
        format!(
            "unable to parse requirement: <nil>: Invalid value: \"{long}\": name part must be no more than 63 bytes"
        )
    );
}

#[test]
fn selectors_print_sorted() {
    for (text, want) in [
        ("b=1,a", "a,b=1"),
        ("x in (b,a,b)", "x in (a,b)"),
        ("!x,y!=2,z>3", "!x,y!=2,z>3"),
        ("a in ()", "a in ()"),
        ("a in (,b)", "a in (,b)"),
    ] {
        assert_eq!(Selector::parse(text).unwrap().to_string(), want);
    }
}

#[test]
fn object_form_follows_its_own_rules() {
    let a = object(json!({"app": "x", "tier": "y"}));
    let select = |selector: Value| Selector::from_label_selector(&selector).map(|s| s.matches_object(&a));
    assert_eq!(select(Value::Null), Ok(false));
    assert_eq!(select(json!({})), Ok(true));
    assert_eq!(
        select(json!({"matchLabels": {"app": "x"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]})),
        Ok(true)
    );
    assert_eq!(select(json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["y"]}]})), Ok(false));
    assert_eq!(
        select(json!({"matchExpressions": [{"key": "tier", "operator": "Bogus"}]})),
        Err("\"Bogus\" is not a valid label selector operator".to_owned())
    );
    assert_eq!(Selector::from_map([("app", "x")]).exact("app"), Some("x"));
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC*") {
        let _ = Selector::parse(&text);
    }

    #[test]
    fn parsing_symbols_never_panics_and_prints_what_it_parses(text in "([a-c]|in|notin|[ =!(),<>]){0,12}") {
        if let Ok(selector) = Selector::parse(&text) {
            let printed = selector.to_string();
            prop_assert_eq!(Selector::parse(&printed), Ok(selector), "{}", printed);
        }
    }
}
