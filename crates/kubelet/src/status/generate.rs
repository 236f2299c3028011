//! The whole status of a pod as a pure function.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ContainerStatus, HostIP, Pod, PodIP, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{conditions, containers};
use crate::{
    actions::ProbeStates,
    pod::{ContainerKind, PodExt, is_sidecar, qos},
    resize::Resizing,
    runtime_state::PodRuntime,
};

/// Why a pod was ended from outside its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// status.reason, such as DeadlineExceeded.
    pub reason: String,
    /// status.message.
    pub message: String,
    /// Whether it was for the node's sake, so that the condition DisruptionTarget says so.
    pub is_disruption: bool,
}

impl Verdict {
    /// A verdict on the pod itself.
    pub fn new(reason: &str, message: String) -> Self {
        Self { reason: reason.into(), message, is_disruption: false }
    }
}

/// Everything a status is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The pod with its last known status.
    pub pod: &'a Pod,
    /// The pod in the runtime.
    pub runtime: &'a PodRuntime,
    /// Why containers wait, by name: (reason, message).
    pub reasons: &'a HashMap<String, (String, String)>,
    /// Probes' verdicts.
    pub probes: &'a ProbeStates,
    /// What the pod was promised and what it has.
    pub resizing: &'a Resizing,
    /// The scheme of container ids, such as `containerd`.
    pub runtime_name: &'a str,
    /// The node's addresses, the primary first.
    pub host_ips: &'a [String],
    /// When the kubelet first saw the pod.
    pub first_seen: Timestamp,
    /// The time.
    pub now: Timestamp,
    /// No container will be started any more.
    pub is_terminal: bool,
    /// The pod failed by somebody's decision, whatever its containers do.
    pub verdict: Option<&'a Verdict>,
}

/// Computes the status.
pub fn generate(inputs: Inputs<'_>) -> PodStatus {
    let pod = inputs.pod;
    let old = pod.status.as_ref();
    let of = |kind, list: &[k8s_openapi::api::core::v1::Container]| -> Vec<ContainerStatus> {
        list.iter().map(|container| containers::status(&inputs, kind, container)).collect()
    };
    let init = of(ContainerKind::Init, pod.init_containers());
    let mut main = of(ContainerKind::Main, pod.main_containers());
    main.sort_by(|a, b| a.name.cmp(&b.name));
    let ephemeral: Vec<_> = pod.ephemeral_containers().into_iter().map(|(container, _)| container).collect();
    let ephemeral = of(ContainerKind::Ephemeral, &ephemeral);
    let (phase, reason, message) = match inputs.verdict {
        Some(verdict) => ("Failed", Some(verdict.reason.clone()), Some(verdict.message.clone())),
        None => (phase(&inputs, &init, &main), None, None),
    };
    // The end of a pod is final: no later look makes it run again.
    let (phase, reason, message) = match pod.phase() {
        "Failed" | "Succeeded" if inputs.verdict.is_none() => {
            (pod.phase(), old.and_then(|s| s.reason.clone()), old.and_then(|s| s.message.clone()))
        }
        _ => (phase, reason, message),
    };
    let pod_ips = addresses(&inputs);
    let whole = pod.pod_spec().resources.as_ref();
    let some = |list: Vec<ContainerStatus>| (!list.is_empty()).then_some(list);
    PodStatus {
        phase: Some(phase.into()),
        reason,
        message,
        conditions: Some(conditions::all(&inputs, phase, &init, &main)),
        host_ip: inputs.host_ips.first().cloned(),
        host_ips: Some(inputs.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: pod_ips.first().cloned(),
        pod_ips: Some(pod_ips.into_iter().map(|ip| PodIP { ip }).collect::<Vec<_>>()).filter(|ips| !ips.is_empty()),
        start_time: old.and_then(|s| s.start_time.clone()).or(Some(Time(inputs.first_seen))),
        init_container_statuses: some(init),
        container_statuses: some(main),
        ephemeral_container_statuses: some(ephemeral),
        qos_class: old.and_then(|s| s.qos_class.clone()).or_else(|| Some(qos::class(pod).as_str().into())),
        observed_generation: pod.metadata.generation,
        resources: inputs.resizing.actuated.pod.clone().filter(|_| whole.is_some()),
        allocated_resources: whole.and_then(|own| own.requests.clone()),
        ..Default::default()
    }
}

/// A pod keeps the addresses it had when its sandbox is gone.
fn addresses(inputs: &Inputs<'_>) -> Vec<String> {
    let old = || {
        let status = inputs.pod.status.as_ref();
        status.and_then(|s| s.pod_ips.as_ref()).into_iter().flatten().map(|ip| ip.ip.clone()).collect()
    };
    match inputs.runtime.ready_sandbox() {
        Some(_) if inputs.pod.host_network() => inputs.host_ips.to_vec(),
        Some(sandbox) if !sandbox.ips.is_empty() => sandbox.ips.clone(),
        _ => old(),
    }
}

fn phase(inputs: &Inputs<'_>, init: &[ContainerStatus], main: &[ContainerStatus]) -> &'static str {
    let policy = inputs.pod.restart_policy();
    let ended =
        |status: &ContainerStatus| status.state.as_ref().and_then(|s| s.terminated.as_ref()).map(|t| t.exit_code);
    let was_ended = |status: &ContainerStatus| status.last_state.as_ref().is_some_and(|s| s.terminated.is_some());
    let runs = |status: &ContainerStatus| status.state.as_ref().is_some_and(|s| s.running.is_some());
    let main_begun = main.iter().any(|s| runs(s) || ended(s).is_some() || was_ended(s));
    if !main_begun {
        let plain =
            |s: &&ContainerStatus| inputs.pod.init_containers().iter().any(|c| c.name == s.name && !is_sidecar(c));
        let failed = init.iter().filter(plain).filter_map(ended).any(|code| code != 0);
        if failed && policy == "Never" {
            return "Failed";
        }
    }
    let (mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for status in main {
        match (runs(status), ended(status), was_ended(status)) {
            (true, ..) => running += 1,
            (_, Some(code), _) => {
                stopped += 1;
                succeeded += usize::from(code == 0);
            }
            (_, None, true) => stopped += 1,
            _ => waiting += 1,
        }
    }
    if inputs.is_terminal {
        let ran = stopped > 0 && running == 0;
        return match (ran, succeeded == main.len()) {
            (true, true) => "Succeeded",
            (true, false) => "Failed",
            (false, _) if running > 0 => "Running",
            _ => "Failed",
        };
    }
    if waiting > 0 {
        return "Pending";
    }
    if running > 0 {
        return "Running";
    }
    match policy {
        "Always" => "Running",
        _ if succeeded == stopped => "Succeeded",
        "Never" => "Failed",
        _ => "Running",
    }
}
