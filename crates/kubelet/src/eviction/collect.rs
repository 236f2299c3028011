//! The real numbers: of the node from the kernel, of containers from the runtime, of files by counting them.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::Instant,
};

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::{ContainerUsage, DiskUsage, Observation, PodUsage, Signal, Stats, disk_usage, limits};
use crate::{
    cri::{CriError, v1},
    kubelet::Kubelet,
    node::machine::Usage,
    pod::{PodExt, labels},
    volumes::blocking,
};

/// The files of a pod when they were last counted: its volumes, and the logs of its containers.
#[derive(Debug, Clone, Default)]
struct Counted {
    volumes: BTreeMap<String, DiskUsage>,
    logs: HashMap<String, DiskUsage>,
}

/// Looks at the node, and remembers what is dear to find out.
#[derive(Debug, Default)]
pub struct Collector {
    counted: HashMap<String, (Instant, Counted)>,
}

impl Collector {
    /// The node, and the pods of `handles`. Files are counted of pods that have limits, of all if `all_files`.
    pub async fn collect(&mut self, kubelet: &Kubelet, pods: &[Arc<Pod>], all_files: bool) -> Result<Stats, CriError> {
        let image_dir = kubelet.cri.image_filesystem().await.unwrap_or_default();
        let (node, has_own_imagefs) = node(kubelet, image_dir.as_deref().map(Path::new));
        let mut containers = containers(kubelet).await?;
        self.counted.retain(|uid, _| pods.iter().any(|pod| pod.uid() == uid));
        let mut stats = Stats { node, has_own_imagefs, ..Stats::default() };
        for pod in pods {
            let counted = match all_files || limits::has_any(pod) {
                true => self.count(kubelet, pod).await,
                false => Counted::default(),
            };
            let mut own = containers.remove(pod.uid()).unwrap_or_default();
            for container in &mut own {
                container.logs = counted.logs.get(&container.name).copied().unwrap_or_default();
            }
            let usage = PodUsage { containers: own, volumes: counted.volumes, processes: processes(kubelet, pod) };
            stats.pods.insert(pod.uid().to_owned(), usage);
        }
        Ok(stats)
    }

    async fn count(&mut self, kubelet: &Kubelet, pod: &Arc<Pod>) -> Counted {
        let period = kubelet.config.eviction.volume_stats_period;
        if let Some((at, counted)) = self.counted.get(pod.uid()).filter(|(at, _)| at.elapsed() < period) {
            let _ = at;
            return counted.clone();
        }
        let (config, owned) = (kubelet.config.clone(), pod.clone());
        let counted = blocking(move || {
            let dir = config.pod_dir(owned.uid()).join("volumes");
            let volumes = owned.pod_spec().volumes.iter().flatten();
            let volumes = volumes.filter_map(|volume| {
                Some((volume.name.clone(), disk_usage::of(&dir.join(plugin(volume)?).join(&volume.name))))
            });
            let logs = config.pod_logs(owned.namespace(), owned.name(), owned.uid());
            let all = owned.main_containers().iter().chain(owned.init_containers());
            let logs = all.map(|container| (container.name.clone(), disk_usage::of(&logs.join(&container.name))));
            Ok(Counted { volumes: volumes.collect(), logs: logs.collect() })
        })
        .await
        .unwrap_or_default();
        self.counted.insert(pod.uid().to_owned(), (Instant::now(), counted.clone()));
        counted
    }
}

/// The folder of volumes that lie on the node's own disk.
fn plugin(volume: &Volume) -> Option<&'static str> {
    if let Some(source) = &volume.empty_dir {
        return source.medium.as_deref().unwrap_or_default().is_empty().then_some("kubernetes.io~empty-dir");
    }
    if volume.config_map.is_some() {
        return Some("kubernetes.io~configmap");
    }
    volume.downward_api.is_some().then_some("kubernetes.io~downward-api")
}

fn node(kubelet: &Kubelet, image_dir: Option<&Path>) -> (BTreeMap<Signal, Observation>, bool) {
    let root = &kubelet.config.root_dir;
    let usage = Usage::read(root);
    let mut node = BTreeMap::new();
    let mut see = |signal, available, capacity| {
        // A file system without a number of inodes cannot run out of them.
        if capacity > 0 {
            node.insert(signal, Observation { available, capacity });
        }
    };
    see(Signal::MemoryAvailable, usage.memory_available_bytes, kubelet.machine.memory_bytes);
    see(Signal::PidAvailable, usage.pids_max.saturating_sub(usage.pids), usage.pids_max);
    let signals = [
        (Some(root.as_path()), Signal::NodefsAvailable, Signal::NodefsInodesFree),
        (image_dir, Signal::ImagefsAvailable, Signal::ImagefsInodesFree),
    ];
    for (dir, space, inodes) in signals {
        let Some(found) = dir.and_then(|dir| nix::sys::statvfs::statvfs(dir).ok()) else { continue };
        let block = found.fragment_size();
        see(space, found.blocks_available() * block, found.blocks() * block);
        see(inodes, found.files_available(), found.files());
    }
    let device = |dir: &Path| fs::metadata(dir).map(|found| found.dev()).ok();
    (node, image_dir.is_some_and(|dir| device(dir) != device(root)))
}

async fn containers(kubelet: &Kubelet) -> Result<HashMap<String, Vec<ContainerUsage>>, CriError> {
    let mut out: HashMap<String, Vec<ContainerUsage>> = HashMap::new();
    for stats in kubelet.cri.container_stats().await? {
        let Some(attributes) = stats.attributes else { continue };
        let label = |name: &str| attributes.labels.get(name).cloned();
        let (Some(uid), Some(name)) = (label(labels::POD_UID), label(labels::CONTAINER_NAME)) else { continue };
        let value = |value: Option<v1::UInt64Value>| value.map_or(0, |value| value.value);
        let layer = stats.writable_layer.unwrap_or_default();
        out.entry(uid).or_default().push(ContainerUsage {
            name,
            memory_bytes: value(stats.memory.and_then(|memory| memory.working_set_bytes)),
            rootfs: DiskUsage { bytes: value(layer.used_bytes), inodes: value(layer.inodes_used) },
            logs: DiskUsage::default(),
        });
    }
    Ok(out)
}

fn processes(kubelet: &Kubelet, pod: &Pod) -> u64 {
    let file = kubelet.cgroups.pod_file(pod, "pids", "pids.current", "pids.current");
    file.and_then(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).unwrap_or(0)
}
