//! The volume binder: claims get volumes, volumes that are released are reclaimed.
//!
//! Its keys are claims (with a namespace) and volumes (without one). A binding takes two steps, so that whoever is
//! interrupted can go on: first the volume names the claim and says `Bound`, then, when the cache shows that, the claim
//! names the volume and says the same. Making volumes is for provisioners outside; the binder only asks them to.

mod binding;
mod claims;
mod live;
mod migration;
mod provisioning;
mod reclaiming;
mod recycler;
mod volumes;

pub use recycler::Recycler;

use std::time::Duration;

use client::volumes::{bound_uid, claim_ref, class_of_claim, class_of_volume, is_complete, named_class, volume_name};
use client::{ApiError, BoxFuture, Controller, Key, Object, Outside, Plan, Sources, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often what waits is looked at again, and told of again (`--pvclaimbinder-sync-period`).
    pub sync_period: Duration,
    /// Whether provisioners are asked for volumes (`--enable-dynamic-provisioning`).
    pub dynamic_provisioning: bool,
    /// How volumes on hosts are scrubbed (`--pv-recycler-*-hostpath`).
    pub recycler_hostpath: Recycler,
    /// How volumes on NFS servers are scrubbed (`--pv-recycler-*-nfs`).
    pub recycler_nfs: Recycler,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_period: Duration::from_secs(15),
            dynamic_provisioning: true,
            recycler_hostpath: Recycler {
                timeout_min: 60,
                timeout_increment: 30,
                template: Recycler::default_template(),
            },
            recycler_nfs: Recycler { timeout_min: 300, timeout_increment: 30, template: Recycler::default_template() },
        }
    }
}

/// The controller.
pub struct PersistentVolumes {
    /// How it is set up.
    pub options: Options,
}

/// As what it records events.
pub const COMPONENT: &str = "persistentvolume-controller";

impl Controller for PersistentVolumes {
    const NAME: &'static str = "persistentvolume-binder";
    /// One at a time: claims that are alike would all choose the same volume.
    const CONCURRENCY: usize = 1;

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on::<PersistentVolumeClaim, _>(|view, change| {
            let mut keys: Vec<Key> = change.latest().map(|claim| claim.key()).into_iter().collect();
            let claims = [change.old, change.new].into_iter().flatten();
            keys.extend(claims.map(|claim| volume_name(claim)).filter(|name| !name.is_empty()).map(Key::cluster));
            // A claim that is gone, or bound elsewhere, lets go of volumes that were meant for it.
            let is_elsewhere = change.old.map(|claim| volume_name(claim)) != change.new.map(|claim| volume_name(claim));
            if let (true, Some(claim)) = (is_elsewhere, change.latest()) {
                keys.extend(tied_to(view, claim));
            }
            keys
        });
        sources.on::<PersistentVolume, _>(|view, change| {
            let mut keys: Vec<Key> = change.latest().map(|volume| volume.key()).into_iter().collect();
            let volumes = [change.old, change.new].into_iter().flatten();
            keys.extend(volumes.filter_map(|volume| claim_ref(volume)).map(|reference| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                Key::new(&text(&reference.namespace), &text(&reference.name))
            }));
            if let Some(volume) = change.new.filter(|volume| claim_ref(volume).is_none()) {
                keys.extend(unbound(view, |claim| {
                    volume_name(claim) == volume.meta_ref().name || class_of_claim(claim) == class_of_volume(volume)
                }));
            }
            keys
        });
        sources.on::<StorageClass, _>(|view, change| {
            let name = change.latest().map(|class| class.key().name);
            unbound(view, |claim| named_class(claim).is_none_or(|class| Some(class) == name.as_deref()))
        });
        sources.on::<Pod, _>(|_, change| change.latest().and_then(|pod| recycler::volume_of(pod)));
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if !key.namespace.is_empty() {
                return Ok(());
            }
            live::look(outside, key, view).await?;
            reclaiming::delete_on_host(outside, key, view).await
        })
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        if key.namespace.is_empty() {
            if let Some(volume) = view.of::<PersistentVolume>().get(key) {
                volumes::sync(&self.options, view, volume, &mut plan);
            }
        } else if let Some(claim) = view.of::<PersistentVolumeClaim>().get(key) {
            claims::sync(&self.options, view, claim, &mut plan);
        }
        plan
    }
}

/// The volumes that name a claim.
fn tied_to(view: &View, claim: &PersistentVolumeClaim) -> Vec<Key> {
    let volumes = view.of::<PersistentVolume>();
    let tied =
        volumes.iter().filter(|volume| bound_uid(volume).is_some_and(|uid| Some(uid) == claim.metadata.uid.as_deref()));
    tied.map(|volume| volume.key()).collect()
}

/// The claims whose binding is not complete and of which this is true.
fn unbound(view: &View, is_meant: impl Fn(&PersistentVolumeClaim) -> bool) -> Vec<Key> {
    let claims = view.of::<PersistentVolumeClaim>();
    claims.iter().filter(|claim| !is_complete(claim) && is_meant(claim)).map(|claim| claim.key()).collect()
}

#[cfg(test)]
mod tests;
