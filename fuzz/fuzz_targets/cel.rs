//! Expressions: compiled against an open environment, and evaluated within a budget.

#![no_main]

use cel::{Activation, Budget, Env, Type};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let env = Env::builder().variable("self", Type::Dyn).build();
    if let Ok(program) = env.compile(source) {
        let value = serde_json::json!({"a": 1, "b": "text", "c": [1, 2, 3], "d": {"e": null}});
        let mut activation = Activation::new();
        activation.set_dynamic("self", &value);
        let _ = program.evaluate(&activation, &mut Budget::new(100_000));
    }
});
