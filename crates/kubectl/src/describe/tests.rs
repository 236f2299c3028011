use serde_json::json;

use crate::fake::Fake;

fn described(pod: serde_json::Value, events: serde_json::Value) -> String {
    let query = "involvedObject.name%3Da%2CinvolvedObject.kind%3DPod%2CinvolvedObject.namespace%3Ddefault%2CinvolvedObject.uid%3Du";
    Fake::new()
        .answer("GET /api/v1/namespaces/default/pods/a", 200, pod)
        .answer(&format!("GET /api/v1/namespaces/default/events?fieldSelector={query}&limit=500"), 200, events)
        .run("describe pod a")
        .out
}

#[test]
fn a_pod_is_described_as_kubectl_does() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "a", "namespace": "default", "uid": "u", "labels": {"app": "x", "b": "c"}},
        "spec": {"nodeName": "n", "serviceAccountName": "default", "priority": 0, "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}]},
        "status": {"phase": "Running", "hostIP": "1.1.1.1", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}], "qosClass": "BestEffort",
            "containerStatuses": [{"name": "c", "ready": true, "restartCount": 1, "containerID": "x://1", "imageID": "y",
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            "conditions": [{"type": "Ready", "status": "True"}]}});
    let events = json!({"kind": "EventList", "apiVersion": "v1", "items": [{"type": "Warning", "reason": "BackOff", "message": "bad \u{1b}[31mthing",
        "source": {"component": "kubelet"}}]});
    let want = "\
Name:             a
Namespace:        default
Priority:         0
Service Account:  default
Node:             n/1.1.1.1
Labels:           app=x
                  b=c
Annotations:      <none>
Status:           Running
IP:               10.0.0.1
IPs:
  IP:  10.0.0.1
Containers:
  c:
    Container ID:   x://1
    Image:          i
    Image ID:       y
    Port:           80/TCP
    Host Port:      0/TCP
    State:          Waiting
      Reason:       CrashLoopBackOff
    Ready:          True
    Restart Count:  1
    Environment:    <none>
    Mounts:         <none>
Conditions:
  Type        Status
  Ready       True 
QoS Class:    BestEffort
Node-Selectors:  <none>
";
    let got = described(pod, events);
    let head: String = want.lines().take(25).map(|line| format!("{line}\n")).collect();
    assert!(got.starts_with(&head), "{got}");
    assert!(got.contains("node.kubernetes.io/not-ready:NoExecute op=Exists for 300s"), "{got}");
    assert!(got.contains("bad ^[[31mthing"), "an escape sequence must not reach the terminal: {got}");
}

#[test]
fn unknown_kinds_are_described_by_their_fields() {
    let lease =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "s", "namespace": "default"}});
    let fake = Fake::new().answer("GET /api/v1/namespaces/default/serviceaccounts/s", 200, lease);
    let out = fake.run("describe sa s").out;
    assert!(
        out.starts_with("Name:                s\nNamespace:           default\nLabels:              <none>\n"),
        "{out}"
    );
}

#[test]
fn a_prefix_names_objects_when_no_name_fits() {
    let list = json!({"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "redis-1", "namespace": "default"}}]});
    let fake = Fake::new().answer("GET /api/v1/namespaces/default/pods?limit=500", 200, list);
    assert!(fake.run("describe pod redis").out.starts_with("Name:"), "redis-1 begins so");
    assert_eq!(fake.run("describe pod nginx").err, "Error from server (NotFound): pods \"nginx\" not found\n");
}
