//! Where a volume's bytes are: exactly one of some twenty sources, which never changes.

use k8s_openapi::api::core::v1::{CSIPersistentVolumeSource, PersistentVolumeSpec, SecretReference};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Map, Value};

use crate::checks;
use crate::core::pod::volumes::{Sources, byte, flocker, host_path, no_backsteps, required};
use crate::internal;
use crate::storage::driver_name;

/// JSON name, Go name and type of each source, in the order of upstream's internal form.
const FIELDS: &[(&str, &str, &str)] = &[
    ("gcePersistentDisk", "GCEPersistentDisk", "GCEPersistentDiskVolumeSource"),
    ("awsElasticBlockStore", "AWSElasticBlockStore", "AWSElasticBlockStoreVolumeSource"),
    ("hostPath", "HostPath", "HostPathVolumeSource"),
    ("glusterfs", "Glusterfs", "GlusterfsPersistentVolumeSource"),
    ("nfs", "NFS", "NFSVolumeSource"),
    ("rbd", "RBD", "RBDPersistentVolumeSource"),
    ("quobyte", "Quobyte", "QuobyteVolumeSource"),
    ("iscsi", "ISCSI", "ISCSIPersistentVolumeSource"),
    ("flexVolume", "FlexVolume", "FlexPersistentVolumeSource"),
    ("cinder", "Cinder", "CinderPersistentVolumeSource"),
    ("cephfs", "CephFS", "CephFSPersistentVolumeSource"),
    ("fc", "FC", "FCVolumeSource"),
    ("flocker", "Flocker", "FlockerVolumeSource"),
    ("azureFile", "AzureFile", "AzureFilePersistentVolumeSource"),
    ("vsphereVolume", "VsphereVolume", "VsphereVirtualDiskVolumeSource"),
    ("azureDisk", "AzureDisk", "AzureDiskVolumeSource"),
    ("photonPersistentDisk", "PhotonPersistentDisk", "PhotonPersistentDiskVolumeSource"),
    ("portworxVolume", "PortworxVolume", "PortworxVolumeSource"),
    ("scaleIO", "ScaleIO", "ScaleIOPersistentVolumeSource"),
    ("local", "Local", "LocalVolumeSource"),
    ("storageos", "StorageOS", "StorageOSPersistentVolumeSource"),
    ("csi", "CSI", "CSIPersistentVolumeSource"),
];

/// The sources alone, as JSON.
pub fn of(spec: &PersistentVolumeSpec) -> Value {
    let Ok(Value::Object(mut spec)) = serde_json::to_value(spec) else { return Value::Null };
    spec.retain(|name, _| FIELDS.iter().any(|(json, ..)| json == name));
    Value::Object(spec)
}

/// Their internal form.
pub fn shown(sources: &Value) -> Value {
    let field = |(json, go, schema): &(&str, &str, &str)| {
        let value = match sources.get(*json) {
            Some(source) if !source.is_null() => internal::shown(&format!("io.k8s.api.core.v1.{schema}"), source),
            _ => Value::Null,
        };
        ((*go).to_string(), value)
    };
    Value::Object(FIELDS.iter().map(field).collect::<Map<_, _>>())
}

/// What sources mean when they do not say it.
pub fn default(spec: &mut PersistentVolumeSpec) {
    let set = |field: &mut Option<String>, value: &str| {
        field.get_or_insert_with(|| value.to_string());
    };
    if let Some(host) = &mut spec.host_path {
        set(&mut host.type_, "");
    }
    if let Some(iscsi) = &mut spec.iscsi {
        set(&mut iscsi.iscsi_interface, "default");
    }
    if let Some(rbd) = &mut spec.rbd {
        set(&mut rbd.pool, "rbd");
        set(&mut rbd.user, "admin");
        set(&mut rbd.keyring, "/etc/ceph/keyring");
    }
    if let Some(disk) = &mut spec.azure_disk {
        set(&mut disk.caching_mode, "ReadWrite");
        set(&mut disk.kind, "Shared");
        set(&mut disk.fs_type, "ext4");
        disk.read_only.get_or_insert(false);
    }
    if let Some(io) = &mut spec.scale_io {
        set(&mut io.storage_mode, "ThinProvisioned");
        set(&mut io.fs_type, "xfs");
    }
}

