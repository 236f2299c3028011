//! Tables from the server: which columns are shown, what a cell looks like, and how rows line up.

use serde_json::Value;

use crate::console::harmless;
use crate::error::{Error, Result};
use crate::value::{self, at, list, text};
use machinery::jsonpath::{Template, relaxed};

#[derive(Debug, Clone, Default)]
pub struct Options {
    pub wide: bool,
    pub no_headers: bool,
    pub with_namespace: bool,
    /// Names are printed as `pod/a`.
    pub with_kind: Option<String>,
    pub label_columns: Vec<String>,
    pub show_labels: bool,
    /// The first column says what happened to the object.
    pub with_event: bool,
}

/// A table that is printed piece by piece: columns keep their widths from one piece to the next.
#[derive(Default)]
pub struct Printer {
    /// Name and priority of each of the server's columns.
    columns: Vec<(String, i64)>,
    widths: Vec<usize>,
    header_done: bool,
}

const MINIMUM: usize = 6;
const PADDING: usize = 3;

impl Printer {
    pub fn new() -> Self {
        Printer::default()
    }

    /// The rows of one table, with the header when it is the first that has rows.
    pub fn print(&mut self, table: &Value, options: &Options, event: Option<&str>) -> String {
        let definitions = list(table, "columnDefinitions");
        if !definitions.is_empty() {
            self.columns = definitions
                .iter()
                .map(|column| (text(column, "name").to_uppercase(), value::int(column, "priority")))
                .collect();
        }
        let mut lines: Vec<Vec<String>> = Vec::new();
        let rows = list(table, "rows");
        if !rows.is_empty() && !self.header_done {
            self.header_done = true;
            if !options.no_headers {
                lines.push(self.header(options));
            }
        }
        lines.extend(rows.iter().map(|row| self.row(row, options, event)));
        for line in &lines {
            for (index, cell) in line.iter().enumerate() {
                let width = (cell.chars().count() + PADDING).max(MINIMUM);
                match self.widths.get_mut(index) {
                    Some(known) => *known = width.max(*known),
                    None => self.widths.push(width),
                }
            }
        }
        let mut out = String::new();
        for line in lines {
            let last = line.len().saturating_sub(1);
            for (index, cell) in line.iter().enumerate() {
                out.push_str(cell);
                if index < last {
                    let missing = self.widths[index].saturating_sub(cell.chars().count());
                    out.extend(std::iter::repeat_n(' ', missing));
                }
            }
            out.push('\n');
        }
        out
    }

    fn shown(&self, options: &Options, index: usize) -> bool {
        self.columns.get(index).is_some_and(|(_, priority)| options.wide || *priority == 0)
    }

    fn header(&self, options: &Options) -> Vec<String> {
        let mut cells = Vec::new();
        if options.with_event {
            cells.push("EVENT".to_owned());
        }
        if options.with_namespace {
            cells.push("NAMESPACE".to_owned());
        }
        for (index, (name, _)) in self.columns.iter().enumerate() {
            if self.shown(options, index) {
                cells.push(name.clone());
            }
        }
        for label in &options.label_columns {
            cells.push(label.rsplit('/').next().unwrap_or(label).to_uppercase());
        }
        if options.show_labels {
            cells.push("LABELS".to_owned());
        }
        cells
    }

    fn row(&self, row: &Value, options: &Options, event: Option<&str>) -> Vec<String> {
        let mut cells = Vec::new();
        if options.with_event {
            cells.push(event.unwrap_or("ADDED").to_owned());
        }
        if options.with_namespace {
            cells.push(harmless(value::namespace(&row["object"])));
        }
        for (index, value) in list(row, "cells").iter().enumerate() {
            if !self.shown(options, index) {
                continue;
            }
            let shown = cell(value);
            cells.push(match &options.with_kind {
                Some(kind) if index == 0 => format!("{kind}/{shown}"),
                _ => shown,
            });
        }
        let labels = at(&row["object"], "metadata.labels").as_object();
        for label in &options.label_columns {
            let value = labels.and_then(|labels| labels.get(label)).and_then(Value::as_str);
            cells.push(value.map_or_else(|| "<none>".to_owned(), harmless));
        }
        if options.show_labels {
            let joined = value::join_map(labels);
            cells.push(if joined.is_empty() { "<none>".to_owned() } else { harmless(&joined) });
        }
        cells
    }
}

