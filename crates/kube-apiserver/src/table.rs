//! Other shapes of objects: the Table that `kubectl get` prints, and metadata alone.

use api::{Kind, Version};
use jiff::Timestamp;
use machinery::status::Status;
use serde_json::{Value, json};

use crate::endpoints::Query;
use crate::registry::{encode, strategies};

/// What of the object a table's row carries besides its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Include {
    Metadata,
    Object,
    None,
}

impl Include {
    /// Reads the `includeObject` parameter.
    pub fn of(query: &Query) -> Result<Self, Status> {
        match query.get("includeObject").unwrap_or_default() {
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            "None" => Ok(Self::None),
            other => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {}: must be 'Metadata', 'Object', 'None', or empty",
                machinery::go_text::quote(other)
            ))),
        }
    }
}

/// The columns of a kind.
pub fn columns(kind: &Kind, version: &Version) -> Value {
    if let Some(custom) = kind.custom {
        return custom.columns(version.name);
    }
    let columns = kind.columns.iter().map(|column| {
        json!({
            "name": column.name,
            "type": column.kind,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        })
    });
    columns.collect()
}

/// One row.
///
/// The cells of a built-in kind are read off the stored form, those of a custom kind off the version that is sent.
pub fn row(
    (kind, version): (&Kind, &Version),
    api_version: &str,
    stored: &Value,
    sent: &Value,
    include: Include,
    now: Timestamp,
) -> Value {
    let object = match include {
        Include::Metadata => partial(api_version, sent),
        Include::Object => sent.clone(),
        Include::None => Value::Null,
    };
    let shown = if kind.custom.is_some() { sent } else { stored };
    let mut row = json!({ "cells": version.cells(kind, shown, now) });
    if let Some(conditions) = strategies::of(kind).row_conditions(stored) {
        row["conditions"] = conditions;
    }
    row["object"] = object;
    row
}

/// A table of given rows. Later events of a watch leave the columns out.
pub fn of_rows(api_version: &str, metadata: Value, columns: Value, rows: Vec<Value>) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

/// A table of one object, given as it is stored and as it is sent.
pub fn of_object(
    of: (&Kind, &Version),
    api_version: &str,
    (stored, sent): (&Value, &Value),
    include: Include,
    now: Timestamp,
) -> Value {
    let version = sent.pointer("/metadata/resourceVersion").cloned();
    let metadata = version.map_or_else(|| json!({}), |version| json!({ "resourceVersion": version }));
    let rows = vec![row(of, api_version, stored, sent, include, now)];
    of_rows(api_version, metadata, columns(of.0, of.1), rows)
}

/// A stored object's metadata alone, as JSON, without decoding anything.
pub fn partial_of_stored(api_version: &str, stored: &[u8]) -> Result<String, Status> {
    let metadata = encode::metadata(stored)?.get();
    Ok(format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"{api_version}","metadata":{metadata}}}"#))
}

/// An object's metadata alone.
pub fn partial(api_version: &str, object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": api_version,
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}
