//! Types of the schema table as OpenAPI schemas, and which types a document needs.

use std::collections::{BTreeMap, BTreeSet};

use api::{Kind, Version};
use machinery::schema::{self, Alternative, Field, ListKind, MapKind, Shape, Type, TypeId, Types};
use serde_json::{Map, Value, json};

use super::custom;
use super::descriptions::Descriptions;
use crate::apiextensions::KindSet;

/// The two dialects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    V2,
    V3,
}

impl Dialect {
    pub fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// Types that clients name or that every operation uses.
pub const ALWAYS: &[&str] = &[
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
    "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
];
/// What a patch body is: anything.
pub const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// Additional group-version-kinds of a type: old homes of kinds that share it.
pub type Homes = BTreeMap<TypeId, BTreeSet<(String, String, String)>>;

/// The schemas of some types and of all that they refer to, by name.
pub fn of(
    kinds: &KindSet,
    roots: &BTreeSet<String>,
    homes: &Homes,
    descriptions: &Descriptions,
    dialect: Dialect,
) -> Map<String, Value> {
    let types = schema::builtin();
    let mut waiting: Vec<TypeId> = roots.iter().filter_map(|name| types.id(name)).collect();
    waiting.extend(ALWAYS.iter().filter_map(|name| types.id(name)));
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if seen.insert(id) {
            waiting.extend(types.get(id).fields.iter().filter_map(|field| field.shape.type_id()));
        }
    }
    let maker = Maker { types, homes, descriptions, dialect };
    let mut named: BTreeMap<String, Value> =
        seen.into_iter().map(|id| (types.get(id).name.to_string(), maker.type_schema(id))).collect();
    named.insert(PATCH.to_owned(), described(json!({ "type": "object" }), descriptions.of_type(PATCH)));
    for (kind, version) in kinds.served().filter(|(_, version)| roots.contains(version.schema)) {
        named.extend(custom::schemas(kind, version, descriptions, dialect));
    }
    add_old_homes(kinds, &mut named, dialect);
    named.into_iter().collect()
}

/// The schema name of a kind in an old home: a client checks what it sends against a schema of that very version.
pub fn old_name(kind: &Kind, version: &Version) -> Option<String> {
    version.deprecated.as_ref().filter(|_| !version.storage && version.convert.is_none())?;
    let group = version.group_of(kind).split('.').next().unwrap_or_default();
    Some(format!("io.k8s.api.{group}.{}.{}", version.name, kind.kind))
}

/// Old homes share the fields of the current one; what has become required since was not, the defaults of the old version
/// fill it in.
fn add_old_homes(kinds: &KindSet, named: &mut BTreeMap<String, Value>, dialect: Dialect) {
    for (kind, version) in kinds.served() {
        let Some(name) = old_name(kind, version) else { continue };
        let (spec_name, list_name) = (format!("{name}Spec"), format!("{name}List"));
        let (group, version_name) = (version.group_of(kind), version.name);
        let own_kind = |kind: &str| json!([{ "group": group, "kind": kind, "version": version_name }]);
        let current = |suffix: &str| named.get(&format!("{}{suffix}", version.schema)).cloned();
        let (Some(mut object), list) = (current(""), current("List")) else { continue };
        if let Some(mut spec) = current("Spec") {
            if let Some(fields) = spec.as_object_mut() {
                fields.shift_remove("required");
            }
            object["properties"]["spec"] = json!({ "$ref": dialect.reference(&spec_name) });
            named.insert(spec_name, spec);
        }
        if let Some(mut list) = list {
            list["properties"]["items"]["items"] = json!({ "$ref": dialect.reference(&name) });
            list["x-kubernetes-group-version-kind"] = own_kind(kind.list_kind);
            named.insert(list_name, list);
        }
        object["x-kubernetes-group-version-kind"] = own_kind(kind.kind);
        named.insert(name, object);
    }
}

/// Adds what is said of a type or a field.
fn described(mut schema: Value, description: Option<String>) -> Value {
    if let Some(description) = description {
        schema["description"] = description.into();
    }
    schema
}

struct Maker<'d> {
    types: &'static Types,
    homes: &'d Homes,
    descriptions: &'d Descriptions,
    dialect: Dialect,
}

