//! Volumes: each has a name and exactly one source.

use k8s_openapi::api::core::v1::{
    EphemeralVolumeSource, FlockerVolumeSource, KeyToPath, PersistentVolumeClaimSpec, Volume,
};
use machinery::field::{Error, ErrorList, Path};
use machinery::names;

use super::projected::{downward_file, projected};
use crate::checks;

const FILE_MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// What is wrong with volumes, and those with which nothing is: no other can be mounted.
pub fn validate<'v>(volumes: &'v [Volume], path: &Path) -> (ErrorList, Vec<&'v Volume>) {
    let (mut errors, mut sound) = (ErrorList::new(), Vec::new());
    for (i, volume) in volumes.iter().enumerate() {
        let (path, before) = (path.index(i), errors.len());
        errors.extend(source(volume, &path));
        let at = path.child("name");
        if volume.name.is_empty() {
            errors.push(Error::required(&at, ""));
        } else {
            errors.extend(checks::dns_label(&volume.name, &at));
            if volumes[..i].iter().any(|other| other.name == volume.name) {
                errors.push(Error::duplicate(&at, &volume.name));
            }
        }
        if errors.len() == before {
            sound.push(volume);
        }
    }
    (errors, sound)
}

/// Counts sources; every one after the first is refused where it stands.
pub struct Sources<'p> {
    path: &'p Path<'p>,
    pub errors: ErrorList,
    pub count: usize,
}

impl<'p> Sources<'p> {
    pub fn new(path: &'p Path<'p>) -> Self {
        Sources { path, errors: ErrorList::new(), count: 0 }
    }

    pub fn take<T>(&mut self, source: Option<&T>, field: &str, check: impl FnOnce(&T, &Path) -> ErrorList) {
        let Some(source) = source else { return };
        let at = self.path.child(field);
        if self.count > 0 {
            self.errors.push(Error::forbidden(&at, "may not specify more than 1 volume type"));
        } else {
            self.errors.extend(check(source, &at));
        }
        self.count += 1;
    }
}

