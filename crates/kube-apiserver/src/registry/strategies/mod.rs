//! What writing an object of some kinds does besides writing it.
//!
//! Most kinds need nothing: they get [`Plain`]. The others are in one list; a file each.

mod event;
mod namespace;
mod pod;
mod returned;
mod service;

use std::time::Duration;

use api::Kind;
use jiff::Timestamp;
use machinery::status::Status;
use serde_json::Value;

use super::allocator::Reservation;
use super::{Registry, object};

/// The additional work of one kind. Every method has the answer of a kind that needs none.
pub trait Strategy: Send + Sync {
    /// Reserves what the new object asks for, writing what was chosen into it; falls back if the write does not happen.
    fn reserve(
        &self,
        _: &Registry,
        _new: &mut Value,
        _old: Option<&Value>,
        _dry_run: bool,
    ) -> Result<Reservation, Status> {
        Ok(Reservation::default())
    }

    /// The object is gone.
    fn deleted(&self, _: &Registry, _object: &Value) {}

    /// Rebuilds at the start what `reserve` and `deleted` keep.
    fn rebuild(&self, _: &Registry, _kind: &'static Kind) {}

    /// Whether something other than finalizers keeps the object while it is being deleted.
    fn holds_deletion(&self, _object: &Value) -> bool {
        false
    }

    /// Marks an object that cannot go yet.
    fn mark_deleting(&self, object: &mut Value, now: Timestamp) {
        object::set_metadata(object, "deletionTimestamp", Some(object::time(now)));
        object::set_metadata(object, "deletionGracePeriodSeconds", Some(0.into()));
    }

    /// How long an object lives after its last write.
    fn time_to_live(&self, _: &Registry) -> Option<Duration> {
        None
    }

    /// Conditions of the object's row in a table: what makes a client set it apart.
    fn row_conditions(&self, _object: &Value) -> Option<Value> {
        None
    }

    /// Whether a delete answers with the object where others answer with a Status.
    fn returns_deleted(&self) -> bool {
        false
    }
}

/// Needs nothing.
struct Plain;

impl Strategy for Plain {}

/// One line a kind: group, resource, strategy.
static STRATEGIES: &[(&str, &str, &dyn Strategy)] = &[
    ("", "namespaces", &namespace::NamespaceStrategy),
    ("", "services", &service::ServiceStrategy),
    ("", "events", &event::EventStrategy),
    ("", "pods", &pod::PodStrategy),
    ("", "podtemplates", &returned::Returned),
    ("", "resourcequotas", &returned::Returned),
    ("", "serviceaccounts", &returned::Returned),
];

/// The strategy of a kind.
pub fn of(kind: &Kind) -> &'static dyn Strategy {
    STRATEGIES
        .iter()
        .find(|(group, plural, _)| *group == kind.group && *plural == kind.plural)
        .map_or(&Plain, |(_, _, strategy)| *strategy)
}
