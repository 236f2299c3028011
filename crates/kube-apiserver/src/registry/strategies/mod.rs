//! What writing an object of some kinds does besides writing it.
//!
//! Most kinds need nothing: they get [`Plain`]. The others are in one list; a file each.

mod certificate_signing_request;
mod address_range;
pub mod addresses;
mod definition;
mod event;
mod ip_address;
mod namespace;
mod pod;
mod resource_claim;
mod resource_slice;
mod returned;
pub mod service;

use std::time::Duration;

use api::Kind;
use async_trait::async_trait;
use jiff::Timestamp;
use machinery::field::ErrorList;
use machinery::status::Status;
use serde_json::Value;

use super::allocator::Reservation;
use super::{Admit, Part, Registry, object};
use crate::UserInfo;

/// The additional work of one kind. Every method has the answer of a kind that needs none.
#[async_trait]
pub trait Strategy: Send + Sync {
    /// Reserves what the new object asks for, writing what was chosen into it; falls back if the write does not happen.
    fn reserve(
        &self,
        _: &Registry,
        _new: &mut Value,
        _old: Option<&Value>,
        _dry_run: bool,
    ) -> Result<Reservation, Status> {
        Ok(Reservation::default())
    }

    /// Writes into a new object what only the server can tell of it: who makes it.
    fn fill(&self, _new: &mut Value, _user: Option<&UserInfo>) {}

    /// What is wrong with a write by who writes it and by what else there is, beside what is wrong with the object itself.
    async fn check(&self, _: &Registry, _: &dyn Admit, _part: Part, _new: &Value, _old: Option<&Value>) -> ErrorList {
        ErrorList::new()
    }

    /// Writes into an updated object when what changes does so.
    fn stamp(&self, _new: &mut Value, _old: &Value, _now: Timestamp) {}

    /// Makes what must be there before the object is written as `new`.
    async fn prepare(&self, _: &Registry, _new: &Value, _old: Option<&Value>) -> Result<(), Status> {
        Ok(())
    }

    /// Brings what belongs to the object in line with it as it is `now` (`None`: it is gone), after a write that was to
    /// change it or did: `other` is what it was before, or would have been had the write not failed.
    async fn settle(&self, _: &Registry, _now: Option<&Value>, _other: Option<&Value>) {}

    /// The object is gone.
    fn deleted(&self, _: &Registry, _object: &Value) {}

    /// Rebuilds at the start what `reserve` and `deleted` keep.
    fn rebuild(&self, _: &Registry, _kind: &'static Kind) {}

    /// Whether something other than finalizers keeps the object while it is being deleted.
    fn holds_deletion(&self, _object: &Value) -> bool {
        false
    }

    /// Marks an object that cannot go yet.
    fn mark_deleting(&self, object: &mut Value, now: Timestamp) {
        object::set_metadata(object, "deletionTimestamp", Some(object::time(now)));
        object::set_metadata(object, "deletionGracePeriodSeconds", Some(0.into()));
        super::delete::bump_generation(object);
    }

    /// How long an object lives after its last write.
    fn time_to_live(&self, _: &Registry) -> Option<Duration> {
        None
    }

    /// Conditions of the object's row in a table: what makes a client set it apart.
    fn row_conditions(&self, _object: &Value) -> Option<Value> {
        None
    }

    /// Whether a delete answers with the object where others answer with a Status.
    fn returns_deleted(&self) -> bool {
        false
    }
}

/// Needs nothing.
struct Plain;

impl Strategy for Plain {}

/// One line a kind: group, resource, strategy.
static STRATEGIES: &[(&str, &str, &dyn Strategy)] = &[
    ("apiextensions.k8s.io", "customresourcedefinitions", &definition::DefinitionStrategy),
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        &certificate_signing_request::CertificateSigningRequestStrategy,
    ),
    ("", "namespaces", &namespace::NamespaceStrategy),
    ("", "services", &service::ServiceStrategy),
    ("networking.k8s.io", "servicecidrs", &address_range::AddressRangeStrategy),
    ("networking.k8s.io", "ipaddresses", &ip_address::IpAddressStrategy),
    ("", "events", &event::EventStrategy),
    ("", "pods", &pod::PodStrategy),
    ("", "persistentvolumeclaims", &returned::Returned),
    ("", "persistentvolumes", &returned::Returned),
    ("", "podtemplates", &returned::Returned),
    ("", "resourcequotas", &returned::Returned),
    ("", "serviceaccounts", &returned::Returned),
    ("resource.k8s.io", "deviceclasses", &returned::Returned),
    ("resource.k8s.io", "resourceclaims", &resource_claim::ResourceClaimStrategy),
    ("resource.k8s.io", "resourceclaimtemplates", &resource_claim::ResourceClaimTemplateStrategy),
    ("resource.k8s.io", "resourceslices", &resource_slice::ResourceSliceStrategy),
    ("storage.k8s.io", "csidrivers", &returned::Returned),
    ("storage.k8s.io", "csinodes", &returned::Returned),
    ("storage.k8s.io", "storageclasses", &returned::Returned),
    ("storage.k8s.io", "volumeattachments", &returned::Returned),
    ("storage.k8s.io", "volumeattributesclasses", &returned::Returned),
];

/// The strategy of a kind.
pub fn of(kind: &Kind) -> &'static dyn Strategy {
    STRATEGIES
        .iter()
        .find(|(group, plural, _)| *group == kind.group && *plural == kind.plural)
        .map_or(&Plain, |(_, _, strategy)| *strategy)
}