fn source(volume: &Volume, path: &Path) -> ErrorList {
    let mut sources = Sources::new(path);
    let s = &mut sources;
    s.take(volume.empty_dir.as_ref(), "emptyDir", |v, path| {
        let negative = v.size_limit.as_ref().and_then(checks::quantity).is_some_and(|size| size.signum() < 0);
        let error = || Error::forbidden(&path.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
        negative.then(error).into_iter().collect()
    });
    s.take(volume.host_path.as_ref(), "hostPath", |v, path| host_path(&v.path, v.type_.as_deref(), path));
    s.take(volume.git_repo.as_ref(), "gitRepo", |v, path| {
        let mut errors = required(path, &[("repository", &v.repository)]);
        errors.extend(local_descending_path(v.directory.as_deref().unwrap_or(""), &path.child("directory")));
        errors
    });
    s.take(volume.gce_persistent_disk.as_ref(), "gcePersistentDisk", |v, path| {
        let mut errors = required(path, &[("pdName", &v.pd_name)]);
        errors.extend(byte(v.partition, &path.child("partition")));
        errors
    });
    s.take(volume.aws_elastic_block_store.as_ref(), "awsElasticBlockStore", |v, path| {
        let mut errors = required(path, &[("volumeID", &v.volume_id)]);
        errors.extend(byte(v.partition, &path.child("partition")));
        errors
    });
    s.take(volume.secret.as_ref(), "secret", |v, path| {
        let mut errors = required(path, &[("secretName", v.secret_name.as_deref().unwrap_or(""))]);
        errors.extend(mode(v.default_mode, &path.child("defaultMode")));
        errors.extend(items(v.items.as_deref(), &path.child("items")));
        errors
    });
    s.take(volume.nfs.as_ref(), "nfs", |v, path| {
        let mut errors = required(path, &[("server", &v.server), ("path", &v.path)]);
        if !v.path.is_empty() && !v.path.starts_with('/') {
            errors.push(Error::invalid(&path.child("path"), &v.path, "must be an absolute path"));
        }
        errors
    });
    s.take(volume.iscsi.as_ref(), "iscsi", |v, path| {
        let mut errors = required(path, &[("targetPortal", &v.target_portal), ("iqn", &v.iqn)]);
        errors.extend(byte(Some(v.lun), &path.child("lun")));
        errors
    });
    s.take(volume.glusterfs.as_ref(), "glusterfs", |v, path| {
        required(path, &[("endpoints", &v.endpoints), ("path", &v.path)])
    });
    s.take(volume.flocker.as_ref(), "flocker", flocker);
    s.take(volume.persistent_volume_claim.as_ref(), "persistentVolumeClaim", |v, path| {
        required(path, &[("claimName", &v.claim_name)])
    });
    s.take(volume.rbd.as_ref(), "rbd", |v, path| {
        let mut errors = ErrorList::new();
        if v.monitors.is_empty() {
            errors.push(Error::required(&path.child("monitors"), ""));
        }
        errors.extend(required(path, &[("image", &v.image)]));
        errors
    });
    s.take(volume.cinder.as_ref(), "cinder", |v, path| required(path, &[("volumeID", &v.volume_id)]));
    s.take(volume.cephfs.as_ref(), "cephfs", |v, path| {
        if v.monitors.is_empty() { vec![Error::required(&path.child("monitors"), "")] } else { ErrorList::new() }
    });
    s.take(volume.quobyte.as_ref(), "quobyte", |v, path| {
        let mut errors = ErrorList::new();
        if v.registry.is_empty() {
            let detail = "must be a host:port pair or multiple pairs separated by commas";
            errors.push(Error::required(&path.child("registry"), detail));
        }
        errors.extend(required(path, &[("volume", &v.volume)]));
        errors
    });
    s.take(volume.downward_api.as_ref(), "downwardAPI", |v, path| {
        let mut errors: ErrorList = mode(v.default_mode, &path.child("defaultMode")).into_iter().collect();
        for file in v.items.iter().flatten() {
            errors.extend(downward_file(file, path));
        }
        errors
    });
    s.take(volume.fc.as_ref(), "fc", |v, path| {
        let names = v.target_wwns.as_ref().is_some_and(|w| !w.is_empty());
        let ids = v.wwids.as_ref().is_some_and(|w| !w.is_empty());
        let mut errors = ErrorList::new();
        if names && ids {
            errors.push(Error::invalid(
                &path.child("targetWWNs"),
                &v.target_wwns,
                "targetWWNs and wwids can not be specified simultaneously",
            ));
        } else if !names && !ids {
            errors.push(Error::required(
                &path.child("targetWWNs"),
                "must specify either targetWWNs or wwids, but not both",
            ));
        }
        if names {
            match v.lun {
                None => errors.push(Error::required(&path.child("lun"), "lun is required if targetWWNs is specified")),
                lun => errors.extend(byte(lun, &path.child("lun"))),
            }
        }
        errors
    });
    s.take(volume.flex_volume.as_ref(), "flexVolume", |v, path| required(path, &[("driver", &v.driver)]));
    s.take(volume.config_map.as_ref(), "configMap", |v, path| {
        let mut errors = required(path, &[("name", &v.name)]);
        errors.extend(mode(v.default_mode, &path.child("defaultMode")));
        errors.extend(items(v.items.as_deref(), &path.child("items")));
        errors
    });
    s.take(volume.azure_file.as_ref(), "azureFile", |v, path| {
        required(path, &[("secretName", &v.secret_name), ("shareName", &v.share_name)])
    });
    s.take(volume.vsphere_volume.as_ref(), "vsphereVolume", |v, path| {
        required(path, &[("volumePath", &v.volume_path)])
    });
    s.take(volume.photon_persistent_disk.as_ref(), "photonPersistentDisk", |v, path| {
        required(path, &[("pdID", &v.pd_id)])
    });
    s.take(volume.portworx_volume.as_ref(), "portworxVolume", |v, path| required(path, &[("volumeID", &v.volume_id)]));
    s.take(volume.azure_disk.as_ref(), "azureDisk", |v, path| {
        let mut errors = required(path, &[("diskName", &v.disk_name), ("diskURI", &v.disk_uri)]);
        if let Some(caching) = v.caching_mode.as_deref().filter(|m| !matches!(*m, "None" | "ReadOnly" | "ReadWrite")) {
            let modes = ["None", "ReadOnly", "ReadWrite"];
            errors.push(Error::not_supported(&path.child("cachingMode"), caching, &modes));
        }
        if let Some(kind) = v.kind.as_deref().filter(|k| !matches!(*k, "Dedicated" | "Managed" | "Shared")) {
            errors.push(Error::not_supported(&path.child("kind"), kind, &["Dedicated", "Managed", "Shared"]));
        }
        errors
    });
    s.take(volume.storageos.as_ref(), "storageos", |v, path| {
        let mut errors = required(path, &[("volumeName", v.volume_name.as_deref().unwrap_or(""))]);
        if let Some(namespace) = v.volume_namespace.as_deref().filter(|n| !n.is_empty()) {
            errors.extend(checks::dns_label(namespace, &path.child("volumeNamespace")));
        }
        errors
    });
    s.take(volume.projected.as_ref(), "projected", projected);
    s.take(volume.scale_io.as_ref(), "scaleIO", |v, path| {
        let name = v.volume_name.as_deref().unwrap_or("");
        required(path, &[("gateway", &v.gateway), ("system", &v.system), ("volumeName", name)])
    });
    s.take(volume.csi.as_ref(), "csi", |v, path| {
        let mut errors = csi_driver(&v.driver, &path.child("driver"));
        if let Some(reference) = &v.node_publish_secret_ref {
            let at = path.child("nodePublishSecretRef");
            errors.extend(required(&at, &[("name", &reference.name)]));
            if !reference.name.is_empty() {
                errors.extend(checks::dns_subdomain(&reference.name, &at.child("name")));
            }
        }
        errors
    });
    s.take(volume.ephemeral.as_ref(), "ephemeral", ephemeral);
    s.take(volume.image.as_ref(), "image", |v, path| {
        let mut errors = required(path, &[("reference", v.reference.as_deref().unwrap_or(""))]);
        let policies = ["Always", "IfNotPresent", "Never"];
        errors.extend(checks::one_of(v.pull_policy.as_deref(), &policies, &path.child("pullPolicy")));
        errors
    });
    if sources.count == 0 {
        sources.errors.push(Error::required(path, "must specify a volume type"));
    }
    sources.errors
}

/// A dataset, named in one of two ways.
pub fn flocker(v: &FlockerVolumeSource, path: &Path) -> ErrorList {
    let (name, uuid) = (v.dataset_name.as_deref().unwrap_or(""), v.dataset_uuid.as_deref().unwrap_or(""));
    match (name, uuid) {
        ("", "") => vec![Error::required(path, "one of datasetName and datasetUUID is required")],
        (name, uuid) if !name.is_empty() && !uuid.is_empty() => {
            vec![Error::invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously")]
        }
        (name, _) if name.contains('/') => {
            vec![Error::invalid(&path.child("datasetName"), name, "must not contain '/'")]
        }
        _ => ErrorList::new(),
    }
}

/// One error for each field that is empty.
pub fn required(path: &Path, fields: &[(&str, &str)]) -> ErrorList {
    let missing = fields.iter().filter(|(_, value)| value.is_empty());
    missing.map(|(field, _)| Error::required(&path.child(field), "")).collect()
}

/// A number that fits into a byte.
pub fn byte(value: Option<i32>, path: &Path) -> Option<Error> {
    let value = value.filter(|v| !(0..=255).contains(v))?;
    Some(Error::invalid(path, value, "must be between 0 and 255, inclusive"))
}

/// The permissions of a file.
pub fn mode(mode: Option<i32>, path: &Path) -> Option<Error> {
    let mode = mode.filter(|m| !(0..=0o777).contains(m))?;
    Some(Error::invalid(path, mode, FILE_MODE))
}

/// A path on the node.
pub fn host_path(target: &str, kind: Option<&str>, path: &Path) -> ErrorList {
    if target.is_empty() {
        return vec![Error::required(&path.child("path"), "")];
    }
    let mut errors = no_backsteps(target, &path.child("path"));
    if let Some(kind) = kind.filter(|kind| !HOST_PATH_TYPES.contains(kind)) {
        errors.push(Error::not_supported(&path.child("type"), kind, HOST_PATH_TYPES));
    }
    errors
}

/// Which keys become which files.
pub fn items(items: Option<&[KeyToPath]>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, item) in items.into_iter().flatten().enumerate() {
        let path = path.index(i);
        errors.extend(required(&path, &[("key", &item.key), ("path", &item.path)]));
        errors.extend(local_non_reserved_path(&item.path, &path.child("path")));
        errors.extend(mode(item.mode, &path.child("mode")));
    }
    errors
}

fn ephemeral(volume: &EphemeralVolumeSource, path: &Path) -> ErrorList {
    let at = path.child("volumeClaimTemplate");
    let Some(template) = &volume.volume_claim_template else { return vec![Error::required(&at, "")] };
    let mut errors = ErrorList::new();
    if let Some(metadata) = &template.metadata {
        errors.extend(checks::template_metadata(metadata, &at.child("metadata")));
    }
    errors.extend(claim_spec(&template.spec, &at.child("spec")));
    errors
}

/// A PersistentVolumeClaim's spec.
pub fn claim_spec(spec: &PersistentVolumeClaimSpec, path: &Path) -> ErrorList {
    const MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let mut errors = ErrorList::new();
    let at = path.child("accessModes");
    let modes = spec.access_modes.as_deref().unwrap_or(&[]);
    if modes.is_empty() {
        errors.push(Error::required(&at, "at least 1 access mode is required"));
    }
    if let Some(selector) = &spec.selector {
        errors.extend(checks::label_selector(selector, &path.child("selector")));
    }
    for mode in modes.iter().filter(|mode| !MODES.contains(&mode.as_str())) {
        errors.push(Error::not_supported(&at, mode, MODES));
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode == "ReadWriteOncePod") {
        errors.push(Error::forbidden(&at, "may not use ReadWriteOncePod with other access modes"));
    }
    let at = path.child("resources");
    match spec.resources.as_ref().and_then(|r| r.requests.as_ref()).and_then(|r| r.get("storage")) {
        None => errors.push(Error::required(&at.key("storage"), "")),
        Some(size) => {
            let at = at.key("storage");
            if checks::quantity(size).is_some_and(|size| size.signum() <= 0) {
                errors.push(Error::invalid(&at, checks::shown(size), "must be greater than zero"));
            }
        }
    }
    if let Some(class) = spec.storage_class_name.as_deref().filter(|c| !c.is_empty()) {
        errors.extend(checks::dns_subdomain(class, &path.child("storageClassName")));
    }
    if let Some(mode) = spec.volume_mode.as_deref().filter(|m| !matches!(*m, "Block" | "Filesystem")) {
        errors.push(Error::not_supported(&path.child("volumeMode"), mode, &["Block", "Filesystem"]));
    }
    errors
}

fn csi_driver(driver: &str, path: &Path) -> ErrorList {
    if driver.is_empty() {
        return vec![Error::required(path, "")];
    }
    if driver.len() > 63 {
        return vec![Error::too_long(path, driver, 63)];
    }
    checks::each(path, driver, names::is_dns1123_subdomain(&driver.to_lowercase()))
}

/// A path below some root, which it does not leave.
pub fn local_descending_path(target: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if target.starts_with('/') {
        errors.push(Error::invalid(path, target, "must be a relative path"));
    }
    errors.extend(no_backsteps(target, path));
    errors
}

/// The same, where names starting with `..` are the kubelet's own.
pub fn local_non_reserved_path(target: &str, path: &Path) -> ErrorList {
    let mut errors = local_descending_path(target, path);
    if target.starts_with("..") && !target.starts_with("../") {
        errors.push(Error::invalid(path, target, "must not start with '..'"));
    }
    errors
}

pub fn no_backsteps(target: &str, path: &Path) -> ErrorList {
    if target.split('/').any(|part| part == "..") {
        return vec![Error::invalid(path, target, "must not contain '..'")];
    }
    ErrorList::new()
}
