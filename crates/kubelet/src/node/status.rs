//! A node's status as a pure function of what was found.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus,
        NodeSystemInfo, Taint,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
};
use serde_json::Value;

use super::machine::{Machine, Usage};
use crate::{
    config::Config,
    cri::v1,
    events::Level,
    eviction::{Pressure, Signal, run::kept_free},
    quantity,
};

/// Upstream shows so many images, the largest first.
const IMAGES_MAX: usize = 50;

/// The container runtime as it was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Runtime {
    /// Whether it answered.
    pub answers: bool,
    /// `containerd://1.6.20`
    pub version: String,
    /// Its own conditions.
    pub conditions: Vec<v1::RuntimeCondition>,
}

impl Runtime {
    /// Whether containers and their network can be had.
    pub fn ready(&self) -> bool {
        self.complaint().is_none()
    }

    /// Why the node is not ready.
    fn complaint(&self) -> Option<String> {
        if !self.answers {
            return Some("container runtime is down".into());
        }
        let mut complaints = Vec::new();
        for (kind, title) in [("RuntimeReady", "container runtime"), ("NetworkReady", "container runtime network")] {
            match self.conditions.iter().find(|condition| condition.r#type == kind) {
                Some(condition) if condition.status => {}
                Some(condition) => complaints.push(format!(
                    "{title} not ready: {kind}=false reason:{} message:{}",
                    condition.reason, condition.message
                )),
                None => complaints.push(format!("{title} not ready: no {kind} condition")),
            }
        }
        match complaints.len() {
            0 => None,
            1 => complaints.pop(),
            _ => Some(format!("[{}]", complaints.join(", "))),
        }
    }
}

/// What a status is made from.
pub struct Inputs<'a> {
    /// Settings.
    pub config: &'a Config,
    /// The machine.
    pub machine: &'a Machine,
    /// What of it is in use.
    pub usage: Usage,
    /// What there is too little of.
    pub pressure: &'a BTreeSet<Pressure>,
    /// The runtime.
    pub runtime: &'a Runtime,
    /// Images on the node.
    pub images: &'a [v1::Image],
    /// The status before.
    pub old: Option<&'a NodeStatus>,
    /// The time.
    pub now: Timestamp,
}

/// Computes the status.
pub fn compute(inputs: &Inputs<'_>) -> NodeStatus {
    let capacity = capacity(inputs);
    NodeStatus {
        addresses: Some(addresses(inputs.config)),
        allocatable: Some(allocatable(inputs, &capacity)),
        capacity: Some(capacity),
        conditions: Some(conditions(inputs)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: inputs.config.bind_address.port().into() }),
        }),
        images: Some(images(inputs.images)).filter(|images| !images.is_empty()),
        node_info: Some(NodeSystemInfo {
            architecture: inputs.machine.architecture.into(),
            boot_id: inputs.machine.boot_id.clone(),
            container_runtime_version: inputs.runtime.version.clone(),
            kernel_version: inputs.machine.kernel_version.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: inputs.config.version.clone(),
            machine_id: inputs.machine.machine_id.clone(),
            operating_system: "linux".into(),
            os_image: inputs.machine.os_image.clone(),
            system_uuid: inputs.machine.system_uuid.clone(),
            swap: None,
        }),
        ..Default::default()
    }
}

/// The object that a new node registers.
pub fn node(config: &Config, status: NodeStatus) -> Node {
    let architecture = status.node_info.as_ref().map(|info| info.architecture.clone()).unwrap_or_default();
    let mut labels = config.node_labels.clone();
    for (key, value) in [
        ("beta.kubernetes.io/arch", architecture.as_str()),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture.as_str()),
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
    ] {
        labels.insert(key.into(), value.into());
    }
    let taints = config.register_with_taints.iter().map(|(key, value, effect)| Taint {
        key: key.clone(),
        value: Some(value.clone()).filter(|value| !value.is_empty()),
        effect: effect.clone(),
        time_added: None,
    });
    let taints: Vec<Taint> = taints.collect();
    let annotation = "volumes.kubernetes.io/controller-managed-attach-detach";
    Node {
        metadata: ObjectMeta {
            name: Some(config.node_name.clone()),
            labels: Some(labels),
            annotations: Some([(annotation.to_owned(), "true".to_owned())].into()),
            ..Default::default()
        },
        spec: Some(NodeSpec { taints: Some(taints).filter(|taints| !taints.is_empty()), ..Default::default() }),
        status: Some(status),
    }
}

fn addresses(config: &Config) -> Vec<NodeAddress> {
    let address = |type_: &str, address: String| NodeAddress { type_: type_.into(), address };
    let ips = config.node_ips.iter().map(|ip| address("InternalIP", ip.to_string()));
    ips.chain([address("Hostname", config.node_name.clone())]).collect()
}

