//! The apps group: workloads of pods that are all alike.

pub mod controller_revision;
pub mod daemon_set;
pub mod deployment;
pub mod replicaset;
pub mod stateful_set;
