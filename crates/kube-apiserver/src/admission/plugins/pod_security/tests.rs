use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::checks::{details, evaluate};
use super::policy::{Level, LevelVersion, Version};
use super::subject::Subject;
use crate::testing::{Pki, admin, call_with, server_with};
use crate::{Config, Server, StartError, UserInfo};

const LABELS: &str = "pod-security.kubernetes.io/";
const HARDENED: &str = r#"{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]},"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}"#;

/// What a policy has against a pod.
fn judge(level: Level, version: &str, pod: Value) -> String {
    let pod: Pod = serde_json::from_value(pod).unwrap();
    let subject = Subject { annotations: pod.metadata.annotations.as_ref(), spec: pod.spec.as_ref().unwrap() };
    details(&evaluate(LevelVersion { level, version: Version::parse(version).unwrap() }, &subject))
}

/// A hardened pod with something added to its spec.
fn hardened(with: Value) -> Value {
    let context: Value = serde_json::from_str(HARDENED).unwrap();
    let mut pod = json!({ "spec": { "containers": [{ "name": "c", "securityContext": context }] } });
    pod["spec"].as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    pod
}

fn one(security_context: Value) -> Value {
    json!({ "spec": { "containers": [{ "name": "c", "securityContext": security_context }] } })
}

#[test]
fn checks_change_with_versions() {
    let plain = || json!({ "spec": { "containers": [{ "name": "c" }] } });
    let restricted = |version| judge(Level::Restricted, version, plain());
    let root = "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)";
    let escalation =
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false)";
    assert_eq!(restricted("v1.7"), root);
    assert_eq!(restricted("v1.8"), format!("{escalation}, {root}"));
    assert!(
        restricted("v1.19").ends_with("\"RuntimeDefault\" or \"Localhost\")") && !restricted("v1.19").contains("drop")
    );
    assert!(restricted("v1.22").contains("securityContext.capabilities.drop=[\"ALL\"]"));
    assert_eq!(restricted("latest"), restricted("v1.99"));

    let sysctl = |version: &str, name: &str| {
        judge(
            Level::Baseline,
            version,
            json!({ "spec": { "containers": [], "securityContext": { "sysctls": [{ "name": name, "value": "1" }] } } }),
        )
    };
    for (name, since) in
        [("net.ipv4.ip_local_reserved_ports", 27), ("net.ipv4.tcp_fin_timeout", 29), ("net.ipv4.tcp_wmem", 32)]
    {
        assert_eq!(sysctl(&format!("v1.{}", since - 1), name), format!("forbidden sysctls ({name})"));
        assert_eq!(sysctl(&format!("v1.{since}"), name), "");
    }
    let engine = || one(json!({ "seLinuxOptions": { "type": "container_engine_t" } }));
    assert!(judge(Level::Baseline, "v1.30", engine()).starts_with("seLinuxOptions (container \"c\" set forbidden"));
    assert_eq!(judge(Level::Baseline, "v1.31", engine()), "");
    let windows = || json!({ "spec": { "os": { "name": "windows" }, "containers": [{ "name": "c", "securityContext": { "runAsNonRoot": true } }] } });
    assert!(judge(Level::Restricted, "v1.24", windows()).contains("allowPrivilegeEscalation"));
    assert_eq!(judge(Level::Restricted, "v1.25", windows()), "");
}

#[test]
fn root_in_a_user_namespace_is_let_through_but_not_unmasked_by_restricted() {
    let pod = |proc_mount: &str| {
        let mut pod = hardened(json!({ "hostUsers": false }));
        let context = &mut pod["spec"]["containers"][0]["securityContext"];
        context["runAsUser"] = 0.into();
        context["runAsNonRoot"] = false.into();
        context["procMount"] = proc_mount.into();
        pod
    };
    assert_eq!(judge(Level::Restricted, "v1.35", pod("Default")), "");
    assert!(
        judge(Level::Restricted, "v1.34", pod("Default"))
            .contains("runAsUser=0 (container \"c\" must not set runAsUser=0)")
    );
    let unmasked = "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")";
    assert_eq!(judge(Level::Restricted, "latest", pod("Unmasked")), unmasked);
    assert_eq!(judge(Level::Baseline, "latest", pod("Unmasked")), "");
    assert_eq!(judge(Level::Baseline, "v1.34", pod("Unmasked")), unmasked);
}

