//! The estimate of a whole expression.

use std::collections::HashMap;

use super::estimator::Estimator;
use super::range::CostRange;
use crate::checker::Checked;
use crate::types::Declaration;

/// What evaluating the expression costs at least and at most.
pub(crate) fn estimate(checked: &Checked, variables: &HashMap<String, Declaration>) -> CostRange {
    Estimator::new(checked, variables).cost(&checked.root)
}
