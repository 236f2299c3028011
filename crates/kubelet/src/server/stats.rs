//! What pods use: /stats/summary for dashboards, /metrics/resource for the metrics API, and the kubelet's own counts.

use std::{collections::HashMap, fmt::Write, sync::Arc};

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, json as json_answer, text};
use crate::{
    cri::{CriError, v1},
    kubelet::Kubelet,
    node::machine::Usage,
    pod::{PodExt, labels},
};

/// One container's use.
struct Used {
    name: String,
    at: String,
    cpu_nanos: u64,
    nano_cores: Option<u64>,
    memory_bytes: u64,
    usage_bytes: u64,
    rootfs_bytes: Option<u64>,
}

async fn used(kubelet: &Kubelet) -> Result<HashMap<String, Vec<Used>>, CriError> {
    let request = v1::ListContainerStatsRequest { filter: None };
    let stats = kubelet.cri.runtime().list_container_stats(request).await?.into_inner().stats;
    let mut out: HashMap<String, Vec<Used>> = HashMap::new();
    for stat in stats {
        let Some(attributes) = stat.attributes else { continue };
        let Some(uid) = attributes.labels.get(labels::POD_UID).cloned() else { continue };
        let value = |value: Option<v1::UInt64Value>| value.map(|value| value.value);
        let cpu = stat.cpu.unwrap_or_default();
        let memory = stat.memory.unwrap_or_default();
        let at = crate::runtime_state::timestamp(cpu.timestamp).unwrap_or_else(Timestamp::now);
        let name = attributes.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default();
        out.entry(uid).or_default().push(Used {
            name,
            at: whole_seconds(at),
            cpu_nanos: value(cpu.usage_core_nano_seconds).unwrap_or(0),
            nano_cores: value(cpu.usage_nano_cores),
            memory_bytes: value(memory.working_set_bytes).unwrap_or(0),
            usage_bytes: value(memory.usage_bytes).unwrap_or(0),
            rootfs_bytes: stat.writable_layer.and_then(|layer| value(layer.used_bytes)),
        });
    }
    Ok(out)
}

fn whole_seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// Nanoseconds of CPU that the machine has spent since its boot.
fn node_cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, then idle and iowait, then irq, softirq, steal; 100 ticks a second.
    let busy: u64 =
        ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks).sum();
    busy * 10_000_000
}

