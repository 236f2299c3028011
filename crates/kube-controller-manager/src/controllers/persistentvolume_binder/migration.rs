//! Volumes that drivers inside Kubernetes once made are for CSI drivers today. Annotations say for which, and the
//! finalizer that guards what the binder itself deletes stands only on what it can.

use client::annotation;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::binding::{annotate, remove_annotation};
use super::provisioning::{BETA_STORAGE_PROVISIONER, PROVISIONED_BY, STORAGE_PROVISIONER};

/// On a claim or a volume: the driver that takes care of it instead of the one it was made by.
pub const MIGRATED_TO: &str = "pv.kubernetes.io/migrated-to";
/// On a volume: the binder deletes what is behind it first.
pub const FINALIZER: &str = "kubernetes.io/pv-controller";
/// On a volume: its CSI provisioner deletes what is behind it first.
const PROVISIONERS_FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";

/// The drivers of before, each with the CSI driver in its place.
const DRIVERS: &[(&str, &str)] = &[
    ("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
    ("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    ("kubernetes.io/azure-file", "file.csi.azure.com"),
    ("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    ("kubernetes.io/portworx-volume", "pxd.portworx.com"),
    ("kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"),
];

/// The CSI driver in the place of a driver of before.
pub fn driver(provisioner: &str) -> Option<&'static str> {
    DRIVERS.iter().find(|(before, _)| *before == provisioner).map(|(_, driver)| *driver)
}

/// The claim with the annotation as it ought to be; nothing where it is.
pub fn of_claim(claim: &PersistentVolumeClaim) -> Option<PersistentVolumeClaim> {
    let own = |key| annotation(&claim.metadata, key);
    let provisioner = own(STORAGE_PROVISIONER).or_else(|| own(BETA_STORAGE_PROVISIONER));
    let mut changed = claim.clone();
    mark(&mut changed.metadata, provisioner?);
    (changed != *claim).then_some(changed)
}

/// The volume with annotation and finalizers as they ought to be; nothing where they are.
pub fn of_volume(volume: &PersistentVolume) -> Option<PersistentVolume> {
    let provisioner = annotation(&volume.metadata, PROVISIONED_BY)?;
    let mut changed = volume.clone();
    mark(&mut changed.metadata, provisioner);
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let mut finalizers = changed.metadata.finalizers.take().unwrap_or_default();
    if driver(provisioner).is_some() {
        finalizers.retain(|own| own != FINALIZER);
    } else if provisioner.starts_with("kubernetes.io/") {
        finalizers.retain(|own| own != PROVISIONERS_FINALIZER);
        let has = finalizers.iter().any(|own| own == FINALIZER);
        match policy {
            // To one that is going no finalizer can be added.
            Some("Delete") if !has && volume.metadata.deletion_timestamp.is_none() => {
                finalizers.push(FINALIZER.to_owned())
            }
            Some("Delete") => {}
            _ => finalizers.retain(|own| own != FINALIZER),
        }
    }
    changed.metadata.finalizers = Some(finalizers).filter(|finalizers| !finalizers.is_empty());
    (changed != *volume).then_some(changed)
}

fn mark(metadata: &mut ObjectMeta, provisioner: &str) {
    match driver(provisioner) {
        Some(driver) => annotate(metadata, MIGRATED_TO, driver),
        None => remove_annotation(metadata, MIGRATED_TO),
    }
}
