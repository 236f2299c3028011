//! The tables themselves: a type is a name and its fields in output order; a field is its shape and its markers.
//!
//! Strings of the built-in table are slices of the generated text, so the whole of v1.36 costs about a megabyte.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

/// A name in the table: borrowed from the generated text, owned when it comes from a CustomResourceDefinition.
pub type Text = Cow<'static, str>;

/// Index of a type in its `Types`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(super) u32);

/// All types of one table. Types refer to each other by `TypeId`.
#[derive(Debug, Default)]
pub struct Types {
    types: Vec<Type>,
    ids: HashMap<Text, TypeId>,
    /// Whether values of any form (`Shape::Any`) merge as one value: so it is with built-in types, while what the schema of
    /// a custom kind leaves open is looked into.
    pub(super) any_is_atomic: bool,
}

impl Types {
    /// The type with this OpenAPI name, e.g. `io.k8s.api.core.v1.Pod`.
    pub fn id(&self, name: &str) -> Option<TypeId> {
        self.ids.get(name).copied()
    }

    /// The type behind an id of this table.
    pub fn get(&self, id: TypeId) -> &Type {
        &self.types[id.0 as usize]
    }

    /// All types in the order of their names (built-in) or of their insertion.
    pub fn iter(&self) -> impl Iterator<Item = (TypeId, &Type)> {
        self.types.iter().enumerate().map(|(index, ty)| (TypeId(index as u32), ty))
    }

    pub fn len(&self) -> usize {
        self.types.len()
    }

    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    pub(crate) fn any_is_atomic(&self) -> bool {
        self.any_is_atomic
    }

    /// The type whose published group-version-kinds contain this one.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<TypeId> {
        self.iter()
            .find(|(_, ty)| ty.kinds.iter().any(|k| k.group == group && k.version == version && k.kind == kind))
            .map(|(id, _)| id)
    }

    /// Reserves the place of a type, so that types can refer to each other before they are filled in.
    pub fn declare(&mut self, name: impl Into<Text>) -> TypeId {
        let name = name.into();
        if let Some(id) = self.ids.get(&name) {
            return *id;
        }
        let id = TypeId(self.types.len() as u32);
        self.types.push(Type::new(name.clone()));
        self.ids.insert(name, id);
        id
    }

    /// Fills in a declared type; its fields must be in output order.
    pub fn define(&mut self, id: TypeId, mut ty: Type) {
        ty.index_fields();
        self.types[id.0 as usize] = ty;
    }
}

/// One object type, or (with `scalar`) a name for a value that is no object, such as Time.
#[derive(Debug, Default)]
pub struct Type {
    /// OpenAPI name.
    pub name: Text,
    /// Fields in output order: apiVersion, kind, metadata, then as upstream writes them.
    pub fields: Vec<Field>,
    /// Set when the type is not an object with fields: Time, Quantity, IntOrString, RawExtension, ...
    pub scalar: Option<Shape>,
    /// `x-kubernetes-group-version-kind`.
    pub kinds: Vec<GroupVersionKindName>,
    /// `x-kubernetes-map-type` of the type itself.
    pub map: MapKind,
    /// Fields that the type does not name may be there too (`x-kubernetes-preserve-unknown-fields`).
    pub preserves_unknown: bool,
    /// `x-kubernetes-unions` as published.
    pub unions: Option<Value>,
    /// Field indexes ordered by name.
    by_name: Box<[u16]>,
    /// Indexes of the fields that are written even when absent.
    always: Box<[u16]>,
    /// Indexes of the fields that protobuf knows, ordered by their numbers.
    by_number: Box<[u16]>,
}

impl Type {
    pub fn new(name: impl Into<Text>) -> Self {
        Type { name: name.into(), ..Type::default() }
    }

    /// The field with this JSON name (case-sensitive).
    pub fn find(&self, name: &str) -> Option<&Field> {
        self.position(name).map(|index| &self.fields[index])
    }

