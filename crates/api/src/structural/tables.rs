//! A schema as a table of types: what structured merge walks over.

use machinery::schema::{self, Field, ListKind, MapKind, Shape, Type, TypeId, Types};

use super::{Additional, ListType, Schema};

impl Schema {
    /// The types of a resource's schema; `name` names the resource itself.
    pub fn types(&self, name: &str) -> (Types, TypeId) {
        let mut tables = Tables { types: Types::default(), count: 0 };
        let root = tables.types.declare(name.to_owned());
        let mut fields = vec![Field::new("apiVersion", Shape::String), Field::new("kind", Shape::String)];
        let metadata = tables.copy_builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        fields.push(Field::new("metadata", metadata));
        for (name, property) in self.properties.iter().filter(|(name, _)| !super::is_type_or_metadata(name)) {
            fields.push(tables.field(name, property));
        }
        let mut ty = Type::new(name.to_owned());
        ty.fields = fields;
        ty.preserves_unknown = self.preserve_unknown_fields;
        tables.types.define(root, ty);
        (tables.types, root)
    }
}

struct Tables {
    types: Types,
    count: usize,
}

impl Tables {
    fn field(&mut self, name: &str, schema: &Schema) -> Field {
        let mut field = Field::new(name.to_owned(), self.shape(schema));
        field.list = match schema.list_type {
            Some(ListType::Set) => ListKind::Set,
            Some(ListType::Map) => ListKind::Map(schema.list_map_keys.iter().map(|key| key.clone().into()).collect()),
            Some(ListType::Atomic) => ListKind::Atomic,
            None => ListKind::Unset,
        };
        if schema.atomic_map {
            field.map = MapKind::Atomic;
        }
        field.default = schema.default.clone();
        field
    }

    fn shape(&mut self, schema: &Schema) -> Shape {
        if schema.int_or_string {
            return Shape::IntOrString;
        }
        match schema.kind.as_str() {
            "string" => Shape::String,
            "integer" => Shape::Int64,
            "number" => Shape::Float64,
            "boolean" => Shape::Bool,
            "array" => {
                let item = schema.items.as_deref().map_or(Shape::Any, |items| self.shape(items));
                Shape::List(Box::new(item))
            }
            "object" if schema.embedded_resource || !schema.properties.is_empty() => self.object(schema),
            "object" => match &schema.additional {
                Some(Additional::Schema(below)) => Shape::Map(Box::new(self.shape(below))),
                _ => Shape::Any,
            },
            _ => Shape::Any,
        }
    }

    fn object(&mut self, schema: &Schema) -> Shape {
        self.count += 1;
        let name = format!("#{}", self.count);
        let id = self.types.declare(name.clone());
        let mut ty = Type::new(name);
        if schema.embedded_resource {
            let metadata = self.copy_builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
            ty.fields.push(Field::new("apiVersion", Shape::String));
            ty.fields.push(Field::new("kind", Shape::String));
            ty.fields.push(Field::new("metadata", metadata));
        }
        for (name, property) in &schema.properties {
            if !(schema.embedded_resource && super::is_type_or_metadata(name)) {
                ty.fields.push(self.field(name, property));
            }
        }
        if schema.atomic_map {
            ty.map = MapKind::Atomic;
        }
        ty.preserves_unknown = schema.preserve_unknown_fields;
        self.types.define(id, ty);
        Shape::Ref(id)
    }

    /// A built-in type with all that it refers to.
    fn copy_builtin(&mut self, name: &str) -> Shape {
        let builtin = schema::builtin();
        let Some(from) = builtin.id(name) else { return Shape::Any };
        Shape::Ref(self.copy(builtin, from))
    }

    fn copy(&mut self, builtin: &'static Types, from: TypeId) -> TypeId {
        let source = builtin.get(from);
        if let Some(id) = self.types.id(&source.name) {
            return id;
        }
        let id = self.types.declare(source.name.clone());
        let mut ty = Type::new(source.name.clone());
        ty.scalar = source.scalar.clone();
        ty.map = source.map;
        ty.fields = source.fields.iter().map(|field| self.copy_field(builtin, field)).collect();
        self.types.define(id, ty);
        id
    }

    fn copy_field(&mut self, builtin: &'static Types, field: &Field) -> Field {
        let mut copy = Field::new(field.name.clone(), self.copy_shape(builtin, &field.shape));
        copy.list = field.list.clone();
        copy.map = field.map;
        copy.omit_empty = field.omit_empty;
        copy.omit_zero = field.omit_zero;
        copy.pointer = field.pointer;
        copy
    }

    fn copy_shape(&mut self, builtin: &'static Types, shape: &Shape) -> Shape {
        match shape {
            Shape::Ref(id) => Shape::Ref(self.copy(builtin, *id)),
            Shape::RefOr(id, alternative) => Shape::RefOr(self.copy(builtin, *id), *alternative),
            Shape::List(item) => Shape::List(Box::new(self.copy_shape(builtin, item))),
            Shape::Map(item) => Shape::Map(Box::new(self.copy_shape(builtin, item))),
            other => other.clone(),
        }
    }
}
