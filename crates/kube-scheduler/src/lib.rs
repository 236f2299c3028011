//! The scheduler: finds a node for each pod that has none. What it knows of nodes lies in columns (`nodes`), a decision
//! is a pure function of them and a pod (`schedule_one`), plugins filter and score over the columns (`plugins`, listed in
//! one place), and the loop that watches, assumes, binds and reports is the only part that does anything (`scheduler`).
//!
//! Read in this order: `pod_info`, `nodes`, `plugins`, `schedule_one`, `preemption`, `queue`, `scheduler`.

pub mod affinity;
pub mod nodes;
pub mod plugins;
pub mod pod_info;
pub mod preemption;
pub mod queue;
mod report;
pub mod resources;
pub mod schedule_one;
mod scheduler;

use kube::Client;
use tokio_util::sync::CancellationToken;

/// How the scheduler is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Pods that ask for this name are ours.
    pub scheduler_name: String,
    /// Bindings under way at once.
    pub bindings_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { scheduler_name: "default-scheduler".into(), bindings_max: 64 }
    }
}

/// Schedules until `shutdown`. Failures of the API are retried without end; there is nothing else that can fail.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) {
    tokio::select! {
        () = scheduler::Scheduler::new(client, options).run() => {}
        () = shutdown.cancelled() => {}
    }
}
