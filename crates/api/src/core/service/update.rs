//! What creating and updating a service does to the fields that were, or will be, allocated.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Map, Value, json};

use super::{kind_of, needs_health_check_port};
use crate::strategy;
use crate::value::{list, text};

/// The list of addresses starts with the single one; a new service has no status.
pub fn create(service: &mut Value) {
    strategy::drop_status(service);
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let single = spec.get("clusterIP").and_then(Value::as_str).unwrap_or("").to_string();
    if !single.is_empty() && ips(spec).is_empty() {
        spec.insert("clusterIPs".to_string(), json!([single]));
    }
}

fn ips(spec: &Map<String, Value>) -> Vec<Value> {
    spec.get("clusterIPs").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Keeps what was allocated where the new object does not say otherwise, and lets go of what its type has no use for.
pub fn update(new: &mut Value, old: &Value) {
    strategy::keep_status(new, old);
    normalize_cluster_ips(new, old);
    keep_allocated(new, old);
    drop_with_type(new, old);
    // What a load balancer said is not true of another type.
    if text(new, "/spec/type") != "LoadBalancer"
        && let Some(status) = new.get_mut("status").and_then(Value::as_object_mut)
    {
        status.insert("loadBalancer".to_string(), json!({}));
    }
}

fn normalize_cluster_ips(new: &mut Value, old: &Value) {
    let old_single = text(old, "/spec/clusterIP").to_string();
    let old_list = list(old, "/spec/clusterIPs").to_vec();
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let single = spec.get("clusterIP").and_then(Value::as_str).unwrap_or("").to_string();
    let mut now = ips(spec);
    if !single.is_empty() && now.is_empty() {
        now = vec![single.clone().into()];
    } else if single != old_single && now == old_list {
        // An old client changed the only field it knows.
        if single.is_empty() {
            now.clear();
        } else {
            now = vec![single.into()];
        }
    }
    if now.is_empty() {
        spec.shift_remove("clusterIPs");
    } else {
        spec.insert("clusterIPs".to_string(), now.into());
    }
}

fn has_cluster_ip(kind: &str) -> bool {
    matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn has_node_ports(service: &Value) -> bool {
    match text(service, "/spec/type") {
        "NodePort" => true,
        "LoadBalancer" => {
            service.pointer("/spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true)
        }
        _ => false,
    }
}

fn has_health_check_port(service: &Value) -> bool {
    text(service, "/spec/type") == "LoadBalancer" && text(service, "/spec/externalTrafficPolicy") == "Local"
}

fn keep_allocated(new: &mut Value, old: &Value) {
    let keeps_ip = has_cluster_ip(text(old, "/spec/type")) && has_cluster_ip(text(new, "/spec/type"));
    let keeps_ports = has_node_ports(old) && has_node_ports(new);
    let keeps_health = has_health_check_port(old) && has_health_check_port(new);
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if keeps_ip {
        let absent =
            |spec: &Map<String, Value>, field: &str| spec.get(field).and_then(Value::as_str).unwrap_or("").is_empty();
        if absent(spec, "clusterIP") {
            spec.insert("clusterIP".to_string(), text(old, "/spec/clusterIP").into());
        }
        let same = spec.get("clusterIP").and_then(Value::as_str) == Some(text(old, "/spec/clusterIP"));
        if ips(spec).is_empty() && same {
            spec.insert("clusterIPs".to_string(), list(old, "/spec/clusterIPs").into());
        }
    }
    if keeps_ports {
        keep_node_ports(spec, list(old, "/spec/ports"));
    }
    if keeps_health
        && spec.get("healthCheckNodePort").and_then(Value::as_i64).unwrap_or(0) == 0
        && let Some(port) = old.pointer("/spec/healthCheckNodePort")
    {
        spec.insert("healthCheckNodePort".to_string(), port.clone());
    }
}

fn keep_node_ports(spec: &mut Map<String, Value>, old: &[Value]) {
    let number = |port: &Value| port.get("nodePort").and_then(Value::as_i64).unwrap_or(0);
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else { return };
    let mut used: Vec<i64> = ports.iter().map(number).filter(|n| *n != 0).collect();
    for port in ports.iter_mut().filter(|port| number(port) == 0) {
        let same = |old: &&Value| old.get("protocol") == port.get("protocol") && old.get("port") == port.get("port");
        let Some(kept) = old.iter().find(same).map(number).filter(|n| *n != 0 && !used.contains(n)) else { continue };
        if let Some(port) = port.as_object_mut() {
            port.insert("nodePort".to_string(), kept.into());
            used.push(kept);
        }
    }
}

/// A field that the old type filled and the new type has no use for goes, unless the user touched it.
fn drop_with_type(new: &mut Value, old: &Value) {
    let same = |new: &Value, pointer: &str| new.pointer(pointer) == old.pointer(pointer);
    let mut gone: Vec<&str> = Vec::new();
    let (was, is) = (text(old, "/spec/type"), text(new, "/spec/type"));
    if has_cluster_ip(was) && !has_cluster_ip(is) {
        if same(new, "/spec/clusterIP") && same(new, "/spec/clusterIPs") {
            gone.extend(["clusterIP", "clusterIPs"]);
        }
        gone.extend(["ipFamilies", "ipFamilyPolicy"].into_iter().filter(|field| same(new, &format!("/spec/{field}"))));
    }
    if has_health_check_port(old) && !has_health_check_port(new) && same(new, "/spec/healthCheckNodePort") {
        gone.push("healthCheckNodePort");
    }
    if was == "LoadBalancer" && is != "LoadBalancer" {
        if same(new, "/spec/allocateLoadBalancerNodePorts") {
            gone.push("allocateLoadBalancerNodePorts");
        }
        if same(new, "/spec/loadBalancerClass") {
            gone.push("loadBalancerClass");
        }
    }
    let outside = matches!(is, "LoadBalancer" | "NodePort") || !list(new, "/spec/externalIPs").is_empty();
    if !outside && same(new, "/spec/externalTrafficPolicy") {
        gone.push("externalTrafficPolicy");
    }
    if is == "ExternalName" && was != "ExternalName" && same(new, "/spec/internalTrafficPolicy") {
        gone.push("internalTrafficPolicy");
    }
    let free_ports = has_node_ports(old) && !has_node_ports(new) && is != "LoadBalancer";
    let kept_ports: Vec<i64> = list(old, "/spec/ports").iter().filter_map(|p| p.get("nodePort")?.as_i64()).collect();
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for field in gone {
        spec.shift_remove(field);
    }
    if free_ports {
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            let old = port.get("nodePort").and_then(Value::as_i64).is_some_and(|n| kept_ports.contains(&n));
            if old && let Some(port) = port.as_object_mut() {
                port.shift_remove("nodePort");
            }
        }
    }
}

pub fn validate(new: &Service, old: &Service) -> ErrorList {
    let none = ServiceSpec::default();
    let (spec, was) = (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    if kind_of(spec) != "ExternalName" && kind_of(was) != "ExternalName" {
        let at = path.child("clusterIPs");
        let (now, before) = (spec.cluster_ips.as_deref().unwrap_or(&[]), was.cluster_ips.as_deref().unwrap_or(&[]));
        match (now.first(), before.first()) {
            (Some(now_first), Some(first)) if now_first != first => {
                errors.push(Error::invalid(&at.index(0), now, "may not change once set"));
            }
            (None, Some(_)) => errors.push(Error::invalid(&at.index(0), now, "primary clusterIP can not be unset")),
            _ => {}
        }
    }
    if needs_health_check_port(spec)
        && needs_health_check_port(was)
        && spec.health_check_node_port != was.health_check_node_port
        && was.health_check_node_port.unwrap_or(0) != 0
    {
        errors.push(Error::forbidden(&path.child("healthCheckNodePort"), "field is immutable"));
    }
    if kind_of(was) == "LoadBalancer"
        && kind_of(spec) == "LoadBalancer"
        && spec.load_balancer_class != was.load_balancer_class
    {
        let at = path.child("loadBalancerClass");
        errors.push(Error::invalid(&at, &spec.load_balancer_class, "may not change once set"));
    }
    errors.extend(super::validate(new));
    errors
}