fn kibibytes(bytes: u64) -> Quantity {
    Quantity(format!("{}Ki", bytes / 1024))
}

fn capacity(inputs: &Inputs<'_>) -> BTreeMap<String, Quantity> {
    let mut out = BTreeMap::from([
        ("cpu".to_owned(), Quantity(inputs.machine.cpus.to_string())),
        ("memory".to_owned(), kibibytes(inputs.machine.memory_bytes)),
        ("ephemeral-storage".to_owned(), kibibytes(inputs.usage.disk_bytes)),
        ("pods".to_owned(), Quantity(inputs.config.max_pods.to_string())),
    ]);
    for (size, bytes) in &inputs.machine.huge_pages {
        let amount = if *bytes == 0 { "0".to_owned() } else { format!("{}Ki", bytes / 1024) };
        out.insert(format!("hugepages-{size}"), Quantity(amount));
    }
    out
}

/// What is left for pods after what is reserved and what must stay free.
fn allocatable(inputs: &Inputs<'_>, capacity: &BTreeMap<String, Quantity>) -> BTreeMap<String, Quantity> {
    let reserved =
        |name: &str| inputs.config.reserved.get(name).and_then(|text| quantity::parse_milli(text)).unwrap_or(0);
    let huge: u64 = inputs.machine.huge_pages.iter().map(|(_, bytes)| bytes).sum();
    let mut out = capacity.clone();
    let cpu = i128::try_from(inputs.machine.cpus).unwrap_or(1) * 1000 - reserved("cpu");
    let cpu = if cpu % 1000 == 0 { (cpu / 1000).to_string() } else { format!("{cpu}m") };
    out.insert("cpu".into(), Quantity(cpu));
    let free = |signal, capacity| kept_free(inputs.config, signal, capacity);
    let memory = inputs.machine.memory_bytes;
    let kept = u64::try_from(reserved("memory") / 1000).unwrap_or(0) + free(Signal::MemoryAvailable, memory) + huge;
    out.insert("memory".into(), kibibytes(inputs.machine.memory_bytes.saturating_sub(kept)));
    let kept = u64::try_from(reserved("ephemeral-storage") / 1000).unwrap_or(0);
    let disk = inputs.usage.disk_bytes;
    let disk = disk.saturating_sub(free(Signal::NodefsAvailable, disk)).saturating_sub(kept);
    out.insert("ephemeral-storage".into(), Quantity(disk.to_string()));
    out
}

fn conditions(inputs: &Inputs<'_>) -> Vec<NodeCondition> {
    let pick = |pressure: Pressure, bad: (&'static str, &'static str), good: (&'static str, &'static str)| {
        let pressed = inputs.pressure.contains(&pressure);
        let (reason, message) = if pressed { bad } else { good };
        (pressed, reason, message.to_owned())
    };
    let ready = match inputs.runtime.complaint() {
        None => (true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        Some(complaint) => (false, "KubeletNotReady", complaint),
    };
    let all = [
        (
            "MemoryPressure",
            pick(
                Pressure::Memory,
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ),
        ),
        (
            "DiskPressure",
            pick(
                Pressure::Disk,
                ("KubeletHasDiskPressure", "kubelet has disk pressure"),
                ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ),
        ),
        (
            "PIDPressure",
            pick(
                Pressure::Pid,
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
                ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ),
        ),
        ("Ready", ready),
    ];
    all.into_iter()
        .map(|(kind, (holds, reason, message))| {
            let status = if holds { "True" } else { "False" };
            let old = inputs.old.and_then(|old| old.conditions.as_ref()).into_iter().flatten();
            let same = old.into_iter().find(|c| c.type_ == kind && c.status == status);
            NodeCondition {
                type_: kind.into(),
                status: status.into(),
                reason: Some(reason.into()),
                message: Some(message),
                last_heartbeat_time: Some(Time(inputs.now)),
                last_transition_time: same.and_then(|c| c.last_transition_time.clone()).or(Some(Time(inputs.now))),
            }
        })
        .collect()
}

fn images(found: &[v1::Image]) -> Vec<ContainerImage> {
    let mut out: Vec<ContainerImage> = found
        .iter()
        .map(|image| ContainerImage {
            names: Some(image.repo_digests.iter().chain(&image.repo_tags).cloned().collect()),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect();
    out.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.names.cmp(&b.names)));
    out.truncate(IMAGES_MAX);
    out
}

/// Whether anything but heartbeats differs.
pub fn differs(old: &NodeStatus, new: &NodeStatus) -> bool {
    let plain = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        // Conditions of others are not ours to compare.
        let own = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
        status.conditions.iter_mut().for_each(|list| list.retain(|c| own.contains(&c.type_.as_str())));
        (
            status.conditions,
            status.addresses,
            status.capacity,
            status.allocatable,
            status.images,
            status.node_info,
            status.daemon_endpoints,
        )
    };
    plain(old) != plain(new)
}

