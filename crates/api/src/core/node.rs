//! Node: a machine pods run on, and what it can take.

use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::pod::{resources, taint_effect};
use crate::kind::{Column, FieldSelectorStyle, Kind, SelectableField, Subresource, Verb, Version};
use crate::value::{boolean, list, text};
use crate::{cells, checks, internal, names, strategy};

const ROLE_LABEL: &str = "node-role.kubernetes.io/";

pub static KIND: Kind = Kind {
    kind: "Node",
    list_kind: "NodeList",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    namespaced: false,
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.Node")],
    status: true,
    subresources: &[Subresource::new("proxy", "NodeProxyOptions", Verb::PROXY)],
    selectable_fields: &[SelectableField {
        label: "spec.unschedulable",
        value: |v| boolean(v, "/spec/unschedulable").to_string(),
    }],
    field_selector_style: FieldSelectorStyle::NotSupported,
    columns: COLUMNS,
    cells: |v, now| {
        let info = |field: &str| match text(v, &format!("/status/nodeInfo/{field}")) {
            "" => Value::from("<unknown>"),
            known => known.into(),
        };
        vec![
            cells::name(v),
            status(v).into(),
            roles(v).into(),
            cells::age(v, now),
            text(v, "/status/nodeInfo/kubeletVersion").into(),
            cells::or_none(address(v, "InternalIP")),
            cells::or_none(address(v, "ExternalIP")),
            info("osImage"),
            kernel(v).into(),
            info("containerRuntimeVersion"),
        ]
    },
    hooks: hooks!(
        Node,
        false,
        names::subdomain,
        part {
            default: default,
            prepare_update: strategy::keep_status,
            prepare_status_update: strategy::update_status,
            validate: validate,
            validate_update: validate_update,
            validate_status_update: validate_update,
        }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Status", "string", 0, "The status of the node"),
    Column::new("Roles", "string", 0, "The roles of the node"),
    Column::AGE,
    Column::new("Version", "string", 0, "Kubelet Version reported by the node."),
    Column::new(
        "Internal-IP",
        "string",
        1,
        "List of addresses reachable to the node. Queried from cloud provider, if available. More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This field is declared as mergeable, but the merge key is not sufficiently unique, which can cause data corruption when it is merged. Callers should instead use a full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that addresses can change during the lifetime of a Node. However, there are some exceptions where this may not be possible, such as Pods that inherit a Node's address in its own status or consumers of the downward API (status.hostIP).",
    ),
    Column::new(
        "External-IP",
        "string",
        1,
        "List of addresses reachable to the node. Queried from cloud provider, if available. More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This field is declared as mergeable, but the merge key is not sufficiently unique, which can cause data corruption when it is merged. Callers should instead use a full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that addresses can change during the lifetime of a Node. However, there are some exceptions where this may not be possible, such as Pods that inherit a Node's address in its own status or consumers of the downward API (status.hostIP).",
    ),
    Column::new(
        "OS-Image",
        "string",
        1,
        "OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).",
    ),
    Column::new(
        "Kernel-Version",
        "string",
        1,
        "Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).",
    ),
    Column::new(
        "Container-Runtime",
        "string",
        1,
        "ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).",
    ),
];

/// The kernel's version, and for what processor it is.
fn kernel(node: &Value) -> String {
    match (text(node, "/status/nodeInfo/kernelVersion"), text(node, "/status/nodeInfo/architecture")) {
        ("", _) => "<unknown>".to_string(),
        (version, "") => version.to_string(),
        (version, architecture) => format!("{version} ({architecture})"),
    }
}

fn status(node: &Value) -> String {
    let ready = list(node, "/status/conditions").iter().find(|c| text(c, "/type") == "Ready");
    let word = match ready.map(|c| text(c, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if boolean(node, "/spec/unschedulable") { format!("{word},SchedulingDisabled") } else { word.to_string() }
}

fn roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_LABEL) {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".to_string() } else { roles.join(",") }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let found = list(node, "/status/addresses").iter().find(|a| text(a, "/type") == kind);
    found.map_or("", |a| text(a, "/address"))
}

fn default(node: &mut Node) {
    if let Some(status) = &mut node.status
        && status.allocatable.is_none()
    {
        status.allocatable.clone_from(&status.capacity);
    }
    let Some(spec) = &mut node.spec else { return };
    // The older single range is the first of the list.
    let single = spec.pod_cidr.clone().filter(|cidr| !cidr.is_empty());
    let first = spec.pod_cidrs.as_ref().and_then(|list| list.first().cloned());
    match (single, first) {
        (Some(single), first) if first.as_ref() != Some(&single) => spec.pod_cidrs = Some(vec![single]),
        (None, Some(first)) => spec.pod_cidr = Some(first),
        _ => {}
    }
}

fn validate(node: &Node) -> ErrorList {
    let default = NodeSpec::default();
    let spec = node.spec.as_ref().unwrap_or(&default);
    let metadata = Path::new("metadata");
    let mut errors = taints(spec.taints.as_deref().unwrap_or(&[]), &metadata.child("taints"));
    errors.extend(amounts(node));
    errors.extend(pod_cidrs(spec));
    errors
}

fn taints(taints: &[Taint], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, taint) in taints.iter().enumerate() {
        let at = path.index(i);
        errors.extend(checks::qualified_name(&taint.key, &at.child("key")));
        let value = taint.value.as_deref().unwrap_or("");
        errors.extend(checks::each(&at.child("value"), value, machinery::names::label_value(value)));
        errors.extend(taint_effect(&taint.effect, &at.child("effect")));
        if taints[..i].iter().any(|other| other.key == taint.key && other.effect == taint.effect) {
            let shown = internal::shown("io.k8s.api.core.v1.Taint", taint);
            let detail = "taints must be unique by key and effect pair".to_string();
            errors.push(Error { detail, ..Error::duplicate(&at, shown) });
        }
    }
    errors
}

fn amounts(node: &Node) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(status) = &node.status else { return errors };
    let path = Path::new("status");
    for (field, amounts) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
        let at = path.child(field);
        for (name, amount) in amounts.iter().flatten() {
            errors.extend(resources::amount(name, amount, &at.child(name)));
        }
    }
    errors
}

