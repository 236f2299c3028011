//! The plugin's protocol: the CNI specification 1.0.0. A call is a process with its command in the environment and the
//! configuration on standard input; the answer is JSON on standard output, an error too, with exit code 1.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::{NetworkConfig, PortMapping};
use crate::ipam::{Ipam, Reservation};
use crate::{Error, firewall, host, links};

/// Versions of the specification that the plugin speaks, oldest first.
const VERSIONS: &[&str] = &["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// A configuration is a few hundred bytes; anything beyond this is not one.
const CONFIGURATION_BYTES_MAX: u64 = 1 << 20;

/// Error codes of the specification.
const INCOMPATIBLE_VERSION: u32 = 1;
const INVALID_ENVIRONMENT: u32 = 4;
const DECODING_FAILURE: u32 = 6;
const TRY_AGAIN_LATER: u32 = 11;
/// Codes from 100 on are the plugin's own.
const FAILED: u32 = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    #[serde(default = "oldest_version")]
    cni_version: String,
    #[serde(flatten)]
    network: NetworkConfig,
    #[serde(default)]
    runtime_config: RuntimeConfig,
    #[serde(default)]
    prev_result: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeConfig {
    #[serde(default)]
    port_mappings: Vec<PortMapping>,
}

fn oldest_version() -> String {
    VERSIONS[0].to_owned()
}

#[derive(Debug)]
struct Failure {
    code: u32,
    message: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = if matches!(error, Error::AddressesExhausted(_)) { TRY_AGAIN_LATER } else { FAILED };
        let mut message = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self { code, message }
    }
}

/// Serves one call of the plugin.
pub fn main() -> ExitCode {
    let mut text = Vec::new();
    let answer = match std::io::stdin().take(CONFIGURATION_BYTES_MAX).read_to_end(&mut text) {
        Ok(_) => serve(&text, &|name| std::env::var(name).ok()),
        Err(error) => Err(Failure { code: 5, message: format!("failed to read the configuration: {error}") }),
    };
    let (body, code) = match answer {
        Ok(None) => return ExitCode::SUCCESS,
        Ok(Some(body)) => (body, ExitCode::SUCCESS),
        Err(failure) => {
            (json!({"cniVersion": "1.0.0", "code": failure.code, "msg": failure.message}), ExitCode::FAILURE)
        }
    };
    let _ = writeln!(std::io::stdout(), "{body}");
    code
}

fn serve(text: &[u8], environment: &dyn Fn(&str) -> Option<String>) -> Result<Option<Value>, Failure> {
    let required = |name: &str| {
        environment(name).filter(|value| !value.is_empty()).ok_or_else(|| Failure {
            code: INVALID_ENVIRONMENT,
            message: format!("required env variable {name} is missing"),
        })
    };
    let command = required("CNI_COMMAND")?;
    if command == "VERSION" {
        let version =
            serde_json::from_slice::<Value>(text).ok().and_then(|value| Some(value["cniVersion"].as_str()?.to_owned()));
        return Ok(Some(json!({"cniVersion": version.unwrap_or("1.0.0".into()), "supportedVersions": VERSIONS})));
    }
    if let Some(answer) = loopback(&command, text, &required) {
        return answer;
    }
    let input: Input = serde_json::from_slice(text).map_err(|error| Failure {
        code: DECODING_FAILURE,
        message: format!("failed to decode the configuration: {error}"),
    })?;
    if !VERSIONS.contains(&input.cni_version.as_str()) {
        return Err(Failure {
            code: INCOMPATIBLE_VERSION,
            message: format!("CNI version {:?} is not supported", input.cni_version),
        });
    }
    if matches!(command.as_str(), "STATUS" | "GC") {
        return if command == "GC" { collect(&input, text).map(|()| None) } else { Ok(None) };
    }
    let container_id = required("CNI_CONTAINERID")?;
    let interface = required("CNI_IFNAME")?;
    match command.as_str() {
        "ADD" => add(&input, &container_id, &interface, Path::new(&required("CNI_NETNS")?)).map(Some),
        "DEL" => delete(&input, &container_id).map(|()| None),
        "CHECK" => check(&input, &container_id, &interface, &PathBuf::from(required("CNI_NETNS")?)).map(|()| None),
        other => Err(Failure { code: INVALID_ENVIRONMENT, message: format!("unknown CNI_COMMAND {other:?}") }),
    }
}

