//! What the compiler says.

use super::{check, eval};
use crate::{Env, Type};

const START: &str =
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

fn messages(source: &str) -> Vec<String> {
    match Env::builder().build().compile(source) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let text = error.to_string();
            let lines = text.lines().filter_map(|line| line.strip_prefix("ERROR: <input>:"));
            lines.map(str::to_owned).collect()
        }
    }
}

#[test]
fn syntax_errors_read_as_upstreams() {
    let unexpected =
        |place: &str, token: &str| format!("{place}: Syntax error: mismatched input '{token}' expecting {START}");
    for (source, wanted) in [
        ("1+", vec![unexpected("1:3", "<EOF>")]),
        ("1 + +", vec![unexpected("1:5", "+"), unexpected("1:6", "<EOF>")]),
        ("in", vec![unexpected("1:1", "in"), unexpected("1:3", "<EOF>")]),
        ("1 + $", vec!["1:5: Syntax error: token recognition error at: '$'".to_owned(), unexpected("1:6", "<EOF>")]),
        (
            "*@a | b",
            vec![
                format!("1:1: Syntax error: extraneous input '*' expecting {START}"),
                "1:2: Syntax error: token recognition error at: '@'".to_owned(),
                "1:5: Syntax error: token recognition error at: '| '".to_owned(),
                "1:7: Syntax error: extraneous input 'b' expecting <EOF>".to_owned(),
            ],
        ),
        ("a{}()", vec!["1:4: Syntax error: mismatched input '(' expecting <EOF>".to_owned()]),
        ("f(){}", vec!["1:4: Syntax error: mismatched input '{' expecting <EOF>".to_owned()]),
        ("1 + 2\n3 +", vec!["2:1: Syntax error: mismatched input '3' expecting <EOF>".to_owned()]),
        ("{\"a\": 1}.\"a\"", vec!["1:10: Syntax error: no viable alternative at input '.\"a\"'".to_owned()]),
        ("a.true", vec!["1:3: Syntax error: mismatched input 'true' expecting IDENTIFIER".to_owned()]),
        (
            "\"\\xFh\"",
            vec![
                "1:1: Syntax error: token recognition error at: '\"\\xFh'".to_owned(),
                "1:6: Syntax error: token recognition error at: '\"'".to_owned(),
                unexpected("1:7", "<EOF>"),
            ],
        ),
        (
            "func{{a}}",
            vec![
                "1:6: Syntax error: extraneous input '{' expecting {'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}".to_owned(),
                "1:8: Syntax error: mismatched input '}' expecting ':'".to_owned(),
                "1:9: Syntax error: extraneous input '}' expecting <EOF>".to_owned(),
            ],
        ),
        (
            "msg{:a}",
            vec![
                "1:5: Syntax error: extraneous input ':' expecting {'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}".to_owned(),
                "1:7: Syntax error: mismatched input '}' expecting ':'".to_owned(),
            ],
        ),
        ("{a}", vec!["1:3: Syntax error: mismatched input '}' expecting ':'".to_owned()]),
        (
            "{",
            vec![
                "1:2: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '}', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}".to_owned(),
            ],
        ),
        ("(1", vec!["1:3: Syntax error: missing ')' at '<EOF>'".to_owned()]),
        ("f(1", vec!["1:4: Syntax error: missing ')' at '<EOF>'".to_owned()]),
        ("f(1 2)", vec!["1:5: Syntax error: extraneous input '2' expecting ')'".to_owned()]),
        ("[1, 2", vec!["1:6: Syntax error: mismatched input '<EOF>' expecting {']', ','}".to_owned()]),
        ("a ? b", vec!["1:6: Syntax error: mismatched input '<EOF>' expecting ':'".to_owned()]),
        ("a b", vec!["1:3: Syntax error: extraneous input 'b' expecting <EOF>".to_owned()]),
        ("as", vec!["1:1: reserved identifier: as".to_owned()]),
        ("0xFFFFFFFFFFFFFFFFF", vec!["1:1: invalid int literal".to_owned()]),
        ("0xFFFFFFFFFFFFFFFFFu", vec!["1:1: invalid uint literal".to_owned()]),
        ("1.99e90000009", vec!["1:1: invalid double literal".to_owned()]),
        ("has(m)", vec!["1:5: invalid argument to has() macro".to_owned()]),
        ("1.all(2, 3)", vec!["1:7: argument must be a simple name".to_owned()]),
        ("m.filter(a.b, false)", vec!["1:11: argument is not an identifier".to_owned()]),
        ("m.map(__result__, 1)", vec!["1:7: iteration variable overwrites accumulator variable".to_owned()]),
        ("m.all(a, a, true)", vec!["1:10: duplicate variable name: a".to_owned()]),
        (
            "[1].map(var, var * var)",
            vec![
                "1:9: reserved identifier: var".to_owned(),
                "1:9: argument is not an identifier".to_owned(),
                "1:14: reserved identifier: var".to_owned(),
                "1:20: reserved identifier: var".to_owned(),
            ],
        ),
    ] {
        assert_eq!(messages(source), wanted, "{source}");
    }
}

