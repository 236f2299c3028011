//! A pod's conditions, worked out from its containers' statuses.

use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, PodCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::generate::Inputs;
use crate::{
    pod::{PodExt, is_sidecar},
    resize::report,
};

/// A verdict before it has a type and times: status, reason, message.
type Verdict = (bool, Option<&'static str>, Option<String>);

/// All conditions that the kubelet keeps, in upstream's order: those of a resize, while there is one, and the usual ones, with transition times kept where nothing changed.
pub fn all(inputs: &Inputs<'_>, phase: &str, init: &[ContainerStatus], main: &[ContainerStatus]) -> Vec<PodCondition> {
    let sidecars: Vec<&Container> = inputs.pod.init_containers().iter().filter(|c| is_sidecar(c)).collect();
    let serving = main.iter().chain(init.iter().filter(|s| sidecars.iter().any(|c| c.name == s.name)));
    let containers = containers_ready(phase, serving);
    let ready = match containers.0 {
        true => readiness_gates(inputs),
        false => containers.clone(),
    };
    let sandbox_ready = inputs.runtime.ready_sandbox().is_some_and(|s| inputs.pod.host_network() || !s.ips.is_empty());
    let old = inputs.pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let usual = [
        ("PodReadyToStartContainers", (sandbox_ready, None, None)),
        ("Initialized", initialized(inputs, phase, init)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", (true, None, None)),
    ]
    .into_iter()
    .map(|(kind, verdict)| condition(inputs, kind, verdict));
    let disruption = inputs.verdict.filter(|verdict| verdict.is_disruption).map(|verdict| {
        let why = (true, Some("TerminationByKubelet"), Some(verdict.message.clone()));
        condition(inputs, "DisruptionTarget", why)
    });
    let resize = report::conditions(inputs.resizing, old, inputs.now).into_iter();
    disruption.into_iter().chain(resize).chain(usual).collect()
}

fn condition(inputs: &Inputs<'_>, kind: &str, (status, reason, message): Verdict) -> PodCondition {
    let status = if status { "True" } else { "False" };
    let old = inputs.pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let old = old.into_iter().flatten().find(|c| c.type_ == kind && c.status == status);
    PodCondition {
        type_: kind.into(),
        status: status.into(),
        reason: reason.map(str::to_owned),
        message,
        last_transition_time: old.and_then(|c| c.last_transition_time.clone()).or(Some(Time(inputs.now))),
        last_probe_time: None,
        observed_generation: inputs.pod.metadata.generation,
    }
}

fn containers_ready<'a>(phase: &str, serving: impl Iterator<Item = &'a ContainerStatus>) -> Verdict {
    match phase {
        "Succeeded" => return (false, Some("PodCompleted"), None),
        "Failed" => return (false, Some("PodFailed"), None),
        _ => {}
    }
    let unready: Vec<&str> = serving.filter(|s| !s.ready).map(|s| s.name.as_str()).collect();
    if unready.is_empty() {
        return (true, None, None);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    (false, Some("ContainersNotReady"), Some(message))
}

fn readiness_gates(inputs: &Inputs<'_>) -> Verdict {
    let conditions = inputs.pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let mut messages = Vec::new();
    for gate in inputs.pod.pod_spec().readiness_gates.iter().flatten() {
        let name = &gate.condition_type;
        match conditions.iter().find(|c| c.type_ == *name) {
            None => messages.push(format!("corresponding condition of pod readiness gate {name:?} does not exist.")),
            Some(c) if c.status != "True" => {
                messages.push(format!("the status of pod readiness gate {name:?} is not \"True\", but {}", c.status))
            }
            Some(_) => {}
        }
    }
    match messages.is_empty() {
        true => (true, None, None),
        false => (false, Some("ReadinessGatesNotReady"), Some(messages.join(", "))),
    }
}

fn initialized(inputs: &Inputs<'_>, phase: &str, init: &[ContainerStatus]) -> Verdict {
    if phase == "Succeeded" {
        return (true, Some("PodCompleted"), None);
    }
    // Once a main container has been made, the pod has been initialized, whatever a sidecar does later.
    let begun = inputs.pod.main_containers().iter().any(|c| {
        let sandbox = inputs.runtime.sandboxes.first().map(|s| s.id.as_str());
        inputs.runtime.latest(&c.name).is_some_and(|info| Some(info.sandbox_id.as_str()) == sandbox)
    });
    let incomplete: Vec<&str> = inputs
        .pod
        .init_containers()
        .iter()
        .filter(|container| {
            let status = init.iter().find(|s| s.name == container.name);
            let done = status.is_some_and(|s| s.ready || is_sidecar(container) && s.started == Some(true));
            !done && !begun
        })
        .map(|container| container.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return (true, None, None);
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    (false, Some("ContainersNotInitialized"), Some(message))
}
