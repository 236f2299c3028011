//! One expression: compiled once, evaluated for many requests.

use api::admissionregistration::expressions::{Compiler, Use, VARIABLES};
use cel::{Activation, Budget, EvalError, Program, Value};
use machinery::go_text::quote;

pub struct Expression {
    text: String,
    /// Or what is wrong with it.
    program: Result<Program, String>,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("compilation error: {0}")]
    Compilation(String),
    #[error("expression '{0}' resulted in error: {1}")]
    Evaluation(String, String),
    /// Nothing more can be evaluated for the request.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    Budget,
}

impl Expression {
    pub fn new(compiler: &Compiler, text: &str, used: Use) -> Self {
        let program = compiler.compile(text, used).map_err(|fault| fault.to_string());
        Self { text: text.to_owned(), program }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn evaluate<'a>(&self, variables: &Activation<'a>, budget: &mut Budget) -> Result<Value<'a>, Failure> {
        let program = self.program.as_ref().map_err(|fault| Failure::Compilation(fault.clone()))?;
        let result = program.evaluate(variables, budget);
        if budget.is_exhausted() {
            return Err(Failure::Budget);
        }
        result.map_err(|error| Failure::Evaluation(self.text.clone(), error.to_string()))
    }
}

/// The variables of a policy, each evaluated when an expression first reaches it.
#[derive(Default)]
pub struct Variables(Vec<(String, Expression)>);

impl Variables {
    /// Compiles variables, each with those before it, and lets what is compiled later use them.
    pub fn new<'v>(compiler: &mut Compiler, variables: impl Iterator<Item = (&'v str, &'v str)>) -> Self {
        let mut compiled = Vec::new();
        for (name, text) in variables {
            let expression = Expression::new(compiler, text, Use::Variable);
            compiler.add_variable(name, expression.program.as_ref().ok().map(Program::output_type));
            compiled.push((name.to_owned(), expression));
        }
        Self(compiled)
    }

    pub fn set<'a>(&'a self, activation: &mut Activation<'a>) {
        activation.set_computed(VARIABLES, move |name, activation, budget| {
            let (_, expression) = self.0.iter().find(|(own, _)| own == name)?;
            let fails = |what: &str, why: &dyn std::fmt::Display| {
                EvalError::new(format!("composited variable {} fails to {what}: {why}", quote(name)))
            };
            Some(match &expression.program {
                // What expressions reach in one go is bounded as a whole.
                Ok(_) if budget.is_exhausted() => Err(fails("evaluate", &Failure::Budget)),
                Ok(program) => match program.evaluate(activation, budget) {
                    Err(error) if !error.is_cancelled() => Err(fails("evaluate", &error)),
                    result => result,
                },
                Err(fault) => Err(fails("compile", fault)),
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(variables: &[(&str, &str)]) -> (Compiler, Variables) {
        let mut compiler = Compiler::new(false);
        let variables = Variables::new(&mut compiler, variables.iter().copied());
        (compiler, variables)
    }

    fn evaluate(world: &(Compiler, Variables), text: &str, budget: &mut Budget) -> Result<bool, Failure> {
        let mut activation = Activation::new();
        world.1.set(&mut activation);
        let expression = Expression::new(&world.0, text, Use::Validation);
        expression.evaluate(&activation, budget).map(|value| value.as_bool().unwrap())
    }

    #[test]
    fn variables_build_on_each_other_and_name_what_fails() {
        let world =
            world(&[("one", "1"), ("two", "variables.one + 1"), ("bad", "[1][variables.two] == 1"), ("broken", "1 +")]);
        let budget = &mut Budget::default();
        assert_eq!(evaluate(&world, "variables.two == 2", budget), Ok(true));
        let failure = evaluate(&world, "variables.bad", budget).unwrap_err().to_string();
        let wanted = "expression 'variables.bad' resulted in error: composited variable \"bad\" fails to evaluate: index out of bounds: 2";
        assert_eq!(failure, wanted);
        let failure = evaluate(&world, "variables.broken", budget).unwrap_err().to_string();
        assert!(failure.contains("must evaluate to bool but got dyn"), "{failure}");
        let failure = evaluate(&world, "variables.broken == 1", budget).unwrap_err().to_string();
        assert!(
            failure.contains("composited variable \"broken\" fails to compile: compilation failed: ERROR"),
            "{failure}"
        );
    }

    #[test]
    fn a_spent_budget_ends_everything() {
        let world = world(&[("some", "[1, 2, 3, 4].all(x, x > 0)")]);
        assert_eq!(evaluate(&world, "variables.some", &mut Budget::new(3)), Err(Failure::Budget));
        assert_eq!(evaluate(&world, "variables.some", &mut Budget::new(1_000)), Ok(true));
    }
}
