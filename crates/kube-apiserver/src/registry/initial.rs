//! The objects that every cluster has: the system's namespaces, its priority classes, and the Service `kubernetes` with the
//! address at which this server can be reached.

use std::net::IpAddr;
use std::sync::Arc;

use machinery::status::Status;
use serde_json::{Value, json};

use super::{NoAdmission, Part, Registry, Replace, WriteOptions, object};
use crate::Server;
use crate::etcd::master_leases;

const NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "default"];
const SERVICE: &str = "kubernetes";
const NAMESPACE: &str = "default";

/// Name, value, description.
const PRIORITY_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

/// Creates them, and keeps them up to date until the server ends.
pub async fn create(server: &Arc<Server>) -> Result<(), Status> {
    let registry = server.registry.clone();
    registry.bootstrap().await?;
    tokio::spawn(registry.run(server.shutdown.clone()));
    Ok(())
}

pub(super) async fn create_all(registry: &Registry) -> Result<(), Status> {
    for name in NAMESPACES {
        ensure(registry, "", "namespaces", json!({ "metadata": { "name": name } })).await?;
    }
    for (name, value, description) in PRIORITY_CLASSES {
        let class = json!({ "metadata": { "name": name }, "value": value, "description": description });
        ensure(registry, "scheduling.k8s.io", "priorityclasses", class).await?;
    }
    let address = registry.allocators().first_address().to_string();
    let service = json!({
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": { "component": "apiserver", "provider": "kubernetes" },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ports": [{
                "name": "https",
                "protocol": "TCP",
                "port": 443,
                "targetPort": registry.config().secure_port,
            }],
        },
    });
    ensure(registry, "", "services", service).await
}

/// Creates an object unless it is there.
async fn ensure(registry: &Registry, group: &str, plural: &str, mut object: Value) -> Result<(), Status> {
    let Some((kind, _)) = api::find(group, "v1", plural) else { return Ok(()) };
    let namespace = object::namespace(&object).to_owned();
    if registry.entry(kind, &namespace, object::name(&object)).is_ok() {
        return Ok(());
    }
    kind.default(&mut object)?;
    match registry.create(kind, &namespace, object, &WriteOptions::default(), &NoAdmission).await {
        Err(status) if !status.is_already_exists() => Err(status),
        _ => Ok(()),
    }
}

/// Keeps the Service's endpoints at the advertised address, or at those of all servers where there are several.
pub(super) async fn reconcile_endpoints(registry: &Registry) -> Result<(), Status> {
    let address = registry.config().advertise_address;
    if address.is_loopback() || address.is_unspecified() {
        // Not an address that anybody else could use: a server on its own, as in tests, publishes none.
        return Ok(());
    }
    let mut addresses: Vec<String> = vec![address.to_string()];
    if registry.store().is_shared() {
        master_leases::renew(registry, address).await?;
        addresses = others(registry, address).map(|other| other.to_string()).chain(addresses).collect();
    }
    publish(registry, address, addresses).await
}

/// The server goes: its address is no longer given to anybody.
pub async fn leave(registry: &Registry) -> Result<(), Status> {
    let address = registry.config().advertise_address;
    if !registry.store().is_shared() || address.is_loopback() || address.is_unspecified() {
        return Ok(());
    }
    master_leases::remove(registry, address).await?;
    let others: Vec<String> = others(registry, address).map(|other| other.to_string()).collect();
    // The last one leaves its address: whoever comes next puts it right, and nobody is helped by none at all.
    if others.is_empty() { Ok(()) } else { publish(registry, address, others).await }
}

/// The other servers that are there, of the family of this one's address.
fn others(registry: &Registry, own: IpAddr) -> impl Iterator<Item = IpAddr> {
    master_leases::addresses(registry)
        .into_iter()
        .filter(move |address| *address != own && address.is_ipv4() == own.is_ipv4())
}

async fn publish(registry: &Registry, address: IpAddr, mut addresses: Vec<String>) -> Result<(), Status> {
    addresses.sort();
    let port = registry.config().secure_port;
    let ports = json!([{ "name": "https", "port": port, "protocol": "TCP" }]);
    let endpoints = json!({
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            // The slice is written below; no controller is to mirror these.
            "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
        },
        "subsets": [{
            "addresses": addresses.iter().map(|address| json!({ "ip": address })).collect::<Vec<_>>(),
            "ports": ports,
        }],
    });
    apply(registry, "", "endpoints", endpoints, "/subsets").await?;
    let endpoint = |address: &String| json!({ "addresses": [address], "conditions": { "ready": true } });
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let slice = json!({
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": { "kubernetes.io/service-name": SERVICE },
        },
        "addressType": family,
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": ports,
    });
    apply(registry, "discovery.k8s.io", "endpointslices", slice, "/endpoints").await
}

/// Creates the object, or replaces it when what counts of it differs.
async fn apply(registry: &Registry, group: &str, plural: &str, mut object: Value, part: &str) -> Result<(), Status> {
    let Some((kind, _)) = api::find(group, "v1", plural) else { return Ok(()) };
    let Ok(current) = registry.get(kind, NAMESPACE, SERVICE) else {
        return ensure(registry, group, plural, object).await;
    };
    if plain(&current, part) == plain(&object, part) && plain(&current, "/ports") == plain(&object, "/ports") {
        return Ok(());
    }
    kind.default(&mut object)?;
    let whole = Part::WHOLE;
    let options = WriteOptions::default();
    registry.update(kind, NAMESPACE, SERVICE, whole, &mut Replace(object), &options, &NoAdmission).await?;
    Ok(())
}

/// A part of an object for comparison, whatever the order of its keys.
fn plain(object: &Value, pointer: &str) -> Option<Value> {
    let mut value = object.pointer(pointer).cloned()?;
    value.sort_all_objects();
    Some(value)
}
