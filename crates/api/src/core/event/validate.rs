//! What each home of an event checks. core/v1 never asked for much; an event with an `eventTime` is of the new shape
//! and must be complete in either home. Strictness depends on the home of the request, so the kind itself has no
//! checks and the versions do all of it.

use machinery::field::{Error, ErrorList, Path};
use machinery::names as formats;
use serde_json::Value;

use crate::value::{integer, semantically_equal, text};
use crate::{checks, erase, internal, names};

const TEXT_MAX: usize = 128;
const MESSAGE_MAX: usize = 1024;

/// core/v1.
pub fn core(event: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = match old {
        Some(old) => erase::metadata_update(event, old, true, None),
        None => ErrorList::new(),
    };
    errors.extend(any_home(event, "reportingComponent"));
    if old.is_none() && errors.is_empty() {
        errors.extend(erase::metadata(event, true, names::path_segment));
    }
    errors
}

/// events.k8s.io/v1.
pub fn strict(event: &Value, old: Option<&Value>) -> ErrorList {
    match old {
        None => strict_create(event),
        Some(old) => strict_update(event, old),
    }
}

fn strict_create(event: &Value) -> ErrorList {
    let mut errors = any_home(event, "reportingController");
    errors.extend(erase::metadata(event, true, names::subdomain));
    errors.extend(series(event));
    if !is_set(event, "eventTime") {
        errors.push(Error::required(&Path::new("eventTime"), ""));
    }
    let kind = text(event, "/type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(Error::invalid(&Path::new("type"), "", format!("has invalid value: {kind}")));
    }
    let source = !text(event, "/source/component").is_empty() || !text(event, "/source/host").is_empty();
    let old_fields = [
        ("firstTimestamp", is_set(event, "firstTimestamp")),
        ("lastTimestamp", is_set(event, "lastTimestamp")),
        ("count", integer(event, "/count") != 0),
        ("source", source),
    ];
    for (field, _) in old_fields.into_iter().filter(|(_, set)| *set) {
        errors.push(Error::invalid(&Path::new(field), "", "needs to be unset"));
    }
    errors
}

/// Only the series may go on.
fn strict_update(event: &Value, old: &Value) -> ErrorList {
    // The reason is looked at twice upstream, and so are the causes.
    const FROZEN: &[&str] = &[
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "reason",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingComponent",
        "reportingInstance",
    ];
    let mut errors = erase::metadata_update(event, old, true, None);
    errors.extend(any_home(event, "reportingController"));
    if !semantically_equal(event.get("series"), old.get("series")) {
        errors.extend(series(event));
    }
    for field in FROZEN {
        let (new, old) = (event.get(*field), old.get(*field));
        if !same(new, old) {
            let shown_as = if *field == "reportingComponent" { "reportingController" } else { field };
            errors.push(Error::invalid(&Path::new(shown_as), shown(field, new), "field is immutable"));
        }
    }
    errors
}

/// `""` and 0 are what an absent text or number means.
fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    let zero = |value: Option<&Value>| match value {
        Some(Value::String(s)) => s.is_empty(),
        Some(Value::Number(n)) => n.as_i64() == Some(0),
        _ => false,
    };
    let given = |value| if zero(value) { None } else { value };
    semantically_equal(given(a), given(b))
}

fn shown(field: &str, value: Option<&Value>) -> Value {
    let value = value.unwrap_or(&Value::Null);
    match field {
        "involvedObject" | "related" if value.is_object() => {
            internal::shown("io.k8s.api.core.v1.ObjectReference", value)
        }
        "source" => internal::shown("io.k8s.api.core.v1.EventSource", value),
        "count" => value.as_i64().unwrap_or(0).into(),
        "involvedObject" | "related" | "firstTimestamp" | "lastTimestamp" | "eventTime" => value.clone(),
        _ => value.as_str().unwrap_or("").into(),
    }
}

