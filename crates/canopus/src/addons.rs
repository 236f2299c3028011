//! What a cluster brings along beyond upstream's API server: the Service through which its DNS is reached. Written again at
//! each start, so that what was damaged comes back. The DNS server needs no rights of its own: it reads Services and their
//! endpoints through the service proxy's caches.

use anyhow::{Context, Result};
use kube::Client;
use serde_json::{Value, json};

use crate::plan::NodePlan;

/// Makes the Service of the cluster's DNS and the endpoint slice of this node's server.
pub async fn ensure_dns(client: &Client, node: &NodePlan) -> Result<()> {
    let labels =
        json!({"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"});
    ensure(
        client,
        "/api/v1/namespaces/kube-system/services",
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
            "spec": {"clusterIP": node.cluster_dns, "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": node.dns_port},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": node.dns_port},
            ]},
        }),
    )
    .await?;
    let name = format!("kube-dns-{}", node.name);
    ensure(
        client,
        "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices",
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": name, "namespace": "kube-system", "labels": {
                "kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "canopus",
            }},
            "addressType": "IPv4",
            "ports": [
                {"name": "dns", "port": node.dns_port, "protocol": "UDP"},
                {"name": "dns-tcp", "port": node.dns_port, "protocol": "TCP"},
            ],
            "endpoints": [{"addresses": [node.address], "nodeName": node.name, "conditions": {"ready": true}}],
        }),
    )
    .await
}

/// Makes an object, or merges it into the one that is there.
async fn ensure(client: &Client, collection: &str, object: Value) -> Result<()> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let body = object.to_string().into_bytes();
    let patch = http::Request::patch(format!("{collection}/{name}"))
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(body.clone())?;
    let result = match client.request::<Value>(patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            let create =
                http::Request::post(collection).header(http::header::CONTENT_TYPE, "application/json").body(body)?;
            client.request::<Value>(create).await
        }
        other => other,
    };
    result.map(drop).with_context(|| format!("failed to make {collection}/{name}"))
}