    /// Place of the field in output order.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.by_name
            .binary_search_by(|index| self.fields[*index as usize].name.as_ref().cmp(name))
            .ok()
            .map(|at| self.by_name[at] as usize)
    }

    /// Names of the fields that the published schema requires.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|field| field.required).map(|field| field.name.as_ref())
    }

    /// Indexes, in order, of the fields that the canonical form holds even when they are absent.
    pub(super) fn always_written(&self) -> &[u16] {
        &self.always
    }

    /// Indexes of the fields that protobuf knows, in the order in which it writes them: by number, an inlined message
    /// at the place of its own number.
    pub(crate) fn by_number(&self) -> &[u16] {
        &self.by_number
    }

    /// The last part of the name: `Pod`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }

    fn index_fields(&mut self) {
        let mut order: Vec<u16> = (0..self.fields.len() as u16).collect();
        order.sort_by(|a, b| self.fields[*a as usize].name.cmp(&self.fields[*b as usize].name));
        self.by_name = order.into();
        let always = self.fields.iter().enumerate().filter(|(_, field)| field.is_always_written());
        self.always = always.map(|(index, _)| index as u16).collect();
        let proto = |index: &u16| self.fields[*index as usize].proto.as_ref();
        let mut order: Vec<u16> = (0..self.fields.len() as u16).filter(|index| proto(index).is_some()).collect();
        order.sort_by(|a, b| {
            proto(a)
                .map(ProtoField::numbers)
                .into_iter()
                .flatten()
                .cmp(proto(b).map(ProtoField::numbers).into_iter().flatten())
        });
        self.by_number = order.into();
    }
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// JSON name.
    pub name: Text,
    pub shape: Shape,
    pub list: ListKind,
    /// `x-kubernetes-map-type` of the field.
    pub map: MapKind,
    pub patch: Patch,
    /// The published default. Behaviour that no schema states lives in the hooks of the kinds.
    pub default: Option<Value>,
    pub required: bool,
    /// Upstream leaves the zero value out of the output; without it zero (or null) is written.
    pub omit_empty: bool,
    /// Upstream leaves a struct-like value out too when it is zero (`omitzero`).
    pub omit_zero: bool,
    /// Upstream tells absent from zero.
    pub pointer: bool,
    /// Allowed values as published (sorted).
    pub enumeration: Vec<Text>,
    pub proto: Option<ProtoField>,
    /// Upstream's name for the field's scalar type where it is a named one, e.g. `v1.RestartPolicy`; error texts show it.
    pub go_type: Option<Text>,
}

impl Field {
    pub fn new(name: impl Into<Text>, shape: Shape) -> Self {
        Field {
            name: name.into(),
            shape,
            list: ListKind::Unset,
            map: MapKind::Unset,
            patch: Patch::default(),
            default: None,
            required: false,
            omit_empty: false,
            omit_zero: false,
            pointer: false,
            enumeration: Vec::new(),
            proto: None,
            go_type: None,
        }
    }

    /// Upstream's `omitempty` never leaves out a struct: objects, times, quantities and the like are written as their
    /// zero form unless they are pointers.
    fn is_always_written(&self) -> bool {
        let struct_like = match self.shape {
            Shape::Ref(_) | Shape::RefOr(..) => true,
            Shape::Time | Shape::MicroTime | Shape::Quantity | Shape::IntOrString | Shape::Any => true,
            Shape::String | Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::Bool => false,
            Shape::Bytes | Shape::List(_) | Shape::Map(_) => false,
        };
        !self.omit_zero && (!self.omit_empty || (struct_like && !self.pointer))
    }

    /// The list that a List kind is about stays a list when it is empty; any other becomes null or is left out.
    pub(super) fn keeps_empty_list(&self) -> bool {
        self.name == "items" && !self.omit_empty
    }
}

/// What a value looks like in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    String,
    Int32,
    Int64,
    Float64,
    Bool,
    /// Base64 text in JSON.
    Bytes,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339, six digits of a second.
    MicroTime,
    Quantity,
    IntOrString,
    /// Any JSON, kept as it is: RawExtension, FieldsV1, JSON.
    Any,
    Ref(TypeId),
    /// An object of this type or something else (JSONSchemaPropsOrBool and its like).
    RefOr(TypeId, Alternative),
    List(Box<Shape>),
    /// Keys are strings.
    Map(Box<Shape>),
}

impl Shape {
    /// The object type at the end of lists and maps, if there is one.
    pub fn type_id(&self) -> Option<TypeId> {
        match self {
            Shape::Ref(id) | Shape::RefOr(id, _) => Some(*id),
            Shape::List(item) | Shape::Map(item) => item.type_id(),
            _ => None,
        }
    }
}

/// The other form of a `Shape::RefOr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alternative {
    Bool,
    /// A list of the same type.
    List,
    Strings,
}

/// `x-kubernetes-list-type` with its keys. Unset counts as atomic for structured merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    #[default]
    Unset,
    Atomic,
    Set,
    Map(Vec<Text>),
}

/// `x-kubernetes-map-type`. Unset counts as granular.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MapKind {
    #[default]
    Unset,
    Atomic,
    Granular,
}

/// `x-kubernetes-patch-strategy` and `x-kubernetes-patch-merge-key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    pub merge: bool,
    pub replace: bool,
    pub retain_keys: bool,
    pub merge_key: Option<Text>,
}

/// How the field is written in protobuf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtoField {
    /// Numbers of the inlined messages around the field that JSON does not show, outermost first; mostly empty.
    pub within: Vec<u32>,
    pub number: u32,
    pub label: ProtoLabel,
    /// Name of the proto type as upstream writes it; without a leading dot it is of the same package.
    pub kind: Text,
}

impl ProtoField {
    /// The numbers on the way to the field, outermost first, its own last.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.within.iter().copied().chain(std::iter::once(self.number))
    }

    /// Whether each item of a list is a field of its own; otherwise the whole list is one message.
    pub(crate) fn is_repeated(&self) -> bool {
        self.label == ProtoLabel::Repeated
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtoLabel {
    Optional,
    Repeated,
    Required,
    Map,
}

/// One entry of `x-kubernetes-group-version-kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupVersionKindName {
    pub group: Text,
    pub version: Text,
    pub kind: Text,
}
