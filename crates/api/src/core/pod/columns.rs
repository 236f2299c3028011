//! A pod's row in a table: above all its STATUS, which sums up phase, conditions and every container's state.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cells;
use crate::kind::Column;
use crate::value::{boolean, integer, list, text};

pub const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Ready", "string", 0, "The aggregate readiness state of this pod for accepting traffic."),
    Column::new("Status", "string", 0, "The aggregate status of the containers in this pod."),
    Column::new(
        "Restarts",
        "string",
        0,
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    Column::AGE,
    Column::new(
        "IP",
        "string",
        1,
        "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
    ),
    Column::new(
        "Node",
        "string",
        1,
        "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for scheduling by the scheduler defined in schedulerName. Once this field is set, the kubelet for this node becomes responsible for the lifecycle of this pod. This field should not be used to express a desire for the pod to be scheduled on a specific node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename",
    ),
    Column::new(
        "Nominated Node",
        "string",
        1,
        "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right away as preemption victims receive their graceful termination periods. This field does not guarantee that the pod will be scheduled on this node. Scheduler may decide to place the pod elsewhere if other nodes become available sooner. Scheduler may also decide to give the resources on this node to a higher priority pod that is created after preemption. As a result, this field may be different than PodSpec.nodeName when the pod is scheduled.",
    ),
    Column::new(
        "Readiness Gates",
        "string",
        1,
        "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers are ready AND all conditions specified in the readiness gates have status equal to \"True\" More info: https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates",
    ),
];

pub fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    let restarts = match summary.last_restart {
        Some(time) if summary.restarts != 0 => format!("{} ({} ago)", summary.restarts, cells::since(Some(time), now)),
        _ => summary.restarts.to_string(),
    };
    vec![
        cells::name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        cells::age(pod, now),
        cells::or_none(pod_ip(pod)),
        cells::or_none(text(pod, "/spec/nodeName")),
        cells::or_none(text(pod, "/status/nominatedNodeName")),
        readiness_gates(pod),
    ]
}

/// A pod that has ended says so beside its row.
pub fn conditions(pod: &Value) -> Vec<Value> {
    let ended = |reason: &str, message: &str| {
        vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
    };
    match text(pod, "/status/phase") {
        "Succeeded" => ended("Succeeded", "The pod has completed successfully."),
        "Failed" => ended("Failed", "The pod failed."),
        _ => Vec::new(),
    }
}

struct Summary<'a> {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<&'a Value>,
}

fn summarize(pod: &Value) -> Summary<'_> {
    let init = list(pod, "/spec/initContainers");
    let sidecars = init.iter().filter(|c| text(c, "/restartPolicy") == "Always").count();
    let mut summary = Summary {
        ready: 0,
        total: list(pod, "/spec/containers").len() + sidecars,
        reason: phase(pod).to_string(),
        restarts: 0,
        last_restart: None,
    };
    let mut of_sidecars = (0, None);
    let initializing = initializing(pod, init, &mut summary, &mut of_sidecars);
    if !initializing || condition(pod, "Initialized") {
        (summary.restarts, summary.last_restart) = of_sidecars;
        running(pod, &mut summary);
    }
    if pod.pointer("/metadata/deletionTimestamp").is_some_and(|t| !t.is_null()) {
        if text(pod, "/status/reason") == "NodeLost" {
            summary.reason = "Unknown".to_string();
        } else if !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
            summary.reason = "Terminating".to_string();
        }
    }
    summary
}

fn phase(pod: &Value) -> &str {
    let gated = list(pod, "/status/conditions")
        .iter()
        .any(|c| text(c, "/type") == "PodScheduled" && text(c, "/reason") == "SchedulingGated");
    match (gated, text(pod, "/status/reason")) {
        (true, _) => "SchedulingGated",
        (false, "") => text(pod, "/status/phase"),
        (false, reason) => reason,
    }
}

/// Goes through the init containers up to the first that holds the pod up; true if there is one.
fn initializing<'a>(
    pod: &'a Value,
    init: &[Value],
    summary: &mut Summary<'a>,
    of_sidecars: &mut (i64, Option<&'a Value>),
) -> bool {
    for (i, status) in list(pod, "/status/initContainerStatuses").iter().enumerate() {
        let name = text(status, "/name");
        let sidecar = init.iter().any(|c| text(c, "/name") == name && text(c, "/restartPolicy") == "Always");
        summary.restarts += integer(status, "/restartCount");
        let ended = status.pointer("/lastState/terminated/finishedAt");
        summary.last_restart = later(summary.last_restart, ended);
        if sidecar {
            of_sidecars.0 += integer(status, "/restartCount");
            of_sidecars.1 = later(of_sidecars.1, ended);
        }
        let terminated = status.pointer("/state/terminated").filter(|t| !t.is_null());
        let waiting = text(status, "/state/waiting/reason");
        summary.reason = match terminated {
            Some(terminated) if integer(terminated, "/exitCode") == 0 => continue,
            _ if sidecar && boolean(status, "/started") => {
                summary.ready += usize::from(boolean(status, "/ready"));
                continue;
            }
            Some(terminated) => format!("Init:{}", end_reason(terminated)),
            None if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
            None => format!("Init:{i}/{}", init.len()),
        };
        return true;
    }
    false
}