/// Answers /stats/summary.
pub async fn summary(kubelet: &Arc<Kubelet>) -> Answer {
    let mut used = match used(kubelet).await {
        Ok(used) => used,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let now = whole_seconds(Timestamp::now());
    let usage = Usage::read(&kubelet.config.root_dir);
    let file_system = json!({
        "time": now,
        "availableBytes": usage.disk_available_bytes,
        "capacityBytes": usage.disk_bytes,
        "usedBytes": usage.disk_bytes.saturating_sub(usage.disk_available_bytes),
    });
    let mut pods = Vec::new();
    for handle in kubelet.handles() {
        let pod = handle.pod();
        let Some(containers) = used.remove(pod.uid()) else { continue };
        let started = handle.shared.lock().status.as_ref().and_then(|status| status.start_time.clone());
        let sum = |of: fn(&Used) -> u64| containers.iter().map(of).sum::<u64>();
        pods.push(json!({
            "podRef": {"name": pod.name(), "namespace": pod.namespace(), "uid": pod.uid()},
            "startTime": started,
            "cpu": {"time": now, "usageNanoCores": sum(|c| c.nano_cores.unwrap_or(0)), "usageCoreNanoSeconds": sum(|c| c.cpu_nanos)},
            "memory": {"time": now, "usageBytes": sum(|c| c.usage_bytes), "workingSetBytes": sum(|c| c.memory_bytes)},
            "ephemeral-storage": {"time": now, "usedBytes": sum(|c| c.rootfs_bytes.unwrap_or(0))},
            "containers": containers.iter().map(container_json).collect::<Vec<Value>>(),
        }));
    }
    let available = usage.memory_available_bytes;
    json_answer(&json!({
        "node": {
            "nodeName": kubelet.config.node_name,
            "cpu": {"time": now, "usageCoreNanoSeconds": node_cpu_nanos()},
            "memory": {
                "time": now,
                "availableBytes": available,
                "workingSetBytes": kubelet.machine.memory_bytes.saturating_sub(available),
            },
            "fs": file_system,
            "runtime": {"imageFs": file_system},
            "rlimit": {"time": now, "maxpid": usage.pids_max, "curproc": usage.pids},
        },
        "pods": pods,
    }))
}

fn container_json(used: &Used) -> Value {
    json!({
        "name": used.name,
        "startTime": used.at,
        "cpu": {"time": used.at, "usageNanoCores": used.nano_cores, "usageCoreNanoSeconds": used.cpu_nanos},
        "memory": {"time": used.at, "usageBytes": used.usage_bytes, "workingSetBytes": used.memory_bytes},
        "rootfs": {"time": used.at, "usedBytes": used.rootfs_bytes},
    })
}

/// Answers /metrics/resource.
pub async fn resource_metrics(kubelet: &Arc<Kubelet>) -> Answer {
    let used = match used(kubelet).await {
        Ok(used) => used,
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    let mut cpu = String::new();
    let mut memory = String::new();
    let (mut pod_cpu, mut pod_memory) = (String::new(), String::new());
    for handle in kubelet.handles() {
        let pod = handle.pod();
        let Some(containers) = used.get(pod.uid()) else { continue };
        let pod_labels = format!("namespace=\"{}\",pod=\"{}\"", pod.namespace(), pod.name());
        for container in containers {
            let labels = format!("container=\"{}\",{pod_labels}", container.name);
            let _ = writeln!(cpu, "container_cpu_usage_seconds_total{{{labels}}} {}", seconds(container.cpu_nanos));
            let _ = writeln!(memory, "container_memory_working_set_bytes{{{labels}}} {}", container.memory_bytes);
        }
        let total: u64 = containers.iter().map(|c| c.cpu_nanos).sum();
        let _ = writeln!(pod_cpu, "pod_cpu_usage_seconds_total{{{pod_labels}}} {}", seconds(total));
        let total: u64 = containers.iter().map(|c| c.memory_bytes).sum();
        let _ = writeln!(pod_memory, "pod_memory_working_set_bytes{{{pod_labels}}} {total}");
    }
    let usage = Usage::read(&kubelet.config.root_dir);
    let node_memory = kubelet.machine.memory_bytes.saturating_sub(usage.memory_available_bytes);
    text(
        StatusCode::OK,
        format!(
            "# TYPE container_cpu_usage_seconds_total counter\n{cpu}\
             # TYPE container_memory_working_set_bytes gauge\n{memory}\
             # TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total {}\n\
             # TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes {node_memory}\n\
             # TYPE pod_cpu_usage_seconds_total counter\n{pod_cpu}\
             # TYPE pod_memory_working_set_bytes gauge\n{pod_memory}\
             # TYPE resource_scrape_error gauge\nresource_scrape_error 0\n",
            seconds(node_cpu_nanos()),
        ),
    )
}

#[expect(clippy::cast_precision_loss, reason = "seconds of CPU need no more than a float's 53 bits")]
fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// Answers /metrics.
pub fn metrics(kubelet: &Kubelet) -> Answer {
    let handles = kubelet.handles();
    let (mut running_pods, mut containers) = (0, HashMap::new());
    for handle in &handles {
        let shared = handle.shared.lock();
        running_pods += usize::from(shared.runtime.running().next().is_some());
        for info in &shared.runtime.containers {
            let state = match info.state {
                v1::ContainerState::ContainerCreated => "created",
                v1::ContainerState::ContainerRunning => "running",
                v1::ContainerState::ContainerExited => "exited",
                v1::ContainerState::ContainerUnknown => "unknown",
            };
            *containers.entry(state).or_insert(0) += 1;
        }
    }
    let mut out = format!("# TYPE kubelet_running_pods gauge\nkubelet_running_pods {running_pods}\n");
    out.push_str("# TYPE kubelet_running_containers gauge\n");
    for (state, count) in containers {
        let _ = writeln!(out, "kubelet_running_containers{{container_state=\"{state}\"}} {count}");
    }
    let _ = writeln!(out, "# TYPE kubelet_desired_pods gauge\nkubelet_desired_pods{{static=\"\"}} {}", handles.len());
    let _ =
        writeln!(out, "# TYPE kubelet_node_name gauge\nkubelet_node_name{{node=\"{}\"}} 1", kubelet.config.node_name);
    text(StatusCode::OK, out)
}

/// Answers /configz with the settings under upstream's names.
pub fn configz(kubelet: &Kubelet) -> Answer {
    let config = &kubelet.config;
    json_answer(&json!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": config.bind_address.ip().to_string(),
        "port": config.bind_address.port(),
        "clusterDomain": config.cluster_domain,
        "clusterDNS": config.cluster_dns.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "cgroupDriver": match config.cgroup_driver {
            crate::CgroupDriver::Cgroupfs => "cgroupfs",
            crate::CgroupDriver::Systemd => "systemd",
        },
        "cgroupRoot": config.cgroup_root,
        "maxPods": config.max_pods,
        "containerRuntimeEndpoint": format!("unix://{}", config.cri_socket().display()),
        "containerLogMaxFiles": config.container_log_max_files,
    }}))
}
