//! Input that means harm: too deep, too long, too costly, or no expression at all. Nothing panics and everything ends.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{eval, eval_in};
use crate::{Activation, Budget, Declaration, Env, ListKind, Type, Value};

fn nested(open: &str, middle: &str, close: &str, depth: usize) -> String {
    format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
}

/// Makes an expression of a given depth.
type Make = fn(usize) -> String;

#[test]
fn nesting_ends_with_a_value_or_an_error() {
    let ways: [(&str, Make); 16] = [
        ("parentheses", |depth| nested("(", "1", ")", depth)),
        ("lists", |depth| nested("[", "1", "]", depth)),
        ("maps", |depth| nested("{'a':", "1", "}", depth)),
        ("calls", |depth| nested("dyn(", "1", ")", depth)),
        ("indexes", |depth| nested("[[1]][", "0", "][0]", depth)),
        ("negations of groups", |depth| nested("!(", "true", ")", depth)),
        ("negations", |depth| nested("!", "true", "", depth)),
        ("minus", |depth| nested("-", "1", "", depth)),
        ("choices", |depth| nested("true ? (", "1", ") : 2", depth)),
        ("choices at the end", |depth| nested("false ? 1 : ", "1", "", depth)),
        ("fields", |depth| format!("dyn({{}}){}", ".a".repeat(depth))),
        ("sums", |depth| format!("1{}", " + 1".repeat(depth))),
        ("ands", |depth| format!("true{}", " && true".repeat(depth))),
        ("comparisons", |depth| format!("dyn(1){}", " == dyn(1)".repeat(depth))),
        ("loops", |depth| nested("[1].map(x, ", "1", ")", depth)),
        ("presence", |depth| nested("has(dyn({}).a) ? (", "1", ") : 1", depth)),
    ];
    for (name, make) in ways {
        let shallow = eval(&make(3));
        assert!(!shallow.starts_with("ERROR"), "{name}: {shallow}");
        for depth in [49, 200, 260, 1_000, 20_000] {
            eval(&make(depth));
        }
        // Halves of such expressions.
        let source = make(5_000);
        eval(&source[..source.len() / 2]);
        eval(&source[source.len() / 2..]);
    }
    assert!(eval(&nested("(", "1", ")", 1_000)).contains("recursion"));
}

#[test]
fn long_literals_are_read_or_refused() {
    let letters = "a".repeat(99_990);
    assert_eq!(eval(&format!("size('{letters}')")), "99990");
    assert!(eval(&format!("size('{letters}{letters}')")).contains("exceeds limit"));
    assert!(eval(&"9".repeat(90_000)).contains("invalid int literal"));
    assert!(eval(&format!("0x{}", "f".repeat(90_000))).contains("invalid int literal"));
    assert!(eval(&format!("1e{}", "9".repeat(90_000))).contains("invalid double literal"));
    assert!(!eval(&format!("{}.5", "9".repeat(90_000))).is_empty());
    assert!(!eval(&format!("[{}]", "1,".repeat(45_000))).is_empty());
    assert!(eval(&"(".repeat(99_999)).starts_with("ERROR"));
    assert!(eval(&"'".repeat(99_999)).starts_with("ERROR"));
    assert!(eval(&"\u{1f600}".repeat(99_999)).starts_with("ERROR"));
    assert!(eval(&"a ".repeat(49_999)).starts_with("ERROR"));
}

