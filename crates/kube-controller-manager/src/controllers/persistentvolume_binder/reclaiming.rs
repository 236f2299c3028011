//! What becomes of a released volume: it stays, goes with what is behind it, or is scrubbed and free again.

use std::path::{Component, Path};
use std::sync::Arc;

use client::volumes::{bound_uid, claim_names, claim_ref};
use client::{ApiError, EventType, Intent, Key, Note, Object, Outside, Plan, View, annotation, request};
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};

use super::binding::{set_volume_phase, unbind};
use super::migration::{FINALIZER, MIGRATED_TO};
use super::provisioning::PROVISIONED_BY;
use super::recycler::Progress;
use super::volumes::{phase, policy};
use super::{Options, live};
use crate::pods;

/// What came of deleting a directory.
struct Deleted(Result<(), String>);

/// Who deletes what is behind a volume.
#[derive(Debug, PartialEq)]
enum Deleter {
    /// A provisioner outside.
    Outside,
    /// The binder, below /tmp of its own machine.
    Host(String),
    /// Nobody, and why.
    Nobody(String),
}

/// Plans for a released volume.
pub fn reclaim(options: &Options, view: &View, volume: &PersistentVolume, plan: &mut Plan) {
    if annotation(&volume.metadata, MIGRATED_TO).is_some() {
        return;
    }
    match policy(volume) {
        "Retain" => {}
        "Delete" => match deleter(volume) {
            Deleter::Outside => {}
            Deleter::Nobody(why) => fail(options, volume, plan, "VolumeFailedDelete", &why),
            Deleter::Host(_) => match view.extra::<Deleted>().map(|deleted| deleted.0.clone()) {
                Some(Ok(())) => remove(volume, plan),
                Some(Err(why)) => fail(options, volume, plan, "VolumeFailedDelete", &why),
                None => plan.look_again_in(options.sync_period),
            },
        },
        "Recycle" => recycle(options, view, volume, plan),
        _ => {
            let why = "Volume has unrecognized PersistentVolumeReclaimPolicy";
            fail(options, volume, plan, "VolumeUnknownReclaimPolicy", why);
        }
    }
}

/// Says once what is wrong, and tries again later.
fn fail(options: &Options, volume: &PersistentVolume, plan: &mut Plan, reason: &'static str, message: &str) {
    if set_volume_phase(plan, volume, "Failed", message) {
        plan.event(Note::about(volume, EventType::Warning, reason, message));
    }
    plan.look_again_in(options.sync_period);
}

fn remove(volume: &PersistentVolume, plan: &mut Plan) {
    let mut volume = volume.clone();
    let finalizers = volume.metadata.finalizers.get_or_insert_default();
    let before = finalizers.len();
    finalizers.retain(|own| own != FINALIZER);
    if finalizers.len() < before {
        plan.write(Intent::update(&volume));
    }
    if volume.metadata.deletion_timestamp.is_none() {
        plan.write(Intent::delete(&volume));
    }
}

fn deleter(volume: &PersistentVolume) -> Deleter {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let spec = volume.spec.clone().unwrap_or_default();
    match annotation(&volume.metadata, PROVISIONED_BY).filter(|provisioner| !provisioner.is_empty()) {
        Some("kubernetes.io/host-path") | None => {}
        Some("kubernetes.io/nfs" | "kubernetes.io/local-volume") => {
            return Deleter::Nobody("no deletable volume plugin matched".to_owned());
        }
        Some(provisioner) if provisioner.starts_with("kubernetes.io/") => {
            return Deleter::Nobody(format!("no volume plugin matched name: {provisioner}"));
        }
        Some(_) => return Deleter::Outside,
    }
    if let Some(host) = spec.host_path {
        return match is_below_tmp(&host.path) {
            true => Deleter::Host(host.path),
            false => {
                Deleter::Nobody(format!("host_path deleter only supports /tmp/.+ but received provided {}", host.path))
            }
        };
    }
    let why = match spec.nfs.is_some() || spec.local.is_some() {
        true => "no deletable volume plugin matched",
        false => "no volume plugin matched",
    };
    Deleter::Nobody(format!("error getting deleter volume plugin for volume \"{name}\": {why}"))
}

fn is_below_tmp(path: &str) -> bool {
    let steps = Path::new(path).strip_prefix("/tmp").map(|below| below.components().collect::<Vec<_>>());
    steps.is_ok_and(|steps| !steps.is_empty() && steps.iter().all(|step| matches!(step, Component::Normal(_))))
}

