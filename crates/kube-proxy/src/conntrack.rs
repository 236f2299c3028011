//! UDP "connections" outlive a change of endpoints in the kernel's connection table, so that packets would go on to an
//! address that no pod has any more. Entries that lead to removed endpoints of UDP ports are deleted, as upstream does.

use std::collections::BTreeMap;
use std::process::Stdio;

use crate::services::{Protocol, ServicePort, ServicePortName};

/// Deletes what leads to endpoints that were there before and are not any more.
pub async fn forget_stale(
    before: &BTreeMap<ServicePortName, ServicePort>,
    now: &BTreeMap<ServicePortName, ServicePort>,
) {
    for arguments in stale(before, now) {
        let result = tokio::process::Command::new("conntrack")
            .args(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
        // Exit code 1 also means that there was no such entry.
        if let Err(error) = result {
            tracing::warn!(%error, "failed to run conntrack: UDP clients may keep to a removed endpoint for some minutes");
            return;
        }
    }
}

fn stale(
    before: &BTreeMap<ServicePortName, ServicePort>,
    now: &BTreeMap<ServicePortName, ServicePort>,
) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    for (name, old) in before.iter().filter(|(name, _)| name.protocol == Protocol::Udp) {
        let new = now.get(name);
        for endpoint in old.internal.iter().filter(|endpoint| !new.is_some_and(|new| new.internal.contains(endpoint))) {
            let (address, port) = (old.cluster_ip.to_string(), old.port.to_string());
            let target = endpoint.address.to_string();
            let words = ["-D", "-p", "udp", "--orig-dst", &address, "--orig-port-dst", &port, "--dst-nat", &target];
            calls.push(words.map(str::to_owned).to_vec());
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::services::Endpoint;

    #[test]
    fn only_removed_endpoints_of_udp_ports_are_forgotten() {
        let name =
            |protocol| ServicePortName { namespace: "n".into(), name: "s".into(), port: String::new(), protocol };
        let port = |addresses: &[u8]| ServicePort {
            cluster_ip: Ipv4Addr::new(10, 96, 0, 9),
            external_ips: BTreeSet::new(),
            port: 53,
            node_port: None,
            affinity_seconds: None,
            internal: addresses
                .iter()
                .map(|last| Endpoint { address: Ipv4Addr::new(10, 244, 0, *last), port: 53 })
                .collect(),
            external: Vec::new(),
            external_local: false,
        };
        let before = BTreeMap::from([(name(Protocol::Udp), port(&[2, 3])), (name(Protocol::Tcp), port(&[2, 3]))]);
        let now = BTreeMap::from([(name(Protocol::Udp), port(&[3])), (name(Protocol::Tcp), port(&[3]))]);
        let calls = stale(&before, &now);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].last().unwrap(), "10.244.0.2");
        assert!(stale(&now, &now).is_empty());
    }
}
