//! Which objects are a node's business: the pods bound to it and what they use, its volumes and slices.
//!
//! There is no graph to keep: a question reads the store's current index, so an answer is never older than the write
//! before it, and costs no memory between questions. A pod is looked into only when it is bound to the node, and only
//! when its bytes hold the name asked about, so a question costs about one comparison a pod of the namespace.
//!
//! Example: may node `n` read Secret `ns/s`? Yes when a pod of `ns` bound to `n` names it, or when a PersistentVolume
//! that is claimed by such a pod does.

use serde_json::Value;

use api::Kind;

use super::pod_references::{self, Used};
use crate::registry::{Attrs, Registry, keys, object};

/// The kinds of objects that a node may read when they are related to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Related {
    Pod,
    Secret,
    ConfigMap,
    ServiceAccount,
    PersistentVolumeClaim,
    PersistentVolume,
    ResourceClaim,
    ResourceSlice,
    VolumeAttachment,
}

pub trait NodeRelations: Send + Sync {
    fn related(&self, node: &str, kind: Related, namespace: &str, name: &str) -> bool;
}

/// The relations of the objects in the registry.
pub struct RegistryRelations {
    registry: Registry,
    pods: Option<&'static Kind>,
    volumes: Option<&'static Kind>,
    attachments: Option<&'static Kind>,
    slices: Option<&'static Kind>,
}

impl RegistryRelations {
    pub fn new(registry: Registry) -> Self {
        let find = |group, plural| api::find(group, "v1", plural).map(|(kind, _)| kind);
        Self {
            registry,
            pods: find("", "pods"),
            volumes: find("", "persistentvolumes"),
            attachments: find("storage.k8s.io", "volumeattachments"),
            slices: find("resource.k8s.io", "resourceslices"),
        }
    }

    /// Whether a pod of the namespace that is bound to the node uses the object.
    fn used_by_pod(&self, node: &str, namespace: &str, used: Used, name: &str) -> bool {
        let Some(kind) = self.pods else { return false };
        if namespace.is_empty() || name.is_empty() {
            return false;
        }
        let snapshot = self.registry.store().snapshot();
        let prefix = keys::namespace_prefix(kind, namespace);
        snapshot.range(&prefix, None).any(|entry| {
            entry.attrs(|entry| Attrs::of(kind, entry)).field("spec.nodeName") == node
                // The name of an ephemeral volume's claim is put together from two.
                && (used == Used::PersistentVolumeClaim || contains(&entry.value, name))
                && serde_json::from_slice::<Value>(&entry.value)
                    // What a mirror pod names, its node wrote itself.
                    .is_ok_and(|pod| !pod_references::is_mirror(&pod) && pod_references::uses(&pod, used, name))
        })
    }

    /// Whether the claim that a volume is bound to is used by a pod on the node.
    fn claimed(&self, node: &str, volume: &Value) -> bool {
        let claim = |field: &str| object::text(volume, &format!("/spec/claimRef/{field}"));
        self.used_by_pod(node, claim("namespace"), Used::PersistentVolumeClaim, claim("name"))
    }

    fn volume_names_secret(&self, node: &str, namespace: &str, name: &str) -> bool {
        let Some(kind) = self.volumes else { return false };
        let snapshot = self.registry.store().snapshot();
        let prefix = keys::prefix(kind);
        snapshot.range(&prefix, None).any(|entry| {
            contains(&entry.value, name)
                && serde_json::from_slice::<Value>(&entry.value).is_ok_and(|volume| {
                    pod_references::volume_names_secret(&volume, namespace, name) && self.claimed(node, &volume)
                })
        })
    }

    fn get(&self, kind: Option<&'static Kind>, namespace: &str, name: &str) -> Option<Value> {
        self.registry.get(kind?, namespace, name).ok()
    }

    /// Whether the object of this kind names the node there.
    fn names_node(&self, kind: Option<&'static Kind>, namespace: &str, name: &str, node: &str) -> bool {
        self.get(kind, namespace, name).is_some_and(|object| object::text(&object, "/spec/nodeName") == node)
    }
}

fn contains(bytes: &[u8], name: &str) -> bool {
    !name.is_empty() && bytes.windows(name.len()).any(|window| window == name.as_bytes())
}

impl NodeRelations for RegistryRelations {
    fn related(&self, node: &str, kind: Related, namespace: &str, name: &str) -> bool {
        match kind {
            Related::Pod => self.names_node(self.pods, namespace, name, node),
            Related::Secret => {
                self.used_by_pod(node, namespace, Used::Secret, name) || self.volume_names_secret(node, namespace, name)
            }
            Related::ConfigMap => self.used_by_pod(node, namespace, Used::ConfigMap, name),
            Related::ServiceAccount => self.used_by_pod(node, namespace, Used::ServiceAccount, name),
            Related::PersistentVolumeClaim => self.used_by_pod(node, namespace, Used::PersistentVolumeClaim, name),
            Related::ResourceClaim => self.used_by_pod(node, namespace, Used::ResourceClaim, name),
            Related::PersistentVolume => {
                self.get(self.volumes, "", name).is_some_and(|volume| self.claimed(node, &volume))
            }
            Related::VolumeAttachment => self.names_node(self.attachments, "", name, node),
            Related::ResourceSlice => self.names_node(self.slices, "", name, node),
        }
    }
}
