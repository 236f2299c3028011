//! Finds the type of each part of an expression and the functions that its calls may mean.

mod literals;

use std::sync::Arc;

use crate::ast::{Comprehension, Entry, Expr, FieldInit, Kind, Literal, NodeId, Tree};
use crate::env::Env;
use crate::errors::{CompileError, Issue};
use crate::library::Overload;
use crate::stack;
use crate::types::{ObjectType, Type};
use crate::unify::{Unifier, most_general};

/// What a part of an expression refers to.
#[derive(Clone, Debug)]
pub(crate) enum Reference {
    /// A variable of the environment or of a loop.
    Variable(Arc<str>),
    /// The name of a type.
    Type(Type),
    /// The overloads that a call may mean.
    Overloads(Vec<&'static Overload>),
}

/// An expression with its types.
#[derive(Debug)]
pub(crate) struct Checked {
    pub root: Expr,
    /// By node.
    pub types: Vec<Type>,
    pub references: Vec<Option<Reference>>,
}

impl Checked {
    pub fn ty(&self, expr: &Expr) -> &Type {
        &self.types[expr.id as usize]
    }

    pub fn overloads(&self, expr: &Expr) -> &[&'static Overload] {
        match &self.references[expr.id as usize] {
            Some(Reference::Overloads(overloads)) => overloads,
            _ => &[],
        }
    }
}

/// Checks a tree in an environment.
pub(crate) fn check(env: &Env, source: &str, tree: Tree) -> Result<Checked, CompileError> {
    let Tree { mut root, places } = tree;
    let mut checker = Checker {
        env,
        types: vec![Type::Error; places.len()],
        references: vec![None; places.len()],
        places,
        unifier: Unifier::default(),
        locals: Vec::new(),
        issues: Vec::new(),
    };
    checker.check(&mut root);
    let Checker { unifier, mut types, references, places, mut issues, .. } = checker;
    if issues.is_empty() {
        for ty in &mut types {
            *ty = unifier.resolve(ty, true);
        }
        let checked = Checked { root, types, references };
        literals::validate(&checked, &places, &mut issues);
        if issues.is_empty() {
            return Ok(checked);
        }
    }
    Err(CompileError::new(source, issues))
}

struct Checker<'e> {
    env: &'e Env,
    types: Vec<Type>,
    references: Vec<Option<Reference>>,
    places: Vec<(u32, u32)>,
    unifier: Unifier,
    /// Variables of the loops around, innermost last.
    locals: Vec<(Arc<str>, Type)>,
    issues: Vec<Issue>,
}

