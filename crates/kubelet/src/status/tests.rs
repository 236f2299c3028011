use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};

use super::{generate::*, patch};
use crate::{
    actions::{ProbeState, ProbeStates},
    cri::v1::ContainerState as State,
    runtime_state::{PodRuntime, Sandbox},
};

fn pod(spec: Value, status: Value) -> Pod {
    let metadata = json!({"name": "p", "namespace": "n", "uid": "u", "generation": 1});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

#[derive(Default)]
struct Case {
    containers: Vec<(&'static str, State, i32)>,
    reasons: HashMap<String, (String, String)>,
    probes: ProbeStates,
    is_terminal: bool,
    verdict: Option<Verdict>,
}

impl Case {
    fn status(&self, pod: &Pod) -> PodStatus {
        let sandbox = Sandbox { id: "s".into(), ready: true, ips: vec!["10.244.0.5".into()], ..Default::default() };
        let containers =
            self.containers.iter().map(|(name, state, code)| crate::actions::tests::container(name, *state, *code));
        let runtime = PodRuntime { sandboxes: vec![sandbox], containers: containers.collect() };
        generate(Inputs {
            pod,
            runtime: &runtime,
            reasons: &self.reasons,
            probes: &self.probes,
            runtime_name: "containerd",
            host_ips: &["192.0.2.1".into()],
            first_seen: at(0),
            now: at(9),
            is_terminal: self.is_terminal,
            verdict: self.verdict.as_ref(),
        })
    }
}

fn condition(status: &PodStatus, kind: &str) -> (String, Option<String>, Option<String>) {
    let found = status.conditions.iter().flatten().find(|c| c.type_ == kind).unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

#[test]
fn a_running_pod_is_ready() {
    let pod = pod(json!({"containers": [{"name": "a"}]}), json!({}));
    let status = Case { containers: vec![("a", State::ContainerRunning, 0)], ..Default::default() }.status(&pod);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.5"));
    assert_eq!(condition(&status, "Ready"), ("True".into(), None, None));
    let container = &status.container_statuses.unwrap()[0];
    assert_eq!(container.container_id.as_deref(), Some("containerd://id-a"));
    assert!(container.ready && container.started == Some(true));
}

#[test]
fn unready_containers_are_named() {
    let spec = json!({"containers": [{"name": "b", "readinessProbe": {}}, {"name": "a"}]});
    let mut case = Case { containers: vec![("b", State::ContainerRunning, 0)], ..Default::default() };
    let waiting = case.status(&pod(spec.clone(), json!({})));
    assert_eq!(waiting.phase.as_deref(), Some("Pending"));
    let message = Some("containers with unready status: [a b]".to_owned());
    assert_eq!(condition(&waiting, "Ready"), ("False".into(), Some("ContainersNotReady".into()), message));
    assert_eq!(waiting.container_statuses.unwrap()[0].name, "a", "sorted by name");
    case.containers.push(("a", State::ContainerRunning, 0));
    case.probes.insert("id-b".into(), ProbeState { ready: Some(true), ..Default::default() });
    assert_eq!(condition(&case.status(&pod(spec, json!({}))), "ContainersReady").0, "True");
}

#[test]
fn init_containers_hold_the_pod_pending() {
    let pod = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}), json!({}));
    let status = Case { containers: vec![("i", State::ContainerRunning, 0)], ..Default::default() }.status(&pod);
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let message = Some("containers with incomplete status: [i]".to_owned());
    assert_eq!(condition(&status, "Initialized"), ("False".into(), Some("ContainersNotInitialized".into()), message));
    let waiting = status.container_statuses.unwrap()[0].state.clone().unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("PodInitializing"));
}

#[test]
fn a_crash_loop_shows_its_last_end() {
    let pod = pod(json!({"containers": [{"name": "a"}]}), json!({}));
    let mut case = Case { containers: vec![("a", State::ContainerExited, 3)], ..Default::default() };
    case.reasons.insert("a".into(), ("CrashLoopBackOff".into(), "back-off 10s".into()));
    let status = case.status(&pod);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let container = &status.container_statuses.unwrap()[0];
    let waiting = container.state.clone().unwrap().waiting.unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
    assert_eq!(container.last_state.clone().unwrap().terminated.unwrap().exit_code, 3);
}

#[test]
fn ends_are_final() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a"}]});
    let case = Case { containers: vec![("a", State::ContainerExited, 0)], ..Default::default() };
    let status = case.status(&pod(spec.clone(), json!({})));
    assert_eq!(status.phase.as_deref(), Some("Succeeded"));
    assert_eq!(condition(&status, "Ready").1.as_deref(), Some("PodCompleted"));
    let failed = pod(spec, json!({"phase": "Failed", "reason": "Evicted"}));
    let status = case.status(&failed);
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Evicted")));
}

#[test]
fn a_killed_pod_fails_and_a_verdict_is_told() {
    let pod = pod(json!({"containers": [{"name": "a"}]}), json!({}));
    let mut case =
        Case { containers: vec![("a", State::ContainerExited, 137)], is_terminal: true, ..Default::default() };
    assert_eq!(case.status(&pod).phase.as_deref(), Some("Failed"));
    case.verdict = Some(Verdict { reason: "DeadlineExceeded".into(), message: "m".into() });
    assert_eq!(case.status(&pod).reason.as_deref(), Some("DeadlineExceeded"));
}

#[test]
fn readiness_gates_count() {
    let spec = json!({"containers": [{"name": "a"}], "readinessGates": [{"conditionType": "x.io/up"}]});
    let case = Case { containers: vec![("a", State::ContainerRunning, 0)], ..Default::default() };
    let (_, reason, message) = condition(&case.status(&pod(spec.clone(), json!({}))), "Ready");
    assert_eq!(reason.as_deref(), Some("ReadinessGatesNotReady"));
    assert_eq!(message.as_deref(), Some("corresponding condition of pod readiness gate \"x.io/up\" does not exist."));
    let up = json!({"conditions": [{"type": "x.io/up", "status": "True"}]});
    assert_eq!(condition(&case.status(&pod(spec, up)), "Ready").0, "True");
}

#[test]
fn a_patch_names_only_what_changed() {
    let old: PodStatus = serde_json::from_value(json!({"phase": "Pending", "reason": "x", "podIPs": [{"ip": "1.1.1.1"}],
        "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}, {"type": "Mine", "status": "True"}]}))
    .unwrap();
    assert_eq!(patch::difference(Some(&old), &old), None);
    let new: PodStatus = serde_json::from_value(json!({"phase": "Running", "podIPs": [{"ip": "1.1.1.2"}],
        "conditions": [{"type": "Ready", "status": "True"}]}))
    .unwrap();
    let expected = json!({"phase": "Running", "reason": null, "podIPs": [{"ip": "1.1.1.2"}, {"$patch": "replace"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": null}]});
    assert_eq!(patch::difference(Some(&old), &new), Some(expected));
}
