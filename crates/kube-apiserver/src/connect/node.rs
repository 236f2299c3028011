//! Where the kubelet of a node listens.

use machinery::status::Status;
use serde_json::Value;

use super::backends::{Target, Trust};
use super::pod::text;
use crate::Server;

/// The kinds of addresses, the most trusted to be reachable first.
const PREFERRED: [&str; 3] = ["InternalIP", "ExternalIP", "Hostname"];
const DEFAULT_PORT: u16 = 10250;

/// The kubelet of a node; `path` is what to ask it for.
pub fn kubelet(server: &Server, name: &str, path: String) -> Result<Target, Status> {
    let (kind, _) = api::find("", "v1", "nodes").ok_or_else(Status::not_found_path)?;
    let node = server.registry.get(kind, "", name)?;
    let (host, port) = address(&node)?;
    Ok(Target { trust: Trust::Kubelet, host, port, path })
}

/// The address and port that a node reports for its kubelet.
pub fn address(node: &Value) -> Result<(String, u16), Status> {
    let addresses = node.pointer("/status/addresses").and_then(Value::as_array);
    let addresses: Vec<&Value> = addresses.into_iter().flatten().collect();
    let preferred = PREFERRED.iter().find_map(|kind| {
        let address = addresses.iter().find(|address| text(address, "/type") == *kind)?;
        Some(text(address, "/address").to_owned()).filter(|address| !address.is_empty())
    });
    let host = preferred.ok_or_else(|| {
        let known: Vec<String> =
            addresses.iter().map(|one| format!("{{{} {}}}", text(one, "/type"), text(one, "/address"))).collect();
        let known = known.join(" ");
        Status::unexpected(format!("no preferred addresses found; known addresses: [{known}]"))
    })?;
    let port = node.pointer("/status/daemonEndpoints/kubeletEndpoint/Port").and_then(Value::as_u64);
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    Ok((host, port.unwrap_or(DEFAULT_PORT)))
}
