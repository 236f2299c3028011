//! The rules as nftables scripts: maps from (address, protocol, port) to a chain a Service port, so that a packet's way
//! does not grow with the number of Services, and a change touches the changed Service alone.
//!
//! A packet to a cluster IP meets `services` → map `service-ips` → chain `service-<ns>/<name>/<protocol>/<port>`, which
//! translates it to a random endpoint; one from outside the pod network is marked on its way and masqueraded at the end.
//! Ports without any endpoint are in the map `no-endpoints`, which refuses instead; what is still addressed to a cluster IP
//! after translation asked for a port that the Service does not have, and is refused too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::services::{Endpoint, ServicePort, ServicePortName};

/// The mark of packets that are to be masqueraded; upstream's bit.
const MASQUERADE_MARK: &str = "0x4000";

/// The script that makes the whole table anew, in one transaction with the removal of an old one.
pub fn whole(table: &str, cluster_cidr: &str, wanted: &BTreeMap<ServicePortName, ServicePort>) -> String {
    let mut script = remove(table);
    let _ = write!(
        script,
        "table ip {table} {{
  comment \"rules for Kubernetes services\"
  map service-ips {{
    type ipv4_addr . inet_proto . inet_service : verdict
  }}
  map service-nodeports {{
    type inet_proto . inet_service : verdict
  }}
  map no-endpoints {{
    type ipv4_addr . inet_proto . inet_service : verdict
  }}
  map no-endpoint-nodeports {{
    type inet_proto . inet_service : verdict
  }}
  set hairpin {{
    type ipv4_addr . ipv4_addr
  }}
  set cluster-ips {{
    type ipv4_addr
  }}
  chain reject-chain {{
    reject
  }}
  chain mark-for-masquerade {{
    meta mark set meta mark or {MASQUERADE_MARK}
  }}
  chain mark-unless-pod {{
    ip saddr != {cluster_cidr} jump mark-for-masquerade
  }}
  chain services {{
    ip daddr . meta l4proto . th dport vmap @service-ips
    ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @service-nodeports
  }}
  chain without-endpoints {{
    ip daddr . meta l4proto . th dport vmap @no-endpoints
    ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport vmap @no-endpoint-nodeports
  }}
  chain unknown-ports {{
    ip daddr @cluster-ips reject
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat
    policy accept
    jump services
  }}
  chain nat-output {{
    type nat hook output priority -100
    policy accept
    jump services
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat
    policy accept
    ip saddr . ip daddr @hairpin masquerade
    meta mark & {MASQUERADE_MARK} == 0 return
    meta mark set meta mark xor {MASQUERADE_MARK}
    masquerade fully-random
  }}
  chain filter-input {{
    type filter hook input priority -110
    policy accept
    ct state new jump without-endpoints
  }}
  chain filter-forward {{
    type filter hook forward priority -110
    policy accept
    ct state new jump without-endpoints
    ct state new jump unknown-ports
  }}
  chain filter-output {{
    type filter hook output priority -110
    policy accept
    ct state new jump without-endpoints
  }}
  chain filter-output-translated {{
    type filter hook output priority -90
    policy accept
    ct state new jump unknown-ports
  }}
}}
"
    );
    script + &difference(table, &BTreeMap::new(), wanted)
}

/// The script that removes the table, whether it is there or not.
pub fn remove(table: &str) -> String {
    format!("add table ip {table}\ndelete table ip {table}\n")
}

/// The script that leads from one state to another; empty when they are equal.
pub fn difference(
    table: &str,
    before: &BTreeMap<ServicePortName, ServicePort>,
    wanted: &BTreeMap<ServicePortName, ServicePort>,
) -> String {
    let (mut gone, mut come) = (Rules::default(), Rules::default());
    for (name, port) in before.iter().filter(|(name, port)| wanted.get(name) != Some(port)) {
        gone.add(name, port);
    }
    for (name, port) in wanted.iter().filter(|(name, port)| before.get(name) != Some(port)) {
        come.add(name, port);
    }
    // A pod can be an endpoint of several services: what matters is whether any service has it, before and after.
    // So can several ports have one cluster IP.
    let shared = |ports: &BTreeMap<ServicePortName, ServicePort>| -> BTreeSet<(&str, String)> {
        let endpoints = ports.values().flat_map(|port| port.internal.iter().chain(&port.external));
        let hairpins = endpoints.map(|endpoint| ("hairpin", format!("{0} . {0}", endpoint.address)));
        hairpins.chain(ports.values().map(|port| ("cluster-ips", port.cluster_ip.to_string()))).collect()
    };
    let (old_shared, new_shared) = (shared(before), shared(wanted));

    let mut script = String::new();
    for (map, elements) in &gone.elements {
        for (key, _) in elements {
            let _ = writeln!(script, "delete element ip {table} {map} {{ {key} }}");
        }
    }
    for (set, element) in old_shared.difference(&new_shared) {
        let _ = writeln!(script, "delete element ip {table} {set} {{ {element} }}");
    }
    // Rules go before the chains and sets that they name.
    for (chain, _) in &gone.chains {
        let _ = writeln!(script, "flush chain ip {table} {chain}");
    }
    for (chain, _) in gone.chains.iter().filter(|(chain, _)| !come.chains.iter().any(|(other, _)| other == chain)) {
        let _ = writeln!(script, "delete chain ip {table} {chain}");
    }
    for (set, _) in gone.affinity_sets.iter().filter(|set| !come.affinity_sets.contains(set)) {
        let _ = writeln!(script, "delete set ip {table} {set}");
    }
    for (set, seconds) in come.affinity_sets.iter().filter(|set| !gone.affinity_sets.contains(set)) {
        let _ = writeln!(
            script,
            "add set ip {table} {set} {{ type ipv4_addr ; flags dynamic, timeout ; timeout {seconds}s ; }}"
        );
    }
    for (chain, _) in &come.chains {
        let _ = writeln!(script, "add chain ip {table} {chain}");
    }
    for (chain, rules) in &come.chains {
        for rule in rules {
            let _ = writeln!(script, "add rule ip {table} {chain} {rule}");
        }
    }
    for (set, element) in new_shared.difference(&old_shared) {
        let _ = writeln!(script, "add element ip {table} {set} {{ {element} }}");
    }
    for (map, elements) in &come.elements {
        for (key, verdict) in elements {
            let _ = writeln!(script, "add element ip {table} {map} {{ {key} : {verdict} }}");
        }
    }
    script
}

