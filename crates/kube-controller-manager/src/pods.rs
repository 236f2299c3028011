//! What controllers ask of a pod.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

/// The condition that says that a pod goes for the cluster's sake.
const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// Phase, empty if none is set.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether it has ended for good.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it counts as one of its owner's replicas: neither ended nor going away.
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// A condition by type.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// Its conditions with one more that says why it is to go.
pub fn disrupted(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Value {
    let known = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let others = known.filter(|condition| condition.type_ != DISRUPTION_TARGET);
    let mut conditions: Vec<Value> = others.filter_map(|condition| serde_json::to_value(condition).ok()).collect();
    conditions.push(json!({
        "type": DISRUPTION_TARGET, "status": "True", "reason": reason, "message": message,
        "observedGeneration": pod.metadata.generation,
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }));
    conditions.into()
}

/// Whether its Ready condition is true.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Since when it is ready; the epoch if the condition does not say.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

/// How long until the pod has been ready for `min_ready_seconds`: zero if it has, none if it is not ready.
pub fn time_to_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let since = ready_since(pod)?;
    let wanted = i64::from(min_ready_seconds.max(0)) * 1000;
    let missing_ms = wanted - (now.as_millisecond() - since.as_millisecond());
    Some(Duration::from_millis(u64::try_from(missing_ms).unwrap_or(0)))
}

/// The node it is bound to, empty if none.
pub fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Its addresses, the first one first.
pub fn ips(pod: &Pod) -> Vec<&str> {
    let Some(status) = &pod.status else { return Vec::new() };
    let listed: Vec<&str> =
        status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).filter(|ip| !ip.is_empty()).collect();
    match (&status.pod_ip, listed.is_empty()) {
        (Some(ip), true) if !ip.is_empty() => vec![ip.as_str()],
        _ => listed,
    }
}

/// The container port that a service port leads to: a number as it is, a name by the pod's containers.
pub fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            // Init containers that go on running (sidecars) may serve too.
            let sidecars = spec
                .init_containers
                .iter()
                .flatten()
                .filter(|container| container.restart_policy.as_deref() == Some("Always"));
            let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
            let mut matching = ports.filter(|port| {
                port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
            });
            matching.next().map(|port| port.container_port)
        }
    }
}

/// The hostname under which a headless service publishes the pod.
pub fn published_hostname<'a>(pod: &'a Pod, service: &str) -> Option<&'a str> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.as_deref().filter(|hostname| !hostname.is_empty())?;
    (spec.subdomain.as_deref() == Some(service)).then_some(hostname)
}
