//! The kubelet with real containers: a private containerd, a tiny image made of busybox, and an API server in memory.
//! Pods use the host's network, so no CNI is needed. Without root or containerd the tests say so and pass.

mod containers;
mod eviction;
mod harness;
mod image;
mod life;
mod network;
mod resize;
mod restart;
mod server;
mod volumes;