/// Exactly one source, and that one well formed.
pub fn validate(spec: &PersistentVolumeSpec, path: &Path) -> ErrorList {
    let mut sources = Sources::new(path);
    clouds_and_disks(spec, &mut sources);
    networks(spec, &mut sources);
    let affine = spec.node_affinity.is_some();
    sources.take(spec.local.as_ref(), "local", |v, at| {
        let mut errors = required(at, &[("path", &v.path)]);
        errors.extend(no_backsteps(&v.path, &at.child("path")));
        if !affine {
            errors.push(Error::required(&path.child("nodeAffinity"), "Local volume requires node affinity"));
        }
        errors
    });
    sources.take(spec.storageos.as_ref(), "storageos", |v, path| {
        let mut errors = required(path, &[("volumeName", v.volume_name.as_deref().unwrap_or(""))]);
        if let Some(namespace) = v.volume_namespace.as_deref().filter(|n| !n.is_empty()) {
            errors.extend(checks::dns_label(namespace, &path.child("volumeNamespace")));
        }
        errors
    });
    sources.take(spec.csi.as_ref(), "csi", csi);
    if sources.count == 0 {
        sources.errors.push(Error::required(path, "must specify a volume type"));
    }
    sources.errors
}

fn clouds_and_disks(spec: &PersistentVolumeSpec, s: &mut Sources) {
    s.take(spec.host_path.as_ref(), "hostPath", |v, path| host_path(&v.path, v.type_.as_deref(), path));
    s.take(spec.gce_persistent_disk.as_ref(), "gcePersistentDisk", |v, path| {
        let mut errors = required(path, &[("pdName", &v.pd_name)]);
        errors.extend(byte(v.partition, &path.child("partition")));
        errors
    });
    s.take(spec.aws_elastic_block_store.as_ref(), "awsElasticBlockStore", |v, path| {
        let mut errors = required(path, &[("volumeID", &v.volume_id)]);
        errors.extend(byte(v.partition, &path.child("partition")));
        errors
    });
    s.take(spec.glusterfs.as_ref(), "glusterfs", |v, path| {
        let mut errors = required(path, &[("endpoints", &v.endpoints), ("path", &v.path)]);
        if v.endpoints_namespace.as_deref() == Some("") {
            let detail = "if the endpointnamespace is set, it must be a valid namespace name";
            errors.push(Error::invalid(&path.child("endpointsNamespace"), "", detail));
        }
        errors
    });
    s.take(spec.azure_file.as_ref(), "azureFile", |v, path| {
        let mut errors = required(path, &[("secretName", &v.secret_name), ("shareName", &v.share_name)]);
        if v.secret_namespace.as_deref() == Some("") {
            errors.extend(required(path, &[("secretNamespace", "")]));
        }
        errors
    });
    s.take(spec.vsphere_volume.as_ref(), "vsphereVolume", |v, path| required(path, &[("volumePath", &v.volume_path)]));
    s.take(spec.photon_persistent_disk.as_ref(), "photonPersistentDisk", |v, path| {
        required(path, &[("pdID", &v.pd_id)])
    });
    s.take(spec.portworx_volume.as_ref(), "portworxVolume", |v, path| required(path, &[("volumeID", &v.volume_id)]));
    s.take(spec.azure_disk.as_ref(), "azureDisk", |v, path| {
        let mut errors = required(path, &[("diskName", &v.disk_name), ("diskURI", &v.disk_uri)]);
        const CACHING: &[&str] = &["None", "ReadOnly", "ReadWrite"];
        const KINDS: &[&str] = &["Dedicated", "Managed", "Shared"];
        if let Some(mode) = v.caching_mode.as_deref().filter(|mode| !CACHING.contains(mode)) {
            errors.push(Error::not_supported(&path.child("cachingMode"), mode, CACHING));
        }
        if let Some(kind) = v.kind.as_deref().filter(|kind| !KINDS.contains(kind)) {
            errors.push(Error::not_supported(&path.child("kind"), kind, KINDS));
        }
        errors
    });
    s.take(spec.scale_io.as_ref(), "scaleIO", |v, path| {
        let name = v.volume_name.as_deref().unwrap_or("");
        let mut errors = required(path, &[("gateway", &v.gateway), ("system", &v.system), ("volumeName", name)]);
        if v.secret_ref.namespace.as_deref() == Some("") {
            let at = path.child("secretRef");
            errors.extend(required(&at, &[("namespace", "")]));
        }
        errors
    });
    s.take(spec.cinder.as_ref(), "cinder", |v, path| {
        let mut errors = required(path, &[("volumeID", &v.volume_id)]);
        if let Some(secret) = &v.secret_ref {
            errors.extend(named_secret(secret, &path.child("secretRef")));
        }
        errors
    });
}

