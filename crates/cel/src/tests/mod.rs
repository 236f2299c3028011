//! Tables of expressions: what they are, what is wrong with them, what they cost.

mod costs;
mod errors;
mod hostile;
mod json;
mod libraries;
mod values;

use crate::{Activation, Budget, Env, Value};

/// The value of an expression as text, or its error.
fn eval(source: &str) -> String {
    eval_in(&Env::builder().build(), &Activation::new(), source)
}

fn eval_in(env: &Env, activation: &Activation<'_>, source: &str) -> String {
    let program = match env.compile(source) {
        Ok(program) => program,
        Err(error) => return error.to_string(),
    };
    match program.evaluate(activation, &mut Budget::default()) {
        Ok(value) => show(&value),
        Err(error) => format!("error: {error}"),
    }
}

/// Text in quotes, so that it differs from other values.
fn show(value: &Value<'_>) -> String {
    match value {
        Value::String(text) => format!("{:?}", &**text),
        Value::Uint(value) => format!("{value}u"),
        Value::Double(value) => format!("{value:?}"),
        Value::Bytes(bytes) => format!("b{:?}", String::from_utf8_lossy(bytes)),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|item| show(&item.unwrap())).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let entries = map.entries().into_iter().map(|(key, value)| (show(&key), show(&value.unwrap())));
            let entries: Vec<String> = entries.map(|(key, value)| format!("{key}: {value}")).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Optional(Some(value)) => format!("some({})", show(value)),
        Value::Optional(None) => "none".to_owned(),
        Value::Object(object) => {
            let fields = object.fields.iter().map(|(name, value)| format!("{name}: {}", show(value)));
            format!("{}{{{}}}", object.ty.name, fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Each expression has the value beside it.
fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .filter_map(|(source, wanted)| {
            let found = eval(source);
            (found != *wanted).then(|| format!("{source}\n  wanted {wanted}\n  found  {found}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
