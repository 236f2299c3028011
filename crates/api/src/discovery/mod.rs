//! discovery.k8s.io: where the traffic to a Service goes.

pub mod endpoint_slice;
