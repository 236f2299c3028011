//! The two shapes of an event: the same fields under other names.

use serde_json::{Map, Value};

use crate::kind::Convert;

pub const CONVERT: Convert = Convert {
    to_storage: |event| rename(event, "v1", |(stored, new)| (new, stored)),
    from_storage: |event| rename(event, "events.k8s.io/v1", |(stored, new)| (stored, new)),
};

/// (core/v1, events.k8s.io/v1)
type Names = (&'static str, &'static str);

const NAMES: &[Names] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(event: &mut Value, api_version: &str, direction: fn(Names) -> (&'static str, &'static str)) {
    let Some(fields) = event.as_object_mut() else { return };
    let renamed: Map<String, Value> = std::mem::take(fields)
        .into_iter()
        .map(|(field, value)| {
            let new = NAMES.iter().copied().map(direction).find(|(from, _)| *from == field);
            (new.map_or(field, |(_, to)| to.to_string()), value)
        })
        .collect();
    *fields = renamed;
    fields.insert("apiVersion".to_string(), api_version.into());
}

#[cfg(test)]
mod tests {
    use super::CONVERT;
    use serde_json::json;

    #[test]
    fn there_and_back() {
        let stored = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod"},
            "message": "m", "source": {"component": "c"}, "count": 2, "reportingComponent": "r", "type": "Normal",
        });
        let mut event = stored.clone();
        (CONVERT.from_storage)(&mut event);
        assert_eq!(event["apiVersion"], "events.k8s.io/v1");
        assert_eq!((&event["note"], &event["deprecatedCount"]), (&json!("m"), &json!(2)));
        assert_eq!((event.get("message"), event.get("count")), (None, None));
        (CONVERT.to_storage)(&mut event);
        assert_eq!(event, stored);
    }
}
