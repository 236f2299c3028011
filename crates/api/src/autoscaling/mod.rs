//! autoscaling: how many of a thing there should be.

pub mod horizontal_pod_autoscaler;
pub mod scale;
