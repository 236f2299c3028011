//! coordination.k8s.io: leases.

pub mod lease;
