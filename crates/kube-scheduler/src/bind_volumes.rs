//! Binding a pod's claims before the pod itself: volumes are set aside for their claims, provisioners are told the node,
//! and then the volume binder's work is waited for.

use std::sync::Arc;
use std::time::Duration;

use client::volumes::{BOUND_BY_CONTROLLER, SELECTED_NODE, is_bound_to, is_complete, volume_name};
use client::{Key, Object, Store, annotation};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use crate::affinity::Terms;
use crate::storage::Choice;

/// How long volumes may take to be bound or made.
const PATIENCE: Duration = Duration::from_secs(600);

/// Carries out what was chosen.
#[derive(Clone)]
pub struct VolumeWriter {
    pub client: Client,
    pub claims: Arc<Store<PersistentVolumeClaim>>,
    pub volumes: Arc<Store<PersistentVolume>>,
}

impl VolumeWriter {
    /// Binds the claims of a pod that goes to `node`; why not, if that fails.
    pub async fn bind(&self, choice: &Choice, node: &str, labels: &Labels) -> Result<(), String> {
        for (volume, claim) in &choice.bindings {
            self.set_aside(volume, claim).await?;
        }
        for claim in &choice.provisions {
            self.select_node(claim, node).await?;
        }
        match tokio::time::timeout(PATIENCE, self.until_bound(choice, node, labels)).await {
            Ok(bound) => bound,
            Err(_) => Err(format!("timed out waiting for the volumes to be bound after {} s", PATIENCE.as_secs())),
        }
    }

    async fn set_aside(&self, volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), String> {
        if is_bound_to(volume, claim) {
            return Ok(());
        }
        let meta = volume.meta_ref();
        let patch = json!({
            "metadata": {"uid": meta.uid, "resourceVersion": volume.metadata.resource_version,
                "annotations": {BOUND_BY_CONTROLLER: "yes"}},
            "spec": {"claimRef": client::plan::reference_to(claim)},
        });
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        patched(api.patch(meta.name, &PatchParams::default(), &Patch::<Value>::Merge(patch)).await)
            .map_err(|error| format!("failed to set aside volume \"{}\": {error}", meta.name))
    }

    async fn select_node(&self, claim: &PersistentVolumeClaim, node: &str) -> Result<(), String> {
        if annotation(&claim.metadata, SELECTED_NODE) == Some(node) {
            return Ok(());
        }
        let meta = claim.meta_ref();
        let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": claim.metadata.resource_version,
            "annotations": {SELECTED_NODE: node}}});
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), meta.namespace);
        patched(api.patch(meta.name, &PatchParams::default(), &Patch::<Value>::Merge(patch)).await)
            .map_err(|error| format!("failed to select the node of claim \"{}\": {error}", claim.key()))
    }

    async fn until_bound(&self, choice: &Choice, node: &str, labels: &Labels) -> Result<(), String> {
        let mut names = Vec::new();
        for claim in choice.claims() {
            let asked = choice.provisions.iter().any(|asked| Arc::ptr_eq(asked, claim));
            let mut outcome = Err(String::new());
            let mut was_selected = false;
            self.claims
                .wait_for(|claims| {
                    let now = claims.get(&claim.key()).filter(|now| now.metadata.uid == claim.metadata.uid);
                    let Some(now) = now else {
                        outcome = Err(format!("persistentvolumeclaim \"{}\" was deleted", claim.key()));
                        return true;
                    };
                    // A provisioner that cannot serve the node takes the annotation away again.
                    let selected = annotation(&now.metadata, SELECTED_NODE);
                    was_selected |= selected == Some(node);
                    if asked && was_selected && selected != Some(node) {
                        outcome = Err(format!("selectedNode annotation reset for PVC \"{}\"", claim.meta_ref().name));
                        return true;
                    }
                    outcome = Ok(volume_name(now).to_owned());
                    is_complete(now)
                })
                .await;
            names.push(outcome?);
        }
        for name in names {
            self.volumes.wait_for(|volumes| volumes.get(&Key::cluster(&name)).is_some()).await;
            let volume = self.volumes.get(&Key::cluster(&name));
            let spec = volume.as_ref().and_then(|volume| volume.spec.as_ref());
            let required = spec.and_then(|spec| spec.node_affinity.as_ref()?.required.as_ref());
            if required.is_some_and(|required| !Terms::of(required).admit(node, labels)) {
                return Err(format!("pv \"{name}\" node affinity doesn't match node \"{node}\""));
            }
        }
        Ok(())
    }
}

/// The labels of the node.
type Labels = std::collections::BTreeMap<String, String>;

fn patched<K>(answer: kube::Result<K>) -> Result<(), String> {
    answer.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use client::fake::{FakeServer, until};
    use client::{Environment, Reflectors};
    use tokio_util::sync::CancellationToken;

    use super::*;

    const CLAIMS: &str = "/api/v1/namespaces/n/persistentvolumeclaims";
    const VOLUMES: &str = "/api/v1/persistentvolumes";

    fn put(server: &FakeServer, collection: &str, kind: &str, mut object: Value) -> Value {
        object["apiVersion"] = json!("v1");
        object["kind"] = json!(kind);
        server.put(collection, object)
    }

    #[tokio::test(start_paused = true)]
    async fn volumes_are_set_aside_nodes_are_named_and_the_binder_is_waited_for() {
        let server = FakeServer::new();
        let cancel = CancellationToken::new();
        let caches = Reflectors::new(server.client(), Environment::system(), cancel.clone());
        let writer = VolumeWriter { client: server.client(), claims: caches.store(), volumes: caches.store() };
        put(&server, VOLUMES, "PersistentVolume", json!({"metadata": {"name": "v"}}));
        for name in ["one", "two"] {
            put(&server, CLAIMS, "PersistentVolumeClaim", json!({"metadata": {"namespace": "n", "name": name}}));
        }
        writer.claims.wait_for(|claims| claims.len() == 2).await;
        writer.volumes.wait_for(|volumes| volumes.len() == 1).await;
        let claim = |name: &str| writer.claims.get(&Key::new("n", name)).unwrap();
        let choice = Choice {
            bindings: vec![(writer.volumes.get(&Key::cluster("v")).unwrap(), claim("one"))],
            provisions: vec![claim("two")],
        };
        let bind = || {
            let (writer, choice) = (writer.clone(), choice.clone());
            tokio::spawn(async move { writer.bind(&choice, "node", &Labels::new()).await })
        };
        let binding = bind();
        let selected =
            || server.get(&format!("{CLAIMS}/two")).unwrap()["metadata"]["annotations"][SELECTED_NODE].clone();
        until("both are written", || selected() == "node").await;
        let volume = server.get(&format!("{VOLUMES}/v")).unwrap();
        assert_eq!(volume["spec"]["claimRef"]["name"], "one");
        assert_eq!(volume["metadata"]["annotations"][BOUND_BY_CONTROLLER], "yes");

        put(&server, VOLUMES, "PersistentVolume", json!({"metadata": {"name": "made"}}));
        for (name, volume) in [("one", "v"), ("two", "made")] {
            let mut claim = server.get(&format!("{CLAIMS}/{name}")).unwrap();
            claim["spec"]["volumeName"] = json!(volume);
            claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes");
            server.put(CLAIMS, claim);
        }
        assert_eq!(binding.await.unwrap(), Ok(()));

        // What is decided from an old view is refused.
        assert!(bind().await.unwrap().unwrap_err().starts_with("failed to set aside volume \"v\""));
        cancel.cancel();
    }
}
