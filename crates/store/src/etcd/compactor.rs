//! Compaction of etcd's history by one of the servers, upstream's and ours alike.
//!
//! Under a key that all know lies the revision of the last interval; its version counts the intervals. Each server tries to
//! move the version on once an interval. Who succeeds compacts what was there an interval ago; the others take note of the
//! version and wait for the next one. So history is kept for one interval to two, whatever the number of servers.
//!
//! With retention it is what was there more intervals ago, or so many revisions; each server remembers the intervals since its start.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::api::compare::{CompareResult, CompareTarget, TargetUnion};
use super::api::request_op::Request;
use super::api::response_op::Response;
use super::api::{CompactionRequest, Compare, PutRequest, RangeRequest, RequestOp, TxnRequest};
use super::client::{CALL_TIMEOUT, CallError, Client, Connection, Repeat};
use crate::Revision;
use crate::journal::Retention;

const KEY: &[u8] = b"compact_rev_key";

pub(super) struct Compactor {
    client: Arc<Client>,
    interval: Duration,
    retention: Retention,
    /// How many intervals this server knows of.
    version: u64,
    /// The revisions at their ends, oldest first, as far as they are needed.
    revisions: VecDeque<Revision>,
}

impl Compactor {
    pub fn new(client: Arc<Client>, interval: Duration, retention: Retention) -> Self {
        Self { client, interval, retention, version: 0, revisions: VecDeque::new() }
    }

    pub async fn run(mut self) {
        if self.interval.is_zero() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.interval).await;
            if let Err(error) = self.step().await {
                tracing::warn!(error = &*error.message, "failed to compact etcd's history");
            }
        }
    }

    /// One interval.
    async fn step(&mut self) -> Result<(), CallError> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let key = Bytes::from_static(KEY);
        let compare = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Version.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::Version(self.version)),
        };
        let last = self.revisions.back().copied().unwrap_or(0);
        let put = PutRequest { key: key.clone(), value: last.to_string().into(), lease: 0 };
        let get = RangeRequest { key, ..RangeRequest::default() };
        let txn = TxnRequest {
            compare: vec![compare],
            success: vec![RequestOp { request: Some(Request::RequestPut(put)) }],
            failure: vec![RequestOp { request: Some(Request::RequestRange(get)) }],
        };
        let call = |connection: Connection| {
            let txn = txn.clone();
            async move { connection.kv().txn(txn).await }
        };
        let answer = self.client.call(Repeat::Once, deadline, call).await?;
        let revision = answer.header.unwrap_or_default().revision;
        self.version += 1;
        let due = self.due(revision);
        if !answer.succeeded {
            let found = answer.responses.into_iter().next().and_then(|op| op.response);
            let Some(Response::ResponseRange(found)) = found else { return Ok(()) };
            self.version = found.kvs.first().map_or(0, |kv| kv.version);
            return Ok(());
        }
        if due == 0 {
            return Ok(());
        }
        compact(&self.client, due, deadline).await
    }

    /// The revision before which history is no longer wanted when an interval ends at `revision`; 0 for none.
    fn due(&mut self, revision: Revision) -> Revision {
        let intervals = match self.retention.age {
            Some(age) => age.as_nanos().div_ceil(self.interval.as_nanos().max(1)).max(1),
            None => 1,
        };
        self.revisions.push_back(revision);
        // Those of the intervals that are kept, and the one they began with.
        while self.revisions.len() as u128 > intervals + 1 {
            self.revisions.pop_front();
        }
        let superseded = if self.revisions.len() as u128 > intervals { self.revisions[0] } else { 0 };
        let last = self.revisions.len().checked_sub(2).map_or(0, |at| self.revisions[at]);
        match (self.retention.age, self.retention.revisions) {
            (_, None) => superseded,
            (None, Some(count)) => last.min(revision.saturating_sub(count)),
            // Whichever ends it first, but not what the interval leaves to slow watchers.
            (Some(_), Some(count)) => last.min(superseded.max(revision.saturating_sub(count))),
        }
    }
}

/// Forgets etcd's history before a revision; one that is forgotten already is as good.
pub(super) async fn compact(client: &Client, revision: Revision, deadline: Instant) -> Result<(), CallError> {
    let call = |connection: Connection| async move { connection.kv().compact(CompactionRequest { revision }).await };
    match client.call(Repeat::Read, deadline, call).await {
        Err(error) if error.code == tonic::Code::OutOfRange && error.message.contains("compacted") => Ok(()),
        result => result.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_puts_off_what_is_compacted() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let due = |age: Option<Duration>, revisions: Option<u64>| {
            let retention = Retention { age, revisions, bytes: None };
            let mut compactor = Compactor::new(Arc::new(Client::new().0), minutes(5), retention);
            [100, 200, 300, 400, 500].map(|revision| compactor.due(revision))
        };
        assert_eq!(due(None, None), [0, 100, 200, 300, 400]);
        assert_eq!(due(Some(minutes(1)), None), [0, 100, 200, 300, 400]);
        assert_eq!(due(Some(minutes(12)), None), [0, 0, 0, 100, 200]);
        assert_eq!(due(None, Some(250)), [0, 0, 50, 150, 250]);
        assert_eq!(due(None, Some(10)), [0, 100, 200, 300, 400]);
        assert_eq!(due(Some(minutes(12)), Some(250)), [0, 0, 50, 150, 250]);
        assert_eq!(due(Some(minutes(12)), Some(1000)), [0, 0, 0, 100, 200]);
    }
}
