//! The store: one revision counter, an index in memory, watches, and a journal that makes writes durable.
//!
//! It sees keys and bytes, never a kind. The way of a write, and the file of each step:
//!
//! ```text
//! put/delete (store.rs) -> check and number (sequencer.rs) -> gather -> journal.append: one fsync for all that waits
//!     (committer.rs, journal/) -> publish the index (index.rs) -> history (history.rs) and watch rings (ring.rs, watch.rs)
//!     -> answer the writers
//! ```
//!
//! Invariants:
//! - A write is answered, read or watched only once the journal has made it durable.
//! - Preconditions are checked against the newest *sequenced* state, so writes that share one fsync see each other.
//! - Revisions are handed out one by one and never twice for writes that anyone saw; everything a watcher gets is in
//!   revision order, without gaps and without repeats.
//! - With an etcd in the journal's place (etcd/) the steps up to publishing are etcd's; what readers see is made the same way.
//! - After a failed fsync nothing is ever accepted again by this process: what the disk holds is then unknown.

mod backend;
mod clock;
mod committer;
mod copy;
mod entry;
mod error;
pub mod etcd;
mod history;
mod index;
pub mod journal;
mod narrow;
mod options;
mod past;
mod replay;
mod ring;
mod sequencer;
mod shared;
mod stats;
mod store;
mod watch;

pub use backend::Pause;
pub use clock::{Clock, ManualClock, SystemClock};
pub use copy::Stay;
pub use entry::{Entry, Event, EventKind, NewValue, Precondition, Revision};
pub use error::{BarrierError, CompactError, OpenError, PastError, ReadError, WatchError, WriteError, chain};
pub use index::{Snapshot, Totals};
pub use narrow::Narrow;
pub use options::{Options, resource_of};
pub use past::Version;
pub use stats::{Histogram, Stats};
pub use store::Store;
pub use watch::Watch;

#[cfg(test)]
mod tests;
