//! Compaction of etcd's history by one of the servers, upstream's and ours alike.
//!
//! Under a key that all know lies the revision of the last interval; its version counts the intervals. Each server tries to
//! move the version on once an interval. Who succeeds compacts what was there an interval ago; the others take note of the
//! version and wait for the next one. So history is kept for one interval to two, whatever the number of servers.

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

const KEY: &[u8] = b"compact_rev_key";

pub(super) struct Compactor {
    client: Arc<Client>,
    interval: Duration,
    /// What this server knows of the interval under way.
    known: Known,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    version: u64,
    revision: Revision,
}

impl Compactor {
    pub fn new(client: Arc<Client>, interval: Duration) -> Self {
        Self { client, interval, known: Known::default() }
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
            target_union: Some(TargetUnion::Version(self.known.version)),
        };
        let put = PutRequest { key: key.clone(), value: self.known.revision.to_string().into(), lease: 0 };
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
        let before = self.known;
        self.known = Known { version: before.version + 1, revision };
        if !answer.succeeded {
            let found = answer.responses.into_iter().next().and_then(|op| op.response);
            let Some(Response::ResponseRange(found)) = found else { return Ok(()) };
            self.known.version = found.kvs.first().map_or(0, |kv| kv.version);
            return Ok(());
        }
        if before.revision == 0 {
            return Ok(());
        }
        compact(&self.client, before.revision, deadline).await
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
