//! The group resource.k8s.io: devices that drivers offer (ResourceSlice), sorts of devices (DeviceClass), and what is asked of
//! them (ResourceClaim, ResourceClaimTemplate).
//!
//! Of v1.36's fields, those of list-typed attributes and of node-allocatable resources are switched off by default: they are
//! dropped from what is written.

mod claim_spec;
mod configuration;
pub mod device_class;
mod lists;
mod names;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_slice;
pub mod selectors;
mod taints;

const GROUP: &str = "resource.k8s.io";
/// The label by which a namespace says that claims in it may ask for devices as an administrator.
pub const ADMIN_ACCESS_LABEL: &str = "resource.kubernetes.io/admin-access";
/// As many requests, constraints, selectors, configurations and results as there may be in one list.
const ITEMS_MAX: usize = 32;
