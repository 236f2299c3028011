//! From what is in a namespace to what is used of its quotas.

use client::{Resource, Snapshot};
use serde_json::{Value, json};

use super::*;
use crate::monitors::discovery::Served;
use crate::testing::{at, body, lines, object, pod};

fn quota(spec: Value, status: Value) -> ResourceQuota {
    object(json!({"metadata": {"name": "q"}, "spec": spec, "status": status}))
}

fn resource(group: &'static str, plural: &'static str) -> Resource {
    Resource { group: group.into(), version: "v1".into(), plural: plural.into(), kind: "K".into() }
}

fn graph(objects: &[(&'static str, &'static str, &str)]) -> Snapshot<Node> {
    Snapshot::of(objects.iter().enumerate().map(|(n, (group, plural, namespace))| Node {
        resource: Arc::new(resource(group, plural)),
        namespace: (*namespace).to_owned(),
        name: format!("o{n}"),
        uid: format!("u{n}"),
        resource_version: 1,
        owners: vec![],
        finalizers: vec![],
        deleting: false,
    }))
}

fn discovered() -> Discovered {
    let verbs = ["delete", "list", "watch"].map(str::to_owned).to_vec();
    let served = |group, plural| Served { resource: resource(group, plural), namespaced: true, verbs: verbs.clone() };
    Discovered { resources: vec![served("", "configmaps"), served("apps", "deployments")], complete: true }
}

fn decide(
    quota: ResourceQuota,
    pods: Vec<Value>,
    services: Vec<Value>,
    objects: &[(&'static str, &'static str, &str)],
) -> Plan {
    let view = View::new()
        .with([quota])
        .with(pods.into_iter().map(pod))
        .with(services.into_iter().map(object::<Service>))
        .with_snapshot(Arc::new(graph(objects)))
        .with_extra(discovered());
    ResourceQuotas { monitors: Monitors::new() }.reconcile(&view, &Key::new("n", "q"), at(1000))
}

fn used(spec: Value, pods: Vec<Value>, services: Vec<Value>, objects: &[(&'static str, &'static str, &str)]) -> Value {
    body(&decide(quota(spec, json!({})), pods, services, objects), 0)["status"]["used"].clone()
}

fn a_pod(name: &str, containers: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": containers}, "status": {"phase": "Running"}})
}

fn plain(name: &str) -> Value {
    a_pod(name, json!([{"name": "c"}]))
}

fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[last] = new;
    value
}

#[test]
fn a_new_quota_gets_its_whole_status_and_is_looked_at_again() {
    let plan = decide(quota(json!({"hard": {"pods": "1", "cpu": "2"}}), json!({})), vec![], vec![], &[]);
    assert_eq!(lines(&plan), ["update resourcequotas/status n/q"]);
    assert_eq!(body(&plan, 0)["status"], json!({"hard": {"cpu": "2", "pods": "1"}, "used": {"cpu": "0", "pods": "0"}}));
    assert_eq!(plan.requeue_after, Some(Duration::from_secs(300)));
}

