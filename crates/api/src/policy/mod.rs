//! policy: asking before taking pods away.

pub mod eviction;
pub mod pod_disruption_budget;
