//! The cgroups above containers: `kubepods`, one per class of service, one per pod. The runtime makes those of
//! containers below the pod's and removes them; the pod's own are ours to make, limit and remove, in every hierarchy.
//!
//! With the root `canopus-n1` a burstable pod lives in `/canopus-n1/kubepods/burstable/pod<uid>`, or with systemd in
//! `/canopus_n1.slice/canopus_n1-kubepods.slice/.../canopus_n1-kubepods-burstable-pod<uid>.slice`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};

use crate::{
    config::CgroupDriver,
    pod::{
        PodExt,
        qos::{self, QosClass},
    },
};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    controllers: Vec<String>,
    unified: bool,
}

/// What a pod's own cgroup is given; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Share of the CPUs under contention, in the units of cgroup v1.
    pub cpu_shares: i64,
    /// Microseconds of CPU in each 100 ms.
    pub cpu_quota: i64,
    /// Memory at most.
    pub memory_bytes: i64,
}

impl Limits {
    /// What a pod's spec asks for.
    pub fn of(pod: &Pod) -> Self {
        Self {
            cpu_shares: qos::cpu_shares(qos::pod_request(pod, "cpu")),
            cpu_quota: qos::cpu_quota(qos::pod_limit(pod, "cpu")),
            memory_bytes: i64::try_from(qos::pod_limit(pod, "memory") / 1000).unwrap_or(i64::MAX),
        }
    }

    /// The wider of two: containers must fit into their pod while they change from the one to the other.
    pub fn or_wider(self, other: Self) -> Self {
        let wider = |a: i64, b: i64| if a == 0 || b == 0 { 0 } else { a.max(b) };
        Self {
            cpu_shares: self.cpu_shares.max(other.cpu_shares),
            cpu_quota: wider(self.cpu_quota, other.cpu_quota),
            memory_bytes: wider(self.memory_bytes, other.memory_bytes),
        }
    }
}

/// The pod cgroups of one node.
#[derive(Debug, Clone)]
pub struct Cgroups {
    driver: CgroupDriver,
    root: String,
    hierarchies: Vec<Hierarchy>,
}

impl Cgroups {
    /// Finds the machine's hierarchies.
    pub fn new(driver: CgroupDriver, root: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        Self { driver, root: root.trim_matches('/').to_owned(), hierarchies: hierarchies(&mounts) }
    }

    /// Whether the machine has cgroup v2 alone.
    pub fn is_unified(&self) -> bool {
        self.hierarchies.iter().all(|h| h.unified) && !self.hierarchies.is_empty()
    }

    /// Makes the cgroups above pods.
    pub fn set_up(&self) -> io::Result<()> {
        for class in [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort] {
            self.create(&self.names(class, None))?;
        }
        if let Some(cpu) = self.hierarchies.iter().find(|h| !h.unified && h.has("cpu")) {
            let path = cpu.mount.join(self.path(&self.names(QosClass::BestEffort, None)));
            write_if_there(&path.join("cpu.shares"), "2");
        }
        Ok(())
    }

    /// What the runtime is told to put a pod's containers below.
    pub fn parent(&self, pod: &Pod) -> String {
        let names = self.names(qos::class(pod), Some(pod.uid()));
        match self.driver {
            CgroupDriver::Cgroupfs => format!("/{}", names.join("/")),
            CgroupDriver::Systemd => slice(&names),
        }
    }

    /// Makes a pod's cgroups.
    pub fn create_pod(&self, pod: &Pod) -> io::Result<()> {
        self.create(&self.names(qos::class(pod), Some(pod.uid())))
    }

    /// Gives a pod's cgroups these limits.
    pub fn limit_pod(&self, pod: &Pod, limits: &Limits) -> io::Result<()> {
        let names = self.names(qos::class(pod), Some(pod.uid()));
        let Limits { cpu_shares, cpu_quota, memory_bytes } = *limits;
        for hierarchy in &self.hierarchies {
            let path = hierarchy.mount.join(self.path(&names));
            if hierarchy.unified {
                if !self.is_unified() {
                    continue;
                }
                write_if_there(&path.join("cpu.weight"), &weight(cpu_shares).to_string());
                if cpu_quota > 0 {
                    write(&path.join("cpu.max"), &format!("{cpu_quota} 100000"))?;
                }
                if memory_bytes > 0 {
                    write(&path.join("memory.max"), &memory_bytes.to_string())?;
                }
                continue;
            }
            if hierarchy.has("cpu") {
                write_if_there(&path.join("cpu.shares"), &cpu_shares.to_string());
                if cpu_quota > 0 {
                    write(&path.join("cpu.cfs_quota_us"), &cpu_quota.to_string())?;
                }
            }
            if hierarchy.has("memory") && memory_bytes > 0 {
                write(&path.join("memory.limit_in_bytes"), &memory_bytes.to_string())?;
            }
        }
        Ok(())
    }

    /// Removes a pod's cgroups, whatever its class was; true when none is left.
    pub fn remove_pod(&self, uid: &str) -> bool {
        let classes = [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort];
        let paths = classes.map(|class| self.path(&self.names(class, Some(uid))));
        let mut clean = true;
        for hierarchy in &self.hierarchies {
            for path in &paths {
                clean &= remove_tree(&hierarchy.mount.join(path));
            }
        }
        clean
    }

