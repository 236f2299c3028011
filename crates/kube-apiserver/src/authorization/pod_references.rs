//! What a pod uses of other objects by name, and which Secrets a PersistentVolume names.

use serde_json::Value;

use crate::registry::object;

const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
const CONTAINERS: [&str; 3] = ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"];
/// Volume types whose Secret is at `secretRef/name`.
const WITH_SECRET_REF: [&str; 7] = ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"];
/// The Secrets of a CSI volume that a kubelet needs; the others are its controller's.
const CSI_NODE_SECRETS: [&str; 3] = ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"];

/// The kinds of what a pod can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    Secret,
    ConfigMap,
    ServiceAccount,
    PersistentVolumeClaim,
    ResourceClaim,
}

/// Mirror pods stand for what a node runs by itself.
pub fn is_mirror(pod: &Value) -> bool {
    pod.pointer("/metadata/annotations").and_then(|annotations| annotations.get(MIRROR_ANNOTATION)).is_some()
}

/// Whether the pod names this object of its namespace.
pub fn uses(pod: &Value, used: Used, name: &str) -> bool {
    any(pod, used, &mut |found| found == name)
}

/// Whether the pod names any object of this kind.
pub fn uses_any(pod: &Value, used: Used) -> bool {
    any(pod, used, &mut |found| !found.is_empty())
}

fn any(pod: &Value, used: Used, accept: &mut dyn FnMut(&str) -> bool) -> bool {
    match used {
        Used::ServiceAccount => accept(object::text(pod, "/spec/serviceAccountName")),
        Used::Secret => {
            object::list(pod, "/spec/imagePullSecrets").iter().any(|secret| accept(object::text(secret, "/name")))
                || in_environment(pod, "/valueFrom/secretKeyRef/name", "/secretRef/name", accept)
                || object::list(pod, "/spec/volumes").iter().any(|volume| volume_secret(volume, accept))
        }
        Used::ConfigMap => {
            in_environment(pod, "/valueFrom/configMapKeyRef/name", "/configMapRef/name", accept)
                || object::list(pod, "/spec/volumes").iter().any(|volume| {
                    accept(object::text(volume, "/configMap/name"))
                        || projected(volume).any(|source| accept(object::text(source, "/configMap/name")))
                })
        }
        Used::PersistentVolumeClaim => object::list(pod, "/spec/volumes").iter().any(|volume| {
            let own = volume.get("ephemeral").is_some_and(Value::is_object);
            accept(object::text(volume, "/persistentVolumeClaim/claimName"))
                || (own && accept(&format!("{}-{}", object::name(pod), object::text(volume, "/name"))))
        }),
        Used::ResourceClaim => {
            let lists = ["/spec/resourceClaims", "/status/resourceClaimStatuses"];
            lists
                .iter()
                .flat_map(|list| object::list(pod, list))
                .any(|claim| accept(object::text(claim, "/resourceClaimName")))
                || accept(object::text(pod, "/status/extendedResourceClaimStatus/resourceClaimName"))
        }
    }
}

fn in_environment(pod: &Value, variable: &str, all: &str, accept: &mut dyn FnMut(&str) -> bool) -> bool {
    CONTAINERS.iter().flat_map(|list| object::list(pod, list)).any(|container| {
        object::list(container, "/env").iter().any(|env| accept(object::text(env, variable)))
            || object::list(container, "/envFrom").iter().any(|from| accept(object::text(from, all)))
    })
}

fn projected(volume: &Value) -> impl Iterator<Item = &Value> {
    object::list(volume, "/projected/sources").iter()
}

fn volume_secret(volume: &Value, accept: &mut dyn FnMut(&str) -> bool) -> bool {
    accept(object::text(volume, "/secret/secretName"))
        || accept(object::text(volume, "/azureFile/secretName"))
        || accept(object::text(volume, "/csi/nodePublishSecretRef/name"))
        || projected(volume).any(|source| accept(object::text(source, "/secret/name")))
        || WITH_SECRET_REF.iter().any(|kind| accept(object::text(volume, &format!("/{kind}/secretRef/name"))))
}

/// Whether a PersistentVolume names a Secret that a kubelet has to read. One without a namespace is in the claim's.
pub fn volume_names_secret(volume: &Value, namespace: &str, name: &str) -> bool {
    let claim_namespace = object::text(volume, "/spec/claimRef/namespace");
    let is = |found_namespace: &str, found: &str| {
        let found_namespace = if found_namespace.is_empty() { claim_namespace } else { found_namespace };
        found == name && found_namespace == namespace
    };
    let reference = |pointer: &str| {
        let part = |field: &str| object::text(volume, &format!("/spec/{pointer}/{field}"));
        is(part("namespace"), part("name"))
    };
    is(object::text(volume, "/spec/azureFile/secretNamespace"), object::text(volume, "/spec/azureFile/secretName"))
        || WITH_SECRET_REF.iter().any(|kind| reference(&format!("{kind}/secretRef")))
        || CSI_NODE_SECRETS.iter().any(|secret| reference(&format!("csi/{secret}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_uses_what_its_parts_name() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "serviceAccountName": "sa",
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "key"}}}],
                "envFrom": [{"configMapRef": {"name": "all"}}]}],
            "ephemeralContainers": [{"envFrom": [{"secretRef": {"name": "debug"}}]}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "file"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "ca"}}, {"secret": {"name": "inner"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "d", "ephemeral": {"volumeClaimTemplate": {}}},
                {"name": "e", "csi": {"nodePublishSecretRef": {"name": "csi"}}},
                {"name": "f", "rbd": {"secretRef": {"name": "rbd"}}}],
            "resourceClaims": [{"name": "x", "resourceClaimName": "gpu"}]},
            "status": {"resourceClaimStatuses": [{"name": "y", "resourceClaimName": "made"}]}});
        for secret in ["pull", "key", "debug", "file", "inner", "csi", "rbd"] {
            assert!(uses(&pod, Used::Secret, secret), "{secret}");
            assert!(!uses(&pod, Used::ConfigMap, secret), "{secret}");
        }
        assert!(uses(&pod, Used::ConfigMap, "all") && uses(&pod, Used::ConfigMap, "ca"));
        assert!(uses(&pod, Used::PersistentVolumeClaim, "data") && uses(&pod, Used::PersistentVolumeClaim, "p-d"));
        assert!(!uses(&pod, Used::PersistentVolumeClaim, "p-c"));
        assert!(uses(&pod, Used::ResourceClaim, "gpu") && uses(&pod, Used::ResourceClaim, "made"));
        assert!(uses(&pod, Used::ServiceAccount, "sa") && !uses(&pod, Used::ServiceAccount, "default"));
        assert!(!uses_any(&json!({"spec": {"containers": [{}]}}), Used::Secret));
    }

    #[test]
    fn volumes_name_the_secrets_of_their_claims_namespace_unless_they_say_otherwise() {
        let volume = json!({"spec": {"claimRef": {"namespace": "ns", "name": "c"},
            "csi": {"nodeStageSecretRef": {"namespace": "other", "name": "s"},
                "controllerPublishSecretRef": {"namespace": "other", "name": "t"}},
            "cephfs": {"secretRef": {"name": "ceph"}}}});
        assert!(volume_names_secret(&volume, "other", "s") && !volume_names_secret(&volume, "ns", "s"));
        assert!(!volume_names_secret(&volume, "other", "t"));
        assert!(volume_names_secret(&volume, "ns", "ceph"));
    }
}