/// One cell: the first line of the value, made harmless.
fn cell(value: &Value) -> String {
    let shown = value::show(value);
    match shown.find(['\n', '\r', '\u{c}']) {
        Some(end) => format!("{}...", harmless(&shown[..end])),
        None => harmless(&shown).replace('\t', "\\t"),
    }
}

/// The table that an object makes when the server sends no table.
pub fn of_object(object: &Value) -> Value {
    let created = text(object, "metadata.creationTimestamp");
    serde_json::json!({
        "columnDefinitions": [{"name": "Name"}, {"name": "Age"}],
        "rows": [{"cells": [value::name(object), machinery::time::age(Some(created), jiff::Timestamp::now())], "object": object}],
    })
}

/// Sorts values by a JSONPath: numbers and quantities by size, text by its characters.
pub fn sort_by<T>(rows: &mut [T], path: &str, object: impl Fn(&T) -> &Value) -> Result<()> {
    let template = relaxed(path).and_then(|text| Template::parse(&text)).map_err(Error::Message)?;
    let mut keyed: Vec<(usize, Option<Value>)> = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let values = template.values(object(row)).map_err(Error::Message)?;
        keyed.push((index, values.into_iter().next()));
    }
    if !rows.is_empty() && keyed.iter().all(|(_, key)| key.is_none()) {
        let shown = relaxed(path).unwrap_or_default();
        return Err(Error::message(format!("couldn't find any field with path \"{shown}\" in the list of objects")));
    }
    keyed.sort_by(|(_, left), (_, right)| compare(left.as_ref(), right.as_ref()));
    // Moves each row to its place by following the permutation's cycles.
    let mut place: Vec<usize> = keyed.into_iter().map(|(index, _)| index).collect();
    for start in 0..rows.len() {
        let mut here = start;
        while place[here] != start {
            let from = place[here];
            rows.swap(here, from);
            place[here] = here;
            here = from;
        }
        place[here] = here;
    }
    Ok(())
}

fn compare(left: Option<&Value>, right: Option<&Value>) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    match (left, right) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(Value::Number(left)), Some(Value::Number(right))) => {
            left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Some(Value::String(left)), Some(Value::String(right))) => {
            let quantities = (machinery::quantity::Quantity::parse(left), machinery::quantity::Quantity::parse(right));
            match quantities {
                (Ok(left), Ok(right)) => left.approximate().total_cmp(&right.approximate()),
                _ => left.cmp(right),
            }
        }
        (Some(left), Some(right)) => value::show(left).cmp(&value::show(right)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table() -> Value {
        json!({"columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "Ready", "priority": 0}, {"name": "IP", "priority": 1}],
            "rows": [{"cells": ["a", "1/1", "10.0.0.1"], "object": {"metadata": {"namespace": "n", "labels": {"app": "x", "b": "y"}}}},
                     {"cells": ["evil\u{1b}[2J", "0/1\nmore", null], "object": {"metadata": {"namespace": "n"}}}]})
    }

    #[test]
    fn cells_line_up_and_are_harmless() {
        let out = Printer::new().print(&table(), &Options::default(), None);
        assert_eq!(out, "NAME        READY\na           1/1\nevil^[[2J   0/1...\n");
    }

    #[test]
    fn options_add_columns() {
        let options = Options {
            wide: true,
            with_namespace: true,
            with_kind: Some("pod".into()),
            label_columns: vec!["x/app".into(), "app".into()],
            show_labels: true,
            ..Options::default()
        };
        let out = Printer::new().print(&table(), &options, None);
        let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["NAMESPACE", "NAME", "READY", "IP", "APP", "APP", "LABELS"]);
        assert_eq!(lines[1], ["n", "pod/a", "1/1", "10.0.0.1", "<none>", "x", "app=x,b=y"]);
    }

    #[test]
    fn later_pieces_keep_the_widths_and_print_no_header() {
        let mut printer = Printer::new();
        printer.print(&table(), &Options::default(), None);
        let piece = json!({"columnDefinitions": null, "rows": [{"cells": ["b", "1/1", "x"]}]});
        assert_eq!(printer.print(&piece, &Options::default(), None), "b           1/1\n");
    }

    #[test]
    fn quantities_sort_by_size_and_missing_values_come_first() {
        let mut rows = vec![json!({"a": "10"}), json!({"a": "500m"}), json!({"b": 1}), json!({"a": "2"})];
        sort_by(&mut rows, ".a", |row| row).expect("the path is there");
        assert_eq!(rows, [json!({"b": 1}), json!({"a": "500m"}), json!({"a": "2"}), json!({"a": "10"})]);
    }
}
