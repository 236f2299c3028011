//! Where a container's volumes appear in it: as folders, or as block devices.

use k8s_openapi::api::core::v1::{Container, VolumeDevice, VolumeMount};
use machinery::field::{Error, ErrorList, Path};

use super::containers::Scope;
use super::volumes;

/// Mounted volumes of a container. Each path is taken once.
pub fn mounts(container: &Container, scope: &Scope, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mounts = container.volume_mounts.as_deref().unwrap_or(&[]);
    let devices = container.volume_devices.as_deref().unwrap_or(&[]);
    for (i, mount) in mounts.iter().enumerate() {
        let at = path.index(i);
        if mount.name.is_empty() {
            errors.push(Error::required(&at.child("name"), ""));
        }
        let volume = scope.volumes.iter().find(|volume| volume.name == mount.name);
        if volume.is_none() {
            errors.push(Error::not_found(&at.child("name"), &mount.name));
        }
        if mount.mount_path.is_empty() {
            errors.push(Error::required(&at.child("mountPath"), ""));
        }
        if mounts[..i].iter().any(|other| other.mount_path == mount.mount_path) {
            errors.push(Error::invalid(&at.child("mountPath"), &mount.mount_path, "must be unique"));
        }
        if devices.iter().any(|device| device.name == mount.name) {
            errors.push(Error::invalid(&at.child("name"), &mount.name, "must not already exist in volumeDevices"));
        }
        if devices.iter().any(|device| device.device_path == mount.mount_path) {
            let at = at.child("mountPath");
            errors.push(Error::invalid(&at, &mount.mount_path, "must not already exist as a path in volumeDevices"));
        }
        errors.extend(sub_paths(mount, path, &at));
        errors.extend(mount_propagation(mount, container, &path.child("mountPropagation")));
        errors.extend(recursive_read_only(mount, &path.child("recursiveReadOnly")));
    }
    errors
}

// Upstream reports these without the mount's index, but for the clash of the two.
fn sub_paths(mount: &VolumeMount, path: &Path, at: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let sub_path = mount.sub_path.as_deref().unwrap_or("");
    let expression = mount.sub_path_expr.as_deref().unwrap_or("");
    if !sub_path.is_empty() {
        errors.extend(volumes::local_descending_path(sub_path, &path.child("subPath")));
    }
    if !expression.is_empty() {
        if !sub_path.is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.push(Error::invalid(&at.child("subPathExpr"), expression, detail));
        }
        errors.extend(volumes::local_descending_path(expression, &path.child("subPathExpr")));
    }
    errors
}

fn mount_propagation(mount: &VolumeMount, container: &Container, path: &Path) -> Option<Error> {
    let privileged = container.security_context.as_ref().and_then(|c| c.privileged).unwrap_or(false);
    match mount.mount_propagation.as_deref()? {
        "Bidirectional" if !privileged => {
            Some(Error::forbidden(path, "Bidirectional mount propagation is available only to privileged containers"))
        }
        "Bidirectional" | "HostToContainer" | "None" => None,
        other => Some(Error::not_supported(path, other, &["Bidirectional", "HostToContainer", "None"])),
    }
}

fn recursive_read_only(mount: &VolumeMount, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.push(Error::forbidden(path, "may only be specified when readOnly is true"));
            }
            if mount.mount_propagation.as_deref().is_some_and(|p| p != "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                errors.push(Error::forbidden(path, detail));
            }
        }
        Some(other) => errors.push(Error::not_supported(path, other, &["Disabled", "Enabled", "IfPossible"])),
    }
    errors
}

/// Block devices of a container: of volumes that can be one.
pub fn devices(container: &Container, scope: &Scope, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mounts = container.volume_mounts.as_deref().unwrap_or(&[]);
    let devices: &[VolumeDevice] = container.volume_devices.as_deref().unwrap_or(&[]);
    for (i, device) in devices.iter().enumerate() {
        let at = path.index(i);
        let (name, device_path) = (at.child("name"), at.child("devicePath"));
        if device.name.is_empty() {
            errors.push(Error::required(&name, ""));
        }
        if devices[..i].iter().any(|other| other.name == device.name) {
            errors.push(Error::invalid(&name, &device.name, "must be unique"));
        }
        match scope.volumes.iter().find(|volume| volume.name == device.name) {
            None => errors.push(Error::not_found(&name, &device.name)),
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.push(Error::invalid(&name, &device.name, detail));
            }
            Some(_) => {}
        }
        if device.device_path.is_empty() {
            errors.push(Error::required(&device_path, ""));
        } else {
            if devices[..i].iter().any(|other| other.device_path == device.device_path) {
                errors.push(Error::invalid(&device_path, &device.device_path, "must be unique"));
            }
            errors.extend(volumes::no_backsteps(&device.device_path, &device_path));
        }
        if mounts.iter().any(|mount| mount.name == device.name) {
            errors.push(Error::invalid(&name, &device.name, "must not already exist in volumeMounts"));
        }
        if mounts.iter().any(|mount| mount.mount_path == device.device_path) {
            let detail = "must not already exist as a path in volumeMounts";
            errors.push(Error::invalid(&device_path, &device.device_path, detail));
        }
    }
    errors
}
