use serde_json::json;

use super::{Cluster, PODS, pod, with_plugins};
use crate::testing::Pki;
use crate::{Server, StartError};

const NAMESPACE: &str = "/api/v1/namespaces/ns";

#[tokio::test]
async fn namespaces_come_by_themselves_where_that_is_on() {
    let cluster =
        Cluster::new(|config, pki| with_plugins(config, pki, &["NamespaceAutoProvision", "NamespaceExists"], " []"))
            .await;
    let map = json!({ "metadata": { "name": "m" } });
    cluster.post("/api/v1/namespaces/new/configmaps?dryRun=All", map.clone()).await.refused(404);
    cluster.post("/api/v1/namespaces/new/configmaps", map).await.expect(201);
    cluster.merge("/api/v1/namespaces/none/configmaps/m", json!({ "data": {} })).await.refused(404);
}

#[tokio::test]
async fn a_namespace_has_nodes_and_tolerations() {
    let plugins = "- name: PodNodeSelector\n  configuration: {podNodeSelectorPluginConfig: {clusterDefaultNodeSelector: 'pool=shared', ns: 'pool=own,disk=fast'}}\n\
                   - name: PodTolerationRestriction\n  configuration:\n    apiVersion: podtolerationrestriction.admission.k8s.io/v1alpha1\n    kind: Configuration\n    default: [{key: a, operator: Exists}]\n";
    let cluster = Cluster::new(|config, pki| {
        with_plugins(config, pki, &["PodNodeSelector", "PodTolerationRestriction"], plugins)
    })
    .await;
    assert_eq!(
        cluster.post(PODS, pod("a", json!({}))).await.refused(403),
        "pods \"a\" is forbidden: pod node label selector labels conflict with its namespace whitelist"
    );
    let own = json!({ "metadata": { "annotations": { "scheduler.alpha.kubernetes.io/node-selector": "pool=own" } } });
    cluster.merge(NAMESPACE, own).await.expect(200);
    let made = cluster.post(PODS, pod("a", json!({ "nodeSelector": { "disk": "fast" } }))).await.expect(201);
    assert_eq!(made["spec"]["nodeSelector"], json!({ "disk": "fast", "pool": "own" }));
    assert_eq!(made["spec"]["tolerations"][0], json!({ "key": "a", "operator": "Exists" }));
    assert_eq!(
        cluster.post(PODS, pod("b", json!({ "nodeSelector": { "pool": "other" } }))).await.refused(403),
        "pods \"b\" is forbidden: pod node label selector conflicts with its namespace node label selector"
    );
    let allowed = json!([{ "operator": "Exists", "effect": "NoExecute" }]).to_string();
    let allowed =
        json!({ "metadata": { "annotations": { "scheduler.alpha.kubernetes.io/tolerationsWhitelist": allowed } } });
    cluster.merge(NAMESPACE, allowed).await.expect(200);
    assert_eq!(
        cluster.post(PODS, pod("b", json!({}))).await.refused(403),
        "pods \"b\" is forbidden: pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"
    );
}

#[tokio::test]
async fn pods_are_bound_in_what_they_claim() {
    let names = ["ExtendedResourceToleration", "LimitPodHardAntiAffinityTopology", "DenyServiceExternalIPs"];
    let cluster = Cluster::new(|config, pki| with_plugins(config, pki, &names, " []")).await;
    let term = json!([{ "topologyKey": "topology.kubernetes.io/zone", "labelSelector": {} }]);
    let affinity =
        json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": term } } });
    assert_eq!(
        cluster.post(PODS, pod("a", affinity)).await.refused(403),
        "pods \"a\" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey topology.kubernetes.io/zone but only key kubernetes.io/hostname is allowed"
    );
    let mut gpu = pod("a", json!({}));
    gpu["spec"]["containers"][0]["resources"] = json!({ "limits": { "example.com/gpu": "1" } });
    let made = cluster.post(PODS, gpu).await.expect(201);
    let last = made["spec"]["tolerations"].as_array().unwrap().last().unwrap();
    assert_eq!(*last, json!({ "key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule" }));
    let service =
        json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "port": 80 }], "externalIPs": ["192.0.2.7"] } });
    assert_eq!(
        cluster.post("/api/v1/namespaces/ns/services", service).await.refused(403),
        "services \"s\" is forbidden: Use of external IPs is denied by admission control."
    );
}

#[tokio::test]
async fn events_come_at_a_bounded_rate() {
    let plugins = "- name: EventRateLimit\n  configuration:\n    apiVersion: eventratelimit.admission.k8s.io/v1alpha1\n    kind: Configuration\n    limits: [{type: Namespace, qps: 1, burst: 2}]\n";
    let cluster = Cluster::new(|config, pki| with_plugins(config, pki, &["EventRateLimit"], plugins)).await;
    let event = |name: &str| json!({ "metadata": { "name": name }, "involvedObject": { "namespace": "ns" }, "reason": "R", "type": "Normal" });
    let mut codes = Vec::new();
    for n in 0..40 {
        codes.push(cluster.post("/api/v1/namespaces/ns/events", event(&format!("e{n}"))).await.code);
    }
    assert_eq!(codes[..2], [201, 201]);
    assert!(codes.contains(&429), "{codes:?}");
}

#[tokio::test]
async fn flags_are_checked_at_the_start() {
    let fault = |enable: &[&str], disable: &[&str]| {
        let pki = Pki::new();
        let mut config = pki.config();
        config.enable_admission_plugins = enable.iter().map(|name| (*name).to_owned()).collect();
        config.disable_admission_plugins = disable.iter().map(|name| (*name).to_owned()).collect();
        match Server::open(config) {
            Err(StartError::Admission(error)) => error.to_string(),
            Err(other) => panic!("{other}"),
            Ok(_) => String::new(),
        }
    };
    assert_eq!(fault(&["Nope"], &[]), "enable-admission-plugins plugin \"Nope\" is unknown");
    assert_eq!(
        fault(&["AlwaysDeny"], &["AlwaysDeny"]),
        "\"AlwaysDeny\" in enable-admission-plugins and disable-admission-plugins overlapped"
    );
    assert!(fault(&["ImagePolicyWebhook"], &[]).contains("needs its part"));
    assert_eq!(fault(&["AlwaysDeny"], &["PodSecurity"]), "");
}
