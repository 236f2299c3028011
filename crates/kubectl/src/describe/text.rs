//! The lines of a description: a level of two spaces each, cells apart by tabs.

use serde_json::{Map, Value};

use crate::value::{self, at};

#[derive(Default)]
pub struct Text(String);

impl Text {
    pub fn content(&self) -> &str {
        &self.0
    }

    /// A line of cells at a level.
    pub fn line(&mut self, level: usize, line: impl AsRef<str>) {
        self.0.extend(std::iter::repeat_n("  ", level));
        self.0.push_str(line.as_ref());
        self.0.push('\n');
    }

    /// `Label:\tvalue`
    pub fn field(&mut self, level: usize, label: &str, shown: impl AsRef<str>) {
        self.line(level, format!("{label}:\t{}", shown.as_ref()));
    }

    /// The same when there is a value.
    pub fn maybe(&mut self, level: usize, label: &str, shown: &str) {
        if !shown.is_empty() {
            self.field(level, label, shown);
        }
    }

    /// One value a line, the label before the first; `<none>` without values.
    pub fn column(&mut self, level: usize, label: &str, values: &[String]) {
        let Some((first, rest)) = values.split_first() else { return self.field(level, label, "<none>") };
        self.field(level, label, first);
        for shown in rest {
            self.line(0, format!("\t{shown}"));
        }
    }

    /// A map, one pair a line, in order.
    pub fn pairs(&mut self, level: usize, label: &str, map: &Value, separator: &str) {
        self.column(level, label, &pairs(map.as_object(), separator));
    }

    /// Name, and where it is.
    pub fn head(&mut self, object: &Value, namespaced: bool) {
        self.field(0, "Name", value::name(object));
        if namespaced {
            self.field(0, "Namespace", value::namespace(object));
        }
    }

    pub fn labels(&mut self, level: usize, object: &Value) {
        self.pairs(level, "Labels", at(object, "metadata.labels"), "=");
    }

    /// Annotations that are not kubectl's own memory; long ones stand on their own lines.
    pub fn annotations(&mut self, level: usize, object: &Value) {
        let mut shown = at(object, "metadata.annotations").as_object().cloned().unwrap_or_default();
        shown.shift_remove(crate::commands::LAST_APPLIED);
        let mut keys: Vec<&String> = shown.keys().collect();
        keys.sort();
        let mut lines = Vec::new();
        for key in keys {
            let content = shown[key].as_str().unwrap_or("");
            if key.chars().count() + content.chars().count() + 2 <= 140 && !content.contains('\n') {
                lines.push(format!("{key}: {content}"));
                continue;
            }
            lines.push(format!("{key}:"));
            lines.extend(content.trim_end_matches('\n').split('\n').map(|line| format!("  {}", shortened(line, 138))));
        }
        self.column(level, "Annotations", &lines);
    }

    /// `gap` stands behind each cell of a row.
    pub fn conditions(&mut self, object: &Value, columns: &[(&str, &str)], gap: &str) {
        let conditions = value::list(object, "status.conditions");
        if conditions.is_empty() {
            return;
        }
        let row = |cells: Vec<String>| cells.join("\t");
        self.line(0, "Conditions:");
        self.line(1, row(columns.iter().map(|(title, _)| (*title).to_owned()).collect()));
        self.line(1, row(columns.iter().map(|(title, _)| "-".repeat(title.len())).collect()));
        for condition in conditions {
            let cell = |field: &str| match value::text(condition, field) {
                shown if field.ends_with("Time") => time(shown),
                shown => shown.to_owned(),
            };
            let cells: Vec<String> = columns.iter().map(|(_, field)| cell(field)).collect();
            self.line(1, cells.join(&format!("{gap}\t")));
        }
    }
}

fn shortened(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        line.to_owned()
    } else {
        format!("{}...", line.chars().take(width).collect::<String>())
    }
}

/// `key<separator>value` in order of the keys.
pub fn pairs(map: Option<&Map<String, Value>>, separator: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        map.into_iter().flatten().map(|(key, shown)| format!("{key}{separator}{}", value::show(shown))).collect();
    lines.sort();
    lines
}

/// A time as Go's RFC 1123 form prints it in the local time zone; what is no time stays.
pub fn time(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string(),
        Err(_) => text.to_owned(),
    }
}

pub fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// `True`, `False`
pub fn title_bool(flag: bool) -> &'static str {
    if flag { "True" } else { "False" }
}
