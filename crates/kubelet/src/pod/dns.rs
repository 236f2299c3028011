//! What a pod's resolv.conf says, and what it is called.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

use super::PodExt;
use crate::cri::v1::DnsConfig;

const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;

/// Reads a resolv.conf; the last `search` and `options` lines hold.
pub fn parse_resolv_conf(text: &str) -> DnsConfig {
    let mut config = DnsConfig::default();
    for line in text.lines().map(|line| line.split(['#', ';']).next().unwrap_or_default()) {
        let mut words = line.split_whitespace();
        let keyword = words.next();
        let words = words.map(str::to_owned);
        match keyword {
            Some("nameserver") => config.servers.extend(words.take(1)),
            Some("search") => config.searches = words.collect(),
            Some("options") => config.options = words.collect(),
            _ => {}
        }
    }
    config
}

/// The resolver configuration for a pod.
pub fn config(pod: &Pod, host: &DnsConfig, cluster_dns: &[IpAddr], cluster_domain: &str) -> DnsConfig {
    let spec = pod.pod_spec();
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !pod.host_network(),
        _ => false,
    };
    let mut config = match (cluster && !cluster_dns.is_empty(), policy) {
        (true, _) => cluster_config(pod.namespace(), host, cluster_dns, cluster_domain),
        (false, "None") => DnsConfig::default(),
        (false, _) => host.clone(),
    };
    if let Some(own) = &spec.dns_config {
        extend_unique(&mut config.servers, own.nameservers.iter().flatten().cloned());
        extend_unique(&mut config.searches, own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            config.options.retain(|known| known.split(':').next() != Some(name));
            config.options.push(match option.value.as_deref() {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name.to_owned(),
            });
        }
    }
    config.servers.truncate(NAMESERVERS_MAX);
    config.searches.truncate(SEARCHES_MAX);
    config
}

fn cluster_config(namespace: &str, host: &DnsConfig, servers: &[IpAddr], domain: &str) -> DnsConfig {
    let mut searches = Vec::new();
    if !domain.is_empty() {
        searches.extend([format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()]);
    }
    extend_unique(&mut searches, host.searches.iter().cloned());
    DnsConfig { servers: servers.iter().map(IpAddr::to_string).collect(), searches, options: vec!["ndots:5".into()] }
}

fn extend_unique(list: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// The pod's hostname and its domain (empty without a subdomain).
pub fn names(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let spec = pod.pod_spec();
    if let Some(name) = spec.hostname_override.as_deref().filter(|name| !name.is_empty()) {
        return (name.to_owned(), String::new());
    }
    let own = spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(pod.name());
    let cut = own.get(..63).unwrap_or(own).trim_end_matches(['-', '.']).to_owned();
    let domain = match spec.subdomain.as_deref().filter(|name| !name.is_empty()) {
        Some(subdomain) => format!("{subdomain}.{}.svc.{cluster_domain}", pod.namespace()),
        None => String::new(),
    };
    (cut, domain)
}

/// What the kernel is told the hostname is.
pub fn hostname(pod: &Pod, cluster_domain: &str) -> String {
    let (name, domain) = names(pod, cluster_domain);
    if pod.pod_spec().set_hostname_as_fqdn.unwrap_or(false) && !domain.is_empty() {
        return format!("{name}.{domain}");
    }
    name
}
