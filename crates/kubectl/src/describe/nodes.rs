//! Nodes.

use machinery::quantity::{Format, Quantity};
use serde_json::Value;

use super::Related;
use super::text::{Text, pairs, time};
use crate::value::{self, at, list, show, text};

const ROLE: &str = "node-role.kubernetes.io/";

pub fn node(out: &mut Text, node: &Value, related: &Related) {
    out.field(0, "Name", value::name(node));
    let roles: Vec<&str> = value::map(node, "metadata.labels")
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix(ROLE))
        .collect();
    out.field(0, "Roles", if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") });
    out.labels(0, node);
    out.annotations(0, node);
    out.field(0, "CreationTimestamp", time(text(node, "metadata.creationTimestamp")));
    let mut taints: Vec<&Value> = list(node, "spec.taints").iter().collect();
    taints.sort_by_key(|taint| (text(taint, "effect"), text(taint, "key")));
    let taints: Vec<String> = taints
        .into_iter()
        .map(|taint| match text(taint, "value") {
            "" => format!("{}:{}", text(taint, "key"), text(taint, "effect")),
            value => format!("{}={value}:{}", text(taint, "key"), text(taint, "effect")),
        })
        .collect();
    out.column(0, "Taints", &taints);
    out.field(0, "Unschedulable", value::flag(node, "spec.unschedulable").to_string());
    match related.others.first() {
        None => out.field(
            0,
            "Lease",
            format!("Failed to get lease: leases.coordination.k8s.io \"{}\" not found", value::name(node)),
        ),
        Some(lease) => {
            out.line(0, "Lease:");
            out.field(1, "HolderIdentity", text(lease, "spec.holderIdentity"));
            let acquired = text(lease, "spec.acquireTime");
            out.field(1, "AcquireTime", if acquired.is_empty() { "<unset>".to_owned() } else { time(acquired) });
            out.field(1, "RenewTime", time(text(lease, "spec.renewTime")));
        }
    }
    out.conditions(
        node,
        &[
            ("Type", "type"),
            ("Status", "status"),
            ("LastHeartbeatTime", "lastHeartbeatTime"),
            ("LastTransitionTime", "lastTransitionTime"),
            ("Reason", "reason"),
            ("Message", "message"),
        ],
        " ",
    );
    out.line(0, "Addresses:");
    list(node, "status.addresses")
        .iter()
        .for_each(|address| out.field(1, text(address, "type"), text(address, "address")));
    for (label, path) in [("Capacity", "status.capacity"), ("Allocatable", "status.allocatable")] {
        let resources = pairs(at(node, path).as_object(), ":\t");
        if !resources.is_empty() {
            out.line(0, format!("{label}:"));
            resources.iter().for_each(|pair| out.line(1, pair));
        }
    }
    out.line(0, "System Info:");
    for (label, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        out.field(1, label, text(at(node, "status.nodeInfo"), field));
    }
    out.maybe(0, "PodCIDR", text(node, "spec.podCIDR"));
    let ranges: Vec<String> = list(node, "spec.podCIDRs").iter().map(show).collect();
    out.maybe(0, "PodCIDRs", &ranges.join(","));
    out.maybe(0, "ProviderID", text(node, "spec.providerID"));
    pods(out, node, &related.pods);
}

/// A quantity or zero.
fn quantity(value: &Value) -> Quantity {
    Quantity::from_json(value).unwrap_or_else(|_| Quantity::new(0, Format::DecimalSI))
}

/// What a pod asks for: all containers together, or one init container when that is more.
fn sum(pod: &Value, field: &str, resource: &str) -> Quantity {
    let of = |container: &Value| quantity(&container["resources"][field][resource]);
    let total = list(pod, "spec.containers")
        .iter()
        .map(of)
        .fold(Quantity::new(0, Format::DecimalSI), |sum, next| if sum.is_zero() { next } else { sum.add(&next) });
    list(pod, "spec.initContainers").iter().map(of).fold(total, |most, next| if next > most { next } else { most })
}

fn percent(part: &Quantity, whole: &Quantity) -> String {
    if whole.is_zero() {
        "0%".to_owned()
    } else {
        format!("{}%", (part.approximate() / whole.approximate() * 100.0) as i64)
    }
}

fn pods(out: &mut Text, node: &Value, pods: &[Value]) {
    let allocatable = at(node, "status.allocatable");
    let columns = [
        ("requests", "cpu"),
        ("limits", "cpu"),
        ("requests", "memory"),
        ("limits", "memory"),
        ("requests", "ephemeral-storage"),
        ("limits", "ephemeral-storage"),
    ];
    out.line(0, format!("Non-terminated Pods:\t({} in total)", pods.len()));
    out.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    out.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    let mut totals: Vec<Quantity> = columns.iter().map(|_| Quantity::new(0, Format::DecimalSI)).collect();
    let now = jiff::Timestamp::now();
    for pod in pods {
        let mut cells = Vec::new();
        for (at, (field, resource)) in columns.iter().enumerate() {
            let asked = sum(pod, field, resource);
            // Storage has its sum below, and no column.
            if *resource != "ephemeral-storage" {
                cells.push(format!("{asked} ({})", percent(&asked, &quantity(&allocatable[*resource]))));
            }
            totals[at] = if totals[at].is_zero() { asked } else { totals[at].add(&asked) };
        }
        let age = machinery::time::age(Some(text(pod, "metadata.creationTimestamp")), now);
        out.line(1, format!("{}\t{}\t\t{}\t{age}", value::namespace(pod), value::name(pod), cells.join("\t")));
    }
    out.line(0, "Allocated resources:");
    out.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    out.line(1, "Resource\tRequests\tLimits");
    out.line(1, "--------\t--------\t------");
    for (row, resource) in ["cpu", "memory", "ephemeral-storage"].into_iter().enumerate() {
        let whole = quantity(&allocatable[resource]);
        let cell = |total: &Quantity| format!("{total} ({})", percent(total, &whole));
        out.line(1, format!("{resource}\t{}\t{}", cell(&totals[row * 2]), cell(&totals[row * 2 + 1])));
    }
}
