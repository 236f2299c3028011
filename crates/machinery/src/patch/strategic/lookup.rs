//! What the schema says about patching a field.

use super::PatchError;
use crate::go_text;
use crate::schema::{Shape, TypeId, Types};

/// A place in the schema; nothing is known below values of any shape.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'t> {
    types: &'t Types,
    shape: Place<'t>,
}

#[derive(Clone, Copy)]
enum Place<'t> {
    Type(TypeId),
    Shape(&'t Shape),
}

/// How a field's old and new value meet.
pub(super) struct Rule<'t> {
    /// A list merges instead of being replaced.
    pub merge: bool,
    /// A map is replaced instead of merged.
    pub replace: bool,
    /// Which field tells a list's items apart; scalars have none.
    pub merge_key: Option<&'t str>,
    /// The value's own schema; a list's items have it too.
    pub inner: Lookup<'t>,
}

impl<'t> Lookup<'t> {
    pub fn of_type(types: &'t Types, id: TypeId) -> Self {
        Lookup { types, shape: Place::Type(id) }
    }

    /// The rule for a field of this place. A field that its type does not have is an error, as upstream's.
    pub fn field(&self, name: &str) -> Result<Rule<'t>, PatchError> {
        let place = |shape| Lookup { types: self.types, shape: Place::Shape(shape) };
        let id = match self.shape {
            Place::Type(id) => id,
            Place::Shape(shape) => match shape {
                Shape::Ref(id) | Shape::RefOr(id, _) => *id,
                Shape::List(inner) => return place(inner).field(name),
                Shape::Map(inner) => return Ok(Rule::plain(place(inner))),
                _ => return Ok(Rule::plain(*self)),
            },
        };
        let ty = self.types.get(id);
        if let Some(shape) = &ty.scalar {
            return Ok(Rule::plain(place(shape)));
        }
        let Some(field) = ty.find(name) else {
            let (name, ty) = (go_text::quote(name), ty.short_name());
            return Err(PatchError::Unexpected(format!(
                "unable to find api field in struct {ty} for the json field {name}"
            )));
        };
        Ok(Rule {
            merge: field.patch.merge,
            replace: field.patch.replace,
            merge_key: field.patch.merge_key.as_deref(),
            inner: place(&field.shape),
        })
    }

    /// The name of the type, for messages.
    pub fn name(&self) -> &'t str {
        match self.shape {
            Place::Type(id) => self.types.get(id).short_name(),
            Place::Shape(shape) => shape.type_id().map_or("", |id| self.types.get(id).short_name()),
        }
    }
}

impl<'t> Rule<'t> {
    /// No markers: maps merge, lists are replaced.
    fn plain(inner: Lookup<'t>) -> Self {
        Rule { merge: false, replace: false, merge_key: None, inner }
    }
}