#[test]
fn type_errors_read_as_upstreams() {
    for (source, wanted) in [
        ("foo", "1:1: undeclared reference to 'foo' (in container '')"),
        ("fun()", "1:4: undeclared reference to 'fun' (in container '')"),
        ("'string'.fun()", "1:13: undeclared reference to 'fun' (in container '')"),
        ("1 + x", "1:5: undeclared reference to 'x' (in container '')"),
        ("Msg{}", "1:4: undeclared reference to 'Msg' (in container '')"),
        ("int{}", "1:4: 'int' is not a message type"),
        ("1 + 'a'", "1:3: found no matching overload for '_+_' applied to '(int, string)'"),
        ("1 != null", "1:3: found no matching overload for '_!=_' applied to '(int, null)'"),
        ("1 == 'a'", "1:3: found no matching overload for '_==_' applied to '(int, string)'"),
        ("[1][1u]", "1:4: found no matching overload for '_[_]' applied to '(list(int), uint)'"),
        ("'a'.startsWith(1)", "1:15: found no matching overload for 'startsWith' applied to 'string.(int)'"),
        ("size(1)", "1:5: found no matching overload for 'size' applied to '(int)'"),
        ("'a'.b", "1:4: type 'string' does not support field selection"),
        ("[].length", "1:3: type 'list(_var0)' does not support field selection"),
        ("1 && true", "1:1: expected type 'bool' but found 'int'"),
        ("[1, 'a']", "1:5: expected type 'int' but found 'string'"),
        ("{'a': 1, 'b': 'c'}", "1:15: expected type 'int' but found 'string'"),
        ("[?'value']", "1:3: expected type 'optional_type(string)' but found 'string'"),
        ("{?'key': 'hi'}", "1:10: expected type 'optional_type(string)' but found 'string'"),
        (
            "true.all(y, y)",
            "1:1: expression of type 'bool' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("[1].all(e, 0)", "1:12: expected type 'bool' but found 'int'"),
        ("!1", "1:1: found no matching overload for '!_' applied to '(int)'"),
        ("true ? 1 : 'a'", "1:6: found no matching overload for '_?_:_' applied to '(bool, int, string)'"),
        ("duration('x')", "1:10: invalid duration argument"),
        ("timestamp('x')", "1:11: invalid timestamp argument"),
        ("'a'.matches('(')", "1:13: invalid matches argument"),
        ("[1, dyn('a')]", "1:8: expected type 'int' but found 'dyn'"),
        ("'%s'.format(1)", "1:12: found no matching overload for 'format' applied to 'string.(int)'"),
    ] {
        assert_eq!(messages(source), vec![wanted.to_owned()], "{source}");
    }
}

#[test]
fn errors_show_the_source() {
    check(&[
        ("1 +\n\tfoo", "ERROR: <input>:2:2: undeclared reference to 'foo' (in container '')\n |  foo\n | .^"),
        (
            "'ä' == foo",
            "ERROR: <input>:1:8: undeclared reference to 'foo' (in container '')\n | 'ä' == foo\n | .．.....^",
        ),
        (
            "foo + bar",
            "ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo + bar\n | ^\nERROR: <input>:1:7: undeclared reference to 'bar' (in container '')\n | foo + bar\n | ......^",
        ),
    ]);
    let too_long = "1".repeat(100_001);
    assert_eq!(
        eval(&too_long),
        "ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100001, limit 100000"
    );
}

#[test]
fn output_types_are_known() {
    let env = Env::builder().variable("xs", Type::list(Type::Int)).build();
    for (source, wanted) in [
        ("1 + 1", "int"),
        ("xs.map(x, string(x))", "list(string)"),
        ("xs.all(x, x > 0)", "bool"),
        ("{'a': xs}", "map(string, list(int))"),
        ("xs[?0]", "optional_type(int)"),
        ("[]", "list(dyn)"),
        ("dyn(1)", "dyn"),
        ("true ? xs : []", "list(int)"),
        ("xs.map(x, x > 1, x)[0] + 1", "int"),
        ("type(1)", "type(int)"),
        ("quantity('1')", "kubernetes.Quantity"),
    ] {
        assert_eq!(env.compile(source).unwrap().output_type().to_string(), wanted, "{source}");
    }
}
