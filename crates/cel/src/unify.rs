//! Which types may stand for which, and what the unknown ones turn out to be.
//!
//! Worked example: `[]` has type `list(_var0)`. Compared with `list(int)` the variable becomes `int`; a later use as
//! `list(string)` then fails. An attempt that fails leaves no trace.

use crate::types::Type;
use std::sync::Arc;

/// What is known about type variables.
#[derive(Default)]
pub(crate) struct Unifier {
    bindings: Vec<Option<Type>>,
    /// What each change has replaced, to take attempts back.
    log: Vec<(u32, Option<Type>)>,
}

impl Unifier {
    pub fn fresh(&mut self) -> Type {
        self.bindings.push(None);
        Type::Variable(self.bindings.len() as u32 - 1)
    }

    /// The signature's types with its names replaced by fresh variables.
    pub fn instantiate<'t>(&mut self, types: impl Iterator<Item = &'t Type>) -> Vec<Type> {
        let mut names: Vec<(&'static str, Type)> = Vec::new();
        types.map(|ty| self.instantiate_one(ty, &mut names)).collect()
    }

    fn instantiate_one(&mut self, ty: &Type, names: &mut Vec<(&'static str, Type)>) -> Type {
        match ty {
            Type::Param(name) => {
                if let Some((_, variable)) = names.iter().find(|(known, _)| known == name) {
                    return variable.clone();
                }
                let variable = self.fresh();
                names.push((name, variable.clone()));
                variable
            }
            Type::List(element) => Type::list(self.instantiate_one(element, names)),
            Type::Map(types) => Type::map(self.instantiate_one(&types.0, names), self.instantiate_one(&types.1, names)),
            Type::Optional(value) => Type::optional(self.instantiate_one(value, names)),
            Type::Type(Some(of)) => Type::type_of(self.instantiate_one(of, names)),
            other => other.clone(),
        }
    }

    fn bind(&mut self, variable: u32, ty: Type) {
        let slot = &mut self.bindings[variable as usize];
        self.log.push((variable, slot.replace(ty)));
    }

    fn attempt(&mut self, try_it: impl FnOnce(&mut Self) -> bool) -> bool {
        let mark = self.log.len();
        let fits = try_it(self);
        if !fits {
            while self.log.len() > mark {
                if let Some((variable, old)) = self.log.pop() {
                    self.bindings[variable as usize] = old;
                }
            }
        }
        fits
    }

    /// Whether the two may be one; if so, the variables in them are that from now on.
    pub fn assignable(&mut self, a: &Type, b: &Type) -> bool {
        self.attempt(|unifier| unifier.unify(a, b))
    }

    pub fn all_assignable(&mut self, a: &[Type], b: &[Type]) -> bool {
        a.len() == b.len() && self.attempt(|unifier| a.iter().zip(b).all(|(a, b)| unifier.unify(a, b)))
    }

    fn unify(&mut self, a: &Type, b: &Type) -> bool {
        if let Type::Variable(variable) = b {
            match self.substitute_variable(a, *variable) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Variable(variable) = a {
            return self.substitute_variable(b, *variable).0;
        }
        if a.is_dyn_or_error() || b.is_dyn_or_error() {
            return true;
        }
        match (a, b) {
            (Type::Null, other) | (other, Type::Null) => is_nullable(other),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.unify(a, b),
            (Type::Map(a), Type::Map(b)) => self.unify(&a.0, &b.0) && self.unify(&a.1, &b.1),
            (a, b) => a == b,
        }
    }

    /// Whether the variable may be this type, and whether it was bound before.
    fn substitute_variable(&mut self, ty: &Type, variable: u32) -> (bool, bool) {
        if *ty == Type::Variable(variable) {
            return (true, true);
        }
        if let Some(bound) = self.bindings[variable as usize].clone() {
            if *ty == bound && exact(ty, &bound) {
                return (true, true);
            }
            if !self.unify(ty, &bound) {
                return (false, true);
            }
            let general = most_general(ty, &bound);
            if !self.contains(variable, &general) {
                self.bind(variable, general);
            }
            return (true, true);
        }
        if self.contains(variable, ty) {
            return (false, false);
        }
        self.bind(variable, ty.clone());
        (true, false)
    }

    /// Whether the variable is a part of the type, so that binding it would make it endless.
    fn contains(&self, variable: u32, ty: &Type) -> bool {
        match ty {
            Type::Variable(other) if *other == variable => true,
            Type::Variable(other) => {
                self.bindings[*other as usize].as_ref().is_some_and(|bound| self.contains(variable, bound))
            }
            Type::List(inner) | Type::Optional(inner) | Type::Type(Some(inner)) => self.contains(variable, inner),
            Type::Map(types) => self.contains(variable, &types.0) || self.contains(variable, &types.1),
            _ => false,
        }
    }

    /// The type with what is known filled in; with `finish` the unknown is dyn.
    pub fn resolve(&self, ty: &Type, finish: bool) -> Type {
        match ty {
            Type::Variable(variable) => match &self.bindings[*variable as usize] {
                Some(bound) => self.resolve(bound, finish),
                None if finish => Type::Dyn,
                None => ty.clone(),
            },
            Type::List(element) => Type::List(self.resolve_inner(element, finish)),
            Type::Optional(value) => Type::Optional(self.resolve_inner(value, finish)),
            Type::Type(Some(of)) => Type::Type(Some(self.resolve_inner(of, finish))),
            Type::Map(types) if has_variable(&types.0) || has_variable(&types.1) => {
                Type::map(self.resolve(&types.0, finish), self.resolve(&types.1, finish))
            }
            other => other.clone(),
        }
    }

    fn resolve_inner(&self, inner: &Arc<Type>, finish: bool) -> Arc<Type> {
        if has_variable(inner) { Arc::new(self.resolve(inner, finish)) } else { inner.clone() }
    }
}

fn has_variable(ty: &Type) -> bool {
    match ty {
        Type::Variable(_) => true,
        Type::List(inner) | Type::Optional(inner) | Type::Type(Some(inner)) => has_variable(inner),
        Type::Map(types) => has_variable(&types.0) || has_variable(&types.1),
        _ => false,
    }
}

fn exact(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Type(Some(a)), Type::Type(Some(b))) => exact(a, b),
        (Type::Type(a), Type::Type(b)) => a.is_none() && b.is_none(),
        _ => true,
    }
}

fn is_nullable(ty: &Type) -> bool {
    matches!(ty, Type::Null | Type::Object(_) | Type::Opaque(_) | Type::Optional(_) | Type::Duration | Type::Timestamp)
}

/// The one of two types that fit each other that says less.
pub(crate) fn most_general(a: &Type, b: &Type) -> Type {
    if less_specific(a, b) { a.clone() } else { b.clone() }
}

fn less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Any | Type::Variable(_), _) => true,
        (_, Type::Dyn | Type::Any | Type::Variable(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => less_specific(a, b),
        (Type::Map(a), Type::Map(b)) => less_specific(&a.0, &b.0) && less_specific(&a.1, &b.1),
        (a, b) => a == b,
    }
}
