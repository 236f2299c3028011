//! Functions: what they are called with, what they give, and what they do. One file for each of upstream's libraries.
//!
//! A function has overloads; the checker picks those that fit the argument types, the evaluator the one that fits the values
//! where types are not known before. What a call costs is not here but in `cost`.

pub(crate) mod authorizer;
pub(crate) mod formats;
mod lists;
mod lists_kubernetes;
pub(crate) mod network;
pub(crate) mod opaque;
mod operators;
mod optional;
mod quantity;
pub(crate) mod regex;
pub(crate) mod semver;
mod sets;
mod standard;
mod string_format;
mod strings;
mod time;
pub(crate) mod url;

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::types::Type;
use crate::value::{EvalResult, Value};

pub(crate) use operators::no_overload;
pub(crate) use standard::is_conversion;

/// What a function does with its arguments.
pub(crate) type Run = for<'a> fn(&[Value<'a>]) -> EvalResult<'a>;

/// Which environments have a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    Base,
    /// `fieldSelector` and `labelSelector` of authorization checks.
    AuthorizerSelectors,
    /// Patches of mutating policies.
    JsonPatch,
}

/// One signature of a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub id: &'static str,
    /// Called as `first.function(others)`.
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
    pub feature: Feature,
    pub run: Run,
}

/// All overloads by function.
pub(crate) type Functions = HashMap<&'static str, Vec<Overload>>;

/// The functions of v1.36, whatever environment has them.
pub(crate) fn functions() -> &'static Functions {
    static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
        let mut set = Set::default();
        operators::declare(&mut set);
        standard::declare(&mut set);
        time::declare(&mut set);
        optional::declare(&mut set);
        strings::declare(&mut set);
        lists::declare(&mut set);
        lists_kubernetes::declare(&mut set);
        regex::declare(&mut set);
        url::declare(&mut set);
        network::declare(&mut set);
        quantity::declare(&mut set);
        semver::declare(&mut set);
        formats::declare(&mut set);
        sets::declare(&mut set);
        authorizer::declare(&mut set);
        set.functions
    });
    &FUNCTIONS
}

/// Collects declarations.
#[derive(Default)]
struct Set {
    functions: Functions,
}

impl Set {
    /// A function called by its name.
    fn global<const N: usize>(
        &mut self,
        function: &'static str,
        id: &'static str,
        args: [Type; N],
        result: Type,
        run: Run,
    ) {
        self.add(function, id, false, args.into(), result, run);
    }

    /// A function called on its first argument.
    fn member<const N: usize>(
        &mut self,
        function: &'static str,
        id: &'static str,
        args: [Type; N],
        result: Type,
        run: Run,
    ) {
        self.add(function, id, true, args.into(), result, run);
    }

    fn add(&mut self, function: &'static str, id: &'static str, member: bool, args: Vec<Type>, result: Type, run: Run) {
        let overload = Overload { id, member, args, result, feature: Feature::Base, run };
        self.functions.entry(function).or_default().push(overload);
    }

    /// Only environments with this feature have the function.
    fn only(&mut self, function: &'static str, feature: Feature) {
        for overload in self.functions.get_mut(function).into_iter().flatten() {
            overload.feature = feature;
        }
    }
}

/// Whether a value may be the argument of an overload that wants this type.
pub(crate) fn fits(value: &Value<'_>, ty: &Type) -> bool {
    match (ty, value) {
        (Type::Dyn | Type::Any | Type::Param(_) | Type::Variable(_), _) => true,
        (Type::Object(wanted), Value::Object(object)) => wanted.name == object.ty.name,
        (Type::Opaque(wanted), Value::Opaque(opaque)) => *wanted == opaque.type_name(),
        (Type::List(_), Value::List(_)) | (Type::Map(_), Value::Map(_) | Value::Fields(_)) => true,
        (Type::Optional(_), Value::Optional(_)) | (Type::Type(_), Value::Type(_)) => true,
        (ty, value) => std::mem::discriminant(ty) == std::mem::discriminant(&value.type_of()) && !is_container(ty),
    }
}

fn is_container(ty: &Type) -> bool {
    matches!(ty, Type::List(_) | Type::Map(_) | Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Type(_))
}
