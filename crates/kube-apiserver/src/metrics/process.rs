//! What the kernel knows of this process, read when somebody asks, and what was built.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::version;

/// Clock ticks a second in `/proc`, which Linux has fixed for user space on all that it runs on.
const TICKS: f64 = 100.0;

#[derive(Debug)]
struct Process;

pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
    let build: Family<Vec<(String, String)>, Gauge> = Family::default();
    let labels = [
        ("build_date", "buildDate"),
        ("compiler", "compiler"),
        ("git_commit", "gitCommit"),
        ("git_tree_state", "gitTreeState"),
        ("git_version", "gitVersion"),
        ("go_version", "goVersion"),
        ("major", "major"),
        ("minor", "minor"),
        ("platform", "platform"),
    ];
    let version = version::value();
    let text = |field: &str| version[field].as_str().unwrap_or_default().to_owned();
    let labels = labels.map(|(label, field)| (label.to_owned(), text(field))).to_vec();
    build.get_or_create(&labels).set(1);
    registry.register("kubernetes_build_info", "What this server was built from", build);
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
        };
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field may hold anything, so counting begins behind its parenthesis; the next field is the third.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<f64>().ok());
        let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS);
        let started = field(22).zip(boot_time()).map(|(ticks, boot)| boot + ticks / TICKS);
        let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let most = most.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Resident memory of this process", kilobytes("VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory of this process", kilobytes("VmSize:")),
            ("process_start_time_seconds", "When this process was started, in seconds since 1970", started),
            ("process_open_fds", "Open file descriptors", open),
            ("process_max_fds", "Open file descriptors at most", most),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        if let Some(cpu) = cpu {
            let counter = ConstCounter::new(cpu);
            let (name, help) = ("process_cpu_seconds", "User and system time of this process");
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
