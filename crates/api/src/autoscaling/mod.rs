//! autoscaling: how many of a thing there should be.

pub mod scale;
