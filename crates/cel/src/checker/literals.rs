//! What is checked once all types are known: literals that some functions could not read, and lists and maps of mixed types.

use super::Checked;
use crate::ast::{Entry, Expr, Kind, Literal, NodeId};
use crate::errors::Issue;
use crate::library::regex;
use crate::stack;
use crate::types::Type;
use crate::value::Moment;
use machinery::time::parse_duration_nanos;

pub(super) fn validate(checked: &Checked, places: &[(u32, u32)], issues: &mut Vec<Issue>) {
    Validator { checked, places, issues }.visit(&checked.root);
}

struct Validator<'c> {
    checked: &'c Checked,
    places: &'c [(u32, u32)],
    issues: &'c mut Vec<Issue>,
}

impl Validator<'_> {
    fn report(&mut self, id: NodeId, message: String) {
        self.issues.push(Issue::new(self.places.get(id as usize).copied(), message));
    }

    fn visit(&mut self, expr: &Expr) {
        stack::level(|| self.visit_node(expr));
    }

    fn visit_node(&mut self, expr: &Expr) {
        match &expr.kind {
            Kind::Error | Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => self.visit(operand),
            Kind::Call { function, target, args } => {
                target.iter().for_each(|target| self.visit(target));
                args.iter().for_each(|arg| self.visit(arg));
                self.call(function, target.is_some(), args);
            }
            Kind::List { elements, optional } => {
                elements.iter().for_each(|element| self.visit(element));
                self.list(elements, optional);
            }
            Kind::Map(entries) => {
                for entry in entries {
                    self.visit(&entry.key);
                    self.visit(&entry.value);
                }
                self.map(entries);
            }
            Kind::Struct { fields, .. } => fields.iter().for_each(|field| self.visit(&field.value)),
            Kind::Comprehension(fold) => {
                for part in [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result] {
                    self.visit(part);
                }
            }
        }
    }

    fn call(&mut self, function: &str, is_member: bool, args: &[Expr]) {
        let at = match (function, is_member) {
            ("duration" | "timestamp", false) => 0,
            ("matches", _) => usize::from(!is_member),
            _ => return,
        };
        let Some(Expr { id, kind: Kind::Literal(literal) }) = args.get(at) else { return };
        let readable = match (function, literal) {
            ("duration", Literal::String(text)) => parse_duration_nanos(text).is_some(),
            ("timestamp", Literal::String(text)) => Moment::parse(text).is_some(),
            ("timestamp", Literal::Int(seconds)) => (-62_135_596_800..=253_402_300_799).contains(seconds),
            ("matches", Literal::String(pattern)) => regex::compile(pattern).is_ok(),
            _ => true,
        };
        if !readable {
            self.report(*id, format!("invalid {function} argument"));
        }
    }

    fn ty(&self, expr: &Expr, optional: bool) -> Type {
        match self.checked.ty(expr) {
            Type::Optional(inner) if optional => Type::clone(inner),
            ty => ty.clone(),
        }
    }

    fn list(&mut self, elements: &[Expr], optional: &[bool]) {
        let mut elements = elements.iter().zip(optional).map(|(element, optional)| (element, *optional));
        let Some((first, is_optional)) = elements.next() else { return };
        let wanted = self.ty(first, is_optional);
        for (element, is_optional) in elements {
            let found = self.ty(element, is_optional);
            if !equivalent(&wanted, &found) {
                return self.mismatch(element.id, &wanted, &found);
            }
        }
    }

    fn map(&mut self, entries: &[Entry]) {
        let Some((first, rest)) = entries.split_first() else { return };
        let (key, value) = (self.ty(&first.key, false), self.ty(&first.value, first.optional));
        for entry in rest {
            let (found_key, found_value) = (self.ty(&entry.key, false), self.ty(&entry.value, entry.optional));
            if !equivalent(&key, &found_key) {
                self.mismatch(entry.key.id, &key, &found_key);
            }
            if !equivalent(&value, &found_value) {
                self.mismatch(entry.value.id, &value, &found_value);
            }
        }
    }

    fn mismatch(&mut self, id: NodeId, wanted: &Type, found: &Type) {
        self.report(id, format!("expected type '{wanted}' but found '{found}'"));
    }
}

/// Whether two types are one but for what is only known later.
fn equivalent(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => equivalent(a, b),
        (Type::Map(a), Type::Map(b)) => equivalent(&a.0, &b.0) && equivalent(&a.1, &b.1),
        (a, b) => a == b,
    }
}
