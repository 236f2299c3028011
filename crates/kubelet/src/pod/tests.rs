use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service};
use serde_json::json;

use super::*;
use crate::{cri::v1::DnsConfig, pod::env::Sources};

fn pod(spec: serde_json::Value) -> Pod {
    let object =
        json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"}}, "spec": spec});
    serde_json::from_value(object).unwrap()
}

#[test]
fn references_expand_only_what_is_known() {
    let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
    assert_eq!(env::expand("$(A) $(B) $$(A) $A $", lookup), "1 $(B) $(A) $A $");
    assert_eq!(env::expand("$(A", lookup), "$(A");
}

#[test]
fn environment_takes_services_then_env_from_then_env() {
    let pod = pod(json!({"containers": [{"name": "c", "env": [
        {"name": "HOST", "value": "$(DB_SERVICE_HOST):$(X)"},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MISSING", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k", "optional": true}}},
    ]}]}));
    let service: Service = serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 5432}]}}))
    .unwrap();
    assert!(env::is_linked(&service, "shop", true) && !env::is_linked(&service, "shop", false));
    let allocatable =
        BTreeMap::from([("cpu".to_owned(), k8s_openapi::apimachinery::pkg::api::resource::Quantity("1500m".into()))]);
    let sources = Sources { services: vec![service.into()], allocatable, ..Default::default() };
    let out = env::build(&pod, &pod.main_containers()[0], &sources).unwrap();
    let get = |name: &str| out.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(get("HOST"), Some("10.96.0.7:$(X)"));
    assert_eq!(get("DB_PORT_5432_TCP_ADDR"), Some("10.96.0.7"));
    assert_eq!(get("LABEL"), Some("web"));
    assert_eq!(get("CPU"), Some("2"));
    assert_eq!(get("MISSING"), None);
}

#[test]
fn a_missing_key_names_its_object() {
    let pod = pod(json!({"containers": [{"name": "c", "env": [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}]}));
    let mut sources = Sources::default();
    let error = env::build(&pod, &pod.main_containers()[0], &sources).unwrap_err();
    assert_eq!(error, "secret \"s\" not found");
    sources.secrets.insert("s".into(), Some(Default::default()));
    let error = env::build(&pod, &pod.main_containers()[0], &sources).unwrap_err();
    assert_eq!(error, "couldn't find key k in Secret shop/s");
}

#[test]
fn dns_follows_the_policy() {
    let host = dns::parse_resolv_conf("nameserver 192.0.2.1\nsearch example.org # home\noptions rotate\n");
    let servers = ["10.96.0.10".parse().unwrap()];
    let cluster = dns::config(&pod(json!({"containers": []})), &host, &servers, "cluster.local");
    assert_eq!(cluster.servers, ["10.96.0.10"]);
    assert_eq!(cluster.searches, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"]);
    assert_eq!(cluster.options, ["ndots:5"]);
    let on_host = dns::config(&pod(json!({"containers": [], "hostNetwork": true})), &host, &servers, "cluster.local");
    assert_eq!(on_host, host);
    let none = json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.9"],
        "options": [{"name": "ndots", "value": "2"}]}});
    let none = dns::config(&pod(none), &host, &servers, "cluster.local");
    let expected = DnsConfig { servers: vec!["192.0.2.9".into()], searches: vec![], options: vec!["ndots:2".into()] };
    assert_eq!(none, expected);
}

#[test]
fn names_come_from_hostname_and_subdomain() {
    let plain = pod(json!({"containers": []}));
    assert_eq!(dns::hostname(&plain, "cluster.local"), "web");
    let spec = json!({"containers": [], "hostname": "h", "subdomain": "sub", "setHostnameAsFQDN": true});
    assert_eq!(dns::hostname(&pod(spec.clone()), "cluster.local"), "h.sub.shop.svc.cluster.local");
    let hosts = hosts::render(&pod(spec), &["10.0.0.2".into()], "cluster.local", "");
    assert!(hosts.ends_with("10.0.0.2\th.sub.shop.svc.cluster.local\th\n"));
}

#[test]
fn quality_of_service_and_kernel_numbers() {
    let guaranteed = json!({"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}}]});
    let guaranteed = pod(guaranteed);
    assert_eq!(qos::class(&guaranteed), qos::QosClass::Guaranteed);
    let resources = qos::container_resources(&guaranteed, &guaranteed.main_containers()[0], 1 << 30, false);
    assert_eq!((resources.cpu_shares, resources.cpu_quota, resources.memory_limit_in_bytes), (512, 50_000, 64 << 20));
    assert_eq!(resources.oom_score_adj, -997);
    let burstable = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"memory": "512Mi"}}}]}));
    assert_eq!(qos::class(&burstable), qos::QosClass::Burstable);
    assert_eq!(qos::oom_score_adj(&burstable, &burstable.main_containers()[0], 1 << 30), 500);
    assert_eq!(qos::class(&pod(json!({"containers": [{"name": "c"}]}))), qos::QosClass::BestEffort);
    let with_init = json!({"initContainers": [
            {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
            {"name": "i", "resources": {"requests": {"cpu": "300m"}}}],
        "containers": [{"name": "c", "resources": {"requests": {"cpu": "200m"}}}]});
    assert_eq!(qos::pod_request(&pod(with_init), "cpu"), 400);
}

#[test]
fn a_non_root_promise_is_checked_against_the_image() {
    let pod = pod(json!({"containers": [{"name": "c"}], "securityContext": {"runAsNonRoot": true}}));
    let container = &pod.main_containers()[0];
    let root = crate::cri::v1::Image::default();
    let error = container_config::verify_non_root(&pod, container, Some(&root)).unwrap_err();
    assert_eq!(error, "container has runAsNonRoot and image will run as root (pod: \"web_shop(u-1)\", container: c)");
}

#[test]
fn a_definition_hash_follows_the_image_alone() {
    let mut container =
        k8s_openapi::api::core::v1::Container { name: "c".into(), image: Some("a".into()), ..Default::default() };
    let before = labels::hash(&container);
    container.args = Some(vec!["x".into()]);
    assert_eq!(labels::hash(&container), before);
    container.image = Some("b".into());
    assert_ne!(labels::hash(&container), before);
}
