//! What an expression is evaluated with: the values of its variables, and how much it may cost.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use serde_json::Value as Json;

use crate::errors::EvalError;
use crate::program::Program;
use crate::types::Declaration;
use crate::value::{EvalResult, Value};

/// One evaluation may cost so much.
pub const CALL_COST_MAX: u64 = 1_000_000;
/// All evaluations for one request may cost so much.
pub const REQUEST_COST_MAX: u64 = 10_000_000;
/// How deep evaluations may be nested in each other by variables that are computed.
const NESTING_MAX: u32 = 64;

/// How much evaluations may cost together, and how much they did.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    spent: u64,
    /// Evaluations under way.
    pub(crate) nesting: u32,
    /// Nodes under way, of all of them.
    pub(crate) depth: u32,
}

impl Budget {
    /// A budget of so much.
    pub fn new(limit: u64) -> Self {
        Budget { limit, spent: 0, nesting: 0, depth: 0 }
    }

    /// What evaluations have cost so far.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// What is left.
    pub fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.spent)
    }

    /// Whether evaluations have cost more than they may. Whoever has several to make stops then.
    pub fn is_exhausted(&self) -> bool {
        self.spent > self.limit
    }

    pub(crate) fn spend(&mut self, cost: u64) {
        self.spent = self.spent.saturating_add(cost);
    }

    pub(crate) fn enter(&mut self) -> Result<(), EvalError> {
        if self.nesting >= NESTING_MAX {
            return Err(EvalError::too_deep());
        }
        self.nesting += 1;
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.nesting -= 1;
    }
}

impl Default for Budget {
    /// What all evaluations for one request may cost.
    fn default() -> Self {
        Budget::new(REQUEST_COST_MAX)
    }
}

/// Computes the field of a variable, or says that there is none.
type Compute<'a> = Box<dyn for<'s> Fn(&str, &'s Activation<'a>, &mut Budget) -> Option<EvalResult<'a>> + 'a>;

/// A variable whose fields are computed when they are first reached.
struct Fields<'a> {
    compute: Compute<'a>,
    known: RefCell<HashMap<String, Option<EvalResult<'a>>>>,
}

/// The values of variables.
#[derive(Default)]
pub struct Activation<'a> {
    variables: Vec<(&'a str, Value<'a>)>,
    fields: Vec<Fields<'a>>,
}

impl<'a> Activation<'a> {
    /// No variables.
    pub fn new() -> Self {
        Activation::default()
    }

    /// A variable with a value. A later one of the same name replaces an earlier one.
    pub fn set(&mut self, name: &'a str, value: Value<'a>) -> &mut Self {
        match self.variables.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.variables.push((name, value)),
        }
        self
    }

    /// A variable that is JSON, read as what it is declared to be.
    pub fn set_json(
        &mut self,
        name: &'a str,
        json: &'a Json,
        declaration: &Declaration,
    ) -> Result<&mut Self, EvalError> {
        let value = Value::from_json(json, declaration)?;
        Ok(self.set(name, value))
    }

    /// A variable that is JSON, read as what it looks like.
    pub fn set_dynamic(&mut self, name: &'a str, json: &'a Json) -> &mut Self {
        self.set(name, Value::dynamic(json))
    }

    /// A variable whose fields are computed when an expression reaches them, each once.
    pub fn set_computed(
        &mut self,
        name: &'a str,
        compute: impl for<'s> Fn(&str, &'s Activation<'a>, &mut Budget) -> Option<EvalResult<'a>> + 'a,
    ) -> &mut Self {
        self.fields.push(Fields { compute: Box::new(compute), known: RefCell::default() });
        self.set(name, Value::Fields(self.fields.len() - 1))
    }

    /// A variable whose fields are the values of these programs, which may use the same variables and each other:
    /// `variables` of policies.
    pub fn set_programs(&mut self, name: &'a str, programs: &'a [(String, Program)]) -> &mut Self {
        self.set_computed(name, move |field, activation, budget| {
            let (_, program) = programs.iter().find(|(name, _)| name == field)?;
            Some(program.evaluate(activation, budget))
        })
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The field of a computed variable.
    pub(crate) fn field(&self, index: usize, name: &str, budget: &mut Budget) -> Option<EvalResult<'a>> {
        let fields = self.fields.get(index)?;
        if let Some(known) = fields.known.borrow().get(name) {
            return known.clone();
        }
        let value = (fields.compute)(name, self, budget);
        fields.known.borrow_mut().insert(name.to_owned(), value.clone());
        value
    }
}

impl fmt::Debug for Activation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.variables.iter().map(|(name, value)| (name, value))).finish()
    }
}
