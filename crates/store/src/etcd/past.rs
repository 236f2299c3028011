//! The past in etcd: states and the versions of a key, as far back as it is not compacted. Times are not in it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use super::api::event::EventType;
use super::api::watch_request::RequestUnion;
use super::api::{
    KeyValue, RangeRequest, RangeResponse, StatusRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
    WatchResponse,
};
use super::client::{CALL_TIMEOUT, CallError, Client, Connection, Repeat, reason};
use super::feed::{ALL, ASK_EVERY, reports_progress};
use super::form::Values;
use crate::index::{Index, Published};
use crate::journal::JournalError;
use crate::options::Layout;
use crate::{Entry, EventKind, PastError, ReadError, Revision};

const PAGE: i64 = 1000;
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
        self.runtime.block_on(async {
            let mut index = Index::new(layout);
            let (mut key, range_end) = self.values.range_of(prefix);
            loop {
                let request = RangeRequest {
                    key,
                    range_end: range_end.clone(),
                    limit: PAGE,
                    revision,
                    ..RangeRequest::default()
                };
                let page = self.range(request).await?;
                for kv in &page.kvs {
                    if let Some(key) = self.values.key(&kv.key) {
                        index.insert(self.open(key, kv)?);
                    }
                }
                match page.kvs.last() {
                    Some(last) if page.more => key = [&last.key[..], &[0]].concat().into(),
                    _ => return Ok(Published { index, revision }),
                }
            }
        })
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
        self.values.open(key, kv).map_err(|sealed| failed(sealed.0))
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

    /// The oldest revision that etcd has, given one that it no longer has: a watch from there is refused with it.
    async fn oldest_after(&self, compacted: Revision) -> Result<Revision, PastError> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let look = async {
            let mut watch = Follow::begin(&self.client, &self.values.range().0, compacted, deadline).await?;
            loop {
                match watch.next().await {
                    Err(PastError::Read(ReadError::Compacted { oldest })) => return Ok(oldest),
                    result => drop(result?),
                }
            }
        };
        timeout_at(deadline, look).await.map_err(|_| failed("context deadline exceeded".to_owned()))?
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

/// The events of one key from a revision on, or of all keys where etcd does not say reliably how far it is (see feed.rs).
struct Follow {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    reports_progress: bool,
    ask: Interval,
}

impl Follow {
    async fn begin(
        client: &Client,
        key: &Bytes,
        start_revision: Revision,
        deadline: Instant,
    ) -> Result<Self, PastError> {
        let status = |connection: Connection| async move { connection.maintenance().status(StatusRequest {}).await };
        let status = client.call(Repeat::Read, deadline, status).await.map_err(refused)?;
        let reports_progress = reports_progress(&status.version);
        let all = || Bytes::from_static(ALL);
        let (key, range_end) = if reports_progress { (key.clone(), Bytes::new()) } else { (all(), all()) };
        let create = WatchCreateRequest { key, range_end, start_revision, fragment: false };
        let (requests, queue) = mpsc::channel(4);
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.send(create).await.map_err(|_| ended())?;
        let queue = parking_lot::Mutex::new(Some(queue));
        let watch = |connection: Connection| {
            let queue = queue.lock().take();
            async move {
                let queue = queue.ok_or_else(|| tonic::Status::unavailable("the connection to etcd went"))?;
                connection.watch().watch(ReceiverStream::new(queue)).await
            }
        };
        let responses = client.call(Repeat::Once, deadline, watch).await.map_err(refused)?;
        Ok(Self { requests, responses, reports_progress, ask: interval(ASK_EVERY) })
    }

    async fn next(&mut self) -> Result<WatchResponse, PastError> {
        loop {
            tokio::select! {
                biased;
                response = self.responses.message() => {
                    let response = response.map_err(|status| failed(reason(&status)))?.ok_or_else(ended)?;
                    return match (response.canceled, response.compact_revision) {
                        (false, _) => Ok(response),
                        (true, 0) => Err(failed(response.cancel_reason)),
                        (true, oldest) => Err(ReadError::Compacted { oldest }.into()),
                    };
                }
                _ = self.ask.tick(), if self.reports_progress => {
                    let ask = RequestUnion::ProgressRequest(WatchProgressRequest {});
                    let ask = WatchRequest { request_union: Some(ask) };
                    self.requests.send(ask).await.map_err(|_| ended())?;
                }
            }
        }
    }

    /// How far etcd has told everything, as far as this response says.
    fn progress(&self, response: &WatchResponse) -> Revision {
        let is_progress = self.reports_progress && response.events.is_empty() && !response.created;
        if is_progress { response.header.as_ref().map_or(0, |header| header.revision) } else { 0 }
    }
}

/// The last state with the deletion's revision.
fn deleted<A>(last: &Entry<A>, revision: Revision) -> Arc<Entry<A>> {
    Entry::new(last.key.clone(), last.create_revision, revision, last.value_at(revision), last.meta)
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
