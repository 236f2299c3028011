//! The compiled form of a definition: for each version its schema and what hangs on it.

use std::sync::Arc;

use machinery::jsonpath::Template;
use serde_json::Value;

use super::Converter;
use super::validations::Rules;
use crate::apiextensions::version_schema;
use crate::structural::{self, Schema};
use crate::value::{boolean, list, text};
use crate::{ScaleRef, TypeRef, TypesRef};

/// What a kind does at present.
pub struct Behaviour {
    pub group: String,
    pub kind: String,
    pub namespaced: bool,
    /// Nothing is pruned: only very old definitions say so.
    pub preserve_unknown_fields: bool,
    pub versions: Vec<OwnVersion>,
    /// Brings objects from version to version; none where only the version's name differs.
    pub converter: Option<Arc<dyn Converter>>,
}

/// One version.
pub struct OwnVersion {
    pub name: String,
    pub schema: Schema,
    /// Its rules, if it has any.
    pub rules: Option<Rules>,
    pub types: TypeRef,
    pub has_status: bool,
    pub scale: Option<ScalePaths>,
    pub columns: Vec<PrinterColumn>,
    pub selectable: Vec<Selectable>,
    pub deprecation: Option<String>,
    pub published: Published,
}

/// What OpenAPI shows of a version.
pub struct Published {
    /// As it is written in the definition.
    pub schema: Option<Value>,
    pub preserve_unknown_fields: bool,
}

/// The paths of the scale subresource, as they are written.
pub struct ScalePaths {
    pub spec: String,
    pub status: String,
    pub selector: Option<String>,
}

pub struct PrinterColumn {
    pub name: String,
    pub kind: String,
    pub format: String,
    pub description: String,
    pub priority: i64,
    pub path: Option<Template>,
}

/// A field that selectors may name.
pub struct Selectable {
    /// The path without its first dot.
    pub label: String,
    pub steps: Vec<String>,
}

impl Behaviour {
    /// Compiles a definition. A schema that cannot be compiled (which no definition is accepted with) lets everything through.
    pub fn of(definition: &Value, converter: Option<Arc<dyn Converter>>) -> Self {
        let spec = definition.get("spec").unwrap_or(&Value::Null);
        let (group, kind) = (text(spec, "/group"), text(spec, "/names/kind"));
        let preserve = boolean(spec, "/preserveUnknownFields");
        Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespaced: text(spec, "/scope") == "Namespaced",
            preserve_unknown_fields: preserve,
            versions: list(spec, "/versions")
                .iter()
                .map(|version| OwnVersion::of(version, group, kind, preserve))
                .collect(),
            converter,
        }
    }

    pub fn version(&self, name: &str) -> Option<&OwnVersion> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// The version that an object says it has.
    pub fn version_of(&self, object: &Value) -> Option<&OwnVersion> {
        self.version(text(object, "/apiVersion").rsplit('/').next().unwrap_or_default())
    }

    pub fn api_version(&self, version: &str) -> String {
        format!("{}/{version}", self.group)
    }

    /// Fills in the defaults of the version that the object has.
    pub fn default(&self, object: &mut Value) {
        if let Some(version) = self.version_of(object) {
            structural::apply_defaults(object, &version.schema);
        }
    }
}

impl OwnVersion {
    fn of(version: &Value, group: &str, kind: &str, preserve: bool) -> Self {
        let name = text(version, "/name");
        let open = || Schema { preserve_unknown_fields: true, ..Schema::default() };
        let written = version_schema(version);
        let schema = written.map_or_else(open, |written| Schema::parse(written).unwrap_or_else(|_| open()));
        let (types, id) = schema.types(&format!("{group}/{name}.{kind}"));
        let fallback = || format!("{group}/{name} {kind} is deprecated");
        let deprecation = boolean(version, "/deprecated").then(|| {
            let own = version.get("deprecationWarning").and_then(Value::as_str);
            own.map_or_else(fallback, str::to_owned)
        });
        Self {
            name: name.to_owned(),
            types: TypeRef { types: TypesRef::Own(Arc::new(types)), id },
            has_status: version.pointer("/subresources/status").is_some_and(|status| !status.is_null()),
            scale: version.pointer("/subresources/scale").filter(|scale| !scale.is_null()).map(ScalePaths::of),
            columns: columns(version),
            selectable: list(version, "/selectableFields").iter().map(Selectable::of).collect(),
            deprecation,
            published: Published { schema: written.cloned(), preserve_unknown_fields: preserve },
            rules: Rules::of(&schema),
            schema,
        }
    }
}

impl ScalePaths {
    fn of(scale: &Value) -> Self {
        Self {
            spec: text(scale, "/specReplicasPath").to_owned(),
            status: text(scale, "/statusReplicasPath").to_owned(),
            selector: scale.get("labelSelectorPath").and_then(Value::as_str).map(str::to_owned),
        }
    }

    pub fn to_ref(&self) -> ScaleRef {
        ScaleRef::at(pointer(&self.spec), pointer(&self.status), self.selector.as_deref().map(pointer))
    }
}

/// `.spec.replicas` as a JSON pointer.
pub fn pointer(path: &str) -> String {
    let steps = path.strip_prefix('.').unwrap_or(path).split('.');
    steps.fold(String::new(), |pointer, step| pointer + "/" + &step.replace('~', "~0").replace('/', "~1"))
}

/// The columns of a version; without any of its own it shows the age.
fn columns(version: &Value) -> Vec<PrinterColumn> {
    let own = list(version, "/additionalPrinterColumns");
    if own.is_empty() {
        return vec![PrinterColumn {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            description: crate::Column::AGE.description.to_owned(),
            priority: 0,
            path: Template::parse("{.metadata.creationTimestamp}").ok(),
        }];
    }
    own.iter()
        .map(|column| {
            let path = text(column, "/jsonPath");
            let described = format!("Custom resource definition column (in JSONPath format): {path}");
            let description = text(column, "/description");
            PrinterColumn {
                name: text(column, "/name").to_owned(),
                kind: text(column, "/type").to_owned(),
                format: text(column, "/format").to_owned(),
                description: if description.is_empty() { described } else { description.to_owned() },
                priority: column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
                path: Template::parse(&format!("{{{path}}}")).ok(),
            }
        })
        .collect()
}

impl Selectable {
    fn of(field: &Value) -> Self {
        let path = text(field, "/jsonPath");
        let label = path.strip_prefix('.').unwrap_or(path);
        Self { label: label.to_owned(), steps: label.split('.').map(str::to_owned).collect() }
    }

    /// The field as selectors compare it: text, numbers and truth values in their plain form.
    pub fn value(&self, object: &Value) -> String {
        let value = self.steps.iter().try_fold(object, |at, step| at.get(step));
        match value {
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            _ => String::new(),
        }
    }
}
