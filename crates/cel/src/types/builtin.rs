//! Declarations of the built-in kinds, from the table of their fields.

use machinery::schema::{ListKind as TableListKind, Shape as TableShape, TypeId, Types};

use super::{Declaration, ListKind, ObjectType, Type};

/// The declaration of a type of the table, with all its fields.
///
/// A type that contains itself is left out where it does (only JSON schemas do).
pub fn declare_builtin(types: &Types, id: TypeId) -> Declaration {
    let mut open = Vec::new();
    declare(types, id, types.get(id).name.as_ref(), &mut open).unwrap_or_else(Declaration::dynamic)
}

/// The same, under another name: type-checking of policies names the type after the kind.
pub fn declare_builtin_rooted(types: &Types, id: TypeId, name: &str) -> Declaration {
    let mut open = Vec::new();
    declare(types, id, name, &mut open).unwrap_or_else(Declaration::dynamic)
}

fn declare(types: &Types, id: TypeId, name: &str, open: &mut Vec<TypeId>) -> Option<Declaration> {
    if open.contains(&id) {
        return None;
    }
    let ty = types.get(id);
    open.push(id);
    let declaration = match &ty.scalar {
        Some(shape) => of_shape(types, shape, &TableListKind::Unset, name, open),
        None => {
            let mut builder = ObjectType::builder(name);
            for field in &ty.fields {
                let path = format!("{name}.{}", field.name);
                if let Some(declaration) = of_shape(types, &field.shape, &field.list, &path, open) {
                    builder = builder.field(&field.name, declaration, field.required && field.default.is_none());
                }
            }
            Some(builder.declaration())
        }
    };
    open.pop();
    declaration
}

fn of_shape(
    types: &Types,
    shape: &TableShape,
    list: &TableListKind,
    name: &str,
    open: &mut Vec<TypeId>,
) -> Option<Declaration> {
    Some(match shape {
        TableShape::String => Declaration::string(None),
        TableShape::Int32 | TableShape::Int64 => Declaration::from(Type::Int),
        TableShape::Float64 => Declaration::from(Type::Double),
        TableShape::Bool => Declaration::from(Type::Bool),
        TableShape::Bytes => Declaration::bytes(None),
        TableShape::Time | TableShape::MicroTime => Declaration::date_time(),
        // Quantities are text in objects; `quantity(...)` reads them.
        TableShape::Quantity => Declaration::string(None),
        TableShape::IntOrString => Declaration::int_or_string(None),
        // Raw JSON is an object without known fields.
        TableShape::Any => ObjectType::builder(name).declaration(),
        TableShape::Ref(id) | TableShape::RefOr(id, _) => declare(types, *id, name, open)?,
        TableShape::List(item) => {
            let element = of_shape(types, item, &TableListKind::Unset, &format!("{name}.@idx"), open)?;
            Declaration::list(element, None, list_kind(list))
        }
        TableShape::Map(value) => {
            let value = of_shape(types, value, &TableListKind::Unset, &format!("{name}.@elem"), open)?;
            Declaration::map(value, None)
        }
    })
}

fn list_kind(kind: &TableListKind) -> ListKind {
    match kind {
        TableListKind::Unset | TableListKind::Atomic => ListKind::Atomic,
        TableListKind::Set => ListKind::Set,
        TableListKind::Map(keys) => ListKind::Map(keys.iter().map(ToString::to_string).collect()),
    }
}