/// Deletes what is behind a volume on this machine, and puts into the view what came of it. The server itself must say
/// that the volume has not changed: data does not come back.
pub async fn delete_on_host(outside: &Outside, key: &Key, view: &mut View) -> Result<(), ApiError> {
    let volumes = view.of::<PersistentVolume>();
    let Some(volume) = volumes.get(key) else { return Ok(()) };
    let is_released = matches!(phase(volume), "Released" | "Failed") && bound_uid(volume).is_some();
    if !is_released || policy(volume) != "Delete" || live::claim_of(view, volume).is_some() {
        return Ok(());
    }
    let Deleter::Host(path) = deleter(volume) else { return Ok(()) };
    let live = format!("/api/v1/persistentvolumes/{}", key.name);
    let live = request::get::<PersistentVolume>(&outside.client, &live).await?;
    if live.metadata.resource_version != volume.metadata.resource_version {
        return Ok(());
    }
    let deleted = tokio::task::spawn_blocking(move || delete_tree(Path::new(&path))).await;
    let deleted = deleted.map_err(|error| error.to_string()).and_then(|deleted| deleted);
    view.put(Arc::new(Deleted(deleted)));
    Ok(())
}

fn delete_tree(path: &Path) -> Result<(), String> {
    let deleted = match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match deleted {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("failed to delete {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn recycle(options: &Options, view: &View, volume: &PersistentVolume, plan: &mut Plan) {
    let spec = volume.spec.clone().unwrap_or_default();
    let recycler = match (&spec.host_path, &spec.nfs) {
        (Some(_), _) => &options.recycler_hostpath,
        (_, Some(_)) => &options.recycler_nfs,
        _ => return fail(options, volume, plan, "VolumeFailedRecycle", "No recycler plugin found for the volume!"),
    };
    let users = users(view, volume);
    if !users.is_empty() {
        let message = format!("Volume is used by pods: {}", users.join(","));
        plan.event(Note::about(volume, EventType::Normal, "VolumeFailedRecycle", message));
        plan.look_again_in(options.sync_period);
        return;
    }
    match recycler.progress(view, volume) {
        Progress::ToDo(pod) => plan.write(Intent::create(&*pod)),
        Progress::Running => plan.because("the volume is being scrubbed"),
        Progress::Failed(pod, why) => {
            plan.write(Intent::delete(&*pod));
            fail(options, volume, plan, "VolumeFailedRecycle", &format!("Recycle failed: {why}"));
        }
        Progress::Done(pod) => {
            plan.write(Intent::delete(&*pod));
            plan.event(Note::about(volume, EventType::Normal, "VolumeRecycled", "Volume recycled"));
            unbind(plan, volume);
        }
    }
}

/// The pods that still use the claim that the volume was bound to.
fn users(view: &View, volume: &PersistentVolume) -> Vec<String> {
    let Some(reference) = claim_ref(volume) else { return Vec::new() };
    let pods = view.of::<Pod>();
    let users = pods
        .namespace(reference.namespace.as_deref().unwrap_or_default())
        .filter(|pod| !pods::is_terminal(pod) && claim_names(pod).any(|name| Some(name) == reference.name));
    users.map(|pod| pod.key().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::object;
    use serde_json::{Value, json};

    fn by(provisioner: &str, source: Value) -> Deleter {
        let annotations = if provisioner.is_empty() { json!({}) } else { json!({ PROVISIONED_BY: provisioner }) };
        let metadata = json!({"name": "v", "namespace": "", "annotations": annotations});
        deleter(&object(json!({"metadata": metadata, "spec": source})))
    }

    #[test]
    fn who_deletes_is_who_made_it_or_who_knows_its_kind() {
        let host = |path: &str| json!({"hostPath": {"path": path}});
        assert_eq!(by("driver.example.com", host("/tmp/x")), Deleter::Outside);
        assert_eq!(by("", host("/tmp/x")), Deleter::Host("/tmp/x".to_owned()));
        for path in ["/data", "/tmp", "/tmp/", "/tmp/../etc", "/var/tmp/x", "/tmpx/y"] {
            let why = format!("host_path deleter only supports /tmp/.+ but received provided {path}");
            assert_eq!(by("", host(path)), Deleter::Nobody(why));
        }
        let nobody = |source: Value, provisioner: &str| match by(provisioner, source) {
            Deleter::Nobody(why) => why,
            other => panic!("{other:?}"),
        };
        let local = json!({"local": {"path": "/x"}});
        let prefix = "error getting deleter volume plugin for volume \"v\": ";
        assert_eq!(nobody(local, ""), format!("{prefix}no deletable volume plugin matched"));
        let csi = json!({"csi": {"driver": "d", "volumeHandle": "h"}});
        assert_eq!(nobody(csi.clone(), ""), format!("{prefix}no volume plugin matched"));
        assert_eq!(nobody(csi, "kubernetes.io/flocker"), "no volume plugin matched name: kubernetes.io/flocker");
    }

    #[test]
    fn a_tree_is_deleted_with_everything_in_it_and_what_is_missing_is_no_failure() {
        let path = std::env::temp_dir().join(format!("reclaimed-{}", std::process::id()));
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        std::fs::write(path.join("a/file"), "x").unwrap();
        assert_eq!(delete_tree(&path), Ok(()));
        assert!(!path.exists());
        assert_eq!(delete_tree(&path), Ok(()));
        assert!(delete_tree(Path::new("/proc/self/status")).is_err());
    }
}
