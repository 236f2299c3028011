//! Rows of tables: the name, then what the printer columns find.

use jiff::Timestamp;
use machinery::jsonpath;
use serde_json::{Value, json};

use super::behaviour::PrinterColumn;
use crate::{Column, cells};

/// The columns as a table carries them.
pub fn columns(own: &[PrinterColumn]) -> Value {
    let name = Column::NAME;
    let first = json!({
        "name": name.name,
        "type": name.kind,
        "format": name.format,
        "description": name.description,
        "priority": name.priority,
    });
    let own = own.iter().map(|column| {
        json!({
            "name": column.name,
            "type": column.kind,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    });
    std::iter::once(first).chain(own).collect()
}

pub fn cells(columns: &[PrinterColumn], object: &Value, now: Timestamp) -> Vec<Value> {
    let own = columns.iter().map(|column| cell(column, object, now));
    std::iter::once(cells::name(object)).chain(own).collect()
}

/// The first value that the path finds, if it has the column's type.
fn cell(column: &PrinterColumn, object: &Value, now: Timestamp) -> Value {
    let Some(path) = &column.path else { return Value::Null };
    let found = path.find(object).unwrap_or_default();
    let Some(value) = found.first() else { return Value::Null };
    match (column.kind.as_str(), *value) {
        ("string", value) => jsonpath::show(value).into(),
        ("integer", Value::Number(number)) => {
            number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)).into()
        }
        ("number", Value::Number(number)) => number.as_f64().into(),
        ("boolean", Value::Bool(truth)) => (*truth).into(),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(then) => cells::human_duration(now.as_second() - then.as_second()).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}