#[test]
fn a_right_status_is_left_alone() {
    let status = json!({"hard": {"pods": "3", "requests.cpu": "2"}, "used": {"pods": "1", "requests.cpu": "0.5"}});
    let pods = vec![a_pod("p", json!([{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]))];
    let spec = json!({"hard": {"pods": "3", "requests.cpu": "2"}});
    assert_eq!(lines(&decide(quota(spec, status.clone()), pods.clone(), vec![], &[])), Vec::<String>::new());
    let raised = json!({"hard": {"pods": "4", "requests.cpu": "2"}});
    assert_eq!(lines(&decide(quota(raised, status), pods, vec![], &[])).len(), 1);
}

#[test]
fn pods_count_until_they_have_ended() {
    let overdue = with(
        with(plain("overdue"), "/metadata/deletionTimestamp", json!("1970-01-01T00:10:00Z")),
        "/metadata/deletionGracePeriodSeconds",
        json!(30),
    );
    let stopping = with(overdue.clone(), "/metadata/deletionGracePeriodSeconds", json!(600));
    let pods = vec![
        plain("a"),
        with(plain("b"), "/status/phase", json!("Succeeded")),
        with(plain("c"), "/status/phase", json!("Failed")),
        overdue,
        with(stopping, "/metadata/name", json!("stopping")),
        with(plain("elsewhere"), "/metadata/namespace", json!("other")),
    ];
    assert_eq!(
        used(json!({"hard": {"pods": "9", "count/pods": "9"}}), pods, vec![], &[]),
        json!({"count/pods": "5", "pods": "2"})
    );
}

#[test]
fn compute_is_what_a_pod_uses_at_most_at_any_time() {
    let hard = json!({"hard": {"cpu": "9", "requests.cpu": "9", "limits.cpu": "9", "memory": "9Gi", "limits.memory": "9Gi", "requests.example.com/gpu": "9", "hugepages-2Mi": "9"}});
    let container = |cpu: &str, memory: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}});
    let two = a_pod("two", json!([container("300m", "128Mi"), container("1", "1Gi")]));
    let with_init = with(two.clone(), "/spec/initContainers", json!([container("2", "64Mi")]));
    let mut sidecar = container("100m", "1Mi");
    sidecar["restartPolicy"] = json!("Always");
    let with_sidecar = with(two.clone(), "/spec/initContainers", json!([sidecar, container("2", "64Mi")]));
    let whole_pod = with(two.clone(), "/spec/resources", json!({"requests": {"cpu": "5"}, "limits": {"cpu": "6"}}));
    let overhead = with(two.clone(), "/spec/overhead", json!({"cpu": "250m", "memory": "10Mi"}));
    let gpu = a_pod(
        "gpu",
        json!([{"name": "c", "resources": {"requests": {"example.com/gpu": "2", "hugepages-2Mi": "4Mi"}}}]),
    );
    // cpu, limits.cpu, memory, limits.memory, gpu, hugepages
    let cases = [
        (vec![], ["0", "0", "0", "0", "0", "0"]),
        (vec![two], ["1300m", "0", "1152Mi", "1152Mi", "0", "0"]),
        (vec![with_init], ["2", "0", "1152Mi", "1152Mi", "0", "0"]),
        (vec![with_sidecar], ["2100m", "0", "1153Mi", "1153Mi", "0", "0"]),
        (vec![whole_pod], ["5", "6", "1152Mi", "1152Mi", "0", "0"]),
        (vec![overhead], ["1550m", "0", "1162Mi", "1162Mi", "0", "0"]),
        (vec![gpu], ["0", "0", "0", "0", "2", "4Mi"]),
    ];
    for (pods, [cpu, limit, memory, memory_limit, gpu, pages]) in cases {
        let expected = json!({"cpu": cpu, "hugepages-2Mi": pages, "limits.cpu": limit, "limits.memory": memory_limit,
            "memory": memory, "requests.cpu": cpu, "requests.example.com/gpu": gpu});
        assert_eq!(used(hard.clone(), pods.clone(), vec![], &[]), expected, "{pods:?}");
    }
}

