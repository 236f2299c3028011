//! The pod network's own nftables table: masquerading of what leaves the cluster, and the node's ports that lead to pods.
//! One table a bridge, changed in transactions by `nft -f -`.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use crate::Error;
use crate::config::{NetworkConfig, PortMapping};

/// Gives a script to `nft`; it is carried out whole or not at all.
pub fn apply(script: &str) -> Result<(), Error> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::io("start nft"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).map_err(Error::io("write to nft"))?;
    }
    let output = child.wait_with_output().map_err(Error::io("wait for nft"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Nft(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn table(config: &NetworkConfig) -> String {
    format!("canopus-cni-{}", config.bridge)
}

/// The script that makes the table; port mappings that are already there stay.
///
/// What the node sends to a host port of its own loopback leaves over the bridge, with the bridge's address, for which the
/// bridge must route such addresses ([`crate::host::ensure`]). The guard keeps pods from using that to reach services that
/// listen on the loopback only.
pub fn ensure_script(config: &NetworkConfig) -> String {
    let table = table(config);
    let (bridge, subnet, cluster) = (&config.bridge, config.subnet, config.cluster_cidr);
    format!(
        "add table ip {table}
add map ip {table} host-ports {{ type inet_proto . inet_service : ipv4_addr . inet_service ; }}
add map ip {table} host-address-ports {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service ; }}
add set ip {table} hairpin {{ type ipv4_addr . ipv4_addr ; }}
add chain ip {table} guard {{ type filter hook prerouting priority raw ; }}
add chain ip {table} prerouting {{ type nat hook prerouting priority dstnat ; }}
add chain ip {table} output {{ type nat hook output priority -100 ; }}
add chain ip {table} host-ports
add chain ip {table} postrouting {{ type nat hook postrouting priority srcnat ; }}
flush chain ip {table} guard
flush chain ip {table} prerouting
flush chain ip {table} output
flush chain ip {table} host-ports
flush chain ip {table} postrouting
add rule ip {table} guard iifname {bridge} ip daddr 127.0.0.0/8 drop
add rule ip {table} prerouting fib daddr type local jump host-ports
add rule ip {table} output fib daddr type local jump host-ports
add rule ip {table} host-ports dnat ip to ip daddr . meta l4proto . th dport map @host-address-ports
add rule ip {table} host-ports dnat ip to meta l4proto . th dport map @host-ports
add rule ip {table} postrouting ip saddr . ip daddr @hairpin masquerade
add rule ip {table} postrouting ip saddr 127.0.0.0/8 oifname {bridge} masquerade
add rule ip {table} postrouting ip saddr {subnet} ip daddr != {cluster} ip daddr != 224.0.0.0/4 masquerade
"
    )
}

/// The script that removes the table, whether it is there or not.
pub fn remove_script(config: &NetworkConfig) -> String {
    let table = table(config);
    format!("add table ip {table}\ndelete table ip {table}\n")
}

/// The script that leads ports of the node to a pod (`add`) or no longer does (`delete`).
pub fn port_mappings_script(
    config: &NetworkConfig,
    verb: &str,
    pod: Ipv4Addr,
    mappings: &[PortMapping],
) -> Result<String, Error> {
    let table = table(config);
    let mut script = String::new();
    for mapping in mappings.iter().filter(|mapping| mapping.host_port != 0) {
        let protocol = match mapping.protocol.to_ascii_lowercase().as_str() {
            "" | "tcp" => "tcp",
            "udp" => "udp",
            "sctp" => "sctp",
            other => return Err(Error::Invalid(format!("port mapping: unknown protocol {other:?}"))),
        };
        let (host_port, port) = (mapping.host_port, mapping.container_port);
        let (map, key) = match mapping.host_ip.as_str() {
            "" | "0.0.0.0" | "::" => ("host-ports", format!("{protocol} . {host_port}")),
            address => match address.parse::<Ipv4Addr>() {
                Ok(address) => ("host-address-ports", format!("{address} . {protocol} . {host_port}")),
                // The node's IPv6 addresses do not lead to IPv4 pods.
                Err(_) => continue,
            },
        };
        script.push_str(&format!("{verb} element ip {table} {map} {{ {key} : {pod} . {port} }}\n"));
    }
    if !script.is_empty() {
        // A pod that calls a host port of its own must see an answer from elsewhere than itself.
        script.push_str(&format!("{verb} element ip {table} hairpin {{ {pod} . {pod} }}\n"));
    }
    Ok(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NetworkConfig {
        NetworkConfig {
            bridge: "cni0".into(),
            subnet: "10.244.0.0/24".parse().unwrap(),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            mtu: None,
            state_dir: "/tmp".into(),
        }
    }

    #[test]
    fn port_mappings_say_protocol_and_address() {
        let mapping = |port, protocol: &str, address: &str| PortMapping {
            host_port: port,
            container_port: 80,
            protocol: protocol.into(),
            host_ip: address.into(),
        };
        let mappings = [mapping(8080, "TCP", ""), mapping(53, "UDP", "192.0.2.1"), mapping(0, "TCP", "")];
        let script = port_mappings_script(&config(), "add", Ipv4Addr::new(10, 244, 0, 9), &mappings).unwrap();
        assert_eq!(
            script,
            "add element ip canopus-cni-cni0 host-ports { tcp . 8080 : 10.244.0.9 . 80 }\n\
             add element ip canopus-cni-cni0 host-address-ports { 192.0.2.1 . udp . 53 : 10.244.0.9 . 80 }\n\
             add element ip canopus-cni-cni0 hairpin { 10.244.0.9 . 10.244.0.9 }\n"
        );
        assert!(
            port_mappings_script(&config(), "add", Ipv4Addr::LOCALHOST, &[mapping(1, "icmp; flush ruleset", "")])
                .is_err()
        );
    }
}
