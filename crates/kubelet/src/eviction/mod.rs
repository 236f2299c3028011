//! Ending pods before the node itself runs out of memory, disk or process ids.
//!
//! Every few seconds the node is looked at ([`stats`], injected). [`limits`] finds pods that use more local storage than
//! they may; [`manager`] finds out which [`threshold`]s are passed and for how long. Then what nobody needs is removed
//! (images, for disks), and if that is not enough one pod is evicted: the first that [`rank`] names. All of these are
//! pure; [`run`] does what they say.

pub mod collect;
pub mod disk_usage;
pub mod limits;
pub mod manager;
pub mod message;
pub mod rank;
pub mod run;
pub mod signal;
pub mod stats;
pub mod threshold;

pub use manager::Manager;
pub use signal::{Pressure, Signal};
pub use stats::{ContainerUsage, DiskUsage, Observation, PodUsage, Stats};
pub use threshold::{Amount, Settings, Threshold};

use k8s_openapi::api::core::v1::Pod;

use crate::pod::PodExt;

/// From here on a priority is critical.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// Whether a pod is never evicted: the node or the cluster would not work without it.
pub fn is_critical(pod: &Pod) -> bool {
    let annotations = pod.metadata.annotations.as_ref();
    let is_static = annotations.is_some_and(|all| all.contains_key("kubernetes.io/config.mirror"));
    is_static || pod.pod_spec().priority.unwrap_or(0) >= CRITICAL_PRIORITY
}