#[test]
fn services_count_node_ports_and_load_balancers() {
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let ports = json!([{"port": 80}, {"port": 81, "nodePort": 30000}]);
    let services = vec![
        service("a", json!({"type": "ClusterIP", "ports": ports})),
        service("b", json!({"type": "NodePort", "ports": ports})),
        service("c", json!({"type": "LoadBalancer", "ports": ports})),
        service("d", json!({"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false})),
    ];
    let hard = json!({"hard": {"services": "9", "services.nodeports": "9", "services.loadbalancers": "9"}});
    assert_eq!(
        used(hard, vec![], services, &[]),
        json!({"services": "4", "services.loadbalancers": "2", "services.nodeports": "5"})
    );
}

#[test]
fn objects_are_counted_by_resource_and_what_is_unknown_is_left_out() {
    let objects = [
        ("", "configmaps", "n"),
        ("", "configmaps", "other"),
        ("apps", "deployments", "n"),
        ("apps", "deployments", "n"),
    ];
    let hard = json!({"hard": {"configmaps": "9", "count/configmaps": "9", "count/deployments.apps": "9", "secrets": "9",
        "count/widgets.example.com": "9", "strange": "9", "requests.storage": "9Gi", "gold.storageclass.storage.k8s.io/requests.storage": "9Gi"}});
    let expected = json!({"configmaps": "1", "count/configmaps": "1", "count/deployments.apps": "2",
        "gold.storageclass.storage.k8s.io/requests.storage": "0", "requests.storage": "0", "secrets": "0"});
    assert_eq!(used(hard, vec![], vec![], &objects), expected);
}

#[test]
fn claims_count_in_all_and_by_class() {
    let claim = |name: &str, size: &str, class: &str| -> PersistentVolumeClaim {
        object(
            json!({"metadata": {"name": name}, "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}}),
        )
    };
    let hard = json!({"hard": {"persistentvolumeclaims": "9", "requests.storage": "9Gi", "gold.storageclass.storage.k8s.io/requests.storage": "9Gi",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "9"}});
    let view = View::new()
        .with([quota(hard, json!({}))])
        .with(Vec::<Pod>::new())
        .with(Vec::<Service>::new())
        .with(Vec::<Node>::new())
        .with_extra(discovered())
        .with_extra(Claims(vec![claim("a", "1Gi", "gold"), claim("b", "2Gi", "gold"), claim("c", "4Gi", "")]));
    let plan = ResourceQuotas { monitors: Monitors::new() }.reconcile(&view, &Key::new("n", "q"), at(1000));
    let expected = json!({"gold.storageclass.storage.k8s.io/persistentvolumeclaims": "2",
        "gold.storageclass.storage.k8s.io/requests.storage": "3Gi", "persistentvolumeclaims": "3", "requests.storage": "7Gi"});
    assert_eq!(body(&plan, 0)["status"]["used"], expected);
}

#[test]
fn devices_count_under_all_names_of_their_class() {
    let claim = |name: &str, requests: Value| -> ResourceClaim {
        object(json!({"metadata": {"name": name}, "spec": {"devices": {"requests": requests}}}))
    };
    let class = object(json!({"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "example.com/gpu"}}));
    let claims = vec![
        claim(
            "a",
            json!([{"name": "r", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}}]),
        ),
        claim(
            "b",
            json!([{"name": "r", "firstAvailable": [
                {"name": "x", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1},
                {"name": "y", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 3},
                {"name": "z", "deviceClassName": "nic", "allocationMode": "All"},
            ]}]),
        ),
    ];
    let hard = json!({"hard": {"gpu.deviceclass.resource.k8s.io/devices": "9", "nic.deviceclass.resource.k8s.io/devices": "40",
        "requests.deviceclass.resource.kubernetes.io/gpu": "9", "requests.example.com/gpu": "9", "requests.example.com/nic": "9"}});
    let view = View::new()
        .with([quota(hard, json!({}))])
        .with(Vec::<Pod>::new())
        .with(Vec::<Service>::new())
        .with(Vec::<Node>::new())
        .with_extra(discovered())
        .with_extra(DeviceClaims { claims, classes: vec![class] });
    let plan = ResourceQuotas { monitors: Monitors::new() }.reconcile(&view, &Key::new("n", "q"), at(1000));
    let expected = json!({"gpu.deviceclass.resource.k8s.io/devices": "5", "nic.deviceclass.resource.k8s.io/devices": "32",
        "requests.deviceclass.resource.kubernetes.io/gpu": "5", "requests.example.com/gpu": "5", "requests.example.com/nic": "0"});
    assert_eq!(body(&plan, 0)["status"]["used"], expected);
}

#[test]
fn scopes_pick_pods() {
    let busy = a_pod("busy", json!([{"name": "c", "resources": {"requests": {"cpu": "1"}}}]));
    let timed = with(plain("timed"), "/spec/activeDeadlineSeconds", json!(5));
    let vital = with(plain("vital"), "/spec/priorityClassName", json!("vital"));
    let term = json!([{"topologyKey": "k", "namespaces": ["other"]}]);
    let nosy = with(
        plain("nosy"),
        "/spec/affinity",
        json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}),
    );
    let pods = vec![busy, timed, vital, nosy];
    let class = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    let cases = [
        (json!({}), "4"),
        (json!({"scopes": ["BestEffort"]}), "3"),
        (json!({"scopes": ["NotBestEffort"]}), "1"),
        (json!({"scopes": ["Terminating"]}), "1"),
        (json!({"scopes": ["NotTerminating", "BestEffort"]}), "2"),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), "1"),
        (json!({"scopes": ["PriorityClass"]}), "1"),
        (class("In", json!(["vital"])), "1"),
        (class("NotIn", json!(["vital"])), "3"),
        (class("Exists", json!(null)), "1"),
        (class("DoesNotExist", json!(null)), "3"),
    ];
    for (mut spec, expected) in cases {
        spec["hard"] = json!({"pods": "9"});
        assert_eq!(used(spec.clone(), pods.clone(), vec![], &[]), json!({"pods": expected}), "{spec}");
    }
}

#[test]
fn only_what_frees_something_wakes_a_quota() {
    let running = Arc::new(pod(plain("p")));
    let ended = Arc::new(pod(with(plain("p"), "/status/phase", json!("Succeeded"))));
    let pairs = [
        (None, Some(&running), false),
        (Some(&running), Some(&running), false),
        (Some(&running), Some(&ended), true),
        (Some(&running), None, true),
    ];
    for (old, new, expected) in pairs {
        assert_eq!(frees_pod(&Change { old, new }), expected);
    }
    let with_status = |pods: &str, status: Value| Arc::new(quota(json!({"hard": {"pods": pods}}), status));
    let charged = |used: &str| with_status("1", json!({"hard": {"pods": "1"}, "used": {"pods": used}}));
    let fresh = with_status("1", json!({}));
    let raised = with_status("2", json!({"hard": {"pods": "1"}, "used": {"pods": "0"}}));
    let cases = [
        (None, Some(&fresh), true),
        (Some(&charged("0")), Some(&charged("1")), false),
        (Some(&charged("1")), Some(&raised), true),
        (Some(&charged("1")), None, false),
    ];
    for (old, new, expected) in cases {
        assert_eq!(limits_changed(&Change { old, new }), expected);
    }
}
