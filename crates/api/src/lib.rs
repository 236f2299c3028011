//! The kinds of Kubernetes v1.36: each is one declaration ([`Kind`]) and a few hooks over its typed struct.
//!
//! [`ALL`] is the one explicit, ordered list. Routes, discovery, tables, field selectors, namespace deletion and
//! quota read it; no generic code names a kind. Read `kind.rs` first, then `core/configmap.rs` as the smallest
//! example of a kind. Nothing here does IO, reads a clock or knows that a server exists.

mod kind;
#[macro_use]
mod declare;
pub mod cells;
mod checks;
mod custom;
pub mod default_class;
mod internal;
pub mod names;
mod strategy;
pub mod structural;
pub mod value;
mod workload;

pub mod apiextensions;
pub mod apps;
pub mod batch;
pub mod core;

pub mod coordination;
pub mod discovery;
pub mod flowcontrol;
pub mod networking;
pub mod node;
pub mod rbac;
pub mod resource;
pub mod scheduling;
pub mod storage;

pub mod admissionregistration;
pub mod apiregistration;
pub mod authentication;
pub mod authorization;
pub mod autoscaling;
pub mod certificates;
pub mod policy;

pub use custom::{Custom, ScaleRef, TypeRef, TypesRef};
pub use declare::erase;
pub use kind::{
    Column, Convert, Deprecated, FieldSelectorStyle, Hooks, IndexedField, Kind, Scale, SelectableField, Subresource,
    SubresourceUpdate, Verb, Version,
};

/// Every kind, in the order in which a reader meets them: core, then workloads, then the rest.
pub static ALL: &[&Kind] = &[
    &core::namespace::KIND,
    &core::configmap::KIND,
    &core::pod::KIND,
    &core::pod_template::KIND,
    &core::replication_controller::KIND,
    &core::service::KIND,
    &core::endpoints::KIND,
    &core::secret::KIND,
    &core::service_account::KIND,
    &core::resource_quota::KIND,
    &core::limit_range::KIND,
    &core::node::KIND,
    &core::event::KIND,
    &core::binding::KIND,
    &core::component_status::KIND,
    &core::persistent_volume::KIND,
    &core::persistent_volume_claim::KIND,
    &apps::replicaset::KIND,
    &apps::deployment::KIND,
    &apps::daemon_set::KIND,
    &apps::stateful_set::KIND,
    &apps::controller_revision::KIND,
    &batch::job::KIND,
    &batch::cron_job::KIND,
    &apiextensions::custom_resource_definition::KIND,
    &coordination::lease::KIND,
    &discovery::endpoint_slice::KIND,
    &networking::ingress::KIND,
    &networking::ingress_class::KIND,
    &networking::network_policy::KIND,
    &autoscaling::horizontal_pod_autoscaler::KIND,
    &certificates::certificate_signing_request::KIND,
    &networking::service_cidr::KIND,
    &networking::ip_address::KIND,
    &policy::pod_disruption_budget::KIND,
    &scheduling::priority_class::KIND,
    &storage::storage_class::KIND,
    &storage::volume_attributes_class::KIND,
    &storage::volume_attachment::KIND,
    &storage::csi_driver::KIND,
    &storage::csi_node::KIND,
    &storage::csi_storage_capacity::KIND,
    &node::runtime_class::KIND,
    &resource::device_class::KIND,
    &resource::resource_claim::KIND,
    &resource::resource_claim_template::KIND,
    &resource::resource_slice::KIND,
    &rbac::role::KIND,
    &rbac::role_binding::KIND,
    &rbac::cluster_role::KIND,
    &rbac::cluster_role_binding::KIND,
    &admissionregistration::validating_webhook_configuration::KIND,
    &admissionregistration::mutating_webhook_configuration::KIND,
    &admissionregistration::validating_admission_policy::KIND,
    &admissionregistration::validating_admission_policy_binding::KIND,
    &admissionregistration::mutating_admission_policy::KIND,
    &admissionregistration::mutating_admission_policy_binding::KIND,
    &apiregistration::api_service::KIND,
    &flowcontrol::flow_schema::KIND,
    &flowcontrol::priority_level_configuration::KIND,
    &authentication::token_review::KIND,
    &authentication::self_subject_review::KIND,
    &authorization::subject_access_review::KIND,
    &authorization::self_subject_access_review::KIND,
    &authorization::local_subject_access_review::KIND,
    &authorization::self_subject_rules_review::KIND,
];

/// Kinds that are only ever the body of a subresource of others: no collection, no route of their own.
pub static BODIES: &[&Kind] =
    &[&policy::eviction::KIND, &autoscaling::scale::KIND, &authentication::token_request::KIND];

/// The kind and version that answer at `group`/`version`/`plural`; old homes (extensions/v1beta1) are found too.
pub fn find(group: &str, version: &str, plural: &str) -> Option<(&'static Kind, &'static Version)> {
    ALL.iter().filter(|kind| kind.plural == plural).find_map(|kind| Some((*kind, kind.version(group, version)?)))
}

/// The same by kind name, as a manifest gives it; bodies of subresources are found too.
pub fn find_kind(group: &str, version: &str, name: &str) -> Option<(&'static Kind, &'static Version)> {
    ALL.iter()
        .chain(BODIES)
        .filter(|kind| kind.kind == name)
        .find_map(|kind| Some((*kind, kind.version(group, version)?)))
}

#[cfg(test)]
mod tests;
