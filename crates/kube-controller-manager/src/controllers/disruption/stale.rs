//! Stale disruptions: a pod that says that it is about to be disrupted and is still there two minutes later takes it back.
//! What the kubelet says stays: it may take its time.

use std::time::Duration;

use client::{Controller, Intent, Key, Object, Plan, Sources, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::pods;

const TARGET: &str = "DisruptionTarget";
const BY_KUBELET: &str = "TerminationByKubelet";
const TIMEOUT: Duration = Duration::from_secs(120);

/// The controller. Its keys are pods.
pub struct StaleDisruptions;

impl Controller for StaleDisruptions {
    const NAME: &'static str = "disruption";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on::<Pod, _>(|_, change| change.new.filter(|pod| announced(pod).is_some()).map(|pod| pod.key()));
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let pods = view.of::<Pod>();
        let Some(pod) = pods.get(key) else { return plan };
        let Some(condition) = announced(pod) else { return plan };
        let since = condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let passed = Duration::from_secs(u64::try_from(now.as_second() - since.as_second()).unwrap_or(0));
        if let Some(left) = TIMEOUT.checked_sub(passed).filter(|left| !left.is_zero()) {
            plan.look_again_in(left);
            return plan;
        }
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let conditions: Vec<PodCondition> = conditions
            .map(|condition| match condition.type_ == TARGET {
                true => PodCondition {
                    type_: TARGET.to_owned(),
                    status: "False".to_owned(),
                    observed_generation: pod.metadata.generation,
                    last_transition_time: Some(Time(now)),
                    ..PodCondition::default()
                },
                false => condition.clone(),
            })
            .collect();
        plan.because(format!("pod {key} was to be disrupted and is still there"));
        plan.write(Intent::patch_status(&**pod, json!({"status": {"conditions": conditions}})));
        plan
    }
}

/// The condition that says that the pod goes soon, where it has not begun to.
fn announced(pod: &Pod) -> Option<&PodCondition> {
    if pod.metadata.deletion_timestamp.is_some() || pods::is_terminal(pod) {
        return None;
    }
    let said =
        |condition: &&PodCondition| condition.status == "True" && condition.reason.as_deref() != Some(BY_KUBELET);
    pods::condition(pod, TARGET).filter(said)
}
