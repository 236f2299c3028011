//! The plugin's configuration, as it stands in the CNI configuration list and arrives on standard input.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;

/// An IPv4 network, such as `10.244.0.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    pub address: Ipv4Addr,
    pub prefix_length: u8,
}

impl Subnet {
    /// The first address, which the node's bridge takes.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) + 1)
    }

    /// The addresses that pods can get: all but the network's own, the gateway's and the broadcast address.
    pub fn pod_addresses(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let (first, size) = (u32::from(self.address), 1u64 << (32 - self.prefix_length));
        (2..size.saturating_sub(1)).map(move |offset| Ipv4Addr::from(first + offset as u32))
    }
}

impl std::str::FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::Invalid(format!("{text:?} is not an IPv4 network such as 10.244.0.0/24"));
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let (address, prefix_length) = (address.parse::<Ipv4Addr>(), prefix.parse::<u8>());
        let (Ok(address), Ok(prefix_length)) = (address, prefix_length) else { return Err(invalid()) };
        if !(8..=30).contains(&prefix_length) {
            return Err(invalid());
        }
        let mask = u32::MAX << (32 - prefix_length);
        Ok(Self { address: Ipv4Addr::from(u32::from(address) & mask), prefix_length })
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

impl TryFrom<String> for Subnet {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Subnet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A node's pod network.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfig {
    /// Name of the bridge that pods are attached to; also part of the firewall table's name.
    pub bridge: String,
    /// Addresses of this node's pods.
    pub subnet: Subnet,
    /// Addresses of all pods of the cluster: traffic to them is not masqueraded.
    pub cluster_cidr: Subnet,
    /// Maximum transmission unit in bytes; the kernel's default where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Folder that remembers which address belongs to which sandbox.
    pub state_dir: PathBuf,
}

impl NetworkConfig {
    /// The CNI configuration list for this network, to be written into the runtime's configuration folder.
    pub fn conflist(&self) -> serde_json::Value {
        let mut plugin = serde_json::json!({"type": "canopus-cni", "capabilities": {"portMappings": true}});
        if let (Some(plugin), Ok(serde_json::Value::Object(own))) = (plugin.as_object_mut(), serde_json::to_value(self))
        {
            plugin.extend(own);
        }
        serde_json::json!({"cniVersion": "1.0.0", "name": "canopus", "plugins": [plugin]})
    }
}

/// One port of the node that leads to a pod. The convention writes `hostPort`; containerd, whose structure names no keys,
/// sends `HostPort`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    #[serde(alias = "HostPort")]
    pub host_port: u16,
    #[serde(alias = "ContainerPort")]
    pub container_port: u16,
    #[serde(default, alias = "Protocol")]
    pub protocol: String,
    #[serde(default, rename = "hostIP", alias = "HostIP")]
    pub host_ip: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_masked_and_bounded() {
        let subnet: Subnet = "10.244.3.7/24".parse().unwrap();
        assert_eq!(subnet.to_string(), "10.244.3.0/24");
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 244, 3, 1));
        let pods: Vec<_> = subnet.pod_addresses().collect();
        assert_eq!(
            (pods.len(), pods[0], pods[252]),
            (253, Ipv4Addr::new(10, 244, 3, 2), Ipv4Addr::new(10, 244, 3, 254))
        );
        for wrong in ["10.244.0.0", "10.244.0.0/31", "10.244.0.0/33", "x/24", "fd00::/64", "10.0.0.0/0"] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn port_mappings_are_read_in_both_spellings() {
        let plain = r#"{"hostPort":8080,"containerPort":80,"protocol":"tcp","hostIP":"10.0.0.1"}"#;
        let capitals = r#"{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"10.0.0.1"}"#;
        let read = |text| serde_json::from_str::<PortMapping>(text).unwrap();
        assert_eq!(read(plain), read(capitals));
        assert_eq!(read(capitals).host_port, 8080);
    }

    #[test]
    fn the_conflist_reads_back_as_the_configuration() {
        let config = NetworkConfig {
            bridge: "cni0".into(),
            subnet: "10.244.0.0/24".parse().unwrap(),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            mtu: None,
            state_dir: "/tmp/state".into(),
        };
        let list = config.conflist();
        let read: NetworkConfig = serde_json::from_value(list["plugins"][0].clone()).unwrap();
        assert_eq!(read.subnet, config.subnet);
        assert_eq!(list["plugins"][0]["type"], "canopus-cni");
    }
}
