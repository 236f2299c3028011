//! Walks an expression and sums up what its parts cost, keeping track of how large their values may be.
//!
//! A part's size comes from its own form (a literal, a list of three), from what a function says about its result, or from the
//! path by which it was reached: `self.names` has the bound that the declaration of that field states, and the variable of a
//! loop over it has the bound of its items.

use std::collections::HashMap;
use std::sync::Arc;

use super::range::CostRange;
use crate::ast::{ACCUMULATOR, Comprehension, Expr, Kind, Literal, NodeId};
use crate::checker::Checked;
use crate::stack;
use crate::types::{Declaration, Shape, Type};

/// Names of fields, `@items`, `@keys`, `@values`, behind the name of a variable.
type Path = Vec<Arc<str>>;

/// The sizes of what a list or map holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntrySize {
    is_list: bool,
    key: CostRange,
    value: CostRange,
}

impl EntrySize {
    fn union(self, other: EntrySize) -> Self {
        EntrySize { is_list: self.is_list, key: self.key.union(other.key), value: self.value.union(other.value) }
    }
}

/// What is known of a loop's variable.
struct Local {
    path: Path,
    size: Option<CostRange>,
    entries: Option<EntrySize>,
}

/// A part of an expression as a function's estimate sees it.
pub(super) struct Part<'c> {
    pub expr: Option<&'c Expr>,
    pub path: Path,
    pub ty: Type,
    pub size: Option<CostRange>,
}

pub(super) struct Estimator<'c> {
    checked: &'c Checked,
    variables: &'c HashMap<String, Declaration>,
    paths: HashMap<NodeId, Path>,
    sizes: HashMap<NodeId, CostRange>,
    entries: HashMap<NodeId, EntrySize>,
    locals: HashMap<Arc<str>, Vec<Local>>,
}

impl<'c> Estimator<'c> {
    pub fn new(checked: &'c Checked, variables: &'c HashMap<String, Declaration>) -> Self {
        Estimator {
            checked,
            variables,
            paths: HashMap::new(),
            sizes: HashMap::new(),
            entries: HashMap::new(),
            locals: HashMap::new(),
        }
    }

    pub fn cost(&mut self, expr: &'c Expr) -> CostRange {
        stack::level(|| self.cost_of_node(expr))
    }

    fn cost_of_node(&mut self, expr: &'c Expr) -> CostRange {
        match &expr.kind {
            Kind::Error | Kind::Literal(_) => CostRange::ZERO,
            Kind::Ident(name) => {
                let path = self.local(name).map_or_else(|| vec![name.clone()], |local| local.path.clone());
                self.paths.insert(expr.id, path);
                CostRange::fixed(1)
            }
            Kind::Select { operand, test_only: true, .. } => self.cost(operand),
            Kind::Select { operand, field, .. } => {
                let mut cost = self.cost(operand);
                if matches!(self.checked.ty(operand), Type::Map(_) | Type::Object(_) | Type::Opaque(_)) {
                    cost = cost.plus(CostRange::fixed(1));
                }
                let mut path = self.path(operand);
                path.push(field.clone());
                self.paths.insert(expr.id, path);
                cost
            }
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List { elements, .. } => {
                let mut cost = CostRange::fixed(10);
                let mut item = CostRange::new(if elements.is_empty() { 0 } else { u64::MAX }, 0);
                for element in elements {
                    cost = cost.plus(self.cost(element));
                    item = item.union(self.size_or_unknown(element));
                }
                self.entries.insert(expr.id, EntrySize { is_list: true, key: CostRange::fixed(1), value: item });
                cost
            }
            Kind::Map(entries) => {
                let mut cost = CostRange::fixed(30);
                let empty = CostRange::new(if entries.is_empty() { 0 } else { u64::MAX }, 0);
                let (mut key, mut value) = (empty, empty);
                for entry in entries {
                    cost = cost.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
                    key = key.union(self.size_or_unknown(&entry.key));
                    value = value.union(self.size_or_unknown(&entry.value));
                }
                self.entries.insert(expr.id, EntrySize { is_list: false, key, value });
                cost
            }
            Kind::Struct { fields, .. } => {
                let cost = CostRange::fixed(40);
                fields.iter().fold(cost, |cost, field| cost.plus(self.cost(&field.value)))
            }
            Kind::Comprehension(fold) if fold.is_bind() => self.bind(expr, fold),
            Kind::Comprehension(fold) => self.comprehension(expr, fold),
        }
    }

