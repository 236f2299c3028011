//! Pods that use more of the node's disk than they said they would: a volume of theirs, the pod as a whole, or one of its
//! containers.

use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{PodUsage, message};
use crate::{
    pod::{PodExt, is_sidecar, qos},
    quantity,
};

const RESOURCE: &str = "ephemeral-storage";

/// Whether anything limits what the pod writes.
pub fn has_any(pod: &Pod) -> bool {
    let volumes = pod.pod_spec().volumes.iter().flatten();
    let containers = pod.main_containers().iter().chain(pod.init_containers());
    volumes.into_iter().any(|volume| size_limit(volume).is_some())
        || containers.into_iter().any(|container| limit(container).is_some())
}

/// Why the pod must end; None if it keeps to its limits.
pub fn exceeded(pod: &Pod, usage: &PodUsage) -> Option<String> {
    volume(pod, usage).or_else(|| whole(pod, usage)).or_else(|| container(pod, usage))
}

fn volume(pod: &Pod, usage: &PodUsage) -> Option<String> {
    let volumes = pod.pod_spec().volumes.iter().flatten();
    volumes.into_iter().find_map(|volume| {
        let limit = size_limit(volume)?;
        let used = usage.volumes.get(&volume.name)?.bytes;
        is_beyond(used, limit)
            .then(|| format!("Usage of EmptyDir volume {:?} exceeds the limit {:?}. ", volume.name, limit.0))
    })
}

fn whole(pod: &Pod, usage: &PodUsage) -> Option<String> {
    let limit = qos::sum_of_limits(pod, RESOURCE) / 1000;
    let written: u64 = usage.containers.iter().map(|own| own.rootfs.bytes + own.logs.bytes).sum();
    let used = written + usage.volumes.values().map(|own| own.bytes).sum::<u64>();
    (limit > 0 && i128::from(used) > limit).then(|| {
        let limit = message::bytes(u64::try_from(limit).unwrap_or(u64::MAX));
        format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. ")
    })
}

fn container(pod: &Pod, usage: &PodUsage) -> Option<String> {
    let mut all = pod.main_containers().iter().chain(pod.init_containers().iter().filter(|c| is_sidecar(c)));
    all.find_map(|container| {
        let limit = limit(container)?;
        let used = usage.containers.iter().find(|own| own.name == container.name)?;
        is_beyond(used.rootfs.bytes + used.logs.bytes, limit)
            .then(|| format!("Container {} exceeded its local ephemeral storage limit {:?}. ", container.name, limit.0))
    })
}

fn is_beyond(used: u64, limit: &Quantity) -> bool {
    i128::from(used) > i128::from(quantity::value(limit))
}

/// A volume in memory is limited by the kernel.
fn size_limit(volume: &Volume) -> Option<&Quantity> {
    let source = volume.empty_dir.as_ref().filter(|source| source.medium.as_deref().unwrap_or_default().is_empty())?;
    source.size_limit.as_ref().filter(|limit| quantity::value(limit) > 0)
}

fn limit(container: &Container) -> Option<&Quantity> {
    container.resources.as_ref()?.limits.as_ref()?.get(RESOURCE)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::{ContainerUsage, DiskUsage};
    use super::*;

    fn pod() -> Pod {
        let limits = |limit: &str| json!({"limits": {"ephemeral-storage": limit}});
        serde_json::from_value(json!({"spec": {
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}, {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1"}}],
            "containers": [{"name": "a", "resources": limits("2Ki")}, {"name": "b", "resources": limits("1Ki")}]}}))
        .unwrap()
    }

    fn usage(volume: u64, a: u64, b: u64) -> PodUsage {
        let disk = |bytes| DiskUsage { bytes, inodes: 1 };
        let container = |name: &str, bytes| ContainerUsage {
            name: name.into(),
            rootfs: disk(bytes / 2),
            logs: disk(bytes - bytes / 2),
            ..ContainerUsage::default()
        };
        PodUsage {
            containers: vec![container("a", a), container("b", b)],
            volumes: BTreeMap::from([("v".to_owned(), disk(volume)), ("m".to_owned(), disk(9))]),
            processes: 0,
        }
    }

    #[test]
    fn each_limit_has_its_own_words() {
        let why = |volume, a, b| exceeded(&pod(), &usage(volume, a, b));
        assert_eq!(why(1000, 1000, 900), None);
        assert_eq!(why(1025, 1, 1).unwrap(), "Usage of EmptyDir volume \"v\" exceeds the limit \"1Ki\". ");
        assert_eq!(
            why(1024, 1040, 1000).unwrap(),
            "Pod ephemeral local storage usage exceeds the total limit of containers 3Ki. "
        );
        assert_eq!(why(0, 0, 1025).unwrap(), "Container b exceeded its local ephemeral storage limit \"1Ki\". ");
        assert!(has_any(&pod()));
        assert!(!has_any(&Pod::default()));
    }
}
