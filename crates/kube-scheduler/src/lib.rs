//! The scheduler: finds a node for each pod that has none. What it knows of nodes lies in columns (`nodes`), a decision
//! is a pure function of them and a pod (`schedule_one`), plugins filter and score over the columns (`plugins`, listed in
//! one place), and the loop that watches, assumes, binds and reports is the only part that does anything (`scheduler`).
//!
//! Read in this order: `pod_info`, `nodes`, `storage`, `pod_volumes`, `plugins`, `cycle`, `schedule_one`, `preemption`, `queue`, `scheduler`.

pub mod affinity;
pub mod bind_volumes;
pub mod cycle;
pub mod nodes;
pub mod plugins;
pub mod pod_affinity;
pub mod pod_info;
pub mod pod_volumes;
pub mod preemption;
pub mod queue;
mod report;
pub mod resources;
pub mod schedule_one;
mod scheduler;
pub mod storage;
pub mod topology_spread;
pub mod workloads;

use std::sync::Arc;

use client::Reflectors;
use tokio_util::sync::CancellationToken;

/// How the scheduler is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Pods that ask for this name are ours.
    pub scheduler_name: String,
    /// Bindings under way at once.
    pub bindings_max: usize,
    /// Whether others in this process read all pods through the same caches. Alone, the scheduler reads only pods that
    /// have not ended; beside others a cache of its own would hold most pods twice.
    pub caches_are_shared: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { scheduler_name: "default-scheduler".into(), bindings_max: 64, caches_are_shared: false }
    }
}

/// Schedules until `shutdown`: reads through `caches`, writes through `client`. Failures of the API are retried without
/// end; there is nothing else that can fail.
pub async fn run(client: kube::Client, caches: Arc<Reflectors>, options: Options, shutdown: CancellationToken) {
    tokio::select! {
        () = scheduler::Scheduler::new(client, &caches, options).run() => {}
        () = shutdown.cancelled() => {}
    }
}
