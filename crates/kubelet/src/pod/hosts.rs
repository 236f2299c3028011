//! The /etc/hosts file of a pod's containers.

use k8s_openapi::api::core::v1::Pod;

use super::{PodExt, dns};

/// The text of the file, for the addresses that the pod has now.
pub fn render(pod: &Pod, pod_ips: &[String], cluster_domain: &str, host_file: &str) -> String {
    let mut out = if pod.host_network() {
        format!("# Kubernetes-managed hosts file (host network).\n{host_file}")
    } else {
        let mut out = String::from(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        let (name, domain) = dns::names(pod, cluster_domain);
        for ip in pod_ips {
            if domain.is_empty() {
                out.push_str(&format!("{ip}\t{name}\n"));
            } else {
                out.push_str(&format!("{ip}\t{name}.{domain}\t{name}\n"));
            }
        }
        out
    };
    let aliases = pod.pod_spec().host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        out.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            out.push_str(&format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t")));
        }
    }
    out
}
