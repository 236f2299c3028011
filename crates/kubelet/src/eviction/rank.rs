//! Which pod goes first. Who uses more than it asked for goes before who does not, then the less important, then who uses
//! most beyond what it asked for. Process ids are asked for by nobody: there the less important and the greedier go.

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::api::core::v1::Pod;

use super::{PodUsage, Signal, Stats};
use crate::pod::{PodExt, qos};

/// Puts those first that are to be evicted first. A pod of which nothing is known goes before its equals.
pub fn rank(signal: Signal, pods: &mut [Arc<Pod>], stats: &Stats) {
    pods.sort_by_cached_key(|pod| {
        let priority = pod.pod_spec().priority.unwrap_or(0);
        let Some(usage) = stats.pods.get(pod.uid()) else { return (0, priority, Reverse(i128::MAX)) };
        let (used, requested) = match signal {
            Signal::MemoryAvailable => (usage.memory_bytes(), request(pod, "memory")),
            Signal::PidAvailable => return (0, priority, Reverse(i128::from(usage.processes))),
            Signal::NodefsInodesFree | Signal::ImagefsInodesFree => (disk(signal, usage, stats).1, 0),
            Signal::NodefsAvailable | Signal::ImagefsAvailable => {
                (disk(signal, usage, stats).0, request(pod, "ephemeral-storage"))
            }
        };
        let beyond = i128::from(used) - requested;
        (i32::from(beyond <= 0), priority, Reverse(beyond))
    });
}

fn request(pod: &Pod, resource: &str) -> i128 {
    qos::pod_request(pod, resource) / 1000
}

/// Bytes and inodes of a pod on the file system that is short.
fn disk(signal: Signal, usage: &PodUsage, stats: &Stats) -> (u64, u64) {
    let images = matches!(signal, Signal::ImagefsAvailable | Signal::ImagefsInodesFree);
    let with_rootfs = !stats.has_own_imagefs || images;
    let with_rest = !stats.has_own_imagefs || !images;
    let containers = usage.containers.iter();
    let mut sum = super::DiskUsage::default();
    for container in containers {
        if with_rootfs {
            sum = sum + container.rootfs;
        }
        if with_rest {
            sum = sum + container.logs;
        }
    }
    if with_rest {
        sum = sum + usage.volumes.values().copied().sum();
    }
    (sum.bytes, sum.inodes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{ContainerUsage, DiskUsage};
    use super::*;

    fn pod(name: &str, priority: i32, memory: &str) -> Arc<Pod> {
        let requests = json!({"memory": memory, "ephemeral-storage": "100"});
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "uid": name}, "spec": {"priority": priority,
                "containers": [{"name": "c", "resources": {"requests": requests}}]}}))
            .unwrap(),
        )
    }

    fn stats(pods: &[(&str, u64, u64, u64)]) -> Stats {
        let usage = |memory_bytes, rootfs, logs| {
            let disk = |bytes| DiskUsage { bytes, inodes: bytes };
            let (rootfs, logs) = (disk(rootfs), disk(logs));
            let containers = vec![ContainerUsage { name: "c".into(), memory_bytes, rootfs, logs }];
            PodUsage { containers, processes: memory_bytes, ..PodUsage::default() }
        };
        let pods = pods.iter().map(|(name, memory, rootfs, logs)| ((*name).to_owned(), usage(*memory, *rootfs, *logs)));
        Stats { pods: pods.collect(), ..Stats::default() }
    }

    fn order(signal: Signal, pods: &[Arc<Pod>], stats: &Stats) -> Vec<String> {
        let mut pods = pods.to_vec();
        rank(signal, &mut pods, stats);
        pods.iter().map(|pod| pod.name().to_owned()).collect()
    }

    #[test]
    fn beyond_its_request_then_less_important_then_greedier() {
        let pods =
            [pod("modest", 0, "100"), pod("important", 9, "10"), pod("greedy", 0, "10"), pod("greedier", 0, "10")];
        let stats =
            stats(&[("modest", 90, 0, 0), ("important", 900, 0, 0), ("greedy", 20, 0, 0), ("greedier", 30, 0, 0)]);
        assert_eq!(order(Signal::MemoryAvailable, &pods, &stats), ["greedier", "greedy", "important", "modest"]);
        assert_eq!(order(Signal::PidAvailable, &pods, &stats), ["modest", "greedier", "greedy", "important"]);
    }

    #[test]
    fn each_file_system_counts_what_lies_on_it() {
        let pods = [pod("writes", 0, "1"), pod("logs", 0, "1")];
        let mut stats = stats(&[("writes", 0, 500, 10), ("logs", 0, 10, 400)]);
        assert_eq!(order(Signal::NodefsAvailable, &pods, &stats), ["writes", "logs"]);
        stats.has_own_imagefs = true;
        assert_eq!(order(Signal::NodefsAvailable, &pods, &stats), ["logs", "writes"]);
        assert_eq!(order(Signal::ImagefsAvailable, &pods, &stats), ["writes", "logs"]);
    }
}
