//! What expressions cost: the numbers of the language's cost model, spent and estimated.

use crate::{Activation, Budget, Declaration, Env, ListKind, Type, Value};

fn env() -> Env {
    let text = || Declaration::string(Some(10));
    Env::builder()
        .variable("x", Type::Int)
        .variable("s", text())
        .variable("xs", Declaration::list(Type::Int.into(), Some(10), ListKind::Atomic))
        .variable("names", Declaration::list(text(), Some(10), ListKind::Atomic))
        .variable("m", Declaration::map(Type::Int.into(), Some(10)))
        .build()
}

/// What evaluating costs, and the least and the most that it may cost by the declarations.
fn costs(source: &str) -> (u64, u64, u64) {
    let program = env().compile(source).expect(source);
    let map = serde_json::json!({"key": 1});
    let mut activation = Activation::new();
    activation
        .set("x", Value::Int(1))
        .set("s", Value::from("0123456789"))
        .set("xs", Value::list((0..3).map(Value::Int).collect()))
        .set("names", Value::list(vec![Value::from("a"), Value::from("b")]))
        .set_dynamic("m", &map);
    let mut budget = Budget::default();
    program.evaluate(&activation, &mut budget).expect(source);
    let estimate = program.estimate();
    (budget.spent(), estimate.min, estimate.max)
}

#[test]
fn each_step_costs_what_the_model_says() {
    for (source, wanted) in [
        // Constants are free, a variable costs one, a step into it one more.
        ("'Hello World!'", (0, 0, 0)),
        ("x", (1, 1, 1)),
        ("xs[0]", (2, 2, 2)),
        ("m['key']", (2, 2, 2)),
        // What is made costs by its sort, whatever is in it; of constants it is made when compiled.
        ("[1, 2, 3]", (0, 10, 10)),
        ("{'a': 1}", (0, 30, 30)),
        // Declared numbers have no size, so comparing them is estimated to cost nothing, as upstream does.
        ("x == 1", (2, 1, 1)),
        ("x + 1", (2, 2, 2)),
        ("true || false", (0, 0, 0)),
        // A variable that is a choice's branch is read with the choice.
        ("x > 0 ? x : 0", (2, 2, 3)),
        // A look at text costs a tenth of its length, which is estimated at four bytes a character.
        ("s.contains('0')", (2, 1, 5)),
        ("s.startsWith('01')", (2, 2, 2)),
        ("size(s)", (2, 2, 2)),
    ] {
        assert_eq!(costs(source), wanted, "{source}");
    }
}

#[test]
fn loops_are_estimated_by_the_declared_bounds_and_spend_what_there_is() {
    for source in ["xs.all(y, y > 0)", "xs.map(y, y + 1)", "names.exists(n, n.contains(s))", "names.all(n, n in names)"]
    {
        let (spent, least, most) = costs(source);
        assert!((least..=most).contains(&spent), "{source}: {least} <= {spent} <= {most}");
        let wider = Env::builder().variable("xs", Declaration::list(Type::Int.into(), Some(100), ListKind::Atomic));
        if let Ok(program) = wider.build().compile(source) {
            assert!(program.estimate().max > most, "{source}: a longer list may cost more");
        }
    }
    let (_, _, once) = costs("xs.all(y, y > 0)");
    let (_, _, nested) = costs("xs.all(y, xs.all(z, z > y))");
    assert!(nested > 8 * once, "{nested} {once}");
}
