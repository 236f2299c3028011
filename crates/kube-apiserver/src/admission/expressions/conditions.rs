//! matchConditions: expressions that all must hold for a webhook or a policy to be asked.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use api::admissionregistration::expressions::{Compiler, Use};
use cel::{Activation, Budget, Value};
use serde::Deserialize;

use super::{Expression, Failure};

/// What the conditions of one webhook or policy may cost together.
const COST_MAX: u64 = cel::REQUEST_COST_MAX / 4;

#[derive(Deserialize)]
pub struct Condition {
    pub expression: String,
}

/// The conditions of a webhook, compiled when they are first asked.
#[derive(Default, Deserialize)]
#[serde(from = "Vec<Condition>")]
pub struct Conditions {
    conditions: Vec<Condition>,
    compiled: OnceLock<Vec<Expression>>,
}

impl From<Vec<Condition>> for Conditions {
    fn from(conditions: Vec<Condition>) -> Self {
        Self { conditions, compiled: OnceLock::new() }
    }
}

impl Conditions {
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    pub fn compiled(&self) -> &[Expression] {
        self.compiled.get_or_init(|| compile(&Compiler::new(false), &self.conditions))
    }
}

impl Condition {
    fn compile(&self, compiler: &Compiler) -> Expression {
        Expression::new(compiler, self.expression.trim(), Use::MatchCondition)
    }
}

pub fn compile(compiler: &Compiler, conditions: &[Condition]) -> Vec<Expression> {
    conditions.iter().map(|condition| condition.compile(compiler)).collect()
}

/// Whether all hold. One that is false is enough for no, whatever else fails; after that failures count. They are an error, or
/// mean no where the failure policy is to ignore them.
pub fn hold(conditions: &[Expression], variables: &Activation<'_>, fails_open: bool) -> Result<bool, String> {
    let mut budget = Budget::new(COST_MAX);
    let mut failures = BTreeSet::new();
    let mut texts = Vec::new();
    for condition in conditions {
        match condition.evaluate(variables, &mut budget) {
            Ok(Value::Bool(false)) => return Ok(false),
            Ok(_) => {}
            Err(_) if fails_open && budget.is_exhausted() => return Ok(false),
            Err(Failure::Budget) => return Err(Failure::Budget.to_string()),
            // The same words are said once.
            Err(failure) => {
                let text = failure.to_string();
                if failures.insert(text.clone()) {
                    texts.push(text);
                }
            }
        }
    }
    match texts.as_slice() {
        [] => Ok(true),
        _ if fails_open => Ok(false),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(texts: &[&str], fails_open: bool) -> Result<bool, String> {
        let compiler = Compiler::new(false);
        let conditions: Vec<Expression> =
            texts.iter().map(|text| Expression::new(&compiler, text, Use::MatchCondition)).collect();
        hold(&conditions, &Activation::new(), fails_open)
    }

    #[test]
    fn false_is_stronger_than_failure() {
        assert_eq!(judge(&["true", "1 == 1"], false), Ok(true));
        assert_eq!(judge(&["[1][3] == 1", "false"], false), Ok(false));
        assert_eq!(judge(&["[1][3] == 1"], true), Ok(false));
        let one = "expression '[1][3] == 1' resulted in error: index out of bounds: 3";
        assert_eq!(judge(&["[1][3] == 1", "true", "[1][3] == 1"], false), Err(one.to_owned()));
        let two = "expression '[1][4] == 1' resulted in error: index out of bounds: 4";
        assert_eq!(judge(&["[1][3] == 1", "[1][4] == 1"], false), Err(format!("[{one}, {two}]")));
    }
}