#[test]
fn what_costs_too_much_is_cut_off() {
    let numbers: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let numbers = format!("[{}]", numbers.join(","));
    for source in [
        format!("{numbers}.map(a, {numbers}.map(b, {numbers}.map(c, a + b + c))).size()"),
        format!("{numbers}.all(a, {numbers}.all(b, {numbers}.all(c, true)))"),
        format!("{numbers}.transformMap(i, a, {numbers}.exists(b, {numbers}.exists(c, b == -1)))"),
        "lists.range(9223372036854775807).size()".to_owned(),
        "lists.range(100000000).all(x, true)".to_owned(),
        // Text that doubles with each step.
        "['aaaaaaaaaaaaaaaa']".to_owned() + &".map(x, x + x)".repeat(40) + ".size()",
        "'aaaaaaaaaaaaaaaa'".to_owned() + &".replace('a', 'aaaaaaaaaaaaaaaa')".repeat(12),
        "'aaaaaaaaaaaaaaaa'".to_owned() + &".split('').join('aaaaaaaaaaaaaaaa')".repeat(12),
    ] {
        let result = eval(&source);
        assert!(result.contains("actual cost limit exceeded"), "{}: {result}", &source[..80.min(source.len())]);
    }
    // Sums of lists share what they hold and are cheap; walking them is not.
    let sums = format!("[[1]]{}[0] == [1]", ".map(x, x + x)".repeat(40));
    assert_eq!(eval(&sums), "false");
    let walked = format!("[[1]]{}[0].all(x, x == 1)", ".map(x, x + x)".repeat(40));
    assert_eq!(eval(&walked), "error: operation cancelled: actual cost limit exceeded");
    let shared = format!("dyn([1]){0}[0] == dyn([1]){0}[0]", ".map(x, dyn([x, x]))".repeat(40));
    assert_eq!(eval(&shared), "error: operation cancelled: actual cost limit exceeded");
}

#[test]
fn operators_do_not_hide_that_the_budget_ran_out() {
    let wide = "lists.range(2000).all(x, lists.range(2000).all(y, true))";
    for source in [
        format!("{wide} || true"),
        format!("{wide} && false"),
        format!("[1].exists(z, {wide})"),
        format!("({wide} ? 1 : 2) == 3 || true"),
        format!("optional.of({wide}).orValue(true)"),
    ] {
        assert_eq!(eval(&source), "error: operation cancelled: actual cost limit exceeded", "{source}");
    }
    assert_eq!(eval(&format!("true || {wide}")), "true");
    // One budget for several evaluations.
    let program = Env::builder().build().compile("lists.range(1000).all(x, x >= 0)").unwrap();
    let mut budget = Budget::new(10_000);
    let mut evaluations = 0;
    while !budget.is_exhausted() {
        program.evaluate(&Activation::new(), &mut budget).unwrap();
        evaluations += 1;
        assert!(evaluations < 100);
    }
    assert_eq!(budget.remaining(), 0);
}

#[test]
fn patterns_are_bounded() {
    for pattern in [
        "(a{1000}){1000}",
        "((((a{100}){100}){100}){100})",
        "a{1001}",
        "(a*)*b",
        r"\\C",
        "(?=a)",
        "(?P<n>",
        "[",
        "a**",
        r"\\8",
    ] {
        let result = eval(&format!("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.matches('{pattern}')"));
        assert!(result == "false" || result.contains("invalid matches argument"), "{pattern}: {result}");
    }
    let deep = nested("(", "a", ")", 5_000);
    assert!(eval(&format!("'a'.matches('{deep}')")).contains("invalid matches argument"));
}

