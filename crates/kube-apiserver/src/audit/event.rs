//! One event as its text, written once for all backends, without the kind: lists of events do not repeat it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::settings::Truncate;

pub const API_VERSION: &str = "audit.k8s.io/v1";
const TRUNCATED: &str = "audit.k8s.io/truncated";

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Event(Bytes);

impl Event {
    /// `value` has all fields but kind and apiVersion.
    pub fn new(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The event as a document of its own, on a line of its own.
    pub fn line(&self) -> Vec<u8> {
        let mut line = format!("{{\"kind\":\"Event\",\"apiVersion\":\"{API_VERSION}\"").into_bytes();
        if self.0.len() > 2 {
            line.push(b',');
        }
        line.extend_from_slice(&self.0[1..]);
        line.push(b'\n');
        line
    }

    /// The event as it was given.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.0).unwrap_or_default()
    }

    /// Within the size, if need be without the objects; none if that is not enough.
    pub fn truncated(self, value: &Value, truncate: &Truncate) -> Option<Self> {
        if !truncate.enabled || self.len() <= truncate.max_event_size {
            return Some(self);
        }
        let mut value = value.clone();
        let fields = value.as_object_mut()?;
        fields.shift_remove("requestObject");
        fields.shift_remove("responseObject");
        match fields.get_mut("annotations") {
            Some(annotations) => annotations[TRUNCATED] = "true".into(),
            None => {
                fields.insert("annotations".to_owned(), json!({ TRUNCATED: "true" }));
            }
        }
        Some(Self::new(&value)).filter(|event| event.len() <= truncate.max_event_size)
    }
}

/// An EventList.
pub fn list(events: &[Event]) -> Bytes {
    let size: usize = events.iter().map(|event| event.len() + 1).sum();
    let mut text = Vec::with_capacity(size + 80);
    text.extend_from_slice(
        format!("{{\"kind\":\"EventList\",\"apiVersion\":\"{API_VERSION}\",\"metadata\":{{}},").as_bytes(),
    );
    text.extend_from_slice(b"\"items\":[");
    for (at, event) in events.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&event.0);
    }
    text.extend_from_slice(b"]}");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_documents_alone_and_items_in_lists() {
        let event = Event::new(&json!({ "level": "Metadata", "auditID": "a" }));
        let line = String::from_utf8(event.line()).unwrap();
        let wanted =
            "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"a\"}\n";
        assert_eq!(line, wanted);
        let listed: Value = serde_json::from_slice(&list(&[event.clone(), event])).unwrap();
        let item = json!({ "level": "Metadata", "auditID": "a" });
        let wanted = json!({ "kind": "EventList", "apiVersion": API_VERSION, "metadata": {}, "items": [item, item] });
        assert_eq!(listed, wanted);
    }

    #[test]
    fn events_that_are_too_large_lose_their_objects_or_go() {
        let truncate = Truncate { enabled: true, max_batch_size: 1000, max_event_size: 100 };
        let fit = |value: Value, truncate: &Truncate| Event::new(&value).truncated(&value, truncate);
        let large = json!({ "verb": "get", "requestObject": "x".repeat(100), "responseObject": 1 });
        let text = fit(large.clone(), &truncate).unwrap();
        let wanted = json!({ "verb": "get", "annotations": { TRUNCATED: "true" } });
        assert_eq!(serde_json::from_slice::<Value>(&text.0).unwrap(), wanted);
        assert!(fit(json!({ "requestURI": "x".repeat(100) }), &truncate).is_none());
        let off = Truncate { enabled: false, ..truncate };
        assert_eq!(fit(large.clone(), &off).unwrap().len(), large.to_string().len());
    }
}
