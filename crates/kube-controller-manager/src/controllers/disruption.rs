//! Disruption: keeps the status of every PodDisruptionBudget, which is what evictions go by: how many healthy pods there
//! are, how many there must be, and how many may be taken away now.
//!
//! A pod that the API server has let go counts as unhealthy from that moment (it stands in `disruptedPods`), so that two
//! evictions in a row cannot both count on it. If it is still there two minutes later it counts again.
//!
//! When the expected number of pods cannot be found out nothing may be disrupted, and the condition says why.

mod expected;
mod scales;
mod stale;

pub use scales::{Scale, Scales};
pub use stale::StaleDisruptions;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{
    ApiError, BoxFuture, Change, Controller, EventType, Intent, Key, Note, Object, Outside, Plan, Selector, Snapshot,
    Sources, View,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::monitors::Monitors;
use crate::pods;

const ALLOWED: &str = "DisruptionAllowed";
/// How long an evicted pod may take to begin to go.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_secs(120);
/// What could not be found out may be known later without any pod having changed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The controller.
pub struct Disruptions {
    /// Discovery, for the scale of what is no built-in workload.
    pub monitors: Arc<Monitors>,
}

impl Controller for Disruptions {
    const NAME: &'static str = "disruption";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<PodDisruptionBudget>();
        sources.on::<Pod, _>(|view, change| budgets_of(&view.of::<PodDisruptionBudget>(), change));
        sources.read::<ReplicaSet>();
        sources.read::<Deployment>();
        sources.read::<StatefulSet>();
        sources.read::<ReplicationController>();
        let monitors = self.monitors.clone();
        sources.wait_for(async move { monitors.wait_discovered().await });
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let budgets = view.of::<PodDisruptionBudget>();
            let Some(budget) = budgets.get(key).filter(|budget| expected::needs_scales(budget)) else { return Ok(()) };
            let pods = view.of::<Pod>();
            let pods = pods.select(&key.namespace, &selector(budget));
            let scales = scales::observe(outside, &self.monitors.discovered(), &pods).await;
            view.put(Arc::new(scales));
            Ok(())
        })
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (budgets, all) = (view.of::<PodDisruptionBudget>(), view.of::<Pod>());
        let Some(budget) = budgets.get(key) else { return plan };
        let pods = all.select(&key.namespace, &selector(budget));
        let status = match expected::count(view, budget, &pods) {
            Ok(expected) => {
                let disrupted = disrupted(&mut plan, budget, &pods, now);
                let status = status(budget, &expected, &pods, disrupted, now);
                if budget.status.as_ref() != Some(&status) && !expected.unmanaged.is_empty() {
                    plan.event(unmanaged(budget));
                }
                status
            }
            Err(reason) => {
                plan.look_again_in(LOOK_AGAIN);
                failed(&mut plan, budget, &reason, now)
            }
        };
        if budget.status.as_ref() != Some(&status) {
            if pods.is_empty() {
                plan.event(Note::about(&**budget, EventType::Normal, "NoPods", "No matching pods found"));
            }
            plan.because(format!("the status of budget {key} is not what its pods make of it"));
            plan.write(Intent::update_status(&PodDisruptionBudget { status: Some(status), ..(**budget).clone() }));
        }
        plan
    }
}

fn selector(budget: &PodDisruptionBudget) -> Selector {
    match budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()) {
        Some(selector) => Selector::of(selector),
        None => Selector::nothing(),
    }
}

fn budgets_of(budgets: &Snapshot<PodDisruptionBudget>, change: &Change<'_, Pod>) -> Vec<Key> {
    let Some(pod) = change.latest() else { return Vec::new() };
    let covers = |budget: &PodDisruptionBudget| {
        let selector = selector(budget);
        change.old.iter().chain(change.new.iter()).any(|pod| selector.matches(pod.meta_ref().labels))
    };
    budgets.namespace(pod.meta_ref().namespace).filter(|budget| covers(budget)).map(|budget| budget.key()).collect()
}

