//! A compiled expression.

use std::collections::HashMap;

use crate::activation::{Activation, Budget};
use crate::checker::Checked;
use crate::cost::{CostRange, estimate};
use crate::env::Env;
use crate::errors::{CompileError, EvalError, Issue};
use crate::interpreter;
use crate::plan::{Node, plan};
use crate::types::{Declaration, Type};
use crate::value::Value;

/// A compiled expression: evaluated any number of times, by any number of threads.
#[derive(Debug)]
pub struct Program {
    source: String,
    root: Node,
    slots: usize,
    checked: Checked,
    variables: HashMap<String, Declaration>,
}

impl Program {
    pub(crate) fn plan(env: &Env, source: &str, checked: Checked) -> Result<Self, CompileError> {
        let (root, slots) =
            plan(&checked).map_err(|error| CompileError::instantiation(source, Issue::new(None, error.message())))?;
        let mut variables = HashMap::new();
        for reference in checked.references.iter().flatten() {
            if let crate::checker::Reference::Variable(name) = reference
                && let Some(declaration) = env.variable(name)
            {
                variables.entry(name.to_string()).or_insert_with(|| declaration.clone());
            }
        }
        Ok(Program { source: source.to_owned(), root, slots, checked, variables })
    }

    /// The text of the expression.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The type of its value.
    pub fn output_type(&self) -> &Type {
        self.checked.ty(&self.checked.root)
    }

    /// Whether it uses this variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.contains_key(variable)
    }

    /// What an evaluation costs at least and at most, by the bounds of the variables' declarations.
    pub fn estimate(&self) -> CostRange {
        estimate(&self.checked, &self.variables)
    }

    /// The value with these variables. It costs at most [`CALL_COST_MAX`](crate::CALL_COST_MAX); the cost is taken from the
    /// budget, also where the evaluation fails.
    pub fn evaluate<'a>(&self, activation: &Activation<'a>, budget: &mut Budget) -> Result<Value<'a>, EvalError> {
        self.evaluate_within(activation, budget, crate::activation::CALL_COST_MAX)
    }

    /// The same, with another limit for this one evaluation.
    pub fn evaluate_within<'a>(
        &self,
        activation: &Activation<'a>,
        budget: &mut Budget,
        cost_max: u64,
    ) -> Result<Value<'a>, EvalError> {
        budget.enter()?;
        let result = interpreter::run(&self.root, self.slots, activation, budget, cost_max);
        budget.leave();
        result
    }
}