    /// Uids of the pods that have a cgroup.
    pub fn pods(&self) -> Vec<String> {
        let mut out = Vec::new();
        for class in [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort] {
            let parent = self.path(&self.names(class, None));
            for hierarchy in &self.hierarchies {
                for entry in fs::read_dir(hierarchy.mount.join(&parent)).into_iter().flatten().flatten() {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    let name = name.strip_suffix(".slice").unwrap_or(&name);
                    let uid = match self.driver {
                        CgroupDriver::Cgroupfs => name.strip_prefix("pod").map(str::to_owned),
                        CgroupDriver::Systemd => name.rsplit_once("-pod").map(|(_, uid)| uid.replace('_', "-")),
                    };
                    out.extend(uid.filter(|uid| !out.contains(uid)));
                }
            }
        }
        out
    }

    /// Removes everything that [`set_up`](Self::set_up) made, when no pod is left.
    pub fn tear_down(&self) {
        let mut names = self.names(QosClass::Guaranteed, None);
        if !self.root.is_empty() && !self.root.contains('/') {
            names.truncate(1);
        }
        for hierarchy in &self.hierarchies {
            remove_tree(&hierarchy.mount.join(self.path(&names)));
        }
    }

    /// The file of a pod's cgroup in the hierarchy of a v1 controller, or in the unified one.
    pub fn pod_file(&self, pod: &Pod, controller: &str, v1: &str, v2: &str) -> Option<PathBuf> {
        let path = self.path(&self.names(qos::class(pod), Some(pod.uid())));
        if self.is_unified() {
            return self.hierarchies.first().map(|h| h.mount.join(path).join(v2));
        }
        self.hierarchies.iter().find(|h| h.has(controller)).map(|h| h.mount.join(path).join(v1))
    }

    fn names(&self, class: QosClass, uid: Option<&str>) -> Vec<String> {
        let mut names: Vec<String> = self.root.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        names.push("kubepods".into());
        match class {
            QosClass::Guaranteed => {}
            QosClass::Burstable => names.push("burstable".into()),
            QosClass::BestEffort => names.push("besteffort".into()),
        }
        names.extend(uid.map(|uid| format!("pod{uid}")));
        names
    }

    fn path(&self, names: &[String]) -> PathBuf {
        match self.driver {
            CgroupDriver::Cgroupfs => names.iter().collect(),
            CgroupDriver::Systemd => (1..=names.len()).map(|count| slice(&names[..count])).collect(),
        }
    }

    /// In v1 the runtime makes what it needs in further hierarchies; these three carry the pod's limits.
    fn create(&self, names: &[String]) -> io::Result<()> {
        let wanted = ["cpu", "memory", "pids"];
        for hierarchy in &self.hierarchies {
            if !hierarchy.unified && wanted.iter().any(|controller| hierarchy.has(controller)) {
                fs::create_dir_all(hierarchy.mount.join(self.path(names)))?;
            }
            if hierarchy.unified && self.is_unified() {
                for count in 1..=names.len() {
                    let path = hierarchy.mount.join(self.path(&names[..count]));
                    let above = path.parent().unwrap_or(&hierarchy.mount);
                    enable_controllers(above);
                    fs::create_dir_all(&path)?;
                }
                enable_controllers(&hierarchy.mount.join(self.path(names)));
            }
        }
        Ok(())
    }
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }
}

/// systemd writes the whole way into each slice's name and reads `-` as a level of its own.
fn slice(names: &[String]) -> String {
    let parts: Vec<String> = names.iter().map(|name| name.replace('-', "_")).collect();
    format!("{}.slice", parts.join("-"))
}

fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (_, mount, kind, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
            let unified = match kind {
                "cgroup" => false,
                "cgroup2" => true,
                _ => return None,
            };
            let controllers = options.split(',').filter(|_| !unified).map(str::to_owned).collect();
            Some(Hierarchy { mount: mount.into(), controllers, unified })
        })
        .collect()
}

fn enable_controllers(path: &Path) {
    let available = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
    for controller in available.split_whitespace() {
        write_if_there(&path.join("cgroup.subtree_control"), &format!("+{controller}"));
    }
}

/// What containers rely on must be taken; a controller that this machine does not have limits nothing.
fn write(path: &Path, value: &str) -> io::Result<()> {
    match fs::write(path, value) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("failed to write {value} to {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

fn write_if_there(path: &Path, value: &str) {
    if let Err(error) = fs::write(path, value) {
        tracing::debug!(path = %path.display(), value, %error, "cgroup setting was not taken");
    }
}

/// v1 shares 2..262144 to v2 weight 1..10000.
fn weight(shares: i64) -> i64 {
    1 + (shares - 2) * 9999 / 262_142
}

/// Removes a cgroup and those below it; what still runs in them is killed, for nobody else will.
fn remove_tree(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return !path.exists() };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&entry.path());
    }
    for pid in fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Ok(pid) = pid.parse::<i32>() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
    fs::remove_dir(path).is_ok() || !path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_both_drivers() {
        let pod: Pod =
            serde_json::from_value(serde_json::json!({"metadata": {"uid": "a-b"}, "spec": {"containers": []}}))
                .unwrap();
        let plain = Cgroups { driver: CgroupDriver::Cgroupfs, root: "n1".into(), hierarchies: vec![] };
        assert_eq!(plain.parent(&pod), "/n1/kubepods/besteffort/poda-b");
        let systemd = Cgroups { driver: CgroupDriver::Systemd, root: String::new(), hierarchies: vec![] };
        assert_eq!(systemd.parent(&pod), "kubepods-besteffort-poda_b.slice");
        let path = systemd.path(&systemd.names(QosClass::BestEffort, Some("a-b")));
        assert_eq!(path, Path::new("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-poda_b.slice"));
    }

    #[test]
    fn hybrid_mounts_are_told_from_unified_ones() {
        let text = "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ntmpfs /x tmpfs rw 0 0\n";
        let found = hierarchies(text);
        assert_eq!(found.len(), 2);
        assert!(found[0].has("cpu") && found[1].unified);
    }
}