/// The pods that were let go and are still to be waited for.
fn disrupted(
    plan: &mut Plan,
    budget: &PodDisruptionBudget,
    pods: &[&Arc<Pod>],
    now: Timestamp,
) -> BTreeMap<String, Time> {
    let known = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
    let mut waited_for = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let meta = pod.meta_ref();
        let Some(since) = known.and_then(|known| known.get(meta.name)) else { continue };
        match Duration::try_from((since.0 + DELETION_TIMEOUT).duration_since(now)) {
            Ok(left) => {
                plan.look_again_in(left + Duration::from_millis(1));
                waited_for.insert(meta.name.to_owned(), since.clone());
            }
            Err(_) => {
                let namespace = meta.namespace;
                let message = format!("Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't");
                plan.event(Note::about(&***pod, EventType::Warning, "NotDeleted", message));
            }
        }
    }
    waited_for
}

fn status(
    budget: &PodDisruptionBudget,
    expected: &expected::Expected,
    pods: &[&Arc<Pod>],
    disrupted: BTreeMap<String, Time>,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let healthy = pods.iter().filter(|pod| {
        pod.metadata.deletion_timestamp.is_none() && !disrupted.contains_key(pod.meta_ref().name) && pods::is_ready(pod)
    });
    let healthy = i32::try_from(healthy.count()).unwrap_or(i32::MAX);
    // A budget that covers no pods yet allows nothing, so that the first pods to come are safe before they are counted.
    let allowed = if expected.pods > 0 { healthy.saturating_sub(expected.healthy).max(0) } else { 0 };
    let (value, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let generation = budget.metadata.generation;
    PodDisruptionBudgetStatus {
        conditions: Some(with_condition(budget, value, reason, "", generation, now)),
        current_healthy: Some(healthy),
        desired_healthy: Some(expected.healthy),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected.pods),
        observed_generation: generation,
    }
}

/// The status of a budget whose pods cannot be counted: what it was, but nothing may go.
fn failed(plan: &mut Plan, budget: &PodDisruptionBudget, reason: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let known = budget.status.clone().unwrap_or_default();
    let status = PodDisruptionBudgetStatus {
        conditions: Some(with_condition(budget, "False", "SyncFailed", reason, known.observed_generation, now)),
        current_healthy: known.current_healthy.or(Some(0)),
        desired_healthy: known.desired_healthy.or(Some(0)),
        disruptions_allowed: Some(0),
        expected_pods: known.expected_pods.or(Some(0)),
        ..known
    };
    if budget.status.as_ref() != Some(&status) {
        let message = format!("Failed to calculate the number of expected pods: {reason}");
        plan.event(Note::about(budget, EventType::Warning, "CalculateExpectedPodCountFailed", message));
    }
    status
}

fn with_condition(
    budget: &PodDisruptionBudget,
    status: &str,
    reason: &str,
    message: &str,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = budget.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let known = conditions.iter().position(|condition| condition.type_ == ALLOWED);
    let since =
        known.filter(|at| conditions[*at].status == status).map(|at| conditions[at].last_transition_time.clone());
    let condition = Condition {
        type_: ALLOWED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        // Zero is left out when it is written.
        observed_generation: observed_generation.filter(|generation| *generation != 0),
        last_transition_time: since.unwrap_or(Time(whole_seconds(now))),
    };
    match known {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
    conditions
}

/// As objects hold times.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn unmanaged(budget: &PodDisruptionBudget) -> Note {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let message = format!(
        "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of \
         the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods \
         please set \".spec.minAvailable\" field of the PDB to an integer value.",
        selector.map_or_else(|| "nil".to_owned(), expected::shown)
    );
    Note::about(budget, EventType::Warning, "UnmanagedPods", message)
}

#[cfg(test)]
mod tests;