/// The patch of a status: all of ours, with addresses that are no longer ours pushed out.
pub fn patch(old: Option<&NodeStatus>, new: &NodeStatus) -> Value {
    let mut out = serde_json::to_value(new).unwrap_or_default();
    let moved = old.is_none_or(|old| old.addresses != new.addresses);
    match (moved, out.get_mut("addresses").and_then(Value::as_array_mut)) {
        (true, Some(list)) => list.push(serde_json::json!({"$patch": "replace"})),
        _ => {
            if let Some(map) = out.as_object_mut() {
                map.remove("addresses");
            }
        }
    }
    out
}

/// Events that a change of conditions is worth.
pub fn transitions(old: Option<&NodeStatus>, new: &NodeStatus) -> Vec<(&'static str, Level)> {
    let find = |status: &NodeStatus, kind: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions.into_iter().find(|c| c.type_ == kind).map(|c| c.status == "True")
    };
    [
        ("MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
        ("DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
        ("PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID"),
        ("Ready", "NodeReady", "NodeNotReady"),
    ]
    .into_iter()
    .filter(|(kind, ..)| old.and_then(|old| find(old, kind)) != find(new, kind))
    .map(|(kind, yes, no)| (if find(new, kind) == Some(true) { yes } else { no }, Level::Normal))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(runtime: &Runtime, pressure: &[Pressure], old: Option<&NodeStatus>) -> NodeStatus {
        let config = Config::new("n1", "192.0.2.1".parse().unwrap(), std::path::Path::new("/x"));
        let machine = Machine { cpus: 2, memory_bytes: 4 << 30, architecture: "amd64", ..Default::default() };
        let now = Timestamp::from_second(1_000_000 + i64::from(old.is_some())).unwrap();
        let pressure = &pressure.iter().copied().collect();
        let usage = Usage { disk_bytes: 100 << 30, disk_available_bytes: 50 << 30, ..Usage::default() };
        compute(&Inputs { config: &config, machine: &machine, usage, pressure, runtime, images: &[], old, now })
    }

    fn runtime(network: bool) -> Runtime {
        let condition = |kind: &str, status| v1::RuntimeCondition {
            r#type: kind.into(),
            status,
            reason: if status { String::new() } else { "NetworkPluginNotReady".into() },
            message: if status { String::new() } else { "cni plugin not initialized".into() },
        };
        let conditions = vec![condition("RuntimeReady", true), condition("NetworkReady", network)];
        Runtime { answers: true, version: "containerd://1".into(), conditions }
    }

    fn ready(status: &NodeStatus) -> NodeCondition {
        status.conditions.iter().flatten().find(|c| c.type_ == "Ready").unwrap().clone()
    }

    #[test]
    fn ready_only_with_runtime_and_network() {
        let unready = status(&runtime(false), &[], None);
        let condition = ready(&unready);
        assert_eq!((condition.status.as_str(), condition.reason.as_deref()), ("False", Some("KubeletNotReady")));
        let message = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:cni plugin not initialized";
        assert_eq!(condition.message.as_deref(), Some(message));
        let fine = status(&runtime(true), &[], Some(&unready));
        assert_eq!(ready(&fine).reason.as_deref(), Some("KubeletReady"));
        assert_eq!(transitions(Some(&unready), &fine), [("NodeReady", Level::Normal)]);
        assert_eq!(
            ready(&status(&Runtime::default(), &[], None)).message.as_deref(),
            Some("container runtime is down")
        );
    }

    #[test]
    fn heartbeats_alone_are_no_difference() {
        let first = status(&runtime(true), &[], None);
        let later = status(&runtime(true), &[], Some(&first));
        assert_ne!(first, later);
        assert!(!differs(&first, &later));
        let pressed = status(&runtime(true), &[Pressure::Disk], Some(&first));
        assert!(differs(&first, &pressed));
        assert_eq!(transitions(Some(&first), &pressed), [("NodeHasDiskPressure", Level::Normal)]);
    }

    #[test]
    fn a_new_node_has_the_well_known_labels_and_room() {
        let config = Config::new("n1", "192.0.2.1".parse().unwrap(), std::path::Path::new("/x"));
        let node = node(&config, status(&runtime(true), &[], None));
        assert_eq!(node.metadata.labels.unwrap()["kubernetes.io/hostname"], "n1");
        let status = node.status.unwrap();
        assert_eq!(status.capacity.unwrap()["memory"].0, "4194304Ki");
        let allocatable = status.allocatable.unwrap();
        assert_eq!(allocatable["memory"].0, "4091904Ki");
        assert_eq!(allocatable["ephemeral-storage"].0, (90u64 << 30).to_string());
    }
}
