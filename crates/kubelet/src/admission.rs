//! Whether this node takes a pod that was bound to it: the scheduler's word is checked against what is really here,
//! for others may bind too. A pure function.

use k8s_openapi::{
    api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{
    pod::{PodExt, qos, sandbox_config},
    quantity,
    status::generate::Verdict,
};

/// Why `pod` may not run on `node` beside `others`; None if it may.
pub fn refuse(pod: &Pod, others: &[std::sync::Arc<Pod>], node: &Node) -> Option<Verdict> {
    let verdict = |reason: &str, message: String| Some(Verdict::new(reason, message));
    let spec = pod.pod_spec();
    if let Some(os) = spec.os.as_ref().filter(|os| os.name != "linux") {
        let _ = os;
        return verdict("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS".into());
    }
    let mut resources = vec!["cpu".to_owned(), "memory".to_owned(), "ephemeral-storage".to_owned()];
    let all = pod.main_containers().iter().chain(pod.init_containers());
    for name in all.flat_map(|c| c.resources.iter()).flat_map(|r| r.requests.iter().flatten()).map(|(name, _)| name) {
        if !resources.contains(name) {
            resources.push(name.clone());
        }
    }
    let amounts = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    if let Some(max) = amounts.and_then(|amounts| amounts.get("pods")).map(quantity::value)
        && i64::try_from(others.len()).unwrap_or(i64::MAX) >= max
    {
        let message =
            format!("Node didn't have enough resource: pods, requested: 1, used: {}, capacity: {max}", others.len());
        return verdict("OutOfpods", message);
    }
    if let Some((name, message)) = lacking(pod, others, node, &resources) {
        return verdict(&format!("OutOf{name}"), message);
    }
    if !selected(pod, node) {
        return verdict(
            "NodeAffinity",
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector".into(),
        );
    }
    let taken: Vec<_> = others.iter().flat_map(|other| sandbox_config::host_ports(other)).collect();
    let any = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
    let clashes = sandbox_config::host_ports(pod).into_iter().any(|(ip, port, protocol)| {
        taken.iter().any(|(other_ip, other_port, other_protocol)| {
            port == *other_port && protocol == *other_protocol && (ip == *other_ip || any(&ip) || any(other_ip))
        })
    });
    if clashes {
        let message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return verdict("NodePorts", message.into());
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let untolerated = taints.filter(|taint| taint.effect == "NoExecute").find(|taint| {
        !tolerations.iter().any(|toleration| {
            let effect = toleration.effect.as_deref().filter(|effect| !effect.is_empty());
            let key = toleration.key.as_deref().filter(|key| !key.is_empty());
            let exists = toleration.operator.as_deref() == Some("Exists");
            effect.is_none_or(|effect| effect == taint.effect)
                && key.is_none_or(|key| key == taint.key)
                && (exists
                    || key.is_some()
                        && toleration.value.as_deref().unwrap_or_default()
                            == taint.value.as_deref().unwrap_or_default())
        })
    });
    untolerated.and_then(|_| {
        verdict("TaintToleration", "Predicate TaintToleration failed: node(s) had untolerated taint(s)".into())
    })
}

/// The first of `resources` of which the node has too little for `pod` beside `others`, and the sentence about it.
pub fn lacking<'a>(
    pod: &Pod,
    others: &[std::sync::Arc<Pod>],
    node: &Node,
    resources: &'a [String],
) -> Option<(&'a str, String)> {
    resources.iter().find_map(|name| {
        let wanted = qos::pod_request(pod, name);
        let capacity = allocatable(node, name);
        let used: i128 = others.iter().map(|other| qos::pod_request(other, name)).sum();
        if wanted == 0 || used + wanted <= capacity {
            return None;
        }
        let message = format!(
            "Node didn't have enough resource: {name}, requested: {}, used: {}, capacity: {}",
            unit(name, wanted),
            unit(name, used),
            unit(name, capacity)
        );
        Some((name.as_str(), message))
    })
}

/// Thousandths of a resource that the node's pods may use.
pub fn allocatable(node: &Node, resource: &str) -> i128 {
    let amounts = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    amounts.and_then(|amounts| amounts.get(resource)).map_or(0, |amount: &Quantity| quantity::milli(amount))
}

/// Messages count CPUs in thousandths and all else in whole units.
pub fn unit(resource: &str, milli: i128) -> i128 {
    if resource == "cpu" { milli } else { milli / 1000 }
}

fn selected(pod: &Pod, node: &Node) -> bool {
    let empty = Default::default();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let spec = pod.pod_spec();
    if spec.node_selector.iter().flatten().any(|(key, value)| labels.get(key) != Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()) else {
        return true;
    };
    admits(&required.node_selector_terms, node)
}

/// Whether the node is one of those that the terms are about.
pub fn admits(terms: &[NodeSelectorTerm], node: &Node) -> bool {
    let empty = Default::default();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let name = node.metadata.name.as_deref();
    terms.iter().any(|term: &NodeSelectorTerm| {
        let expressions = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        !(expressions.is_empty() && fields.is_empty())
            && expressions.iter().all(|r| holds(r, labels.get(&r.key).map(String::as_str)))
            && fields.iter().all(|r| holds(r, (r.key == "metadata.name").then_some(name).flatten()))
    })
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|known| known == value));
    let compare = |order: std::cmp::Ordering| {
        let own = value.and_then(|value| value.parse::<i64>().ok());
        let other = values.first().and_then(|value| value.parse::<i64>().ok());
        own.zip(other).is_some_and(|(own, other)| own.cmp(&other) == order)
    };
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(std::cmp::Ordering::Greater),
        "Lt" => compare(std::cmp::Ordering::Less),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn node() -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n", "labels": {"disk": "ssd"}},
            "spec": {"taints": [{"key": "k", "effect": "NoExecute"}]},
            "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "2"}}}))
        .unwrap()
    }

    fn pod(mut spec: serde_json::Value) -> Pod {
        if spec.get("containers").is_none() {
            spec["containers"] = json!([{"name": "c"}]);
        }
        if spec.get("tolerations").is_none() {
            spec["tolerations"] = json!([{"operator": "Exists"}]);
        }
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn reason(pod: &Pod, others: &[Arc<Pod>]) -> Option<String> {
        refuse(pod, others, &node()).map(|verdict| verdict.reason)
    }

    #[test]
    fn reasons_are_upstreams() {
        assert_eq!(reason(&pod(json!({})), &[]), None);
        let big = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "700m"}}}]}));
        assert_eq!(reason(&big, &[]), None);
        let verdict = refuse(&big, &[Arc::new(big.clone())], &node()).unwrap();
        assert_eq!(verdict.reason, "OutOfcpu");
        assert_eq!(verdict.message, "Node didn't have enough resource: cpu, requested: 700, used: 700, capacity: 1000");
        let two = [Arc::new(pod(json!({}))), Arc::new(pod(json!({})))];
        assert_eq!(reason(&pod(json!({})), &two).as_deref(), Some("OutOfpods"));
        assert_eq!(reason(&pod(json!({"nodeSelector": {"disk": "hdd"}})), &[]).as_deref(), Some("NodeAffinity"));
        let port = pod(json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}));
        assert_eq!(reason(&port, &[Arc::new(port.clone())]).as_deref(), Some("NodePorts"));
        assert_eq!(reason(&pod(json!({"tolerations": []})), &[]).as_deref(), Some("TaintToleration"));
    }

    #[test]
    fn affinity_terms_are_alternatives() {
        let affinity = |operator: &str, values: serde_json::Value| {
            pod(
                json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "absent", "operator": "Exists"}]},
                {"matchExpressions": [{"key": "disk", "operator": operator, "values": values}]}]}}}}),
            )
        };
        assert!(selected(&affinity("In", json!(["ssd"])), &node()));
        assert!(!selected(&affinity("NotIn", json!(["ssd"])), &node()));
    }
}