    fn call(&mut self, expr: &'c Expr, function: &str, target: Option<&'c Expr>, args: &'c [Expr]) -> CostRange {
        if let ("dyn", [arg]) = (function, args) {
            let cost = self.cost(arg).plus(CostRange::fixed(1));
            self.copy_sizes(expr, arg);
            return cost;
        }
        let mut costs = Vec::with_capacity(args.len());
        let mut parts = Vec::with_capacity(args.len());
        for arg in args {
            costs.push(self.cost(arg));
            parts.push(self.part(arg));
        }
        let overloads = self.checked.overloads(expr);
        if overloads.is_empty() {
            return CostRange::ZERO;
        }
        let mut sum = CostRange::ZERO;
        let mut target_part = None;
        if let Some(target) = target {
            sum = self.cost(target);
            target_part = Some(self.part(target));
        }
        let args_cost = costs.iter().fold(CostRange::ZERO, |sum, cost| sum.plus(*cost));
        let mut call_cost = CostRange::new(u64::MAX, 0);
        let mut result_size: Option<CostRange> = None;
        for overload in overloads {
            let (cost, size) = match overload.id {
                "logical_or" | "logical_and" => (CostRange::new(costs[0].min, costs[0].plus(costs[1]).max), None),
                "conditional" => self.conditional(expr, args, &costs),
                id => {
                    let (cost, size) = self.function(function, id, target_part.as_ref(), &parts);
                    if matches!(id, "add_string" | "add_bytes" | "add_list") {
                        self.join_entries(expr, args);
                    }
                    (cost.plus(args_cost), size)
                }
            };
            call_cost = call_cost.union(cost);
            if let Some(size) = size {
                result_size = Some(result_size.map_or(size, |known| known.union(size)));
            }
            if let ("index_list" | "index_map", Some(container)) = (overload.id, args.first()) {
                result_size = self.entry_size(container).map(|entries| entries.value);
                let mut path = self.path(container);
                path.push(if overload.id == "index_list" { "@items" } else { "@values" }.into());
                self.paths.insert(expr.id, path);
            }
            if result_size.is_none() {
                result_size = self.size(expr);
            }
        }
        if let Some(size) = result_size {
            self.sizes.insert(expr.id, size);
        }
        sum.plus(call_cost)
    }

    fn conditional(&mut self, expr: &'c Expr, args: &'c [Expr], costs: &[CostRange]) -> (CostRange, Option<CostRange>) {
        let size = self.size_or_unknown(&args[1]).union(self.size_or_unknown(&args[2]));
        if let (Some(a), Some(b)) = (self.entry_size(&args[1]), self.entry_size(&args[2])) {
            self.entries.insert(expr.id, a.union(b));
        }
        (costs[0].plus(costs[1].union(costs[2])), Some(size))
    }

    fn join_entries(&mut self, expr: &'c Expr, args: &'c [Expr]) {
        if let [a, b] = args
            && let (Some(a), Some(b)) = (self.entry_size(a), self.entry_size(b))
        {
            self.entries.insert(expr.id, a.union(b));
        }
    }

