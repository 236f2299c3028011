//! What the scheduler keeps of a pod: the few facts that decisions need, read once when the pod is seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Taint, Toleration, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use crate::affinity::NodeAffinity;
use crate::pod_affinity::PodAffinity;
use crate::resources::{Resources, pod_requests, pod_requests_for_scoring};
use crate::topology_spread::Constraint;

/// Namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    pub namespace: String,
    pub name: String,
}

impl std::fmt::Display for PodKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A port of the node that a pod takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Empty and `0.0.0.0` mean all addresses.
    pub address: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    pub fn conflicts(&self, other: &Self) -> bool {
        let everywhere = |address: &str| matches!(address, "" | "0.0.0.0" | "::");
        self.port == other.port
            && self.protocol == other.protocol
            && (everywhere(&self.address) || everywhere(&other.address) || self.address == other.address)
    }
}

/// A claim behind a volume of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodClaim {
    pub name: String,
    /// The claim is made for the pod and goes with it.
    pub is_made_for_it: bool,
}

#[derive(Debug, Clone)]
pub struct PodInfo {
    pub key: PodKey,
    /// The object itself, which the cache holds anyway.
    pub object: Arc<Pod>,
    pub uid: String,
    pub resource_version: Option<String>,
    pub scheduler_name: String,
    /// The node that the pod is bound to.
    pub node_name: Option<String>,
    /// The node on which room is being made for the pod.
    pub nominated_node: Option<String>,
    pub priority: i32,
    pub preempts: bool,
    pub created: Timestamp,
    pub started: Option<Timestamp>,
    pub requests: Resources,
    pub scoring_requests: (i64, i64),
    pub affinity: NodeAffinity,
    pub pod_affinity: Option<Box<PodAffinity>>,
    pub spread: Vec<Constraint>,
    pub tolerations: Vec<Toleration>,
    pub host_ports: Vec<HostPort>,
    pub claims: Vec<PodClaim>,
    pub gated: bool,
    /// Being deleted.
    pub terminating: bool,
    /// Succeeded or failed: takes no room any more.
    pub finished: bool,
}

impl PodInfo {
    /// Reads a pod; one without name or spec, which the API server never sends, is passed over.
    pub fn of(pod: &Arc<Pod>) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        Some(Self {
            key: PodKey { namespace: pod.namespace()?, name: pod.metadata.name.clone()? },
            object: pod.clone(),
            uid: pod.uid()?,
            resource_version: pod.resource_version(),
            scheduler_name: spec.scheduler_name.clone().unwrap_or_default(),
            node_name: spec.node_name.clone().filter(|name| !name.is_empty()),
            nominated_node: status
                .and_then(|status| status.nominated_node_name.clone())
                .filter(|name| !name.is_empty()),
            priority: spec.priority.unwrap_or(0),
            preempts: spec.preemption_policy.as_deref() != Some("Never"),
            created: pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            started: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            requests: pod_requests(pod),
            scoring_requests: pod_requests_for_scoring(pod),
            affinity: NodeAffinity::of(spec),
            pod_affinity: PodAffinity::of(spec, pod.metadata.namespace.as_deref()?).map(Box::new),
            spread: Constraint::all_of(spec),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            host_ports: host_ports(pod),
            claims: claims(pod),
            gated: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            finished: matches!(phase, Some("Succeeded" | "Failed")),
        })
    }

    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.object.metadata.labels.as_ref()
    }

    /// Whether it means the same to others as before.
    pub fn weighs_the_same(&self, other: &Self) -> bool {
        self.labels() == other.labels() && self.requests == other.requests && self.terminating == other.terminating
    }

    /// The owner that made the pod.
    pub fn controller(&self) -> Option<&OwnerReference> {
        let owners = self.object.metadata.owner_references.as_ref()?;
        owners.iter().find(|owner| owner.controller == Some(true))
    }

    /// Volumes of kinds that may be attached only once.
    pub fn disks(&self) -> impl Iterator<Item = &Volume> {
        let volumes = self.object.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        volumes.filter(|volume| {
            volume.gce_persistent_disk.is_some()
                || volume.aws_elastic_block_store.is_some()
                || volume.iscsi.is_some()
                || volume.rbd.is_some()
        })
    }

    /// The images of all its containers, with a tag.
    pub fn images(&self) -> Vec<String> {
        let Some(spec) = &self.object.spec else { return Vec::new() };
        let all = spec.init_containers.iter().flatten().chain(&spec.containers);
        let tagged = |image: &str| match image.rfind(':') {
            Some(colon) if image.rfind('/').is_none_or(|slash| colon > slash) => image.to_owned(),
            _ => format!("{image}:latest"),
        };
        all.filter_map(|container| container.image.as_deref()).map(tagged).collect()
    }

    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| tolerates(toleration, taint))
    }
}

fn claims(pod: &Pod) -> Vec<PodClaim> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let named = volumes.filter_map(|volume| {
        let name = client::volumes::claim_name(pod, volume)?;
        Some(PodClaim { name, is_made_for_it: volume.persistent_volume_claim.is_none() })
    });
    named.collect()
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars =
        spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            Some(HostPort {
                address: port.host_ip.clone().unwrap_or_default(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                port: port.host_port.filter(|port| *port > 0)?,
            })
        })
        .collect()
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |option: &Option<String>| option.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    let (mine, theirs) = (text(&toleration.value), text(&taint.value));
    let numbers = || Some((theirs.parse::<i64>().ok()?, mine.parse::<i64>().ok()?));
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => mine == theirs,
        "Lt" => numbers().is_some_and(|(taint, limit)| taint < limit),
        "Gt" => numbers().is_some_and(|(taint, limit)| taint > limit),
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod named `name` with this spec, and with the labels in it as its own.
    pub(crate) fn pod(name: &str, spec: Value) -> PodInfo {
        let mut spec = spec;
        if spec.get("containers").is_none() {
            spec["containers"] = json!([{"name": "c"}]);
        }
        let labels = spec.as_object_mut().and_then(|spec| spec.remove("labels"));
        let metadata = json!({"namespace": "default", "name": name, "uid": format!("uid-{name}"), "labels": labels});
        let object = json!({"metadata": metadata, "spec": spec});
        PodInfo::of(&Arc::new(serde_json::from_value(object).unwrap())).unwrap()
    }

    #[test]
    fn tolerations_match_by_effect_key_operator_and_value() {
        let taint: Taint = serde_json::from_value(json!({"key": "k", "value": "v", "effect": "NoSchedule"})).unwrap();
        let tolerates = |toleration: Value| pod("p", json!({"tolerations": [toleration]})).tolerates(&taint);
        assert!(tolerates(json!({"operator": "Exists"})));
        assert!(tolerates(json!({"key": "k", "value": "v"})));
        assert!(tolerates(json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"})));
        assert!(!tolerates(json!({"key": "k", "operator": "Exists", "effect": "NoExecute"})));
        assert!(!tolerates(json!({"key": "k", "value": "other"})));
        assert!(!tolerates(json!({"key": "other", "operator": "Exists"})));
    }

    #[test]
    fn host_ports_conflict_on_the_same_address_or_on_all() {
        let port =
            |address: &str, protocol: &str, port| HostPort { address: address.into(), protocol: protocol.into(), port };
        assert!(port("", "TCP", 80).conflicts(&port("192.0.2.1", "TCP", 80)));
        assert!(!port("192.0.2.2", "TCP", 80).conflicts(&port("192.0.2.1", "TCP", 80)));
        assert!(!port("", "TCP", 80).conflicts(&port("", "UDP", 80)));
    }
}
