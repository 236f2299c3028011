//! What table cells have in common: ages, label sets, lists of names and images.

use jiff::Timestamp;
use machinery::labels::Selector;
use serde_json::{Map, Value};

use crate::value::{list, text};

/// The object's name.
pub fn name(object: &Value) -> Value {
    text(object, "/metadata/name").into()
}

/// Time since creation.
pub fn age(object: &Value, now: Timestamp) -> Value {
    since(object.pointer("/metadata/creationTimestamp"), now).into()
}

/// The creation time as it is.
pub fn created_at(object: &Value) -> Value {
    object.pointer("/metadata/creationTimestamp").cloned().unwrap_or(Value::Null)
}

/// How long ago a time was; `<unknown>` when there is none.
pub fn since(time: Option<&Value>, now: Timestamp) -> String {
    match time.and_then(Value::as_str).and_then(|t| t.parse::<Timestamp>().ok()) {
        Some(then) => human_duration(now.as_second() - then.as_second()),
        None => "<unknown>".to_string(),
    }
}

/// A duration in at most two units, coarser the longer it is: `90s`, `5m3s`, `47h`, `3d4h`, `2y20d`.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{rest}{small}") }
    };
    match seconds {
        ..-1 => "<invalid>".to_string(),
        -1 => "0s".to_string(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, "m", s % MINUTE, "s"),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, "h", s / MINUTE % 60, "m"),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, "d", s / HOUR % 24, "h"),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, "y", s / DAY % 365, "d"),
        s => format!("{}y", s / YEAR),
    }
}

/// `<none>` in place of nothing.
pub fn or_none(text: impl Into<String>) -> Value {
    let text = text.into();
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// A label set, sorted: `a=b,c=d`; `<none>` when empty.
pub fn label_set(labels: Option<&Value>) -> Value {
    or_none(joined_labels(labels.and_then(Value::as_object)))
}

/// The same as plain text.
pub fn joined_labels(labels: Option<&Map<String, Value>>) -> String {
    let mut pairs: Vec<_> =
        labels.into_iter().flatten().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect();
    pairs.sort();
    pairs.join(",")
}

/// A label selector as text; `<none>` when it selects nothing or everything.
pub fn label_selector(selector: Option<&Value>) -> Value {
    match selector {
        None | Some(Value::Null) => "<none>".into(),
        Some(selector) => match Selector::from_label_selector(selector) {
            Ok(selector) => or_none(selector.to_string()),
            Err(_) => "<error>".into(),
        },
    }
}

/// The names of the containers of a pod template, joined.
pub fn container_names(object: &Value) -> Value {
    joined(object, "/spec/template/spec/containers", "name")
}

/// Their images, joined.
pub fn container_images(object: &Value) -> Value {
    joined(object, "/spec/template/spec/containers", "image")
}

/// One field of each item of a list, joined by commas.
pub fn joined(object: &Value, pointer: &str, field: &str) -> Value {
    let parts: Vec<_> =
        list(object, pointer).iter().map(|c| c.get(field).and_then(Value::as_str).unwrap_or("")).collect();
    parts.join(",").into()
}

#[cfg(test)]
mod tests {
    use super::human_duration;

    #[test]
    fn durations_get_coarser() {
        let expected = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (9 * 3600, "9h"),
            (49 * 3600, "2d1h"),
            (9 * 86400, "9d"),
            (800 * 86400, "2y70d"),
            (-5, "<invalid>"),
        ];
        for (seconds, text) in expected {
            assert_eq!(human_duration(seconds), text);
        }
    }
}