    fn comprehension(&mut self, expr: &'c Expr, fold: &'c Comprehension) -> CostRange {
        let mut sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_local(&fold.accumulator, &fold.init);
        let entries = self.entry_size(&fold.range);
        let is_list =
            entries.map_or_else(|| matches!(self.checked.ty(&fold.range), Type::List(_)), |entries| entries.is_list);
        let (key, value) = (entries.map(|entries| entries.key), entries.map(|entries| entries.value));
        let names = if is_list { ["@indices", "@items"] } else { ["@keys", "@values"] };
        match &fold.second {
            Some(second) => {
                self.push_item(&fold.variable, &fold.range, names[0], key);
                self.push_item(second, &fold.range, names[1], value);
            }
            None if is_list => self.push_item(&fold.variable, &fold.range, names[1], value),
            None => self.push_item(&fold.variable, &fold.range, names[0], key),
        }
        let each = self.cost(&fold.condition).plus(self.cost(&fold.step));
        self.pop_local(&fold.variable);
        if let Some(second) = &fold.second {
            self.pop_local(second);
        }
        sum = sum.plus(self.cost(&fold.result));
        self.pop_local(&fold.accumulator);
        let count = self.size_or_unknown(&fold.range);
        sum = sum.plus(count.times(each));
        match &fold.init.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&fold.init) {
                    self.sizes.insert(expr.id, size);
                }
            }
            Kind::List { .. } | Kind::Map(_) => {
                self.sizes.insert(expr.id, count);
                if let Some(entries) = self.entry_size(&fold.step) {
                    self.entries.insert(expr.id, entries);
                }
            }
            _ => {}
        }
        sum
    }

    fn bind(&mut self, expr: &'c Expr, fold: &'c Comprehension) -> CostRange {
        let sum = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push_local(&fold.accumulator, &fold.init);
        let sum = sum.plus(self.cost(&fold.result));
        self.pop_local(&fold.accumulator);
        self.copy_sizes(expr, &fold.result);
        sum
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.get(name)?.last()
    }

    fn push_local(&mut self, name: &Arc<str>, value: &'c Expr) {
        let local = Local { path: self.path(value), size: self.size(value), entries: self.entry_size(value) };
        self.locals.entry(name.clone()).or_default().push(local);
    }

    fn push_item(&mut self, name: &Arc<str>, range: &'c Expr, step: &str, size: Option<CostRange>) {
        let mut path = self.path(range);
        path.push(step.into());
        self.locals.entry(name.clone()).or_default().push(Local { path, size, entries: None });
    }

    fn pop_local(&mut self, name: &str) {
        if let Some(stack) = self.locals.get_mut(name) {
            stack.pop();
        }
    }

    fn path(&self, expr: &Expr) -> Path {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn part(&mut self, expr: &'c Expr) -> Part<'c> {
        let mut path = self.path(expr);
        if path.first().is_some_and(|first| matches!(&**first, ACCUMULATOR | "__result__")) {
            path.clear();
        }
        Part { expr: Some(expr), path, ty: self.checked.ty(expr).clone(), size: self.size(expr) }
    }

    fn copy_sizes(&mut self, to: &Expr, from: &'c Expr) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to.id, size);
        }
        if let Some(entries) = self.entry_size(from) {
            self.entries.insert(to.id, entries);
        }
    }

    fn size_or_unknown(&mut self, expr: &'c Expr) -> CostRange {
        self.size(expr).unwrap_or(CostRange::UNKNOWN)
    }

    /// How large the value of a part may be, if anything is known.
    fn size(&mut self, expr: &'c Expr) -> Option<CostRange> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = size_of_form(expr) {
            return Some(CostRange::fixed(size));
        }
        if let Some(size) = self.size_of_path(&self.path(expr)) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if self.checked.ty(expr).is_scalar() {
            return Some(CostRange::fixed(1));
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn entry_size(&self, expr: &Expr) -> Option<EntrySize> {
        if let Some(entries) = self.entries.get(&expr.id) {
            return Some(*entries);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.entries,
            _ => None,
        }
    }

    /// The bound that a declaration states for what is reached by this path.
    pub fn size_of_path(&self, path: &[Arc<str>]) -> Option<CostRange> {
        let (variable, steps) = path.split_first()?;
        let mut declaration = self.variables.get(&**variable)?;
        for step in steps {
            declaration = match (&**step, &declaration.shape) {
                ("@items" | "@values", Shape::List { element, .. }) => element,
                ("@items" | "@values", Shape::Map { value }) => value,
                ("@keys", Shape::Map { .. }) => return Some(CostRange::new(0, declaration.key_max)),
                (name, Shape::Object(object)) => {
                    let keyword = || object.field(&format!("__{name}__"));
                    &object.field(name).or_else(keyword)?.declaration
                }
                // Whatever the key, a value has the bound that all values have.
                (_, Shape::Map { value }) if value.ty == Type::Any => value,
                _ => return None,
            };
        }
        Some(CostRange::new(0, declaration.max.unwrap_or(0)))
    }
}

fn size_of_form(expr: &Expr) -> Option<u64> {
    Some(match &expr.kind {
        Kind::Literal(Literal::String(text)) => text.chars().count() as u64,
        Kind::Literal(Literal::Bytes(bytes)) => bytes.len() as u64,
        Kind::Literal(_) => 1,
        Kind::List { elements, .. } => elements.len() as u64,
        Kind::Map(entries) => entries.len() as u64,
        _ => return None,
    })
}
