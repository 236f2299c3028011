//! Event: what happened to an object, kept for an hour. One kind with two homes: core/v1, the stored form, takes
//! nearly everything, as it always did; events.k8s.io/v1 has other names for the fields and checks strictly.

mod convert;
mod validate;

use jiff::Timestamp;
use serde_json::Value;

use crate::cells;
use crate::kind::{Column, Deprecated, FieldSelectorStyle, Kind, SelectableField, Version};
use crate::value::{integer, text};

const GROUP: &str = "events.k8s.io";
const SCHEMA_OF_NEW_HOME: &str = "io.k8s.api.events.v1.Event";

pub static KIND: Kind = Kind {
    kind: "Event",
    list_kind: "EventList",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    versions: &[
        Version { validate: Some(validate::core), ..Version::stored("v1", "io.k8s.api.core.v1.Event") },
        Version {
            group: Some(GROUP),
            storage: false,
            convert: Some(convert::CONVERT),
            validate: Some(validate::strict),
            selectable_fields: Some(REGARDING_FIELDS),
            ..Version::stored("v1", SCHEMA_OF_NEW_HOME)
        },
        // Under the new names, by the rules of the old home.
        Version {
            convert: Some(convert::CONVERT),
            validate: Some(validate::core),
            selectable_fields: Some(REGARDING_FIELDS),
            ..Version::old(
                GROUP,
                "v1beta1",
                SCHEMA_OF_NEW_HOME,
                Deprecated { since: "1.22", removed: Some("1.25"), replacement: "events.k8s.io/v1 Event" },
                |_| {},
            )
        },
    ],
    selectable_fields: FIELDS,
    field_selector_style: FieldSelectorStyle::NotSupported,
    columns: COLUMNS,
    cells: row,
    create_on_update: true,
    ..Kind::BASE
};

const FIELDS: &[SelectableField] = &[
    SelectableField { label: "involvedObject.kind", value: |v| text(v, "/involvedObject/kind").to_string() },
    SelectableField { label: "involvedObject.namespace", value: |v| text(v, "/involvedObject/namespace").to_string() },
    SelectableField { label: "involvedObject.name", value: |v| text(v, "/involvedObject/name").to_string() },
    SelectableField { label: "involvedObject.uid", value: |v| text(v, "/involvedObject/uid").to_string() },
    SelectableField {
        label: "involvedObject.apiVersion",
        value: |v| text(v, "/involvedObject/apiVersion").to_string(),
    },
    SelectableField {
        label: "involvedObject.resourceVersion",
        value: |v| text(v, "/involvedObject/resourceVersion").to_string(),
    },
    SelectableField { label: "involvedObject.fieldPath", value: |v| text(v, "/involvedObject/fieldPath").to_string() },
    SelectableField { label: "reason", value: |v| text(v, "/reason").to_string() },
    SelectableField { label: "reportingComponent", value: |v| text(v, "/reportingComponent").to_string() },
    SelectableField { label: "source", value: |v| source(v).to_string() },
    SelectableField { label: "type", value: |v| text(v, "/type").to_string() },
];

const REGARDING_FIELDS: &[SelectableField] = &[
    SelectableField { label: "regarding.kind", value: |v| text(v, "/involvedObject/kind").to_string() },
    SelectableField { label: "regarding.namespace", value: |v| text(v, "/involvedObject/namespace").to_string() },
    SelectableField { label: "regarding.name", value: |v| text(v, "/involvedObject/name").to_string() },
    SelectableField { label: "regarding.uid", value: |v| text(v, "/involvedObject/uid").to_string() },
    SelectableField { label: "regarding.apiVersion", value: |v| text(v, "/involvedObject/apiVersion").to_string() },
    SelectableField {
        label: "regarding.resourceVersion",
        value: |v| text(v, "/involvedObject/resourceVersion").to_string(),
    },
    SelectableField { label: "regarding.fieldPath", value: |v| text(v, "/involvedObject/fieldPath").to_string() },
    SelectableField { label: "reason", value: |v| text(v, "/reason").to_string() },
    SelectableField { label: "reportingController", value: |v| text(v, "/reportingComponent").to_string() },
    SelectableField { label: "type", value: |v| text(v, "/type").to_string() },
];

