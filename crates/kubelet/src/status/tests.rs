use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};

use super::{generate::*, patch};
use crate::{
    actions::{ProbeState, ProbeStates},
    cri::v1::ContainerState as State,
    resize::{Pending, Progress, Resizing, decide::Reason},
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
    never_started: bool,
    resizing: Option<Resizing>,
}

impl Case {
    fn status(&self, pod: &Pod) -> PodStatus {
        let sandbox = Sandbox { id: "s".into(), ready: true, ips: vec!["10.244.0.5".into()], ..Default::default() };
        let containers =
            self.containers.iter().map(|(name, state, code)| crate::actions::tests::container(name, *state, *code));
        let mut runtime = PodRuntime { sandboxes: vec![sandbox], containers: containers.collect() };
        if self.never_started {
            runtime.containers.iter_mut().for_each(|container| container.started_at = None);
        }
        generate(Inputs {
            pod,
            runtime: &runtime,
            reasons: &self.reasons,
            probes: &self.probes,
            resizing: &self.resizing.clone().unwrap_or_else(|| Resizing::begin(pod, "/nonexistent".into())),
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
    case.verdict = Some(Verdict::new("DeadlineExceeded", "m".into()));
    let status = case.status(&pod);
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    assert!(!status.conditions.iter().flatten().any(|c| c.type_ == "DisruptionTarget"));
    case.verdict = Some(Verdict { is_disruption: true, ..Verdict::new("Evicted", "low".into()) });
    let disruption = condition(&case.status(&pod), "DisruptionTarget");
    assert_eq!(disruption, ("True".into(), Some("TerminationByKubelet".into()), Some("low".into())));
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

#[test]
fn what_never_started_did_so_at_zero_and_asked_for_nothing_is_said_so() {
    let pod = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}, {"name": "b"}]}), json!({}));
    let mut case = Case { containers: vec![("a", State::ContainerExited, 128)], ..Case::default() };
    (case.is_terminal, case.never_started) = (true, true);
    let status = serde_json::to_value(case.status(&pod)).unwrap();
    let (a, b) = (&status["containerStatuses"][0], &status["containerStatuses"][1]);
    assert_eq!(a["state"]["terminated"]["startedAt"], "1970-01-01T00:00:00Z");
    assert_eq!(a["resources"], json!({}));
    assert_eq!(b.get("resources"), None);
}

#[test]
fn a_resize_shows_until_it_is_over() {
    let with = |cpu: &str| {
        let resources = json!({"requests": {"cpu": cpu}});
        pod(json!({"containers": [{"name": "a", "resources": resources}]}), json!({}))
    };
    let mut resizing = Resizing::begin(&with("1"), "/nonexistent".into());
    resizing.progress = Some(Progress { generation: 2, error: None });
    let (message, since) = ("no room".to_owned(), at(3));
    resizing.pending = Some(Pending { reason: Reason::Deferred, message, generation: 3, since });
    let mut case = Case { containers: vec![("a", State::ContainerRunning, 0)], ..Default::default() };
    case.resizing = Some(resizing.clone());
    let under_way = case.status(&with("2"));
    let own = &under_way.container_statuses.as_ref().unwrap()[0];
    let cpu = |amounts: Option<&std::collections::BTreeMap<String, _>>| {
        amounts
            .and_then(|amounts| amounts.get("cpu").cloned())
            .map(|k8s_openapi::apimachinery::pkg::api::resource::Quantity(cpu)| cpu)
    };
    assert_eq!(cpu(own.allocated_resources.as_ref()).as_deref(), Some("2"));
    assert_eq!(cpu(own.resources.as_ref().and_then(|own| own.requests.as_ref())).as_deref(), Some("1"));
    let conditions = under_way.conditions.as_deref().unwrap();
    let first: Vec<_> = conditions[..2].iter().map(|c| (c.type_.as_str(), c.observed_generation)).collect();
    assert_eq!(first, [("PodResizePending", Some(3)), ("PodResizeInProgress", Some(2))]);
    assert_eq!(condition(&under_way, "PodResizePending").1.as_deref(), Some("Deferred"));
    (resizing.pending, resizing.progress) = (None, None);
    case.resizing = Some(resizing);
    let over = case.status(&with("1"));
    let patch = patch::difference(Some(&under_way), &over).unwrap();
    let gone: Vec<&Value> =
        patch["conditions"].as_array().unwrap().iter().filter(|c| c["$patch"] == "delete").collect();
    assert_eq!(gone.len(), 2, "{patch}");
}
