//! The range that the server gives Services their addresses from, as a ServiceCIDR, and the repair of the IPAddresses of
//! Services: those of a store from before there were any, and what a write that ended halfway left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::Kind;
use api::networking::service_cidr;
use machinery::status::Status;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::etcd::node_ports;
use crate::registry::strategies::addresses;
use crate::registry::{NoAdmission, Registry, WriteOptions, now, object};
use crate::{InProcess, Server, own_client};

const KIND: &Kind = &service_cidr::KIND;
const MANAGER: &str = "kubernetes-service-cidr-controller";
const REPAIR_EVERY: Duration = Duration::from_secs(180);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Brings all in order, and keeps it so until the server ends.
pub async fn start(server: Arc<Server>) -> Result<(), Status> {
    keep_range(&server.registry, &server.own_client()).await?;
    addresses::repair(&server.registry).await?;
    if server.registry.store().is_shared() {
        node_ports::repair(&server.registry, &BTreeSet::new()).await?;
    }
    tokio::spawn(async move {
        let shutdown = server.shutdown.clone();
        shutdown.run_until_cancelled(keep(server)).await
    });
    Ok(())
}

async fn keep(server: Arc<Server>) {
    let (registry, client) = (&server.registry, server.own_client());
    let mut due = Instant::now() + REPAIR_EVERY;
    let mut suspects = BTreeSet::new();
    loop {
        let revision = registry.store().revision();
        let kept = keep_range(registry, &client).await;
        let is_shared = registry.store().is_shared();
        match kept {
            Ok(()) => {
                tokio::select! {
                    _ = tokio::time::timeout_at(due, registry.change_since(&[KIND], revision)) => {}
                    // Then others may hand out ports too.
                    () = registry.store().moved(is_shared) => due = Instant::now(),
                }
            }
            Err(status) => {
                tracing::warn!(%status, "failed to keep the range of the Services' addresses");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
        if Instant::now() >= due {
            due = Instant::now() + REPAIR_EVERY;
            if let Err(status) = addresses::repair(registry).await {
                tracing::warn!(%status, "failed to repair the addresses of Services");
            }
            if registry.store().is_shared() {
                match node_ports::repair(registry, &suspects).await {
                    Ok(found) => suspects = found,
                    Err(status) => tracing::warn!(%status, "failed to repair the node ports of Services"),
                }
            }
        }
    }
}

/// The server's own range is there, and ready once nothing else was said about it.
async fn keep_range(registry: &Registry, client: &InProcess) -> Result<(), Status> {
    let cidr = &registry.config().service_cluster_ip_range;
    let Ok(range) = registry.get(KIND, "", service_cidr::DEFAULT) else {
        let range = json!({ "metadata": { "name": service_cidr::DEFAULT }, "spec": { "cidrs": [cidr] } });
        return match registry.create(KIND, "", range, &WriteOptions::default(), &NoAdmission).await {
            Err(status) if !status.is_already_exists() => Err(status),
            _ => set_ready(client).await,
        };
    };
    let is_known = object::list(&range, "/status/conditions").iter().any(|condition| condition["type"] == "Ready");
    if is_known || object::is_deleting(&range) {
        return Ok(());
    }
    if range.pointer("/spec/cidrs/0").and_then(Value::as_str) != Some(cidr) {
        tracing::warn!(%cidr, "the ServiceCIDR of the server has another range than the server");
        return Ok(());
    }
    set_ready(client).await
}

async fn set_ready(client: &InProcess) -> Result<(), Status> {
    let api_version = KIND.storage_api_version();
    let path = format!("/apis/{api_version}/{}/{}/status", KIND.plural, service_cidr::DEFAULT);
    let condition = json!({
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": object::time(now()),
        "reason": "",
        "message": "Kubernetes default Service CIDR is ready",
    });
    let range = json!({
        "apiVersion": api_version,
        "kind": KIND.kind,
        "metadata": { "name": service_cidr::DEFAULT },
        "status": { "conditions": [condition] },
    });
    match own_client::apply(client, &path, MANAGER, range).await {
        Err(status) if !(status.is_conflict() || status.is_not_found()) => Err(status),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{admin, call, call_with, server};

    const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";
    const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
    const SERVICES: &str = "/api/v1/namespaces/default/services";

    async fn get(server: &Arc<Server>, path: &str) -> (u16, Value) {
        call(server, admin(), "GET", path, "").await
    }

    async fn post(server: &Arc<Server>, path: &str, body: Value) -> (u16, Value) {
        call(server, admin(), "POST", path, &body.to_string()).await
    }

    async fn patch(server: &Arc<Server>, path: &str, patch: &str) -> (u16, Value) {
        let (code, _, body) = call_with(server, admin(), "PATCH", path, "application/merge-patch+json", patch).await;
        (code, body)
    }

    fn service(name: &str, address: &str) -> Value {
        let mut spec = json!({ "ports": [{ "port": 80 }] });
        if !address.is_empty() {
            spec["clusterIP"] = address.into();
        }
        json!({ "metadata": { "name": name }, "spec": spec })
    }

    #[tokio::test]
    async fn addresses_of_services_are_objects_of_their_own() {
        let (server, _pki) = server().await;
        let (_, range) = get(&server, &format!("{RANGES}/kubernetes")).await;
        assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/16"]));
        assert_eq!(range["status"]["conditions"][0]["status"], "True");
        let (_, own) = get(&server, &format!("{ADDRESSES}/10.96.0.1")).await;
        assert_eq!(own["spec"]["parentRef"]["name"], "kubernetes");

        let (code, made) = post(&server, SERVICES, service("s", "")).await;
        assert_eq!(code, 201, "{made}");
        let path = format!("{ADDRESSES}/{}", object::text(&made, "/spec/clusterIP"));
        let (_, address) = get(&server, &path).await;
        let parent = json!({ "resource": "services", "namespace": "default", "name": "s" });
        assert_eq!(address["spec"]["parentRef"], parent);
        assert_eq!(address["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"], "ipallocator.k8s.io");
        // A rehearsal and a refused write leave nothing behind.
        let (_, rehearsed) = post(&server, &format!("{SERVICES}?dryRun=All"), service("t", "10.96.9.9")).await;
        assert_eq!(rehearsed["spec"]["clusterIP"], "10.96.9.9");
        let (code, _) = post(&server, SERVICES, service("s", "10.96.9.9")).await;
        assert_eq!((code, get(&server, &format!("{ADDRESSES}/10.96.9.9")).await.0), (409, 404));

        let external =
            r#"{"spec": {"type": "ExternalName", "externalName": "a.example", "clusterIP": null, "clusterIPs": null}}"#;
        let (code, body) = patch(&server, &format!("{SERVICES}/s"), external).await;
        assert_eq!((code, get(&server, &path).await.0), (200, 404), "{body}");
        server.shutdown.cancel();
    }

    #[tokio::test]
    async fn an_address_that_somebody_else_wrote_down_is_taken() {
        let (server, _pki) = server().await;
        let other = json!({ "metadata": { "name": "10.96.8.8" },
            "spec": { "parentRef": { "group": "g.io", "resource": "gateways", "name": "g" } } });
        assert_eq!(post(&server, ADDRESSES, other).await.0, 201);
        let (code, refused) = post(&server, SERVICES, service("s", "10.96.8.8")).await;
        assert_eq!(code, 422);
        let message = object::text(&refused, "/message");
        assert!(message.ends_with("failed to allocate IP 10.96.8.8: provided IP is already allocated"), "{message}");
        assert_eq!(call(&server, admin(), "DELETE", &format!("{ADDRESSES}/10.96.8.8"), "").await.0, 200);
        assert_eq!(post(&server, SERVICES, service("s", "10.96.8.8")).await.0, 201);
        server.shutdown.cancel();
    }

    #[tokio::test]
    async fn a_second_range_gives_addresses_once_it_is_ready() {
        let (server, _pki) = server().await;
        let range = json!({ "metadata": { "name": "more" }, "spec": { "cidrs": ["192.168.77.0/24"] } });
        assert_eq!(post(&server, RANGES, range).await.0, 201);
        let (code, refused) = post(&server, SERVICES, service("s", "192.168.77.7")).await;
        assert_eq!(code, 422, "{refused}");
        let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True", "reason": "", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" }] } });
        let (code, body) = patch(&server, &format!("{RANGES}/more/status"), &ready.to_string()).await;
        assert_eq!(code, 200, "{body}");
        assert_eq!(post(&server, SERVICES, service("s", "192.168.77.7")).await.0, 201);
        server.shutdown.cancel();
    }

    #[tokio::test]
    async fn what_lacks_is_made_and_what_is_left_over_goes() {
        let (server, _pki) = server().await;
        assert_eq!(post(&server, SERVICES, service("s", "10.96.5.5")).await.0, 201);
        assert_eq!(call(&server, admin(), "DELETE", &format!("{ADDRESSES}/10.96.5.5"), "").await.0, 200);
        let left = json!({ "metadata": { "name": "10.96.5.6", "labels": {
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io" } },
            "spec": { "parentRef": { "resource": "services", "namespace": "default", "name": "gone" } } });
        assert_eq!(post(&server, ADDRESSES, left).await.0, 201);
        addresses::repair(&server.registry).await.unwrap();
        assert_eq!(get(&server, &format!("{ADDRESSES}/10.96.5.5")).await.0, 200);
        assert_eq!(get(&server, &format!("{ADDRESSES}/10.96.5.6")).await.0, 404);
        // The Service still holds its address.
        assert_eq!(post(&server, SERVICES, service("t", "10.96.5.5")).await.0, 422);
        server.shutdown.cancel();
    }
}