impl Checker<'_> {
    fn report(&mut self, id: NodeId, message: impl Into<String>) {
        self.issues.push(Issue::new(self.places.get(id as usize).copied(), message));
    }

    fn undeclared(&mut self, id: NodeId, name: &str) {
        self.report(id, format!("undeclared reference to '{name}' (in container '')"));
    }

    fn set(&mut self, id: NodeId, ty: Type) {
        self.types[id as usize] = ty;
    }

    fn ty(&self, expr: &Expr) -> Type {
        self.types[expr.id as usize].clone()
    }

    fn check(&mut self, expr: &mut Expr) {
        stack::level(|| self.check_node(expr));
    }

    fn check_node(&mut self, expr: &mut Expr) {
        let id = expr.id;
        match &mut expr.kind {
            Kind::Error => {}
            Kind::Literal(literal) => self.set(id, literal_type(literal)),
            Kind::Ident(name) => {
                let name = name.clone();
                if !self.resolve_name(id, &name) {
                    self.undeclared(id, &name);
                }
            }
            Kind::Select { .. } => self.select(expr),
            Kind::Call { .. } => self.call(expr),
            Kind::List { elements, optional } => self.list(id, elements, optional),
            Kind::Map(entries) => self.map(id, entries),
            Kind::Struct { name, fields } => {
                let name = name.clone();
                self.object(id, &name, fields);
            }
            Kind::Comprehension(fold) => self.comprehension(id, fold),
        }
    }

    /// Whether a name is a variable or a type; if so, the node is that.
    fn resolve_name(&mut self, id: NodeId, name: &str) -> bool {
        let absolute = name.strip_prefix('.');
        let local = self.locals.iter().rev().find(|(local, _)| absolute.is_none() && **local == *name);
        let name = absolute.unwrap_or(name);
        let (ty, reference) = if let Some((name, ty)) = local {
            (ty.clone(), Reference::Variable(name.clone()))
        } else if let Some(variable) = self.env.variable(name) {
            (variable.ty.clone(), Reference::Variable(name.into()))
        } else if let Some(ty) = self.env.type_named(name) {
            (Type::type_of(ty.clone()), Reference::Type(ty))
        } else {
            return false;
        };
        self.set(id, ty);
        self.references[id as usize] = Some(reference);
        true
    }

    fn select(&mut self, expr: &mut Expr) {
        let id = expr.id;
        // `a.b` may be one name with a dot in it, as long as no loop's variable is called `a`.
        if !matches!(expr.kind, Kind::Select { test_only: true, .. })
            && let Some(name) = expr.qualified_name()
        {
            let first = name.split('.').next().unwrap_or_default();
            let is_local = self.locals.iter().any(|(local, _)| **local == *first);
            if !is_local && self.resolve_name(id, &name) {
                expr.kind = Kind::Ident(name.into());
                return;
            }
        }
        let Kind::Select { operand, field, test_only } = &mut expr.kind else { return };
        let mut ty = self.field_of(id, operand, field, false);
        if *test_only {
            ty = Type::Bool;
        }
        let ty = self.unifier.resolve(&ty, false);
        self.set(id, ty);
    }

    /// The type of a field of an operand, which is checked first.
    fn field_of(&mut self, id: NodeId, operand: &mut Expr, field: &str, optional: bool) -> Type {
        self.check(operand);
        let operand_type = self.unifier.resolve(&self.ty(operand), false);
        let (target, was_optional) = match operand_type {
            Type::Optional(inner) => (Type::clone(&inner), true),
            other => (other, false),
        };
        let result = match &target {
            Type::Map(types) => types.1.clone(),
            Type::Object(object) => self.field_type(id, object, field).unwrap_or(Type::Error),
            Type::Variable(_) => {
                self.unifier.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            Type::Dyn | Type::Any | Type::Error => Type::Dyn,
            other => {
                self.report(id, format!("type '{other}' does not support field selection"));
                Type::Dyn
            }
        };
        if was_optional || optional { Type::optional(result) } else { result }
    }

    fn field_type(&mut self, id: NodeId, object: &ObjectType, field: &str) -> Option<Type> {
        match object.field(field) {
            Some(field) => Some(field.declaration.ty.clone()),
            None if object.open => Some(Type::Dyn),
            None => {
                self.report(id, format!("undefined field '{field}'"));
                None
            }
        }
    }

    fn call(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let Kind::Call { function, target, args } = &mut expr.kind else { return };
        if &**function == "_?._" {
            return self.optional_select(expr);
        }
        for arg in args.iter_mut() {
            self.check(arg);
        }
        if let Some(operand) = target {
            // `optional.of(x)` is a function with a dot in its name.
            let qualified = operand.qualified_name().map(|prefix| format!("{prefix}.{function}"));
            match qualified.filter(|name| self.env.has_function(name.trim_start_matches('.'))) {
                Some(name) => {
                    *function = name.trim_start_matches('.').into();
                    *target = None;
                }
                None => self.check(operand),
            }
        }
        let name: Arc<str> = match function.strip_prefix('.') {
            Some(name) if target.is_none() => name.into(),
            _ => function.clone(),
        };
        if !self.env.has_function(&name) {
            let shown = function.clone();
            return self.undeclared(id, &shown);
        }
        *function = name.clone();
        let mut arg_ids = Vec::with_capacity(args.len() + 1);
        arg_ids.extend(target.iter().map(|target| target.id));
        arg_ids.extend(args.iter().map(|arg| arg.id));
        let is_member = target.is_some();
        self.resolve_overload(id, &name, is_member, &arg_ids);
    }

    fn optional_select(&mut self, expr: &mut Expr) {
        let id = expr.id;
        let Kind::Call { args, .. } = &mut expr.kind else { return };
        let [operand, field] = args.as_mut_slice() else { return };
        let Kind::Literal(Literal::String(name)) = &field.kind else { return };
        let name = name.clone();
        let ty = self.field_of(id, operand, &name, true);
        self.set(field.id, Type::String);
        let ty = self.unifier.resolve(&ty, false);
        self.set(id, ty);
        self.references[id as usize] = Some(Reference::Overloads(self.env.overloads("_?._").collect()));
    }

    fn resolve_overload(&mut self, id: NodeId, function: &str, is_member: bool, args: &[NodeId]) {
        let arg_types: Vec<Type> = args.iter().map(|arg| self.types[*arg as usize].clone()).collect();
        let mut result: Option<Type> = None;
        let mut fitting = Vec::new();
        for overload in self.env.overloads(function).filter(|overload| overload.member == is_member) {
            if matches!(function, "_&&_" | "_||_") {
                fitting.push(overload);
                result = self.logical(args, &arg_types);
                if result.is_none() {
                    return;
                }
                break;
            }
            let signature = std::iter::once(&overload.result).chain(&overload.args);
            let signature = self.unifier.instantiate(signature);
            if !self.unifier.all_assignable(&arg_types, &signature[1..]) {
                continue;
            }
            fitting.push(overload);
            let found = self.unifier.resolve(&signature[0], false);
            result = Some(match result {
                None => found,
                Some(before) if before.is_dyn() || before == found => before,
                Some(_) => Type::Dyn,
            });
        }
        match result {
            Some(ty) => {
                self.set(id, ty);
                self.references[id as usize] = Some(Reference::Overloads(fitting));
            }
            None => {
                let shown: Vec<String> =
                    arg_types.iter().map(|ty| self.unifier.resolve(ty, true).to_string()).collect();
                let (target, args) = shown.split_at(usize::from(is_member));
                let dot = if is_member { "." } else { "" };
                let signature = format!("{}{dot}({})", target.concat(), args.join(", "));
                self.report(id, format!("found no matching overload for '{function}' applied to '{signature}'"));
            }
        }
    }

    fn logical(&mut self, args: &[NodeId], types: &[Type]) -> Option<Type> {
        let mut fits = true;
        for (arg, ty) in args.iter().zip(types) {
            if !self.unifier.assignable(ty, &Type::Bool) {
                self.report(*arg, format!("expected type 'bool' but found '{ty}'"));
                fits = false;
            }
        }
        fits.then_some(Type::Bool)
    }

    fn list(&mut self, id: NodeId, elements: &mut [Expr], optional: &[bool]) {
        let mut joined: Option<Type> = None;
        for (element, optional) in elements.iter_mut().zip(optional) {
            self.check(element);
            let ty = self.unwrap_optional(element, *optional);
            joined = Some(self.join(element.id, joined, ty));
        }
        let joined = joined.unwrap_or_else(|| self.unifier.fresh());
        self.set(id, Type::list(joined));
    }

    fn map(&mut self, id: NodeId, entries: &mut [Entry]) {
        let (mut keys, mut values): (Option<Type>, Option<Type>) = (None, None);
        for Entry { key, value, optional } in entries {
            self.check(key);
            let ty = self.ty(key);
            keys = Some(self.join(key.id, keys, ty));
            self.check(value);
            let ty = self.unwrap_optional(value, *optional);
            values = Some(self.join(value.id, values, ty));
        }
        let keys = keys.unwrap_or_else(|| self.unifier.fresh());
        let values = values.unwrap_or_else(|| self.unifier.fresh());
        self.set(id, Type::map(keys, values));
    }

    /// The type of an item; of one marked optional the type that the optional holds.
    fn unwrap_optional(&mut self, item: &Expr, optional: bool) -> Type {
        let ty = self.ty(item);
        match ty {
            Type::Optional(inner) if optional => Type::clone(&inner),
            ty if optional && !ty.is_dyn() => {
                self.report(item.id, format!("expected type 'optional_type({ty})' but found '{ty}'"));
                ty
            }
            ty => ty,
        }
    }

    /// The one type of the items before and this one.
    fn join(&mut self, id: NodeId, before: Option<Type>, ty: Type) -> Type {
        let Some(before) = before else { return ty };
        if self.unifier.assignable(&before, &ty) {
            return most_general(&before, &ty);
        }
        self.report(id, format!("expected type '{before}' but found '{ty}'"));
        Type::Error
    }

    fn object(&mut self, id: NodeId, name: &str, fields: &mut [FieldInit]) {
        let name = name.trim_start_matches('.');
        let Some(ty) = self.env.type_named(name) else {
            return self.undeclared(id, name);
        };
        let object = match &ty {
            Type::Object(object) => Some(object.clone()),
            Type::Dyn | Type::Any | Type::Null | Type::Timestamp | Type::Duration => None,
            other => {
                self.report(id, format!("'{}' is not a message type", other.runtime_name()));
                None
            }
        };
        self.set(id, if object.is_some() { ty.clone() } else { Type::Error });
        self.references[id as usize] = Some(Reference::Type(ty));
        for FieldInit { id: field, name, value, optional } in fields {
            self.check(value);
            let wanted = match &object {
                Some(object) => self.field_type(*field, object, name).unwrap_or(Type::Error),
                None => Type::Error,
            };
            let found = self.unwrap_optional(value, *optional);
            if !self.unifier.assignable(&wanted, &found) {
                let message = format!("expected type of field '{name}' is '{wanted}' but provided type is '{found}'");
                self.report(*field, message);
            }
        }
    }

    fn comprehension(&mut self, id: NodeId, fold: &mut Comprehension) {
        self.check(&mut fold.range);
        self.check(&mut fold.init);
        let range = self.unifier.resolve(&self.ty(&fold.range), false);
        let (first, second) = match &range {
            Type::List(element) if fold.second.is_some() => (Type::Int, Type::clone(element)),
            Type::List(element) => (Type::clone(element), Type::Error),
            Type::Map(types) => (types.0.clone(), types.1.clone()),
            Type::Dyn | Type::Any | Type::Error | Type::Variable(_) => {
                self.unifier.assignable(&Type::Dyn, &range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.report(fold.range.id, message);
                (Type::Error, Type::Error)
            }
        };
        let accumulator = self.ty(&fold.init);
        self.locals.push((fold.accumulator.clone(), accumulator.clone()));
        let outer = self.locals.len();
        self.locals.push((fold.variable.clone(), first));
        if let Some(name) = &fold.second {
            self.locals.push((name.clone(), second));
        }
        self.check(&mut fold.condition);
        self.assert_type(&fold.condition, &Type::Bool);
        self.check(&mut fold.step);
        self.assert_type(&fold.step, &accumulator);
        self.locals.truncate(outer);
        self.check(&mut fold.result);
        self.locals.truncate(outer - 1);
        let ty = self.unifier.resolve(&self.ty(&fold.result), false);
        self.set(id, ty);
    }

    fn assert_type(&mut self, expr: &Expr, wanted: &Type) {
        let found = self.ty(expr);
        if !self.unifier.assignable(wanted, &found) {
            self.report(expr.id, format!("expected type '{wanted}' but found '{found}'"));
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}