/// containerd asks for a plugin named `loopback` before any other: it brings the pod's own `lo` up.
fn loopback(
    command: &str,
    text: &[u8],
    required: &dyn Fn(&str) -> Result<String, Failure>,
) -> Option<Result<Option<Value>, Failure>> {
    let configuration: Value = serde_json::from_slice(text).ok()?;
    if configuration["type"] != "loopback" {
        return None;
    }
    if command != "ADD" {
        return Some(Ok(None));
    }
    let bring_up = || {
        let namespace = required("CNI_NETNS")?;
        links::inside(Path::new(&namespace), async |handle| links::set_up_by_name(&handle, "lo").await)?;
        let version = configuration["cniVersion"].as_str().unwrap_or(VERSIONS[0]);
        let mut ip = json!({"address": "127.0.0.1/8", "interface": 0});
        if version.starts_with("0.") {
            ip["version"] = "4".into();
        }
        let link = json!({"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": namespace});
        Ok(Some(json!({"cniVersion": version, "interfaces": [link], "ips": [ip]})))
    };
    Some(bring_up())
}

fn add(input: &Input, container_id: &str, interface: &str, namespace: &Path) -> Result<Value, Failure> {
    let network = &input.network;
    let mappings = &input.runtime_config.port_mappings;
    // The node makes the bridge when it starts; after somebody removed it, the first pod brings it back.
    if links::block_on(async |handle| links::find(&handle, &network.bridge).await)?.is_none() {
        host::ensure(network)?;
    }
    let reservation = Reservation { container_id: container_id.to_owned(), port_mappings: mappings.clone() };
    let address = Ipam::open(&network.state_dir)?.reserve(&network.subnet, &reservation)?;
    let attached =
        links::attach(network, namespace, &host_link_name(container_id), interface, address).and_then(|link| {
            let script = firewall::port_mappings_script(network, "add", address, mappings)?;
            if !script.is_empty() {
                firewall::apply(&script)?;
            }
            Ok(link)
        });
    match attached {
        Ok(link) => Ok(result(input, &link, interface, namespace, address)),
        Err(error) => {
            // What was made is taken back; the error that counts is the first one.
            let _ = delete(input, container_id);
            Err(error.into())
        }
    }
}

fn delete(input: &Input, container_id: &str) -> Result<(), Failure> {
    let network = &input.network;
    links::block_on(async |handle| links::remove(&handle, &host_link_name(container_id)).await)?;
    let released = Ipam::open(&network.state_dir)?.release(container_id)?;
    if let Some((address, reservation)) = released {
        let script = firewall::port_mappings_script(network, "delete", address, &reservation.port_mappings)?;
        // The table may have gone with the node's network; then so have the mappings.
        for line in script.lines() {
            let _ = firewall::apply(&format!("{line}\n"));
        }
    }
    Ok(())
}

fn check(input: &Input, container_id: &str, interface: &str, namespace: &Path) -> Result<(), Failure> {
    if Ipam::open(&input.network.state_dir)?.find(container_id)?.is_none() {
        return Err(Failure { code: FAILED, message: format!("no address is reserved for {container_id}") });
    }
    if input.prev_result.is_none() {
        return Err(Failure { code: DECODING_FAILURE, message: "required prevResult is missing".into() });
    }
    match links::inside(namespace, async |handle| links::find(&handle, interface).await)? {
        Some(_) => Ok(()),
        None => Err(Failure { code: FAILED, message: format!("{interface} is missing in {}", namespace.display()) }),
    }
}

/// Gives back the addresses of sandboxes that the runtime no longer knows (CNI 1.1).
fn collect(input: &Input, text: &[u8]) -> Result<(), Failure> {
    let value: Value = serde_json::from_slice(text).unwrap_or_default();
    let Some(valid) = value["cni.dev/valid-attachments"].as_array() else { return Ok(()) };
    let valid: Vec<&str> = valid.iter().filter_map(|entry| entry["containerID"].as_str()).collect();
    let all = Ipam::open(&input.network.state_dir)?.all()?;
    for (_, reservation) in all.iter().filter(|(_, reservation)| !valid.contains(&reservation.container_id.as_str())) {
        delete(input, &reservation.container_id)?;
    }
    Ok(())
}

fn result(input: &Input, link: &links::PodLink, interface: &str, namespace: &Path, address: Ipv4Addr) -> Value {
    let network = &input.network;
    let mut ip = json!({
        "address": format!("{address}/{}", network.subnet.prefix_length),
        "gateway": network.subnet.gateway(),
        "interface": 2,
    });
    if input.cni_version.starts_with("0.") {
        ip["version"] = "4".into();
    }
    json!({
        "cniVersion": input.cni_version,
        "interfaces": [
            {"name": network.bridge},
            {"name": link.host_name, "mac": link.host_mac},
            {"name": interface, "mac": link.pod_mac, "sandbox": namespace},
        ],
        "ips": [ip],
        "routes": [{"dst": "0.0.0.0/0", "gw": network.subnet.gateway()}],
        "dns": {},
    })
}

/// The node's end of a pod's pair: a name of at most 15 bytes that follows from the sandbox, so that removal needs no state.
fn host_link_name(container_id: &str) -> String {
    let hash = crate::stable_hash(container_id.as_bytes());
    format!("veth{:011x}", hash & 0xfff_ffff_ffff)
}

#[cfg(test)]
mod tests;