/// Goes through the containers, the last one first, so that the first one's word counts.
fn running<'a>(pod: &'a Value, summary: &mut Summary<'a>) {
    let mut any_running = false;
    for status in list(pod, "/status/containerStatuses").iter().rev() {
        summary.restarts += integer(status, "/restartCount");
        summary.last_restart = later(summary.last_restart, status.pointer("/lastState/terminated/finishedAt"));
        let waiting = text(status, "/state/waiting/reason");
        let terminated = status.pointer("/state/terminated").filter(|t| !t.is_null());
        let runs = status.pointer("/state/running").is_some_and(|r| !r.is_null());
        if !waiting.is_empty() {
            summary.reason = waiting.to_string();
        } else if let Some(terminated) = terminated {
            summary.reason = end_reason(terminated);
        } else if boolean(status, "/ready") && runs {
            any_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && any_running {
        summary.reason = if condition(pod, "Ready") { "Running" } else { "NotReady" }.to_string();
    }
}

fn end_reason(terminated: &Value) -> String {
    match (text(terminated, "/reason"), integer(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", integer(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_string(),
    }
}

fn later<'a>(a: Option<&'a Value>, b: Option<&'a Value>) -> Option<&'a Value> {
    let time = |v: Option<&'a Value>| v.and_then(Value::as_str);
    // RFC 3339 in UTC sorts as text.
    match (time(a), time(b)) {
        (Some(x), Some(y)) => {
            if y > x {
                b
            } else {
                a
            }
        }
        (None, Some(_)) => b,
        _ => a,
    }
}

fn condition(pod: &Value, kind: &str) -> bool {
    list(pod, "/status/conditions").iter().any(|c| text(c, "/type") == kind && text(c, "/status") == "True")
}

fn pod_ip(pod: &Value) -> &str {
    match list(pod, "/status/podIPs").first() {
        Some(first) => text(first, "/ip"),
        None => text(pod, "/status/podIP"),
    }
}

fn readiness_gates(pod: &Value) -> Value {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".into();
    }
    let passed = gates.iter().filter(|gate| condition(pod, text(gate, "/conditionType"))).count();
    format!("{passed}/{}", gates.len()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pod: Value) -> (String, String, String) {
        let now = "2024-01-01T01:00:00Z".parse().expect("a time");
        let cells = cells(&pod, now);
        let text = |i: usize| cells[i].as_str().unwrap_or_default().to_string();
        (text(1), text(2), text(3))
    }

    fn pod(init: Value, statuses: Value, init_statuses: Value) -> Value {
        json!({
            "metadata": {"name": "p"},
            "spec": {"initContainers": init, "containers": [{"name": "c"}]},
            "status": {"phase": "Pending", "containerStatuses": statuses, "initContainerStatuses": init_statuses},
        })
    }

    fn is(row: (String, String, String), ready: &str, status: &str, restarts: &str) {
        assert_eq!((row.0.as_str(), row.1.as_str(), row.2.as_str()), (ready, status, restarts));
    }

    #[test]
    fn init_containers_hold_a_pod_up() {
        let two = json!([{"name": "a"}, {"name": "b"}]);
        let done = json!({"name": "a", "state": {"terminated": {"exitCode": 0}}, "restartCount": 2});
        is(row(pod(two.clone(), json!([]), json!([{"name": "a"}, {"name": "b"}]))), "0/1", "Init:0/2", "0");
        is(row(pod(two.clone(), json!([]), json!([done, {"name": "b"}]))), "0/1", "Init:1/2", "2");
        let failed = json!({"name": "b", "state": {"terminated": {"exitCode": 3}}});
        is(row(pod(two.clone(), json!([]), json!([done, failed]))), "0/1", "Init:ExitCode:3", "2");
        let error = json!({"name": "b", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}});
        is(row(pod(two.clone(), json!([]), json!([done, error]))), "0/1", "Init:Error", "2");
        let waiting = json!({"name": "b", "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
        is(row(pod(two, json!([]), json!([done, waiting]))), "0/1", "Init:CrashLoopBackOff", "2");
    }

    #[test]
    fn restarts_say_when_the_last_was() {
        let ended = json!({"terminated": {"finishedAt": "2024-01-01T00:55:00Z"}});
        let crashed = json!({"name": "c", "restartCount": 3, "lastState": ended,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}});
        is(row(pod(json!([]), json!([crashed]), json!([]))), "0/1", "CrashLoopBackOff", "3 (5m ago)");
    }

    #[test]
    fn a_deleted_pod_is_terminating_until_it_has_ended() {
        let running = json!([{"name": "c", "ready": true, "state": {"running": {}}}]);
        let mut deleted = pod(json!([]), running, json!([]));
        deleted["status"]["phase"] = "Running".into();
        deleted["metadata"]["deletionTimestamp"] = "2024-01-01T00:59:00Z".into();
        is(row(deleted.clone()), "1/1", "Terminating", "0");
        deleted["status"]["reason"] = "NodeLost".into();
        is(row(deleted.clone()), "1/1", "Unknown", "0");
        deleted["status"]["reason"] = Value::Null;
        deleted["status"]["phase"] = "Failed".into();
        is(row(deleted), "1/1", "Failed", "0");
    }

    #[test]
    fn gates_and_evictions_show_their_reason() {
        let mut gated = pod(json!([]), json!([]), json!([]));
        gated["status"]["conditions"] =
            json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]);
        is(row(gated), "0/1", "SchedulingGated", "0");
        let mut evicted = pod(json!([]), json!([]), json!([]));
        evicted["status"]["phase"] = "Failed".into();
        evicted["status"]["reason"] = "Evicted".into();
        is(row(evicted), "0/1", "Evicted", "0");
    }
}