impl Maker<'_> {
    fn type_schema(&self, id: TypeId) -> Value {
        let ty = self.types.get(id);
        let description = self.descriptions.of_type(&ty.name);
        if let Some(shape) = &ty.scalar {
            return described(shape_schema(self.types, shape, self.dialect), description);
        }
        let mut out = described(json!({ "type": "object" }), description);
        let required: Vec<&str> = ty.required().collect();
        if !required.is_empty() {
            out["required"] = json!(required);
        }
        let mut fields: Vec<&Field> = ty.fields.iter().collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        if !fields.is_empty() {
            let schema = |field: &Field| {
                described(
                    field_schema(self.types, field, self.dialect),
                    self.descriptions.of_field(&ty.name, &field.name),
                )
            };
            let properties: Map<String, Value> =
                fields.into_iter().map(|field| (field.name.to_string(), schema(field))).collect();
            out["properties"] = properties.into();
        }
        if ty.map == MapKind::Atomic {
            out["x-kubernetes-map-type"] = "atomic".into();
        }
        if let Some(unions) = &ty.unions {
            out["x-kubernetes-unions"] = unions.clone();
        }
        let kinds = group_version_kinds(ty, self.homes.get(&id));
        if !kinds.is_empty() {
            out["x-kubernetes-group-version-kind"] = kinds.into();
        }
        out
    }
}

fn group_version_kinds(ty: &Type, more: Option<&BTreeSet<(String, String, String)>>) -> Vec<Value> {
    let own = ty.kinds.iter().map(|kind| (kind.group.to_string(), kind.version.to_string(), kind.kind.to_string()));
    let mut all: Vec<(String, String, String)> = own.collect();
    for home in more.into_iter().flatten() {
        if !all.contains(home) {
            all.push(home.clone());
        }
    }
    all.into_iter().map(|(group, version, kind)| json!({ "group": group, "kind": kind, "version": version })).collect()
}

/// A field that refers to a type. In v3 nothing may stand beside a reference: it is wrapped.
pub fn reference_field(dialect: Dialect, name: &str, description: Option<String>) -> Value {
    let reference = json!({ "$ref": dialect.reference(name) });
    described(if dialect == Dialect::V3 { json!({ "allOf": [reference] }) } else { reference }, description)
}

fn field_schema(types: &Types, field: &Field, dialect: Dialect) -> Value {
    let is_reference = matches!(field.shape, Shape::Ref(_));
    let mut out = match &field.shape {
        Shape::Ref(id) => reference_field(dialect, &types.get(*id).name, None),
        shape => shape_schema(types, shape, dialect),
    };
    if !field.enumeration.is_empty() {
        let innermost = match &field.shape {
            Shape::List(_) => "/items",
            Shape::Map(_) => "/additionalProperties",
            _ => "",
        };
        if let Some(target) = out.pointer_mut(innermost) {
            target["enum"] = json!(field.enumeration);
        }
    }
    if let Some(default) = &field.default
        && !(is_reference && dialect == Dialect::V2)
    {
        out["default"] = default.clone();
    }
    match &field.list {
        ListKind::Unset => {}
        ListKind::Atomic => out["x-kubernetes-list-type"] = "atomic".into(),
        ListKind::Set => out["x-kubernetes-list-type"] = "set".into(),
        ListKind::Map(keys) => {
            out["x-kubernetes-list-map-keys"] = json!(keys);
            out["x-kubernetes-list-type"] = "map".into();
        }
    }
    if field.map == MapKind::Atomic {
        out["x-kubernetes-map-type"] = "atomic".into();
    }
    if let Some(key) = &field.patch.merge_key {
        out["x-kubernetes-patch-merge-key"] = json!(key);
    }
    let strategies =
        [(field.patch.merge, "merge"), (field.patch.replace, "replace"), (field.patch.retain_keys, "retainKeys")];
    let strategies: Vec<&str> = strategies.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
    if !strategies.is_empty() {
        out["x-kubernetes-patch-strategy"] = strategies.join(",").into();
    }
    out
}

fn shape_schema(types: &Types, shape: &Shape, dialect: Dialect) -> Value {
    match shape {
        Shape::String => json!({ "type": "string" }),
        Shape::Int32 => json!({ "type": "integer", "format": "int32" }),
        Shape::Int64 => json!({ "type": "integer", "format": "int64" }),
        Shape::Float64 => json!({ "type": "number", "format": "double" }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Bytes => json!({ "type": "string", "format": "byte" }),
        Shape::Time | Shape::MicroTime => json!({ "type": "string", "format": "date-time" }),
        Shape::Quantity => json!({ "type": "string" }),
        Shape::IntOrString => json!({ "type": "string", "format": "int-or-string" }),
        Shape::Any => json!({ "type": "object" }),
        Shape::Ref(id) => json!({ "$ref": dialect.reference(&types.get(*id).name) }),
        // The second form cannot be said: v2 knows no alternatives.
        Shape::RefOr(_, Alternative::Bool | Alternative::List | Alternative::Strings) => json!({}),
        Shape::List(item) => json!({ "type": "array", "items": shape_schema(types, item, dialect) }),
        Shape::Map(value) => json!({ "type": "object", "additionalProperties": shape_schema(types, value, dialect) }),
    }
}
