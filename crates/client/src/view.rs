//! All that a decision may look at: one snapshot a kind, what the last attempt came to, and what was observed outside.
//! A test makes one from literals; the runtime makes one from the caches.

use std::any::{Any, TypeId};
use std::sync::Arc;

use crate::Snapshot;
use crate::object::Object;
use crate::request::ApiError;

/// How the last plan for the same key failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// "create", "update", "patch", "delete".
    pub verb: &'static str,
    /// Plural of the resource written to.
    pub resource: String,
    /// The server's answer.
    pub error: ApiError,
}

/// What a decision is made from.
#[derive(Clone, Default)]
pub struct View {
    parts: Vec<(TypeId, Arc<dyn Any + Send + Sync>)>,
    failure: Option<Failure>,
}

impl View {
    /// A view of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds these objects of a kind.
    #[must_use]
    pub fn with<K: Object>(self, objects: impl IntoIterator<Item = K>) -> Self {
        self.with_snapshot(Arc::new(Snapshot::of(objects)))
    }

    /// Adds a snapshot of a kind.
    #[must_use]
    pub fn with_snapshot<K: Object>(mut self, snapshot: Arc<Snapshot<K>>) -> Self {
        self.put(snapshot);
        self
    }

    /// Adds something observed outside.
    #[must_use]
    pub fn with_extra<T: Send + Sync + 'static>(mut self, extra: T) -> Self {
        self.put(Arc::new(extra));
        self
    }

    /// Says how the last attempt failed.
    #[must_use]
    pub fn with_failure(mut self, failure: Option<Failure>) -> Self {
        self.failure = failure;
        self
    }

    /// Adds or replaces one part.
    pub fn put<T: Send + Sync + 'static>(&mut self, part: Arc<T>) {
        self.parts.retain(|(id, _)| *id != TypeId::of::<T>());
        self.parts.push((TypeId::of::<T>(), part));
    }

    /// The snapshot of a kind; empty if the controller has not declared that it reads the kind.
    pub fn of<K: Object>(&self) -> Arc<Snapshot<K>> {
        let part = self.part::<Snapshot<K>>();
        debug_assert!(part.is_some(), "{} is not part of this view", std::any::type_name::<K>());
        part.unwrap_or_default()
    }

    /// Something observed outside, if it was.
    pub fn extra<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.part()
    }

    /// How the last plan for this key failed, if it did.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    fn part<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let (_, part) = self.parts.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        part.clone().downcast().ok()
    }
}