fn pod_cidrs(spec: &NodeSpec) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("spec");
    let list = path.child("podCIDRs");
    let ranges = spec.pod_cidrs.as_deref().unwrap_or(&[]);
    for (i, range) in ranges.iter().enumerate() {
        errors.extend(checks::cidr(range, &list.index(i)));
    }
    let one_family = matches!(ranges, [a, b] if a.contains(':') == b.contains(':'));
    if ranges.len() > 2 || one_family {
        errors.push(Error::invalid(&list, ranges, "may specify no more than one CIDR for each IP family"));
    }
    errors
}

fn validate_update(new: &Node, old: &Node) -> ErrorList {
    let mut errors = amounts(new);
    let addresses = new.status.as_ref().and_then(|s| s.addresses.as_deref()).unwrap_or(&[]);
    let status = Path::new("status");
    let list = status.child("addresses");
    for (i, address) in checks::duplicates(addresses) {
        let shown = internal::shown("io.k8s.api.core.v1.NodeAddress", address);
        errors.push(Error::duplicate(&list.index(i), shown));
    }
    let default = NodeSpec::default();
    let (spec, was) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    let path = Path::new("spec");
    let had = was.pod_cidrs.as_ref().is_some_and(|list| !list.is_empty());
    if had && spec.pod_cidrs != was.pod_cidrs {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(Error::forbidden(&path.child("podCIDRs"), detail));
    } else if !had {
        errors.extend(pod_cidrs(spec));
    }
    let had = was.provider_id.as_deref().is_some_and(|id| !id.is_empty());
    if had && spec.provider_id != was.provider_id {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.push(Error::forbidden(&path.child("providerID"), detail));
    }
    let metadata = Path::new("metadata");
    errors.extend(taints(spec.taints.as_deref().unwrap_or(&[]), &metadata.child("taints")));
    errors
}
