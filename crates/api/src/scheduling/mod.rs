//! scheduling.k8s.io: how important pods are.

pub mod priority_class;
