//! The columns of each kind's table, and the cells of what a create answers, against recorded tables.

use serde_json::{Value, json};

use super::oracle::{self, Tally, text};
use super::replay;
use crate::Column;

/// Equal answers known so far: a change may raise them only.
const FLOOR_COLUMNS: usize = 43;
const FLOOR_ROWS: usize = 42;

const AREAS: &[&str] = &["machinery-read", "core-pods", "core-others", "apps", "auth", "network-storage", "admission"];

#[test]
fn tables_are_as_recorded() {
    let Some(folder) = oracle::folder() else { return };
    let (mut columns, mut rows) = (Tally::default(), Tally::default());
    oracle::for_each_write_in(AREAS, &folder, |write| {
        if text(write.answer, "kind") != "Table" {
            return;
        }
        let wanted = write.answer["columnDefinitions"].as_array().cloned().unwrap_or_default();
        let got: Vec<Value> = write.kind.columns.iter().map(definition).collect();
        columns.count(got == wanted, || {
            let lines = got.iter().zip(&wanted).filter(|(a, b)| a != b);
            let lines: String = lines.map(|(a, b)| format!("\n   got    {a}\n   wanted {b}")).collect();
            format!("{write}: {} columns of {}{lines}", got.len(), wanted.len())
        });
        let Ok(object) = replay::prepared(write) else { return };
        let cells = (write.kind.cells)(&object, jiff::Timestamp::UNIX_EPOCH);
        let wanted = write.answer.pointer("/rows/0/cells").and_then(Value::as_array).cloned().unwrap_or_default();
        let timeless = |cells: &[Value]| -> Vec<Value> {
            let cells = cells.iter().zip(write.kind.columns).filter(|(_, column)| !is_time(column));
            cells.map(|(cell, _)| cell.clone()).collect()
        };
        let (got, wanted) = (timeless(&cells), timeless(&wanted));
        rows.count(got == wanted, || format!("{write}\n   got    {got:?}\n   wanted {wanted:?}"));
    });
    columns.report("columns", FLOOR_COLUMNS);
    rows.report("rows", FLOOR_ROWS);
}

/// Filled in by the server, or told relative to its clock.
fn is_time(column: &Column) -> bool {
    matches!(column.name, "Age" | "Created At" | "Last Seen" | "First Seen")
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    })
}
