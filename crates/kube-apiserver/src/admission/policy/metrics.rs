//! What the policy plugins count, under upstream's names.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::spec::Action;
use super::validator::Fault;

const BUCKETS: [f64; 5] = [0.000_000_5, 0.001, 0.01, 0.1, 1.0];

pub struct PolicyMetrics {
    checks: Family<Checked, Counter>,
    durations: Family<Checked, Histogram>,
    mutations: Family<Mutated, Counter>,
    mutation_durations: Family<Mutated, Histogram>,
}

/// Policies and bindings are named by administrators, so their names bound the series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Checked {
    enforcement_action: &'static str,
    error_type: &'static str,
    policy: String,
    policy_binding: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Mutated {
    error_type: &'static str,
    policy: String,
    policy_binding: String,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforced {
    Allow,
    Deny,
    Warn,
    Audit,
}

impl From<Action> for Enforced {
    fn from(action: Action) -> Self {
        match action {
            Action::Deny => Self::Deny,
            Action::Warn => Self::Warn,
            Action::Audit => Self::Audit,
        }
    }
}

impl Enforced {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Warn => "warn",
            Self::Audit => "audit",
        }
    }
}

fn error_type(fault: Option<Fault>) -> &'static str {
    match fault {
        None => "no_error",
        Some(Fault::Compilation) => "compile_error",
        Some(Fault::Invalid) => "invalid_error",
        Some(Fault::Budget) => "out_of_budget",
    }
}

impl Default for PolicyMetrics {
    fn default() -> Self {
        Self {
            checks: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            mutations: Family::default(),
            mutation_durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }
}

impl PolicyMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "apiserver_validating_admission_policy_check",
            "Checks of validating policies by what came of them",
            self.checks.clone(),
        );
        registry.register(
            "apiserver_validating_admission_policy_check_duration_seconds",
            "Time that checks of validating policies took",
            self.durations.clone(),
        );
        registry.register(
            "apiserver_mutating_admission_policy_check",
            "Mutations of mutating policies by how they ended",
            self.mutations.clone(),
        );
        registry.register(
            "apiserver_mutating_admission_policy_check_duration_seconds",
            "Time that mutations of mutating policies took",
            self.mutation_durations.clone(),
        );
    }

    /// One validation of a validating policy.
    pub fn checked(&self, policy: &str, binding: &str, enforced: Enforced, fault: Option<Fault>, took: Duration) {
        let labels = Checked {
            enforcement_action: enforced.as_str(),
            error_type: error_type(fault),
            policy: policy.to_owned(),
            policy_binding: binding.to_owned(),
        };
        self.checks.get_or_create(&labels).inc();
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// One mutation of a mutating policy.
    pub fn mutated(&self, policy: &str, binding: &str, fault: Option<Fault>, took: Duration) {
        let labels =
            Mutated { error_type: error_type(fault), policy: policy.to_owned(), policy_binding: binding.to_owned() };
        self.mutations.get_or_create(&labels).inc();
        self.mutation_durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
