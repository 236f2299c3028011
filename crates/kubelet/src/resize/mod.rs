//! Resizing pods in place: what a pod wants, what this node has promised it, and what its containers really have.
//!
//! A pod's spec is what is wanted. The node allocates it when there is room ([`decide`]), and from then on the pod is run
//! as if its spec were the allocation ([`Allocation::applied`]). Containers that run are then given their new share
//! without a restart, or are restarted if their resize policy says so. Allocation and share are kept in the pod's
//! directory ([`checkpoint`]), so that a restarted kubelet neither forgets a promise nor makes one twice.
//!
//! ```text
//! spec: 2 CPUs --decide--> allocated: 2 CPUs --worker--> actuated: 2 CPUs
//!   PodResizePending         PodResizeInProgress           neither
//! ```

pub mod allocate;
pub mod allocation;
pub mod checkpoint;
pub mod decide;
pub mod report;
pub mod table;

pub use allocation::{Allocation, Amounts};
pub use table::{Pending, Progress, Resizing};