fn any_home(event: &Value, controller_field: &str) -> ErrorList {
    let (own, involved) = (text(event, "/metadata/namespace"), text(event, "/involvedObject/namespace"));
    let new_shape = is_set(event, "eventTime");
    let mut errors = ErrorList::new();
    let agrees = match (new_shape, involved) {
        (false, "") => matches!(own, "" | "default"),
        (false, involved) => own == involved,
        (true, "") => matches!(own, "default" | "kube-system"),
        (true, _) => true,
    };
    if !agrees {
        let path = Path::new("involvedObject.namespace");
        errors.push(Error::invalid(&path, involved, "does not match event.namespace"));
    }
    if new_shape {
        let path = Path::new(controller_field);
        let controller = text(event, "/reportingComponent");
        if controller.is_empty() {
            errors.push(Error::required(&path, ""));
        }
        errors.extend(checks::qualified_name(controller, &path));
        for field in ["reportingInstance", "action", "reason"] {
            errors.extend(short_text(event, field));
        }
        if text(event, "/message").len() > MESSAGE_MAX {
            errors.push(too_long("message", MESSAGE_MAX));
        }
    }
    errors.extend(checks::each(&Path::new("namespace"), own, formats::is_dns1123_subdomain(own)));
    errors
}

fn short_text(event: &Value, field: &str) -> Option<Error> {
    match event.get(field).and_then(Value::as_str).unwrap_or("").len() {
        0 => Some(Error::required(&Path::new(field), "")),
        1..=TEXT_MAX => None,
        _ => Some(too_long(field, TEXT_MAX)),
    }
}

fn too_long(field: &str, max: usize) -> Error {
    Error::invalid(&Path::new(field), "", format!("can have at most {max} characters"))
}

fn series(event: &Value) -> ErrorList {
    let Some(series) = event.get("series").filter(|series| series.is_object()) else { return ErrorList::new() };
    let path = Path::new("series");
    let mut errors = ErrorList::new();
    if integer(series, "/count") < 2 {
        errors.push(Error::invalid(&path.child("count"), "", "should be at least 2"));
    }
    if !is_set(series, "lastObservedTime") {
        errors.push(Error::required(&path.child("lastObservedTime"), ""));
    }
    errors
}

/// Whether a time is there.
fn is_set(object: &Value, field: &str) -> bool {
    object.get(field).is_some_and(|time| !time.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "n", "resourceVersion": "1"},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "n"}, "reason": "R", "action": "A", "type": "Normal",
            "eventTime": "2024-01-01T00:00:00.000000Z", "reportingComponent": "c", "reportingInstance": "i",
        })
    }

    fn texts(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(Error::to_string).collect()
    }

    #[test]
    fn a_complete_event_is_taken_by_both_homes() {
        assert_eq!(texts(&core(&event(), None)), [""; 0]);
        assert_eq!(texts(&strict(&event(), None)), [""; 0]);
    }

    #[test]
    fn each_home_has_its_name_for_the_reporter() {
        let mut event = event();
        event["reportingComponent"] = "a b".into();
        assert!(texts(&core(&event, None))[0].starts_with("reportingComponent: Invalid value: \"a b\""));
        assert!(texts(&strict(&event, None))[0].starts_with("reportingController: Invalid value: \"a b\""));
    }

    #[test]
    fn only_the_old_home_takes_a_changed_message_or_old_fields() {
        let mut new = event();
        new["message"] = "m".into();
        assert_eq!(texts(&core(&new, Some(&event()))), [""; 0]);
        assert_eq!(texts(&strict(&new, Some(&event()))), ["message: Invalid value: \"m\": field is immutable"]);
        new["count"] = 2.into();
        assert_eq!(texts(&strict(&new, None)), ["count: Invalid value: \"\": needs to be unset"]);
    }

    #[test]
    fn a_series_may_go_on() {
        let mut new = event();
        new["series"] = json!({"count": 2, "lastObservedTime": "2024-01-01T00:00:05.000000Z"});
        assert_eq!(texts(&strict(&new, Some(&event()))), [""; 0]);
        new["series"] = json!({"count": 1});
        let expected =
            ["series.count: Invalid value: \"\": should be at least 2", "series.lastObservedTime: Required value"];
        assert_eq!(texts(&strict(&new, Some(&event()))), expected);
        assert_eq!(texts(&core(&new, Some(&event()))), [""; 0]);
    }

    #[test]
    fn an_old_event_is_of_its_objects_namespace() {
        let mut event = event();
        event["eventTime"] = Value::Null;
        event["involvedObject"]["namespace"] = "other".into();
        let expected = ["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"];
        assert_eq!(texts(&core(&event, None)), expected);
    }
}