#[test]
fn messages_name_who_set_what() {
    let pod = json!({
        "metadata": { "annotations": { "container.apparmor.security.beta.kubernetes.io/a": "unconfined", "other": "unconfined" } },
        "spec": {
            "securityContext": { "appArmorProfile": { "type": "Unconfined" }, "windowsOptions": { "hostProcess": true } },
            "initContainers": [{ "name": "i", "securityContext": { "capabilities": { "add": ["SYS_ADMIN", "CHOWN"] } } }],
            "containers": [{ "name": "a", "ports": [{ "containerPort": 1, "hostPort": 443 }],
                "lifecycle": { "preStop": { "tcpSocket": { "host": "h", "port": 1 } } } }],
            "ephemeralContainers": [{ "name": "e", "securityContext": { "capabilities": { "add": ["NET_RAW"] }, "windowsOptions": { "hostProcess": true } } }],
        },
    });
    let expected = [
        "forbidden AppArmor profiles (pod and annotation must not set AppArmor profile type to \"Unconfined\", \"container.apparmor.security.beta.kubernetes.io/a=\"unconfined\"\")",
        "non-default capabilities (containers \"i\", \"e\" must not include \"NET_RAW\", \"SYS_ADMIN\" in securityContext.capabilities.add)",
        "hostPort (container \"a\" uses hostPort 443)",
        "probe or lifecycle host (container \"a\" uses probe or lifecycle host \"h\")",
        "hostProcess (pod and container \"e\" must not set securityContext.windowsOptions.hostProcess=true)",
    ];
    assert_eq!(judge(Level::Baseline, "latest", pod), expected.join(", "));
    let volumes = hardened(
        json!({ "volumes": [{ "name": "h", "hostPath": { "path": "/" } }, { "name": "n" }, { "name": "s", "secret": {} }] }),
    );
    assert_eq!(
        judge(Level::Restricted, "latest", volumes),
        "restricted volume types (volumes \"h\", \"n\" use restricted volume types \"hostPath\", \"unknown\")"
    );
    let annotated = json!({ "metadata": { "annotations": { "seccomp.security.alpha.kubernetes.io/pod": "unconfined" } }, "spec": { "containers": [] } });
    assert_eq!(
        judge(Level::Baseline, "v1.18", annotated),
        "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")"
    );
}

/// A server with a namespace `ns` that has these labels of ours.
async fn cluster(labels: Value, change: impl FnOnce(&mut Config)) -> (Arc<Server>, Pki) {
    let (server, pki) = server_with(change).await;
    let labels: serde_json::Map<String, Value> =
        labels.as_object().unwrap().iter().map(|(label, value)| (format!("{LABELS}{label}"), value.clone())).collect();
    send(&server, "POST", "/api/v1/namespaces", json!({ "metadata": { "name": "ns", "labels": labels } }))
        .await
        .expect(201);
    let account = json!({ "metadata": { "name": "default" } });
    send(&server, "POST", "/api/v1/namespaces/ns/serviceaccounts", account).await.expect(201);
    (server, pki)
}

struct Answer(u16, Vec<String>, Value);

impl Answer {
    fn expect(self, code: u16) -> Self {
        assert_eq!(self.0, code, "{}", self.2);
        self
    }

    fn message(&self) -> &str {
        self.2["message"].as_str().unwrap_or_default()
    }
}

async fn send(server: &Arc<Server>, method: &str, path: &str, body: Value) -> Answer {
    send_as(server, admin(), method, path, body).await
}

async fn send_as(server: &Arc<Server>, user: UserInfo, method: &str, path: &str, body: Value) -> Answer {
    let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let (code, warnings, body) = call_with(server, user, method, path, content_type, &body.to_string()).await;
    Answer(code, warnings, body)
}

const PODS: &str = "/api/v1/namespaces/ns/pods";

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({ "metadata": { "name": name }, "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "c", "image": "i" }] } });
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    pod
}

#[tokio::test]
async fn pods_are_refused_and_templates_warned_of() {
    let (server, _pki) = cluster(json!({ "enforce": "baseline" }), |_| {}).await;
    let refused = send(&server, "POST", PODS, pod("p", json!({ "hostPID": true }))).await.expect(403);
    assert_eq!(
        refused.message(),
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostPID=true)"
    );
    assert_eq!(send(&server, "POST", PODS, pod("p", json!({}))).await.expect(201).1, [""; 0]);
    let template = json!({ "metadata": { "name": "t" }, "template": pod("", json!({ "hostPID": true })) });
    let warned = send(&server, "POST", "/api/v1/namespaces/ns/podtemplates", template).await.expect(201);
    assert_eq!(warned.1, ["would violate PodSecurity \"baseline:latest\": host namespaces (hostPID=true)"]);
    // Neither status nor labels of a pod that is there already are judged again.
    let made_before = json!({ "metadata": { "labels": { (format!("{LABELS}enforce")): "restricted" } } });
    send(&server, "PATCH", "/api/v1/namespaces/ns", made_before).await.expect(200);
    send(&server, "PATCH", &format!("{PODS}/p"), json!({ "metadata": { "labels": { "a": "b" } } })).await.expect(200);
    send(&server, "PATCH", &format!("{PODS}/p/status"), json!({ "status": { "phase": "Running" } })).await.expect(200);
    let image = json!({ "spec": { "containers": [{ "name": "c", "image": "other" }] } });
    send(&server, "PATCH", &format!("{PODS}/p"), image).await.expect(403);
}

