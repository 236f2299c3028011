//! networking.k8s.io: how traffic gets in.

pub mod ingress_class;
