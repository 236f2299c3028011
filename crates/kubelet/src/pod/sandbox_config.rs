//! What the runtime is told about a pod as a whole.

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{PodExt, dns, labels};
use crate::cri::v1;

/// What a sandbox's configuration needs besides the pod.
#[derive(Debug, Clone)]
pub struct Inputs<'a> {
    /// How many sandboxes the pod has had before.
    pub attempt: u32,
    /// The cgroup below which the pod's containers go.
    pub cgroup_parent: String,
    /// The pod's log directory.
    pub log_directory: String,
    /// The host's resolver configuration.
    pub host_dns: &'a v1::DnsConfig,
    /// Nameservers of the cluster.
    pub cluster_dns: &'a [std::net::IpAddr],
    /// The cluster's domain.
    pub cluster_domain: &'a str,
    /// When the pod was first seen.
    pub seen: jiff::Timestamp,
}

/// The sandbox's configuration.
pub fn build(pod: &Pod, inputs: Inputs<'_>) -> v1::PodSandboxConfig {
    let spec = pod.pod_spec();
    let context = spec.security_context.clone().unwrap_or_default();
    let privileged = pod
        .main_containers()
        .iter()
        .chain(pod.init_containers())
        .any(|c| c.security_context.as_ref().is_some_and(|s| s.privileged == Some(true)));
    let int = |value: i64| v1::Int64Value { value };
    let mut groups = context.supplemental_groups.clone().unwrap_or_default();
    groups.extend(context.fs_group);
    let sysctls = context.sysctls.iter().flatten().map(|s| (s.name.clone(), s.value.clone())).collect();
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: pod.name().into(),
            uid: pod.uid().into(),
            namespace: pod.namespace().into(),
            attempt: inputs.attempt,
        }),
        hostname: if pod.host_network() { String::new() } else { dns::hostname(pod, inputs.cluster_domain) },
        log_directory: inputs.log_directory,
        dns_config: Some(dns::config(pod, inputs.host_dns, inputs.cluster_dns, inputs.cluster_domain)),
        port_mappings: port_mappings(pod),
        labels: labels::sandbox_labels(pod),
        annotations: labels::sandbox_annotations(pod, inputs.seen),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: inputs.cgroup_parent,
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces(pod)),
                run_as_user: context.run_as_user.map(int),
                run_as_group: context.run_as_group.filter(|_| context.run_as_user.is_some()).map(int),
                supplemental_groups: groups,
                privileged,
                seccomp: Some(v1::SecurityProfile {
                    profile_type: v1::security_profile::ProfileType::RuntimeDefault.into(),
                    localhost_ref: String::new(),
                }),
                ..Default::default()
            }),
            sysctls,
            ..Default::default()
        }),
    }
}

/// Which namespaces a pod shares with its node.
pub fn namespaces(pod: &Pod) -> v1::NamespaceOption {
    let spec = pod.pod_spec();
    let node_or = |host: Option<bool>, other: v1::NamespaceMode| {
        if host.unwrap_or(false) { v1::NamespaceMode::Node } else { other }.into()
    };
    let own_pid = match spec.share_process_namespace.unwrap_or(false) {
        true => v1::NamespaceMode::Pod,
        false => v1::NamespaceMode::Container,
    };
    v1::NamespaceOption {
        network: node_or(spec.host_network, v1::NamespaceMode::Pod),
        pid: node_or(spec.host_pid, own_pid),
        ipc: node_or(spec.host_ipc, v1::NamespaceMode::Pod),
        ..Default::default()
    }
}

/// Containers whose ports count: main ones and sidecars.
fn serving(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.main_containers().iter().chain(pod.init_containers().iter().filter(|c| super::is_sidecar(c)))
}

fn port_mappings(pod: &Pod) -> Vec<v1::PortMapping> {
    let ports = serving(pod).flat_map(|c| c.ports.iter().flatten());
    ports
        .map(|port| v1::PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => v1::Protocol::Udp,
                Some("SCTP") => v1::Protocol::Sctp,
                _ => v1::Protocol::Tcp,
            }
            .into(),
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or(0),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

/// (address, port, protocol) of every host port that a pod takes.
pub fn host_ports(pod: &Pod) -> Vec<(String, i32, String)> {
    serving(pod)
        .flat_map(|c| c.ports.iter().flatten())
        .filter_map(|port| {
            let host_port = port.host_port.filter(|port| *port > 0)?;
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            Some((port.host_ip.clone().unwrap_or_default(), host_port, protocol))
        })
        .collect()
}
