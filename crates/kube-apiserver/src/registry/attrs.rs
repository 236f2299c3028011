//! What is worth remembering about a stored object besides its bytes: what selectors look at, and its typed form.
//!
//! Both are made on first use and live and die with the entry, so a list with a selector parses an object once per
//! revision, however many watchers and lists look at it.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use api::Kind;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::Entry;

/// The derived attributes of one entry.
pub struct Attrs {
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Box<[(&'static str, Box<str>)]>,
    typed: OnceLock<Option<Arc<dyn Any + Send + Sync>>>,
    message: OnceLock<Option<Bytes>>,
}

impl Attrs {
    /// Reads them off the entry's bytes. Bytes that are no object have no labels and no fields.
    pub fn of(kind: &'static Kind, entry: &Entry<Attrs>) -> Self {
        Self::of_value(kind, &serde_json::from_slice(&entry.value).unwrap_or(Value::Null))
    }

    /// The same for an object that is at hand.
    pub fn of_value(kind: &'static Kind, object: &Value) -> Self {
        let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
        let labels =
            labels.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())));
        let mut fields = vec![
            ("metadata.name", text(object, "/metadata/name")),
            ("metadata.namespace", text(object, "/metadata/namespace")),
        ];
        for field in kind.selectable_fields {
            fields.push((field.label, (field.value)(object).into()));
        }
        Self { labels: labels.collect(), fields: fields.into(), typed: OnceLock::new(), message: OnceLock::new() }
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(own, _)| **own == *key).map(|(_, value)| &**value)
    }

    /// The value of a selectable field; "" when the object does not set it.
    pub fn field(&self, label: &str) -> &str {
        self.fields.iter().find(|(own, _)| *own == label).map_or("", |(_, value)| value)
    }

    /// The object as a message of protobuf in its storage version, encoded once: for clients that read nothing else, and
    /// for all watches of an event.
    pub fn message(&self, encode: impl FnOnce() -> Option<Vec<u8>>) -> Option<Bytes> {
        self.message.get_or_init(|| encode().map(Bytes::from)).clone()
    }

    /// The object decoded to `T`, decoded once. One kind is read as one type: another type than the first gets `None`.
    pub(super) fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self, bytes: &[u8]) -> Option<Arc<T>> {
        let typed = self.typed.get_or_init(|| {
            let decoded: Option<T> = serde_json::from_slice(bytes).ok();
            decoded.map(|decoded| Arc::new(decoded) as Arc<dyn Any + Send + Sync>)
        });
        typed.clone()?.downcast().ok()
    }
}

fn text(object: &Value, pointer: &str) -> Box<str> {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().into()
}
