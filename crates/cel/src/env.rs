//! Environments: the variables, types and functions that expressions may use.

use std::collections::HashMap;
use std::sync::Arc;

use crate::checker;
use crate::errors::CompileError;
use crate::library::{self, Feature, Overload};
use crate::parser;
use crate::program::Program;
use crate::types::{Declaration, Field, ObjectType, Shape, Type};

/// What expressions may use. Made once for many expressions.
#[derive(Clone, Debug)]
pub struct Env {
    variables: HashMap<String, Declaration>,
    features: Vec<Feature>,
    /// `Object{...}` and `JSONPatch{...}` may be made.
    mutation: bool,
    /// `cel.bind` is a macro.
    binds: bool,
}

impl Env {
    /// Starts an environment with the functions of v1.36.
    pub fn builder() -> EnvBuilder {
        EnvBuilder(Env {
            variables: HashMap::new(),
            features: vec![Feature::Base, Feature::AuthorizerSelectors],
            mutation: false,
            binds: false,
        })
    }

    /// Adds variables to an environment: a copy for expressions that may use more than others.
    pub fn extend(&self) -> EnvBuilder {
        EnvBuilder(self.clone())
    }

    /// Parses and checks an expression.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let tree = parser::parse(source, self.binds)?;
        let checked = checker::check(self, source, tree)?;
        Program::plan(self, source, checked)
    }

    /// Gives a variable that is an object one more field, under the very name that expressions use, for what is compiled from
    /// now on.
    pub fn add_field(&mut self, variable: &str, name: &str, declaration: Declaration) {
        let Some(Declaration { ty, shape: Shape::Object(object), .. }) = self.variables.get_mut(variable) else {
            return;
        };
        // While nobody else holds the type, it grows in place.
        *ty = Type::Dyn;
        Arc::make_mut(object).fields.insert(name.to_owned(), Field { name: name.to_owned(), declaration });
        *ty = Type::Object(object.clone());
    }

    /// The declaration of a variable.
    pub(crate) fn variable(&self, name: &str) -> Option<&Declaration> {
        self.variables.get(name)
    }

    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.overloads(name).next().is_some()
    }

    pub(crate) fn overloads(&self, name: &str) -> impl Iterator<Item = &'static Overload> + '_ {
        let overloads = library::functions().get(name).into_iter().flatten();
        overloads.filter(|overload| self.features.contains(&overload.feature))
    }

    /// The type that a name stands for, as a value or to make objects of.
    pub(crate) fn type_named(&self, name: &str) -> Option<Type> {
        Some(match name {
            "bool" => Type::Bool,
            "bytes" => Type::Bytes,
            "double" => Type::Double,
            "google.protobuf.Duration" => Type::Duration,
            "int" => Type::Int,
            "list" => Type::list(Type::Dyn),
            "map" => Type::map(Type::Dyn, Type::Dyn),
            "null_type" => Type::Null,
            "optional_type" => Type::optional(Type::Dyn),
            "string" => Type::String,
            "google.protobuf.Timestamp" => Type::Timestamp,
            "type" => Type::Type(None),
            "uint" => Type::Uint,
            _ => match library::opaque::type_names().iter().find(|known| **known == name) {
                Some(known) => Type::Opaque(known),
                None => return self.object_named(name).map(Type::Object),
            },
        })
    }

    fn object_named(&self, name: &str) -> Option<Arc<ObjectType>> {
        if self.mutation {
            if name == JSON_PATCH {
                return Some(json_patch_type());
            }
            if name == OBJECT || name.starts_with("Object.") {
                return Some(ObjectType::builder(name).open().build());
            }
        }
        self.variables.values().find_map(|declaration| find_object(declaration, name))
    }
}

/// The object that mutating policies apply.
const OBJECT: &str = "Object";
/// One operation of a JSON patch.
const JSON_PATCH: &str = "JSONPatch";

fn json_patch_type() -> Arc<ObjectType> {
    let text = || Declaration::from(Type::String);
    ObjectType::builder(JSON_PATCH)
        .field("op", text(), false)
        .field("path", text(), false)
        .field("from", text(), false)
        .field("value", Declaration::dynamic(), false)
        .build()
}

/// The object type with this name among those that a declaration is made of.
fn find_object(declaration: &Declaration, name: &str) -> Option<Arc<ObjectType>> {
    match &declaration.shape {
        Shape::Object(object) if object.name == name => Some(object.clone()),
        Shape::Object(object) => object.fields.values().find_map(|field| find_object(&field.declaration, name)),
        Shape::List { element, .. } => find_object(element, name),
        Shape::Map { value } => find_object(value, name),
        Shape::Plain | Shape::IntOrString => None,
    }
}

/// Collects what an environment has.
#[derive(Debug)]
pub struct EnvBuilder(Env);

impl EnvBuilder {
    /// A variable of this type.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, declaration: impl Into<Declaration>) -> Self {
        self.0.variables.insert(name.into(), declaration.into());
        self
    }

    /// Without `fieldSelector` and `labelSelector` of authorization checks.
    #[must_use]
    pub fn without_authorizer_selectors(mut self) -> Self {
        self.0.features.retain(|feature| *feature != Feature::AuthorizerSelectors);
        self
    }

    /// With what mutating policies use: `Object{...}`, `JSONPatch{...}`, `jsonpatch.escapeKey`.
    #[must_use]
    pub fn mutation(mut self) -> Self {
        self.0.mutation = true;
        self.0.features.push(Feature::JsonPatch);
        self
    }

    /// With `cel.bind(name, value, result)`, in whose result the name stands for the value.
    #[must_use]
    pub fn bindings(mut self) -> Self {
        self.0.binds = true;
        self
    }

    /// The finished environment.
    pub fn build(self) -> Env {
        self.0
    }
}
