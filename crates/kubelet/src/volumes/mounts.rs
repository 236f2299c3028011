//! A container's mounts: its volumes, its hosts file, its place for last words.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{Paths, subpath};
use crate::{cri::v1, pod::env};

/// What mounts are made from.
pub struct Inputs<'a> {
    /// The pod's directory.
    pub pod_dir: &'a Path,
    /// Host paths of the pod's volumes.
    pub volumes: &'a Paths,
    /// The container's environment, for subPathExpr.
    pub env: &'a [(String, String)],
    /// The pod's hosts file; none if the pod has no network of its own to name.
    pub hosts: Option<String>,
    /// Tells this start of the container from others.
    pub attempt: u32,
}

/// Makes what must exist on the host and lists the mounts.
pub fn build(pod: &Pod, container: &Container, inputs: &Inputs<'_>) -> Result<Vec<v1::Mount>, String> {
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = inputs.volumes.get(&mount.name).ok_or(format!("volume {:?} is not mounted", mount.name))?;
        let lookup = |name: &str| inputs.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let sub_path = match (&mount.sub_path_expr, &mount.sub_path) {
            (Some(text), _) if !text.is_empty() => Some(env::expand(text, lookup)),
            (_, Some(path)) if !path.is_empty() => Some(path.clone()),
            _ => None,
        };
        let host_path = match sub_path {
            Some(sub_path) => {
                let dir = inputs.pod_dir.join("volume-subpaths").join(&mount.name).join(&container.name);
                // Each start of a container gets its own: the file behind an old one may have been replaced.
                let target = dir.join(format!("{index}.{}", inputs.attempt));
                subpath::bind(volume, &sub_path, &target)?;
                subpath::release_others(&dir, index, &target);
                target
            }
            None => volume.clone(),
        };
        let propagation = match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
            Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
            _ => v1::MountPropagation::PropagationPrivate,
        };
        mounts.push(v1::Mount {
            container_path: absolute(&mount.mount_path),
            host_path: host_path.display().to_string(),
            readonly: mount.read_only.unwrap_or(false) || is_read_only_kind(pod, &mount.name),
            propagation: propagation.into(),
            ..Default::default()
        });
    }
    let taken = |mounts: &[v1::Mount], path: &str| mounts.iter().any(|mount| mount.container_path == path);
    if let Some(text) = inputs.hosts.as_ref().filter(|_| !taken(&mounts, "/etc/hosts")) {
        let path = inputs.pod_dir.join("etc-hosts");
        write(&path, text, 0o644)?;
        mounts.push(plain("/etc/hosts", path));
    }
    let last_words = container.termination_message_path.as_deref().unwrap_or_default();
    if !last_words.is_empty() && !taken(&mounts, last_words) {
        let dir = inputs.pod_dir.join("containers").join(&container.name);
        let path = dir.join(format!("{:08x}", rand::random::<u32>()));
        fs::create_dir_all(&dir).map_err(|error| format!("failed to create {}: {error}", dir.display()))?;
        keep_newest(&dir, 1);
        // Whatever user the container runs as must be able to write it.
        write(&path, "", 0o666)?;
        mounts.push(plain(last_words, path));
    }
    Ok(mounts)
}

/// Removes all but the newest files: the last words of the container before are still asked for.
fn keep_newest(dir: &Path, keep: usize) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
    files.sort();
    files.truncate(files.len().saturating_sub(keep));
    for (_, path) in files {
        let _ = fs::remove_file(path);
    }
}

fn plain(container_path: &str, host_path: PathBuf) -> v1::Mount {
    v1::Mount {
        container_path: container_path.into(),
        host_path: host_path.display().to_string(),
        ..Default::default()
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let failed = |error| format!("failed to write {}: {error}", path.display());
    fs::write(path, text).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Volumes that only the kubelet writes, and claims that are used read-only.
fn is_read_only_kind(pod: &Pod, name: &str) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let volume = volumes.into_iter().find(|volume| volume.name == name);
    volume.is_some_and(|v| {
        v.config_map.is_some()
            || v.secret.is_some()
            || v.projected.is_some()
            || v.downward_api.is_some()
            || v.persistent_volume_claim.as_ref().is_some_and(|claim| claim.read_only == Some(true))
    })
}