const COLUMNS: &[Column] = &[
    Column::new("Last Seen", "string", 0, "The time at which the most recent occurrence of this event was recorded."),
    Column::new("Type", "string", 0, "Type of this event (Normal, Warning), new types could be added in the future"),
    Column::new(
        "Reason",
        "string",
        0,
        "This should be a short, machine understandable string that gives the reason for the transition into the object's current status.",
    ),
    Column::new("Object", "string", 0, "The object that this event is about."),
    Column::new(
        "Subobject",
        "string",
        1,
        "If referring to a piece of an object instead of an entire object, this string should contain a valid JSON/Go field access statement, such as desiredState.manifest.containers[2]. For example, if the object reference is to a container within a pod, this would take on a value like: \"spec.containers{name}\" (where \"name\" refers to the name of the container that triggered the event) or if no container name is specified \"spec.containers[2]\" (container with index 2 in this pod). This syntax is chosen only to have some well-defined way of referencing a part of an object.",
    ),
    Column::new(
        "Source",
        "string",
        1,
        "The component reporting this event. Should be a short machine understandable string.",
    ),
    Column::new("Message", "string", 0, "A human-readable description of the status of this operation."),
    Column::new(
        "First Seen",
        "string",
        1,
        "The time at which the event was first recorded. (Time of server receipt is in TypeMeta.)",
    ),
    Column::new("Count", "string", 1, "The number of times this event has occurred."),
    Column { priority: 1, ..Column::NAME },
];

fn row(event: &Value, now: Timestamp) -> Vec<Value> {
    let (last, first) = seen(event, now);
    // An event of the new shape says nothing when it happened once.
    let count = match event.get("series").filter(|series| series.is_object()) {
        Some(series) => integer(series, "/count"),
        None => integer(event, "/count").max(1),
    };
    let host = first_of(text(event, "/source/host"), text(event, "/reportingInstance"));
    let source = source(event);
    vec![
        last.into(),
        text(event, "/type").into(),
        text(event, "/reason").into(),
        target(event).into(),
        text(event, "/involvedObject/fieldPath").into(),
        if host.is_empty() { source.into() } else { format!("{source}, {host}").into() },
        text(event, "/message").trim().into(),
        first.into(),
        count.into(),
        cells::name(event),
    ]
}

/// When it was seen last and first.
fn seen(event: &Value, now: Timestamp) -> (String, String) {
    let at = |pointer: &str| event.pointer(pointer).filter(|time| !time.is_null());
    let first = cells::since(at("/firstTimestamp").or(at("/eventTime")), now);
    let last = match (event.get("series").filter(|s| s.is_object()), at("/lastTimestamp")) {
        (Some(_), _) => cells::since(at("/series/lastObservedTime"), now),
        (None, Some(time)) => cells::since(Some(time), now),
        (None, None) => first.clone(),
    };
    (last, first)
}

fn target(event: &Value) -> String {
    let kind = text(event, "/involvedObject/kind").to_lowercase();
    match text(event, "/involvedObject/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn source(event: &Value) -> &str {
    first_of(text(event, "/source/component"), text(event, "/reportingComponent"))
}

fn first_of<'a>(a: &'a str, b: &'a str) -> &'a str {
    if a.is_empty() { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(event: Value) -> Vec<String> {
        let now: Timestamp = "2024-01-01T00:10:00Z".parse().unwrap();
        row(&event, now).iter().map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_string)).collect()
    }

    #[test]
    fn an_old_event_shows_its_own_count_and_times() {
        let row = shown(json!({
            "metadata": {"name": "e"}, "type": "Normal", "reason": "R", "message": " m \n", "count": 4,
            "firstTimestamp": "2024-01-01T00:00:00Z", "lastTimestamp": "2024-01-01T00:09:00Z",
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec"}, "source": {"component": "c", "host": "h"},
        }));
        assert_eq!(row, ["60s", "Normal", "R", "pod/p", "spec", "c, h", "m", "10m", "4", "e"]);
    }

    #[test]
    fn a_new_event_shows_its_series_and_reporter() {
        let row = shown(json!({
            "metadata": {"name": "e"}, "eventTime": "2024-01-01T00:00:00.000000Z", "firstTimestamp": null,
            "series": {"count": 3, "lastObservedTime": "2024-01-01T00:09:50.500000Z"},
            "involvedObject": {"kind": "Node"}, "reportingComponent": "a.b/c", "source": {},
        }));
        assert_eq!(row, ["10s", "", "", "node", "", "a.b/c", "", "10m", "3", "e"]);
    }

    #[test]
    fn an_event_without_times_was_seen_once() {
        let row = shown(json!({"metadata": {"name": "e"}, "involvedObject": {}}));
        assert_eq!((row[0].as_str(), row[7].as_str(), row[8].as_str()), ("<unknown>", "<unknown>", "1"));
    }
}
