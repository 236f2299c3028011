//! The feed: keeps a connection to one member, and the index in step with etcd by one watch on the prefix.
//!
//! How it learns that nothing has happened: etcd from 3.4.25 and 3.5.8 on answers the question for its progress reliably, and is
//! asked while somebody waits for a revision. Older ones may answer too early; there the watch is on all keys, so that every
//! revision, whoever made it, comes as an event and none is waited for in vain.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::EtcdOptions;
use super::api::watch_request::RequestUnion;
use super::api::{StatusRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse};
use super::apply::{self, Apply, Refused};
use super::client::{CALL_TIMEOUT, Client, Connection, READ_TIMEOUT, reason};
use super::dial::Server;
use super::form::Values;
use super::load::{self, LoadError};
use super::waiters::Waiters;
use crate::Revision;
use crate::shared::Shared;

/// How often etcd is asked for its progress while somebody waits.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(20);
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// All keys of an etcd.
const ALL: &[u8] = b"\0";

pub(super) struct Feed<A> {
    etcd: EtcdOptions,
    shared: Arc<Shared<A>>,
    client: Arc<Client>,
    waiters: Arc<Waiters>,
    values: Arc<Values>,
    failures: mpsc::Receiver<u64>,
    /// Told when the index is complete for the first time.
    opened: Option<SyncSender<()>>,
    serial: u64,
    /// The index has to be read as a whole.
    reload: bool,
}

type Parts<A> = (Arc<Shared<A>>, Arc<Client>, Arc<Waiters>, Arc<Values>);

/// A watch and the way to ask for its progress.
pub(super) struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    pub responses: Streaming<WatchResponse>,
    pub reports_progress: bool,
}

impl<A: Send + Sync + 'static> Feed<A> {
    pub fn new(etcd: EtcdOptions, parts: Parts<A>, failures: mpsc::Receiver<u64>, opened: SyncSender<()>) -> Self {
        let (shared, client, waiters, values) = parts;
        let opened = Some(opened);
        Self { etcd, shared, client, waiters, values, failures, opened, serial: 0, reload: true }
    }

    /// Follows etcd for good.
    pub async fn run(mut self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            for server in self.etcd.servers.clone() {
                let begun = Instant::now();
                let reason = self.follow(&server).await;
                self.client.set(None);
                self.client.set_failure(&reason);
                tracing::warn!(%server, reason, "no longer following etcd");
                if begun.elapsed() > BACKOFF_MAX {
                    backoff = BACKOFF_MIN;
                }
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Follows one member until something is wrong; says what.
    async fn follow(&mut self, server: &Server) -> String {
        match self.try_follow(server).await {
            Err(reason) => reason,
            Ok(never) => match never {},
        }
    }

    async fn try_follow(&mut self, server: &Server) -> Result<std::convert::Infallible, String> {
        let channel = server.connect(self.etcd.tls.as_ref()).await?;
        self.serial += 1;
        let connection = Connection::new(self.serial, channel);
        let status = tokio::time::timeout(READ_TIMEOUT, connection.maintenance().status(StatusRequest {})).await;
        let status = status.map_err(|_| "context deadline exceeded".to_owned())?;
        let status = status.map_err(|status| reason(&status))?.into_inner();
        if status.leader == 0 {
            return Err("etcdserver: no leader".to_owned());
        }
        let reports_progress = reports_progress(&status.version);
        let current = load::revision(&connection, self.values.range().0).await?;
        let own = self.shared.published.load().revision;
        if own > current {
            tracing::error!(own, current, "etcd has gone back in time, everything is read again");
            self.client.want_nothing();
            self.reload = true;
        }
        if self.reload {
            self.load(&connection, current).await?;
            self.reload = false;
        }
        // What was written while nobody followed is told with a delay.
        self.shared.history.lock().times_unknown_to(current);
        let own = self.shared.published.load().revision;
        // Who has missed something begins with what is known already: older etcds grant a watch from the very revision on at
        // which their history begins, although a deletion made there is no longer in it (etcd 18089, 19179). From the one before
        // it is refused. Who has missed nothing waits for the next: etcd is slower to begin with what has been.
        let start = if own < current { own } else { own + 1 };
        let stream = Stream::open(&connection, &self.values, start, reports_progress).await?;
        tracing::info!(%server, version = status.version, revision = own, "following etcd");
        // Whatever is said about earlier connections is of no interest any more.
        while self.failures.try_recv().is_ok() {}
        self.client.want(current);
        self.client.set(Some(connection.clone()));
        self.keep(stream, connection.serial(), current).await
    }

    /// Reads everything, from as far back as etcd can and is worthwhile.
    async fn load(&mut self, connection: &Connection, current: Revision) -> Result<(), String> {
        let layout = self.shared.options.layout();
        let mut revision = load::start(current);
        let state = loop {
            match load::state(connection, &self.values, layout, revision).await {
                Ok(state) => break state,
                Err(LoadError::Failed(reason)) => return Err(reason),
                Err(LoadError::Compacted) => {
                    let (key, _) = self.values.range();
                    let oldest = Stream::oldest(connection, key, revision).await?;
                    if oldest <= revision {
                        return Err(format!("revision {revision} is compacted, and {oldest} would be the oldest"));
                    }
                    revision = oldest;
                }
            }
        };
        apply::begin_anew(&self.shared, &self.waiters, state);
        Ok(())
    }

    async fn keep(
        &mut self,
        mut stream: Stream,
        serial: u64,
        current: Revision,
    ) -> Result<std::convert::Infallible, String> {
        let mut apply = Apply::new(&self.shared, &self.waiters, &self.values, stream.reports_progress);
        let mut wanted = self.client.wanted();
        let mut ask = tokio::time::interval(ASK_EVERY);
        ask.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut upkeep = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            let own = self.shared.published.load().revision;
            if own >= current
                && let Some(opened) = self.opened.take()
            {
                // Nobody waits if opening took too long.
                let _ = opened.send(());
            }
            let is_behind = stream.reports_progress && *wanted.borrow_and_update() > own;
            tokio::select! {
                biased;
                response = stream.responses.message() => {
                    let response = response.map_err(|status| reason(&status))?;
                    apply.take(response.ok_or("etcd ended the watch")?).map_err(|refused| {
                        // What was missed is gone: nothing but reading everything again makes up for it.
                        self.reload = matches!(refused, Refused::Compacted { .. });
                        refused.to_string()
                    })?;
                }
                Some(failed) = self.failures.recv() => {
                    if failed == serial {
                        return Err("a call failed".to_owned());
                    }
                }
                _ = ask.tick(), if is_behind => stream.ask().await?,
                Ok(()) = wanted.changed(), if !is_behind => ask.reset_immediately(),
                _ = upkeep.tick() => self.shared.upkeep(),
            }
        }
    }
}

