//! The downward API: a pod's own fields and its containers' resources as text, for env and for volumes.

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceFieldSelector},
    apimachinery::pkg::api::resource::Quantity,
};
use std::collections::BTreeMap;

use super::PodExt;
use crate::quantity;

/// What the node knows about a pod before its status says so.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The pod's addresses, the primary first.
    pub pod_ips: Vec<String>,
    /// The node's addresses, the primary first.
    pub host_ips: Vec<String>,
}

/// The value of a `fieldRef`.
pub fn field(pod: &Pod, addresses: &Addresses, path: &str) -> Result<String, String> {
    let metadata = &pod.metadata;
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => metadata.labels.as_ref(),
            "metadata.annotations" => metadata.annotations.as_ref(),
            _ => return Err(format!("fieldPath {path:?} does not support subscript")),
        };
        return Ok(map.and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod.name().into(),
        "metadata.namespace" => pod.namespace().into(),
        "metadata.uid" => pod.uid().into(),
        "metadata.labels" => map_text(metadata.labels.as_ref()),
        "metadata.annotations" => map_text(metadata.annotations.as_ref()),
        "spec.nodeName" => pod.pod_spec().node_name.clone().unwrap_or_default(),
        "spec.serviceAccountName" => pod.pod_spec().service_account_name.clone().unwrap_or_default(),
        "spec.restartPolicy" => pod.restart_policy().into(),
        "status.phase" => pod.phase().into(),
        "status.podIP" => addresses.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => addresses.pod_ips.join(","),
        "status.hostIP" => addresses.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => addresses.host_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// Splits `metadata.labels['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// One `key="value"` a line, as downward API volumes show maps.
fn map_text(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// The value of a `resourceFieldRef`; a limit that is not set is the node's allocatable amount.
pub fn resource_field(
    container: &Container,
    selector: &ResourceFieldSelector,
    allocatable: &BTreeMap<String, Quantity>,
) -> Result<String, String> {
    let resources = container.resources.as_ref();
    let (list, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let amount = match list {
        "limits" => resources
            .and_then(|r| r.limits.as_ref())
            .and_then(|limits| limits.get(name))
            .or_else(|| allocatable.get(name)),
        "requests" => resources.and_then(|r| r.requests.as_ref()).and_then(|requests| requests.get(name)),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let divisor = selector.divisor.as_ref().map(quantity::milli).filter(|milli| *milli > 0).unwrap_or(1000);
    let milli = amount.map_or(0, quantity::milli);
    Ok((milli / divisor + i128::from(milli % divisor != 0)).to_string())
}
