//! What there is on this machine: read once, but for what changes.

use std::{fs, path::Path};

/// Facts that stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// CPUs that can be used.
    pub cpus: usize,
    /// Memory in all.
    pub memory_bytes: u64,
    /// Huge pages: (size name, bytes in all).
    pub huge_pages: Vec<(String, u64)>,
    /// From /etc/machine-id.
    pub machine_id: String,
    /// From the firmware, else the machine id.
    pub system_uuid: String,
    /// From the kernel, new at each boot.
    pub boot_id: String,
    /// The kernel's release.
    pub kernel_version: String,
    /// The distribution.
    pub os_image: String,
    /// In Go's words.
    pub architecture: &'static str,
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// A line `MemTotal: 123 kB` of /proc/meminfo, in bytes.
fn memory(field: &str) -> u64 {
    let text = read("/proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib: u64 = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    kib * 1024
}

impl Machine {
    /// Looks around.
    pub fn read() -> Self {
        let machine_id = read("/etc/machine-id");
        let uuid = read("/sys/class/dmi/id/product_uuid").to_lowercase();
        let os_release = read("/etc/os-release");
        let pretty = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let kernel_version = read("/proc/sys/kernel/osrelease");
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory("MemTotal"),
            huge_pages: huge_pages(),
            system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
            machine_id,
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            kernel_version,
            os_image: pretty.unwrap_or("Linux").trim_matches('"').to_owned(),
            architecture: match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            },
        }
    }
}

fn huge_pages() -> Vec<(String, u64)> {
    let entries = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let mut found: Vec<(String, u64)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let pages: u64 = fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
            let size = match kib {
                kib if kib % (1 << 20) == 0 => format!("{}Gi", kib >> 20),
                kib if kib % (1 << 10) == 0 => format!("{}Mi", kib >> 10),
                kib => format!("{kib}Ki"),
            };
            Some((size, pages * kib * 1024))
        })
        .collect();
    found.sort();
    found
}

/// What changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that could be had without swapping.
    pub memory_available_bytes: u64,
    /// The file system of the kubelet's files.
    pub disk_bytes: u64,
    /// Of which free.
    pub disk_available_bytes: u64,
    /// Process ids in all.
    pub pids_max: u64,
    /// In use.
    pub pids: u64,
}

impl Usage {
    /// Looks around; `dir` lies on the node's file system.
    pub fn read(dir: &Path) -> Self {
        let disk = nix::sys::statvfs::statvfs(dir).ok();
        let block = disk.as_ref().map_or(0, |disk| disk.fragment_size());
        let loadavg = read("/proc/loadavg");
        let tasks = loadavg.split_whitespace().nth(3).and_then(|word| word.split_once('/')?.1.parse().ok());
        Self {
            memory_available_bytes: memory("MemAvailable"),
            disk_bytes: disk.as_ref().map_or(0, |disk| disk.blocks() * block),
            disk_available_bytes: disk.as_ref().map_or(0, |disk| disk.blocks_available() * block),
            pids_max: read("/proc/sys/kernel/pid_max").parse().unwrap_or(u64::MAX),
            pids: tasks.unwrap_or(0),
        }
    }
}