impl Stream {
    async fn open(
        connection: &Connection,
        values: &Values,
        start_revision: Revision,
        reports_progress: bool,
    ) -> Result<Self, String> {
        let (key, range_end) = values.range();
        Self::of(connection, WatchCreateRequest { key, range_end, start_revision, fragment: true }, reports_progress)
            .await
    }

    /// The watch that is asked for, or one of all keys where etcd does not say reliably how far it is.
    pub async fn of(
        connection: &Connection,
        create: WatchCreateRequest,
        reports_progress: bool,
    ) -> Result<Self, String> {
        let all = || Bytes::from_static(ALL);
        let create =
            if reports_progress { create } else { WatchCreateRequest { key: all(), range_end: all(), ..create } };
        let (requests, responses) = Self::begin(connection, create).await?;
        Ok(Self { requests, responses, reports_progress })
    }

    async fn begin(
        connection: &Connection,
        create: WatchCreateRequest,
    ) -> Result<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>), String> {
        let (requests, queue) = mpsc::channel(4);
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        requests.send(create).await.map_err(|_| "the watch ended".to_owned())?;
        let mut watch = connection.watch();
        let answer = tokio::time::timeout(READ_TIMEOUT, watch.watch(ReceiverStream::new(queue))).await;
        let answer = answer.map_err(|_| "context deadline exceeded".to_owned())?;
        Ok((requests, answer.map_err(|status| reason(&status))?.into_inner()))
    }

    /// The oldest revision that etcd has, given one that it no longer has: a watch from there is refused with it.
    pub async fn oldest(connection: &Connection, key: Bytes, compacted: Revision) -> Result<Revision, String> {
        let create = WatchCreateRequest { key, start_revision: compacted, ..WatchCreateRequest::default() };
        let (_requests, mut responses) = Self::begin(connection, create).await?;
        let refused = async {
            while let Some(response) = responses.message().await.map_err(|status| reason(&status))? {
                if response.compact_revision > 0 {
                    return Ok(response.compact_revision);
                }
            }
            Err("etcd ended the watch".to_owned())
        };
        let refused = tokio::time::timeout(CALL_TIMEOUT, refused).await;
        refused.map_err(|_| "context deadline exceeded".to_owned())?
    }

    pub async fn ask(&self) -> Result<(), String> {
        let ask = RequestUnion::ProgressRequest(WatchProgressRequest {});
        let sent = self.requests.send(WatchRequest { request_union: Some(ask) }).await;
        sent.map_err(|_| "the watch ended".to_owned())
    }
}

/// Whether an etcd of this version answers the question for progress only when it is true.
pub(super) fn reports_progress(version: &str) -> bool {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    let (major, minor, patch) = (next(), next(), next());
    match (major, minor) {
        (3, 4) => patch >= 25,
        (3, 5) => patch >= 8,
        _ => (major, minor) >= (3, 6),
    }
}

#[cfg(test)]
mod tests {
    use super::reports_progress;

    #[test]
    fn progress_is_trusted_from_the_mended_versions_on() {
        let known = |version: &str| reports_progress(version);
        assert!(["3.4.25", "3.4.30", "3.5.8", "3.5.16", "3.6.0", "3.6.0-rc.1", "4.0.0"].into_iter().all(known));
        assert!(!["3.4.24", "3.4.23", "3.5.7", "3.3.99", "", "x"].into_iter().any(known));
    }
}
