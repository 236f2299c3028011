//! What the responses of etcd's watch do to the index: events in the order of their revisions, each once, none passed over.
//!
//! No response is believed to be new because it came: a member that was away tells again what another has told already, and may
//! say that it stands where the index stood long ago. And progress between the parts of a response says nothing: it is not
//! told of a revision before the last of its events is.

use std::sync::Arc;

use super::api::event::EventType;
use super::api::{self, WatchResponse};
use super::form::{Sealed, Values};
use super::waiters::Waiters;
use crate::index::{Index, Published};
use crate::shared::Shared;
use crate::{Entry, Event, EventKind, Revision};

/// Takes over the responses of one watch.
pub(crate) struct Apply<A> {
    shared: Arc<Shared<A>>,
    waiters: Arc<Waiters>,
    values: Arc<Values>,
    /// Whether what etcd says of its progress can be believed.
    reports_progress: bool,
    /// Events of a response that comes in parts.
    parts: Vec<api::Event>,
}

/// Why a watch leads no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("what was missed is compacted, the oldest revision is {oldest}")]
    Compacted { oldest: Revision },
    #[error("etcd ended the watch: {0}")]
    Ended(String),
    #[error("{}", .0.0)]
    Sealed(Sealed),
}

/// Puts another state in the place of what was known.
pub(crate) fn begin_anew<A: Send + Sync + 'static>(shared: &Shared<A>, waiters: &Waiters, state: Published<A>) {
    let revision = state.revision;
    shared.reset(state);
    // No event may come for long that would wake them.
    waiters.reached(revision);
}

impl<A: Send + Sync + 'static> Apply<A> {
    pub fn new(shared: &Arc<Shared<A>>, waiters: &Arc<Waiters>, values: &Arc<Values>, reports_progress: bool) -> Self {
        let (shared, waiters, values) = (shared.clone(), waiters.clone(), values.clone());
        Self { shared, waiters, values, reports_progress, parts: Vec::new() }
    }

    /// Takes over what a response says.
    pub fn take(&mut self, response: WatchResponse) -> Result<(), Refused> {
        if response.canceled {
            return Err(match response.compact_revision {
                0 => Refused::Ended(response.cancel_reason),
                oldest => Refused::Compacted { oldest },
            });
        }
        if response.created {
            return Ok(());
        }
        if response.events.is_empty() && !response.fragment {
            if self.parts.is_empty() && self.reports_progress {
                let revision = response.header.unwrap_or_default().revision;
                self.shared.advance(revision);
                self.waiters.reached(revision);
            }
            return Ok(());
        }
        self.parts.extend(response.events);
        if response.fragment {
            return Ok(());
        }
        let events = std::mem::take(&mut self.parts);
        self.apply(&events).map_err(Refused::Sealed)
    }

    fn apply(&self, events: &[api::Event]) -> Result<(), Sealed> {
        let state = self.shared.published.load_full();
        let mut index = state.index.clone();
        let mut revision = state.revision;
        let mut applied = Vec::with_capacity(events.len());
        for event in events {
            let Some(kv) = &event.kv else { continue };
            revision = revision.max(kv.mod_revision);
            let Some(key) = self.values.key(&kv.key) else { continue };
            if kv.mod_revision <= state.revision {
                continue;
            }
            if let Some(event) = self.event(event.r#type(), &index, key, kv)? {
                index.apply(&event);
                applied.push(event);
            }
        }
        drop(state);
        let published = if applied.is_empty() {
            self.shared.advance(revision);
            None
        } else {
            Some(self.shared.publish(&applied, Published { index, revision }, None))
        };
        // Writers first: watchers run beside their next step.
        self.waiters.reached(revision);
        drop(published);
        Ok(())
    }

    fn event(
        &self,
        kind: EventType,
        index: &Index<A>,
        key: Arc<str>,
        kv: &api::KeyValue,
    ) -> Result<Option<Arc<Event<A>>>, Sealed> {
        let previous = index.get(&key).cloned();
        // All versions of a key share its name.
        let key = previous.as_ref().map_or(key, |previous| previous.key.clone());
        Ok(match (kind, previous) {
            (EventType::Put, previous) => {
                let entry = self.values.open(key, kv)?;
                Some(Event::new(EventKind::Put, entry, previous))
            }
            (EventType::Delete, Some(previous)) => {
                let value = previous.value_at(kv.mod_revision);
                let entry = Entry::new(key, previous.create_revision, kv.mod_revision, value, previous.meta);
                Some(Event::new(EventKind::Delete, entry, Some(previous)))
            }
            (EventType::Delete, None) => None,
        })
    }
}