/// What a set of service ports contributes to the table.
#[derive(Default)]
struct Rules {
    /// In the order in which they can be made: a chain comes after those that it goes to.
    chains: Vec<(String, Vec<String>)>,
    affinity_sets: Vec<(String, u32)>,
    elements: BTreeMap<&'static str, Vec<(String, String)>>,
}

impl Rules {
    fn add(&mut self, name: &ServicePortName, port: &ServicePort) {
        let protocol = name.protocol.name();
        let entry = |address: &dyn std::fmt::Display| format!("{address} . {protocol} . {}", port.port);
        let internal = self.destination("service", name, port, &port.internal);
        match &internal {
            Some(chain) => {
                let via = format!("cluster-{name}");
                self.chains.push((via.clone(), vec!["jump mark-unless-pod".into(), format!("goto {chain}")]));
                self.element("service-ips", entry(&port.cluster_ip), format!("goto {via}"));
            }
            None => self.element("no-endpoints", entry(&port.cluster_ip), "goto reject-chain".into()),
        }
        if port.node_port.is_none() && port.external_ips.is_empty() {
            return;
        }
        let chain = match (port.external == port.internal, internal) {
            (true, internal) => internal,
            (false, _) => self.destination("local", name, port, &port.external),
        };
        let Some(chain) = chain else {
            // With the Local policy a load balancer finds out by the health check; until then packets are dropped.
            let verdict = if port.external_local && !port.internal.is_empty() { "drop" } else { "goto reject-chain" };
            for address in &port.external_ips {
                self.element("no-endpoints", entry(address), verdict.into());
            }
            if let Some(node_port) = port.node_port {
                self.element("no-endpoint-nodeports", format!("{protocol} . {node_port}"), verdict.into());
            }
            return;
        };
        let via = format!("external-{name}");
        let mark = (!port.external_local).then(|| "jump mark-for-masquerade".to_owned());
        self.chains.push((via.clone(), mark.into_iter().chain([format!("goto {chain}")]).collect()));
        for address in &port.external_ips {
            self.element("service-ips", entry(address), format!("goto {via}"));
        }
        if let Some(node_port) = port.node_port {
            self.element("service-nodeports", format!("{protocol} . {node_port}"), format!("goto {via}"));
        }
    }

    fn element(&mut self, map: &'static str, key: String, verdict: String) {
        self.elements.entry(map).or_default().push((key, verdict));
    }

    /// The chain that translates to one of `endpoints`; none when there is none.
    fn destination(
        &mut self,
        prefix: &str,
        name: &ServicePortName,
        port: &ServicePort,
        endpoints: &[Endpoint],
    ) -> Option<String> {
        if endpoints.is_empty() {
            return None;
        }
        let chain = format!("{prefix}-{name}");
        let count = endpoints.len();
        let Some(seconds) = port.affinity_seconds else {
            let targets = endpoints
                .iter()
                .enumerate()
                .map(|(index, endpoint)| format!("{index} : {} . {}", endpoint.address, endpoint.port));
            let rule = match endpoints {
                [one] => format!("meta l4proto {} dnat to {}:{}", name.protocol.name(), one.address, one.port),
                _ => format!(
                    "meta l4proto {} dnat ip to numgen random mod {count} map {{ {} }}",
                    name.protocol.name(),
                    targets.collect::<Vec<_>>().join(", ")
                ),
            };
            self.chains.push((chain.clone(), vec![rule]));
            return Some(chain);
        };
        let mut rules = Vec::new();
        let mut goals = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let identity = format!("{prefix}-{name}/{}/{}", endpoint.address, endpoint.port);
            let (set, own_chain) = (format!("affinity-{identity}"), format!("endpoint-{identity}"));
            let remember = format!("update @{set} {{ ip saddr }}");
            let translate =
                format!("meta l4proto {} dnat to {}:{}", name.protocol.name(), endpoint.address, endpoint.port);
            self.chains.push((own_chain.clone(), vec![remember, translate]));
            rules.push(format!("ip saddr @{set} goto {own_chain}"));
            goals.push(format!("{index} : goto {own_chain}"));
            self.affinity_sets.push((set, seconds));
        }
        rules.push(format!("numgen random mod {count} vmap {{ {} }}", goals.join(", ")));
        self.chains.push((chain.clone(), rules));
        Some(chain)
    }
}

#[cfg(test)]
mod tests;
