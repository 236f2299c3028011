//! The node's lease: the sign of life that costs least. Renewed every ten seconds, good for forty.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
};
use kube::api::{Api, Patch, PatchParams, PostParams};

use crate::{kubelet::Kubelet, objects::message};

const NAMESPACE: &str = "kube-node-lease";

/// Renews the lease, for ever.
pub async fn run(kubelet: Arc<Kubelet>) {
    let api: Api<Lease> = Api::namespaced(kubelet.client.clone(), NAMESPACE);
    // Without its node a lease would have no owner and never be cleaned up.
    let mut node = kubelet.node.clone();
    if node.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let mut failures = 0u32;
    loop {
        match renew(&kubelet, &api).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::warn!(error = %message(&error), "failed to renew the node's lease");
            }
        }
        let retry = Duration::from_millis(200 * (1 << failures.min(5)));
        let interval = kubelet.config.lease_renew_interval;
        tokio::time::sleep(if failures == 0 { interval } else { retry.min(interval) }).await;
    }
}

async fn renew(kubelet: &Kubelet, api: &Api<Lease>) -> Result<(), kube::Error> {
    let name = kubelet.config.node_name.as_str();
    let now = MicroTime(Timestamp::now());
    let patch = serde_json::json!({"spec": {"renewTime": now, "holderIdentity": name}});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        other => return other.map(drop),
    }
    let owner = kubelet.node.borrow().as_ref().map(|node| OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.into(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..Default::default()
    });
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some(NAMESPACE.into()),
            owner_references: owner.map(|owner| vec![owner]),
            ..Default::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.into()),
            lease_duration_seconds: i32::try_from(kubelet.config.lease_duration.as_secs()).ok(),
            renew_time: Some(now),
            ..Default::default()
        }),
    };
    api.create(&PostParams::default(), &lease).await.map(drop)
}
