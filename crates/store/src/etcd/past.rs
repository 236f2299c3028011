//! The past in etcd: states and the versions of a key, as far back as it is not compacted. Times are not in it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::{Instant, Interval, interval, timeout_at};
use tonic::Code;

use super::api::event::EventType;
use super::api::{KeyValue, RangeRequest, RangeResponse, StatusRequest, WatchCreateRequest, WatchResponse};
use super::client::{CALL_TIMEOUT, CallError, Client, Connection, Repeat, reason};
use super::feed::{ASK_EVERY, Stream, reports_progress};
use super::form::{Sealed, Values};
use super::load;
use crate::index::Published;
use crate::journal::JournalError;
use crate::options::Layout;
use crate::{Entry, EventKind, PastError, ReadError, Revision};

/// How long all versions of a key may take.
const VERSIONS_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// What there is to read etcd's past with. Its calls block.
pub(crate) struct Remote {
    client: Arc<Client>,
    values: Arc<Values>,
    runtime: Handle,
}

/// A version of a key, oldest first.
type Versions<A> = VecDeque<(EventKind, Arc<Entry<A>>)>;

impl Remote {
    pub(super) fn new(client: Arc<Client>, values: Arc<Values>, runtime: Handle) -> Self {
        Self { client, values, runtime }
    }

    /// The oldest revision that etcd has.
    pub fn oldest(&self) -> Result<Revision, PastError> {
        self.runtime.block_on(self.find_oldest())
    }

    /// The keys with a prefix at a revision.
    pub fn state<A>(&self, prefix: &str, revision: Revision, layout: Layout) -> Result<Published<A>, PastError> {
        let range = self.values.range_of(prefix);
        let read = |request| self.range(request);
        self.runtime.block_on(load::pages(&self.values, range, layout, revision, read))
    }

    /// The newest versions of a key up to a revision, oldest first.
    pub fn versions<A>(&self, key: &str, end: Revision, count_max: usize) -> Result<Versions<A>, PastError> {
        let Some(kept) = self.values.kept_key(key) else { return Ok(Versions::new()) };
        self.runtime.block_on(async {
            let deadline = Instant::now() + VERSIONS_TIMEOUT;
            let oldest = self.find_oldest().await?;
            let request = RangeRequest { key: kept.clone(), revision: oldest, ..RangeRequest::default() };
            let mut versions = Versions::new();
            for kv in &self.range(request).await?.kvs {
                versions.push_back((EventKind::Put, self.open(key.into(), kv)?));
            }
            let follow = async {
                let mut watch = Follow::begin(&self.client, &kept, oldest + 1, deadline).await?;
                let mut reached = oldest;
                while reached < end {
                    let response = watch.next().await?;
                    for event in &response.events {
                        let Some(kv) = &event.kv else { continue };
                        reached = reached.max(kv.mod_revision);
                        if kv.key == kept && kv.mod_revision <= end {
                            let put = || self.open(key.into(), kv).map(|entry| Some((EventKind::Put, entry)));
                            // Only what is there is deleted.
                            let last =
                                versions.back().map(|(_, last): &(_, Arc<Entry<A>>)| deleted(last, kv.mod_revision));
                            versions.extend(match event.r#type() {
                                EventType::Put => put()?,
                                EventType::Delete => last.map(|last| (EventKind::Delete, last)),
                            });
                        }
                    }
                    if versions.len() > count_max {
                        versions.drain(..versions.len() - count_max);
                    }
                    reached = reached.max(watch.progress(&response));
                }
                Ok::<_, PastError>(())
            };
            timeout_at(deadline, follow).await.map_err(|_| failed("etcdserver: request timed out".to_owned()))??;
            Ok(versions)
        })
    }

    fn open<A>(&self, key: Arc<str>, kv: &KeyValue) -> Result<Arc<Entry<A>>, PastError> {
        Ok(self.values.open(key, kv)?)
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, PastError> {
        let call = |connection: Connection| {
            let request = request.clone();
            async move { connection.kv().range(request).await }
        };
        match self.client.call(Repeat::Read, Instant::now() + CALL_TIMEOUT, call).await {
            Err(error) if error.code == Code::OutOfRange && error.message.contains("compacted") => {
                Err(ReadError::Compacted { oldest: self.oldest_after(request.revision).await? }.into())
            }
            result => result.map_err(refused),
        }
    }

    async fn oldest_after(&self, compacted: Revision) -> Result<Revision, PastError> {
        let (connection, _) = member(&self.client, Instant::now() + CALL_TIMEOUT).await?;
        Stream::oldest(&connection, self.values.range().0, compacted).await.map_err(failed)
    }

    async fn find_oldest(&self) -> Result<Revision, PastError> {
        let key = self.values.range().0;
        let request = RangeRequest { key, revision: 1, count_only: true, ..RangeRequest::default() };
        match self.range(request).await {
            Ok(_) => Ok(1),
            Err(PastError::Read(ReadError::Compacted { oldest })) => Ok(oldest),
            Err(error) => Err(error),
        }
    }
}

/// A member that answers, and whether it says reliably how far it is.
async fn member(client: &Client, deadline: Instant) -> Result<(Connection, bool), PastError> {
    let status = |connection: Connection| async move {
        let status = connection.maintenance().status(StatusRequest {}).await?;
        Ok(status.map(|status| (connection, reports_progress(&status.version))))
    };
    client.call(Repeat::Read, deadline, status).await.map_err(refused)
}

/// The events of one key from a revision on, and perhaps those of others (see feed.rs).
struct Follow {
    stream: Stream,
    ask: Interval,
}

impl Follow {
    async fn begin(
        client: &Client,
        key: &Bytes,
        start_revision: Revision,
        deadline: Instant,
    ) -> Result<Self, PastError> {
        let (connection, reports_progress) = member(client, deadline).await?;
        let create = WatchCreateRequest { key: key.clone(), start_revision, ..WatchCreateRequest::default() };
        let stream = Stream::of(&connection, create, reports_progress).await.map_err(failed)?;
        Ok(Self { stream, ask: interval(ASK_EVERY) })
    }

    async fn next(&mut self) -> Result<WatchResponse, PastError> {
        loop {
            tokio::select! {
                biased;
                response = self.stream.responses.message() => {
                    let response = response.map_err(|status| failed(reason(&status)))?.ok_or_else(ended)?;
                    return match (response.canceled, response.compact_revision) {
                        (false, _) => Ok(response),
                        (true, 0) => Err(failed(response.cancel_reason)),
                        (true, oldest) => Err(ReadError::Compacted { oldest }.into()),
                    };
                }
                _ = self.ask.tick(), if self.stream.reports_progress => self.stream.ask().await.map_err(failed)?,
            }
        }
    }

    /// How far etcd has told everything, as far as this response says.
    fn progress(&self, response: &WatchResponse) -> Revision {
        let is_progress = self.stream.reports_progress && response.events.is_empty() && !response.created;
        if is_progress { response.header.as_ref().map_or(0, |header| header.revision) } else { 0 }
    }
}

/// The last state with the deletion's revision.
fn deleted<A>(last: &Entry<A>, revision: Revision) -> Arc<Entry<A>> {
    Entry::new(last.key.clone(), last.create_revision, revision, last.value_at(revision), last.meta)
}

impl From<Sealed> for PastError {
    fn from(Sealed(reason): Sealed) -> Self {
        failed(reason)
    }
}

fn refused(error: CallError) -> PastError {
    failed(error.message.to_string())
}

fn ended() -> PastError {
    failed("etcd ended the watch".to_owned())
}

fn failed(reason: String) -> PastError {
    JournalError::Etcd { reason }.into()
}
