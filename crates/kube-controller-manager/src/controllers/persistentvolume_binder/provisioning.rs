//! Asking for a volume to be made: an annotation on the claim tells the provisioner of its class.

use client::volumes::class_of_claim;
use client::{EventType, Intent, Note, Plan, annotation};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;

use super::binding::annotate;
use super::{Options, migration};

/// On a claim: who shall make its volume.
pub const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The same, as provisioners knew it before.
pub const BETA_STORAGE_PROVISIONER: &str = "volume.beta.kubernetes.io/storage-provisioner";
/// On a volume: who made it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

const OWN: &str = "kubernetes.io/";
const HOST_PATH: &str = "kubernetes.io/host-path";

/// Asks the provisioner of the claim's class.
pub fn ask(options: &Options, class: Option<&StorageClass>, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    if !options.dynamic_provisioning {
        return;
    }
    let failed = |message: String| Note::about(claim, EventType::Warning, "ProvisioningFailed", message);
    let Some(class) = class else {
        plan.event(failed(format!("storageclass.storage.k8s.io \"{}\" not found", class_of_claim(claim))));
        return;
    };
    let provisioner = match migration::driver(&class.provisioner) {
        Some(driver) => driver,
        None if class.provisioner == HOST_PATH => HOST_PATH,
        None if class.provisioner.starts_with(OWN) => {
            plan.event(failed(no_driver(&class.provisioner)));
            return;
        }
        None => &class.provisioner,
    };
    if annotation(&claim.metadata, STORAGE_PROVISIONER) != Some(provisioner) {
        let mut asked = claim.clone();
        annotate(&mut asked.metadata, BETA_STORAGE_PROVISIONER, provisioner);
        annotate(&mut asked.metadata, STORAGE_PROVISIONER, provisioner);
        plan.write(Intent::update(&asked));
    }
    if provisioner == HOST_PATH {
        plan.event(failed(format!(
            "Failed to create provisioner: provisioning in volume plugin {HOST_PATH:?} is disabled"
        )));
        return;
    }
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    plan.event(Note::about(claim, EventType::Normal, "ExternalProvisioning", message));
}

fn no_driver(provisioner: &str) -> String {
    match provisioner {
        "kubernetes.io/nfs" | "kubernetes.io/local-volume" => "no provisionable volume plugin matched".to_owned(),
        _ => format!("no volume plugin matched name: {provisioner}"),
    }
}
