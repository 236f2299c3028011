//! Volumes behind claims: the claim must be bound, its volume must say the same and be one that this node can reach.
//! Volumes of the host are used as they are, local ones are mounted below the pod.

use std::{
    fs,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use kube::Api;
use nix::mount::{MsFlags, mount};

use super::{VolumeError, blocking, directories, ownership};
use crate::{admission, objects::message, pod::PodExt};

/// Where the volume behind a claim is from now on.
pub async fn set_up(
    client: &kube::Client,
    pod: &Pod,
    volume: &Volume,
    node: Option<&Node>,
    pod_dir: &Path,
) -> Result<PathBuf, VolumeError> {
    let claim = client::volumes::claim_name(pod, volume).unwrap_or_default();
    let found = find(client, pod.namespace(), &claim).await;
    let found = found.map_err(|why| VolumeError::Process {
        volume: volume.name.clone(),
        message: format!("error processing PVC {}/{claim}: {why}", pod.namespace()),
    })?;
    let name = found.metadata.name.unwrap_or_default();
    let spec = found.spec.unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        let message = format!("volume {} has volumeMode Block, but is specified in volumeMounts", volume.name);
        return Err(VolumeError::Process { volume: volume.name.clone(), message });
    }
    let required = spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
    if let (Some(required), Some(node)) = (required, node)
        && !admission::admits(&required.node_selector_terms, node)
    {
        return Err(VolumeError::NodeAffinity { volume: name });
    }
    let set_up = |message| VolumeError::SetUp { volume: name.clone(), message };
    if let Some(source) = spec.host_path {
        return blocking(move || directories::host_path(&source)).await.map_err(set_up);
    }
    if let Some(source) = spec.local {
        let source = PathBuf::from(source.path);
        if !source.exists() {
            let message = format!("path {:?} does not exist", source.display().to_string());
            return Err(VolumeError::NewMounter { volume: name, message });
        }
        let target = pod_dir.join("volumes/kubernetes.io~local-volume").join(&name);
        let read_only = volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.read_only == Some(true));
        let group = ownership::Group::of(pod).filter(|_| !read_only);
        return blocking(move || local(&source, &target, read_only, group).map(|()| target)).await.map_err(set_up);
    }
    Err(set_up(match spec.csi {
        Some(csi) => format!("driver name {} not found in the list of registered CSI drivers", csi.driver),
        None => "this kind of volume is not supported by this node".to_owned(),
    }))
}