fn networks(spec: &PersistentVolumeSpec, s: &mut Sources) {
    s.take(spec.nfs.as_ref(), "nfs", |v, path| {
        let mut errors = required(path, &[("server", &v.server), ("path", &v.path)]);
        if !v.path.is_empty() && !v.path.starts_with('/') {
            errors.push(Error::invalid(&path.child("path"), &v.path, "must be an absolute path"));
        }
        errors
    });
    s.take(spec.rbd.as_ref(), "rbd", |v, path| {
        let mut errors = monitors(&v.monitors, path);
        errors.extend(required(path, &[("image", &v.image)]));
        errors
    });
    s.take(spec.cephfs.as_ref(), "cephfs", |v, path| monitors(&v.monitors, path));
    s.take(spec.quobyte.as_ref(), "quobyte", |v, path| {
        let mut errors = ErrorList::new();
        if v.registry.is_empty() {
            let detail = "must be a host:port pair or multiple pairs separated by commas";
            errors.push(Error::required(&path.child("registry"), detail));
        }
        errors.extend(required(path, &[("volume", &v.volume)]));
        errors
    });
    s.take(spec.iscsi.as_ref(), "iscsi", |v, path| {
        let mut errors = required(path, &[("targetPortal", &v.target_portal), ("iqn", &v.iqn)]);
        errors.extend(byte(Some(v.lun), &path.child("lun")));
        let chap = v.chap_auth_discovery == Some(true) || v.chap_auth_session == Some(true);
        match &v.secret_ref {
            None if chap => errors.push(Error::required(&path.child("secretRef"), "")),
            Some(secret) if secret.name.as_deref().unwrap_or("").is_empty() => {
                let at = path.child("secretRef");
                errors.extend(required(&at, &[("name", "")]));
            }
            _ => {}
        }
        errors
    });
    s.take(spec.fc.as_ref(), "fc", |v, path| {
        let given = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let at = path.child("targetWWNs");
        match (given(&v.target_wwns), given(&v.wwids), v.lun) {
            (true, true, _) => {
                let detail = "targetWWNs and wwids can not be specified simultaneously";
                vec![Error::invalid(&at, &v.target_wwns, detail)]
            }
            (false, false, _) => {
                vec![Error::required(&at, "must specify either targetWWNs or wwids, but not both")]
            }
            (true, _, None) => vec![Error::required(&path.child("lun"), "lun is required if targetWWNs is specified")],
            (true, _, lun) => byte(lun, &path.child("lun")).into_iter().collect(),
            _ => ErrorList::new(),
        }
    });
    s.take(spec.flocker.as_ref(), "flocker", flocker);
    s.take(spec.flex_volume.as_ref(), "flexVolume", |v, path| required(path, &[("driver", &v.driver)]));
}

fn monitors(monitors: &[String], path: &Path) -> ErrorList {
    if monitors.is_empty() { vec![Error::required(&path.child("monitors"), "")] } else { ErrorList::new() }
}

fn csi(source: &CSIPersistentVolumeSource, path: &Path) -> ErrorList {
    let mut errors = driver_name(&source.driver, &path.child("driver"));
    errors.extend(required(path, &[("volumeHandle", &source.volume_handle)]));
    let secrets = [
        ("controllerPublishSecretRef", &source.controller_publish_secret_ref),
        ("controllerExpandSecretRef", &source.controller_expand_secret_ref),
        ("nodePublishSecretRef", &source.node_publish_secret_ref),
        ("nodeExpandSecretRef", &source.node_expand_secret_ref),
    ];
    for (field, secret) in secrets {
        if let Some(secret) = secret {
            let at = path.child(field);
            errors.extend(named_secret(secret, &at));
            match secret.name.as_deref() {
                Some(name) if !name.is_empty() => errors.extend(checks::dns_subdomain(name, &at.child("name"))),
                _ => {}
            }
            match secret.namespace.as_deref() {
                Some(space) if !space.is_empty() => errors.extend(checks::dns_label(space, &at.child("namespace"))),
                _ => {}
            }
        }
    }
    errors
}

fn named_secret(secret: &SecretReference, path: &Path) -> ErrorList {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    required(path, &[("name", &text(&secret.name)), ("namespace", &text(&secret.namespace))])
}

/// Sources that nothing serves any more, or not for long.
pub fn warnings(spec: &PersistentVolumeSpec) -> Vec<String> {
    let old = [
        (spec.photon_persistent_disk.is_some(), "photonPersistentDisk", "v1.11", "v1.16+"),
        (spec.scale_io.is_some(), "scaleIO", "v1.16", "v1.22+"),
        (spec.storageos.is_some(), "storageOS", "v1.22", "v1.25+"),
        (spec.glusterfs.is_some(), "glusterfs", "v1.25", "v1.26+"),
        (spec.rbd.is_some(), "rbd", "v1.28", "v1.31+"),
        (spec.cephfs.is_some(), "cephFS", "v1.28", "v1.31+"),
    ];
    let given = old.iter().filter(|(given, ..)| *given);
    given
        .map(|(_, name, since, gone)| format!("spec.{name}: deprecated in {since}, non-functional in {gone}"))
        .collect()
}
