//! Tables and partial objects (`meta.k8s.io/v1`): what a server answers to kubectl instead of whole objects.
//!
//! Cells come from the kind's declaration (ages in them from `time::age`); this is the frame around them.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value};

/// The one version of tables and partial objects that is current.
pub const API_VERSION: &str = "meta.k8s.io/v1";

/// A column's heading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnDefinition {
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// `name` marks the column that identifies the row.
    pub format: Cow<'static, str>,
    pub description: Cow<'static, str>,
    /// Columns above 0 are shown in wide output only.
    pub priority: i32,
}

/// A list of objects as rows of cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// `metadata` of the list: resourceVersion, continue, remainingItemCount.
    pub metadata: Map<String, Value>,
    /// None (written as null) after the first event of a watch.
    pub column_definitions: Option<Vec<ColumnDefinition>>,
    pub rows: Vec<TableRow>,
}

impl Serialize for Table {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Form<'a> {
            kind: &'static str,
            api_version: &'static str,
            metadata: &'a Map<String, Value>,
            column_definitions: &'a Option<Vec<ColumnDefinition>>,
            rows: &'a [TableRow],
        }
        let Table { metadata, column_definitions, rows } = self;
        Form { kind: "Table", api_version: API_VERSION, metadata, column_definitions, rows }.serialize(serializer)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableRow {
    pub cells: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<TableRowCondition>,
    /// What `includeObject` asks for; null for None.
    pub object: Value,
}

/// Marks a row, e.g. as one of a finished pod (`Completed`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableRowCondition {
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    pub status: Cow<'static, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: Cow<'static, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: Cow<'static, str>,
}

impl TableRow {
    pub fn new(cells: Vec<Value>, object: &Value, include: IncludeObject) -> Self {
        let object = match include {
            IncludeObject::None => Value::Null,
            IncludeObject::Metadata => partial_object_metadata(object, API_VERSION),
            IncludeObject::Object => object.clone(),
        };
        TableRow { cells, conditions: Vec::new(), object }
    }
}

/// The `includeObject` of a request for a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    #[default]
    Metadata,
    Object,
}

impl IncludeObject {
    /// No name means Metadata.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "None" => Some(IncludeObject::None),
            "Metadata" | "" => Some(IncludeObject::Metadata),
            "Object" => Some(IncludeObject::Object),
            _ => None,
        }
    }
}

/// The object with nothing but its metadata.
pub fn partial_object_metadata(object: &Value, api_version: &str) -> Value {
    partial("PartialObjectMetadata", api_version, object)
}

/// A list of such objects out of a list of whole ones.
pub fn partial_object_metadata_list(list: &Value, api_version: &str) -> Value {
    let mut partial = partial("PartialObjectMetadataList", api_version, list);
    let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
    partial["items"] = items.map(|item| partial_object_metadata(item, api_version)).collect();
    partial
}

fn partial(kind: &str, api_version: &str, object: &Value) -> Value {
    let mut out = Map::with_capacity(4);
    out.insert("kind".to_owned(), Value::from(kind));
    out.insert("apiVersion".to_owned(), Value::from(api_version));
    out.insert("metadata".to_owned(), object.get("metadata").cloned().unwrap_or_else(|| Value::Object(Map::new())));
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_written_as_upstream() {
        let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {}});
        let column = ColumnDefinition {
            name: "Name".into(),
            kind: "string".into(),
            format: "name".into(),
            description: "its name".into(),
            priority: 0,
        };
        let rows = [IncludeObject::None, IncludeObject::Metadata, IncludeObject::Object]
            .map(|include| TableRow::new(vec![json!("a")], &pod, include));
        let metadata = Map::from_iter([("resourceVersion".to_owned(), json!("5"))]);
        let table = Table { metadata, column_definitions: Some(vec![column]), rows: rows.to_vec() };
        assert_eq!(
            serde_json::to_string(&table).unwrap(),
            concat!(
                r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"5"},"columnDefinitions":["#,
                r#"{"name":"Name","type":"string","format":"name","description":"its name","priority":0}],"rows":["#,
                r#"{"cells":["a"],"object":null},"#,
                r#"{"cells":["a"],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a"}}},"#,
                r#"{"cells":["a"],"object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"spec":{}}}]}"#
            )
        );
    }

    #[test]
    fn a_list_becomes_partial() {
        let list = json!({"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}, "spec": {}}]});
        assert_eq!(
            partial_object_metadata_list(&list, API_VERSION),
            json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": "7"},
                "items": [{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "a"}}],
            })
        );
    }
}