/// The volume that a claim is bound to.
async fn find(client: &kube::Client, namespace: &str, name: &str) -> Result<PersistentVolume, String> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let claim = claims.get(name).await;
    let claim = claim.map_err(|error| format!("failed to fetch PVC from API server: {}", message(&error)))?;
    if claim.metadata.deletion_timestamp.is_some() {
        return Err("PVC is being deleted".to_owned());
    }
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
        return Err("PVC is not bound".to_owned());
    }
    let volume = client::volumes::volume_name(&claim);
    if volume.is_empty() {
        return Err("PVC has empty pvc.Spec.VolumeName".to_owned());
    }
    let found: Result<PersistentVolume, _> = Api::all(client.clone()).get(volume).await;
    let found = found.map_err(|error| format!("failed to fetch PV {volume} from API server: {}", message(&error)))?;
    match (client::volumes::claim_ref(&found), &claim.metadata.uid) {
        (None, _) => Err(format!(
            "found PV object {volume} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        )),
        (Some(reference), uid) if reference.uid != *uid => Err(format!(
            "found PV object {volume} but its pv.Spec.ClaimRef.UID {} does not point to claim.UID {}",
            reference.uid.as_deref().unwrap_or_default(),
            uid.as_deref().unwrap_or_default()
        )),
        _ => Ok(found),
    }
}

/// Mounts a directory of the machine; what is mounted already stays so.
fn local(source: &Path, target: &Path, read_only: bool, group: Option<ownership::Group>) -> Result<(), String> {
    if !source.is_dir() {
        return Err(format!("{} is not a directory, and devices are not supported by this node", source.display()));
    }
    if directories::mounts_below(target).iter().any(|path| path == target) {
        return Ok(());
    }
    if let Some(group) = group {
        ownership::give(source, &group)?;
    }
    fs::create_dir_all(target).map_err(|error| format!("failed to create {}: {error}", target.display()))?;
    let bind = |flags: MsFlags, what: &str| {
        mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>)
            .map_err(|error| format!("failed to {what} {}: {error}", source.display()))
    };
    bind(MsFlags::MS_REC, "mount")?;
    if read_only { bind(MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, "make read-only") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::fake::FakeServer;
    use serde_json::{Value, json};

    const CLAIMS: &str = "/api/v1/namespaces/n/persistentvolumeclaims";
    const VOLUMES: &str = "/api/v1/persistentvolumes";

    fn pod() -> (Pod, Volume) {
        let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": "c", "readOnly": true}});
        let pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"volumes": [volume], "containers": []}});
        (serde_json::from_value(pod).unwrap(), serde_json::from_value(volume).unwrap())
    }

    async fn attempt(server: &FakeServer, pod_dir: &Path) -> Result<PathBuf, String> {
        let (pod, volume) = pod();
        let node: Node =
            serde_json::from_value(json!({"metadata": {"name": "here", "labels": {"zone": "1"}}})).unwrap();
        let set_up = set_up(&server.client(), &pod, &volume, Some(&node), pod_dir).await;
        set_up.map_err(|error| error.to_string())
    }

    fn put(server: &FakeServer, collection: &str, object: Value) {
        server.put(collection, object);
    }

    #[tokio::test]
    async fn a_claim_must_be_bound_to_a_volume_that_can_be_reached() {
        let server = FakeServer::new();
        let dir = tempfile::tempdir().unwrap();
        let unprocessed = |why: &str| {
            Err(format!(
                "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process volumes=[data]: error processing PVC n/c: {why}"
            ))
        };
        let missing = attempt(&server, dir.path()).await.unwrap_err();
        assert!(missing.contains("error processing PVC n/c: failed to fetch PVC from API server: "), "{missing}");

        let claim = |phase: &str, more: Value| {
            let mut claim = json!({"metadata": {"name": "c", "namespace": "n", "uid": "claim"},
                "spec": {"volumeName": "v"}, "status": {"phase": phase}});
            claim["metadata"]["deletionTimestamp"] = more;
            claim
        };
        put(&server, CLAIMS, claim("Pending", Value::Null));
        assert_eq!(attempt(&server, dir.path()).await, unprocessed("PVC is not bound"));
        put(&server, CLAIMS, claim("Bound", json!("2026-01-01T00:00:00Z")));
        assert_eq!(attempt(&server, dir.path()).await, unprocessed("PVC is being deleted"));
        put(&server, CLAIMS, claim("Bound", Value::Null));

        let volume = |uid: &str, spec: Value| {
            let mut volume = json!({"metadata": {"name": "v"}, "spec": spec});
            volume["spec"]["claimRef"] = json!({"namespace": "n", "name": "c", "uid": uid});
            volume
        };
        let host = json!({"hostPath": {"path": dir.path()}});
        put(&server, VOLUMES, volume("other", host.clone()));
        let other = "found PV object v but its pv.Spec.ClaimRef.UID other does not point to claim.UID claim";
        assert_eq!(attempt(&server, dir.path()).await, unprocessed(other));
        put(&server, VOLUMES, volume("claim", host.clone()));
        assert_eq!(attempt(&server, dir.path()).await, Ok(dir.path().to_owned()));

        let mut elsewhere = host;
        let demand = json!({"key": "zone", "operator": "In", "values": ["2"]});
        elsewhere["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [demand]}]}});
        put(&server, VOLUMES, volume("claim", elsewhere));
        let affinity = "MountVolume.NodeAffinity check failed for volume \"v\" : no matching NodeSelectorTerms";
        assert_eq!(attempt(&server, dir.path()).await, Err(affinity.to_owned()));

        put(&server, VOLUMES, volume("claim", json!({"local": {"path": "/does/not/exist"}})));
        let missing =
            "MountVolume.NewMounter initialization failed for volume \"v\" : path \"/does/not/exist\" does not exist";
        assert_eq!(attempt(&server, dir.path()).await, Err(missing.to_owned()));
        put(&server, VOLUMES, volume("claim", json!({"csi": {"driver": "d.example.com", "volumeHandle": "h"}})));
        let csi = "MountVolume.SetUp failed for volume \"v\" : driver name d.example.com not found in the list of registered CSI drivers";
        assert_eq!(attempt(&server, dir.path()).await, Err(csi.to_owned()));
    }

    #[tokio::test]
    async fn a_local_volume_is_mounted_below_the_pod_and_unmounted_with_it() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: only root can mount");
            return;
        }
        let server = FakeServer::new();
        let dir = tempfile::tempdir().unwrap();
        let (source, pod_dir) = (dir.path().join("disk"), dir.path().join("pod"));
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("file"), "kept").unwrap();
        put(
            &server,
            CLAIMS,
            json!({"metadata": {"name": "c", "namespace": "n", "uid": "claim"},
            "spec": {"volumeName": "v"}, "status": {"phase": "Bound"}}),
        );
        put(
            &server,
            VOLUMES,
            json!({"metadata": {"name": "v"}, "spec": {"local": {"path": source},
            "claimRef": {"namespace": "n", "name": "c", "uid": "claim"}}}),
        );
        let path = attempt(&server, &pod_dir).await.unwrap();
        assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "kept");
        assert!(fs::write(path.join("new"), "").is_err(), "the claim is used read-only");
        assert_eq!(attempt(&server, &pod_dir).await.as_ref(), Ok(&path));
        directories::remove_pod_dir(&pod_dir).unwrap();
        assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "kept");
    }
}