#[test]
fn arguments_at_the_edges() {
    super::check(&[
        ("'a'.substring(-9223372036854775807)", "error: index out of range: -9223372036854775807"),
        ("'a'.charAt(9223372036854775807)", "error: index out of range: 9223372036854775807"),
        ("'a'.indexOf('a', 9223372036854775807)", "-1"),
        ("'a'.split('', 9223372036854775807)", r#"["a"]"#),
        ("'a'.replace('a', 'b', -9223372036854775808)", r#""b""#),
        (
            "[1].slice(9223372036854775807, 9223372036854775807)",
            "error: cannot slice(9223372036854775807, 9223372036854775807), list is length 1",
        ),
        ("lists.range(-9223372036854775808)", "[]"),
        ("[[1]].flatten(9223372036854775807)", "error: operation cancelled: actual cost limit exceeded"),
        ("timestamp(dyn(9223372036854775807))", "timestamp overflow"),
        ("duration(9223372036854775807)", "9223372036.854776s"),
        ("timestamp('9999-12-31T23:59:59.999999999Z').getFullYear()", "9999"),
        ("string(timestamp('9999-12-31T23:59:59.999999999Z'))", r#""9999-12-31T23:59:59.999999999Z""#),
        ("timestamp('9999-12-31T23:59:59Z').getDayOfWeek()", "5"),
        ("timestamp('9999-12-31T23:59:59Z').getHours('+14:00')", "13"),
        ("timestamp('9999-07-01T00:00:00Z').getHours('America/New_York')", "20"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", "error: timestamp overflow"),
        ("timestamp('0001-01-01T00:00:00Z') - duration('1ns')", "error: timestamp overflow"),
        ("timestamp('0001-01-01T00:00:00Z').getMinutes('-23:59')", "1"),
        ("timestamp(0).getHours('-9999:00')", "error: unknown time zone -9999:00"),
        ("timestamp(0).getHours('99999999999:00')", r#"error: strconv.Atoi: parsing "99999999999": invalid syntax"#),
        ("timestamp(0).getHours('../../etc/passwd')", "error: unknown time zone ../../etc/passwd"),
        (
            "'%.999999999f'.format([1.0])",
            "error: could not parse formatting clause: error while parsing precision: value out of range",
        ),
        (
            "quantity('9999999999999999999999').add(quantity('9999999999999999999999')).asInteger()",
            "error: cannot convert value to integer",
        ),
        ("int('９')", "type conversion error from 'string' to 'int'"),
        (r"b'\xff' + b'\377' == b'\xff\xff'", "true"),
    ]);
}

/// Pieces from which most random expressions go wrong late.
fn piece() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ".",
        ",",
        ":",
        "?",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "==",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "&&",
        "||",
        "in",
        "true",
        "false",
        "null",
        "1",
        "0",
        "2u",
        "1.5",
        "'a'",
        "b'a'",
        r"r'\d'",
        "x",
        "xs",
        "m",
        "has(",
        "size(",
        "xs.map(x,",
        "xs.all(x,",
        "m.exists(k,",
        "dyn(",
        "optional.of(",
        ".?",
        "[?",
        "type(",
        "string(",
        ".orValue(",
        "int(",
        "duration('1s')",
        "timestamp(0)",
        "quantity('1')",
        ".matches(",
        ".split(",
        ".format([",
        "Object{",
        "cel.bind(",
        "`a`",
        "'''",
        "\"",
        "\\",
        "\n",
        "//",
    ];
    prop_oneof![
        6 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => "[ -~]{0,4}",
        1 => any::<char>().prop_map(String::from),
        1 => any::<i64>().prop_map(|number| number.to_string()),
    ]
}

fn try_out(source: &str) {
    let env = Env::builder()
        .variable("x", Type::Dyn)
        .variable("xs", Type::list(Type::Int))
        .variable("m", Type::map(Type::String, Type::Dyn))
        .mutation()
        .bindings()
        .build();
    let json = serde_json::json!({"a": [1, {"b": null}], "c": "d"});
    let mut activation = Activation::new();
    activation
        .set("x", Value::Int(1))
        .set("xs", Value::list(vec![Value::Int(1), Value::Int(0)]))
        .set_dynamic("m", &json);
    eval_in(&env, &activation, source);
    if let Ok(program) = env.compile(source) {
        program.estimate();
        drop(program.evaluate_within(&activation, &mut Budget::new(1_000), 100));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_tokens_do_not_panic(pieces in prop::collection::vec(piece(), 0..24), spaced in any::<bool>()) {
        try_out(&pieces.join(if spaced { " " } else { "" }));
    }

    #[test]
    fn random_text_does_not_panic(source in "\\PC{0,40}") {
        try_out(&source);
    }

    #[test]
    fn what_is_spent_is_within_the_estimate(a in 0_usize..4, b in 0_usize..4, n in 0_i64..5) {
        let parts = ["xs.map(y, y + 1)", "xs.filter(y, y > 0)", "xs + [1, x]", "[1, 2, 3]"];
        let mut source = String::new();
        write!(source, "({}).all(z, z in ({}) || z > {n})", parts[a], parts[b]).unwrap();
        let numbers = Declaration::list(Type::Int.into(), Some(4), ListKind::Atomic);
        let env = Env::builder().variable("x", Type::Int).variable("xs", numbers).build();
        let program = env.compile(&source).unwrap();
        let mut activation = Activation::new();
        activation.set("x", Value::Int(n)).set("xs", Value::list((0..n).map(Value::Int).collect()));
        let mut budget = Budget::default();
        program.evaluate(&activation, &mut budget).unwrap();
        let (spent, most) = (budget.spent(), program.estimate().max);
        prop_assert!(spent <= most, "{source}: {spent} of at most {most}");
    }
}