#[tokio::test]
async fn a_stricter_level_tells_of_the_pods_that_are_there() {
    let (server, _pki) = cluster(json!({}), |_| {}).await;
    for (name, spec) in [("a", json!({ "hostPID": true })), ("b", json!({ "hostIPC": true })), ("c", json!({}))] {
        send(&server, "POST", PODS, pod(name, spec)).await.expect(201);
    }
    let label = |value: &str| json!({ "metadata": { "labels": { (format!("{LABELS}enforce")): value } } });
    let answer = send(&server, "PATCH", "/api/v1/namespaces/ns", label("baseline")).await.expect(200);
    assert_eq!(
        answer.1,
        [
            "existing pods in namespace \"ns\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 1 other pod): host namespaces"
        ]
    );
    assert_eq!(send(&server, "PATCH", "/api/v1/namespaces/ns", label("privileged")).await.expect(200).1, [""; 0]);
    let refused = send(&server, "PATCH", "/api/v1/namespaces/ns", label("bogus")).await.expect(422);
    assert_eq!(
        refused.message(),
        "Namespace \"ns\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"bogus\": must be one of privileged, baseline, restricted"
    );
}

#[tokio::test]
async fn defaults_and_exemptions_come_from_the_configuration_and_leave_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        Some(folder.path().join(name))
    };
    let admission = file(
        "admission.yaml",
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n  path: pod-security.yaml\n",
    );
    file(
        "pod-security.yaml",
        "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n\
         defaults: {enforce: restricted, enforce-version: v1.30, audit: restricted}\nexemptions: {usernames: [trusted], namespaces: [free]}\n",
    );
    let policy = file(
        "audit.yaml",
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, omitStages: [RequestReceived], resources: [{group: \"\", resources: [pods]}]}]\n",
    );
    let log = folder.path().join("audit.log");
    let (server, _pki) = cluster(json!({}), |config| {
        config.admission_control_config_file = admission;
        config.audit_policy_file = policy;
        config.audit_log_path = Some(log.clone());
    })
    .await;
    let refused = send(&server, "POST", PODS, pod("p", json!({}))).await.expect(403);
    assert!(refused.message().starts_with("pods \"p\" is forbidden: violates PodSecurity \"restricted:v1.30\": allow"));
    let trusted = UserInfo::new("trusted", ["system:masters"]);
    send_as(&server, trusted, "POST", PODS, pod("q", json!({ "hostPID": true }))).await.expect(201);
    let free = json!({ "metadata": { "name": "free", "labels": { (format!("{LABELS}enforce")): "baseline" } } });
    assert_eq!(
        send(&server, "POST", "/api/v1/namespaces", free).await.expect(201).1,
        ["namespace \"free\" is exempt from Pod Security, and the policy (enforce=baseline:v1.30) will be ignored"]
    );
    let events = std::fs::read_to_string(&log).unwrap();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let annotation =
        |at: usize, key: &str| events[at]["annotations"][format!("{LABELS}{key}")].as_str().unwrap_or_default();
    assert_eq!(annotation(0, "enforce-policy"), "restricted:v1.30");
    assert!(annotation(0, "audit-violations").starts_with("would violate PodSecurity \"restricted:latest\": allow"));
    assert_eq!(annotation(1, "exempt"), "user");
    let metrics = send(&server, "GET", "/metrics", Value::Null).await.2;
    let metrics = metrics.as_str().unwrap();
    for line in [
        "pod_security_evaluations_total{decision=\"deny\",mode=\"enforce\",policy_level=\"restricted\",policy_version=\"v1.30\",request_operation=\"create\",resource=\"pod\",subresource=\"\"} 1",
        "pod_security_exemptions_total{request_operation=\"create\",resource=\"pod\",subresource=\"\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[tokio::test]
async fn a_wrong_configuration_fails_the_start() {
    let fault = |text: &str| {
        let pki = Pki::new();
        pki.write("admission.yaml", text);
        let mut config = pki.config();
        config.admission_control_config_file = Some(pki.path().join("admission.yaml"));
        match Server::open(config) {
            Err(StartError::Admission(error)) => error.to_string(),
            Err(other) => panic!("{other}"),
            Ok(_) => String::new(),
        }
    };
    let with = |configuration: &str| {
        fault(&format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n  configuration:\n    apiVersion: pod-security.admission.config.k8s.io/v1\n    kind: PodSecurityConfiguration\n    {configuration}\n"
        ))
    };
    assert_eq!(with("defaults: {enforce: baseline}"), "");
    assert!(
        with("defaults: {enforce: x}")
            .ends_with("defaults.enforce: Invalid value: \"x\": must be one of privileged, baseline, restricted")
    );
    assert!(with("exemptions: {namespaces: [a, a]}").ends_with("exemptions.namespaces[1]: Duplicate value: \"a\""));
    assert!(with("default: {}").contains("unknown field `default`"));
    assert!(fault("apiVersion: v1\nkind: AdmissionConfiguration\n").contains("no kind \"AdmissionConfiguration\""));
}
