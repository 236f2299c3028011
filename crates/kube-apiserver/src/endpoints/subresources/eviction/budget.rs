//! The disruption budget of a pod: which one it is, and whether it lets the pod go.
//!
//! Giving a disruption away is a write to the budget's status on condition that it is still as it was read, so that two
//! evictions at the same moment can never share one disruption.

use api::Kind;
use machinery::gvk::GroupResource;
use machinery::labels::Selector;
use machinery::status::{Status, StatusCause};
use serde_json::Value;

use crate::registry::object::{self, Condition};
use crate::registry::{NoAdmission, Owner, Part, Registry, WriteOptions, now};

static KIND: &Kind = &api::policy::pod_disruption_budget::KIND;
/// Evictions that the disruption controller has not yet seen. So many can only mean that it is away.
const DISRUPTED_PODS_MAX: usize = 2000;
const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const ALLOWED: &str = "DisruptionAllowed";

/// What a budget says to an eviction; a refusal is an error.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One of its disruptions is given away.
    Given,
    /// The pod is unhealthy and does not count, as long as it stays so.
    Uncounted,
}

/// The budget of a pod, if there is one.
pub fn of(registry: &Registry, pod: &Value) -> Result<Option<Value>, Status> {
    let mut budgets = registry.list(KIND, object::namespace(pod)).into_iter().filter(|budget| covers(budget, pod));
    let budget = budgets.next();
    if budgets.next().is_some() {
        let message =
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        return Err(Status::failure(500, "", message));
    }
    Ok(budget)
}

/// A selector that cannot be read covers nothing.
fn covers(budget: &Value, pod: &Value) -> bool {
    let selector = budget.pointer("/spec/selector").unwrap_or(&Value::Null);
    Selector::from_label_selector(selector).is_ok_and(|selector| selector.matches_object(pod))
}

/// Asks the budget to let a pod go.
pub async fn ask(registry: &Registry, budget: &Value, pod: &Value, dry_run: bool) -> Result<Verdict, Status> {
    if !is_ready(pod) && lets_unhealthy_go(budget) {
        return Ok(Verdict::Uncounted);
    }
    let options = WriteOptions { dry_run, owner: Owner { subresource: "status".to_owned(), ..Owner::default() } };
    let mut give = |budget: &Value| give_away(budget, object::name(pod));
    let (namespace, name) = (object::namespace(budget), object::name(budget));
    let given = registry.update(KIND, namespace, name, Part::STATUS, &mut give, &options, &NoAdmission).await;
    given.map(|_| Verdict::Given).map_err(|status| {
        // Only a budget that others write without pause is still changing after all tries.
        if status.is_conflict() {
            return Status::timeout(
                format!("couldn't update PodDisruptionBudget {} due to conflicts", machinery::go_text::quote(name)),
                10,
            );
        }
        status
    })
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = object::list(pod, "/status/conditions").iter();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn lets_unhealthy_go(budget: &Value) -> bool {
    let count = |pointer: &str| object::number(budget, pointer).unwrap_or(0);
    let (healthy, desired) = (count("/status/currentHealthy"), count("/status/desiredHealthy"));
    object::text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow" || (desired > 0 && healthy >= desired)
}

/// The budget with one disruption less, or why there is none.
fn give_away(budget: &Value, pod: &str) -> Result<Value, Status> {
    let count = |pointer: &str| object::number(budget, pointer).unwrap_or(0);
    let name = object::name(budget);
    let forbidden =
        |message: &str| Status::forbidden(&GroupResource::new("policy", "poddisruptionbudget"), name, message);
    if count("/status/observedGeneration") < count("/metadata/generation") {
        return Err(ask_later(name));
    }
    let left = count("/status/disruptionsAllowed");
    if left < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    let disrupted = budget.pointer("/status/disruptedPods").and_then(Value::as_object);
    if disrupted.is_some_and(|pods| pods.len() > DISRUPTED_PODS_MAX) {
        return Err(forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller"));
    }
    if left == 0 {
        let cause = match failed_sync(budget) {
            Some(why) => format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {why}"
            ),
            None => format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                count("/status/desiredHealthy"),
                count("/status/currentHealthy")
            ),
        };
        return Err(refusal(cause, 0));
    }
    let mut given = budget.clone();
    object::map_mut(&mut given, "status").insert("disruptionsAllowed".to_owned(), (left - 1).into());
    // Until the disruption controller sees the pod go it does not count it as healthy.
    object::map_mut(&mut given["status"], "disruptedPods").insert(pod.to_owned(), object::time(now()));
    if left == 1 {
        let condition = Condition {
            kind: ALLOWED,
            status: "False",
            reason: "InsufficientPods",
            message: "",
            observed_generation: object::number(budget, "/status/observedGeneration"),
        };
        object::set_condition(&mut given, &condition);
    }
    Ok(given)
}

/// Why the disruption controller could not work the budget out.
fn failed_sync(budget: &Value) -> Option<&str> {
    let mut conditions = object::list(budget, "/status/conditions").iter();
    let failed = conditions.find(|condition| {
        condition["type"] == ALLOWED && condition["status"] == "False" && condition["reason"] == "SyncFailed"
    })?;
    Some(object::text(failed, "/message")).filter(|message| !message.is_empty())
}

/// The budget does not yet know what it has to know.
pub fn ask_later(name: &str) -> Status {
    refusal(format!("The disruption budget {name} is still being processed by the server."), 10)
}

fn refusal(cause: String, retry_after_seconds: u32) -> Status {
    Status::too_many_requests(REFUSED, retry_after_seconds).with_cause(StatusCause {
        reason: "DisruptionBudget".to_owned(),
        message: cause,
        field: String::new(),
    })
}
