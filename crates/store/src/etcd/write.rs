//! The way of a write: one transaction that compares the key's last revision, then the wait for the own index.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use tonic::Code;

use super::api::compare::{CompareResult, CompareTarget, TargetUnion};
use super::api::request_op::Request;
use super::api::response_op::Response;
use super::api::{Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse};
use super::client::{CALL_TIMEOUT, CallError, Connection, Repeat};
use super::form::written;
use super::{Etcd, compactor};
use crate::sequencer::WriteResult;
use crate::{CompactError, EventKind, NewValue, Precondition, Revision, WriteError};

impl<A: Send + Sync + 'static> Etcd<A> {
    pub async fn write(
        &self,
        kind: EventKind,
        key: &str,
        value: NewValue,
        precondition: Precondition,
    ) -> WriteResult<A> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let outside = || WriteError::Unavailable(format!("{key} is outside of what is kept in etcd").into());
        let kept_key = self.values.kept_key(key).ok_or_else(outside)?;
        let operation = match kind {
            EventKind::Delete => Request::RequestDeleteRange(DeleteRangeRequest { key: kept_key.clone() }),
            EventKind::Put => {
                let kept = self.values.seal(key, &value)?;
                Request::RequestPut(PutRequest { key: kept_key.clone(), value: kept, lease: 0 })
            }
        };
        let get = RangeRequest { key: kept_key.clone(), ..RangeRequest::default() };
        let txn = TxnRequest {
            compare: compare(kind, kept_key, precondition).into_iter().collect(),
            success: vec![RequestOp { request: Some(operation) }],
            failure: vec![RequestOp { request: Some(Request::RequestRange(get)) }],
        };
        let create_revision = self.shared.published.load().index.get(key).map(|entry| entry.create_revision);
        let answer = match (kind, value.ttl) {
            (EventKind::Put, Some(ttl)) => self.leased(txn, ttl, deadline).await,
            _ => self.call(txn, deadline).await,
        };
        let answer = answer.map_err(unavailable)?;
        let revision = answer.header.unwrap_or_default().revision;
        if !answer.succeeded {
            return Err(self.conflict(key, answer, revision, deadline).await);
        }
        self.catch_up.to(revision, deadline).await.map_err(unavailable)?;
        let entry = self.shared.published.load().index.get(key).filter(|entry| entry.revision == revision).cloned();
        // A deletion is answered with the state that its writer knew; and others may have written since.
        Ok(entry.unwrap_or_else(|| written(key, create_revision.unwrap_or(revision), revision, value)))
    }

    async fn call(&self, txn: TxnRequest, deadline: Instant) -> Result<TxnResponse, CallError> {
        let call = |connection: Connection| {
            let txn = txn.clone();
            async move { connection.kv().txn(txn).await }
        };
        self.client.call(Repeat::Once, deadline, call).await
    }

    /// A put bound to a lease; once more if the lease has gone meanwhile.
    async fn leased(
        &self,
        mut txn: TxnRequest,
        ttl: std::time::Duration,
        deadline: Instant,
    ) -> Result<TxnResponse, CallError> {
        let mut tried = false;
        loop {
            let lease = self.leases.of(&self.client, ttl, deadline).await?;
            if let Some(Request::RequestPut(put)) = txn.success.first_mut().and_then(|op| op.request.as_mut()) {
                put.lease = lease;
            }
            match self.call(txn.clone(), deadline).await {
                Err(error) if error.code == Code::NotFound && !tried => {
                    tried = true;
                    self.leases.forget(lease).await;
                }
                result => return result,
            }
        }
    }

    /// The precondition does not hold: tells the current entry, once the own index knows it too.
    async fn conflict(&self, key: &str, answer: TxnResponse, revision: Revision, deadline: Instant) -> WriteError<A> {
        let found = match answer.responses.into_iter().next().and_then(|op| op.response) {
            Some(Response::ResponseRange(found)) => found.kvs.into_iter().next(),
            _ => None,
        };
        // A key that is there came with an event; one that is gone may have gone at any revision up to this.
        let known = found.as_ref().map_or(revision, |kv| kv.mod_revision);
        if let Err(error) = self.catch_up.to(known, deadline).await {
            return unavailable(error);
        }
        let Some(kv) = found else { return WriteError::Conflict(None) };
        let own = self.shared.published.load().index.get(key).filter(|own| own.revision == kv.mod_revision).cloned();
        match own.map_or_else(|| self.values.open(Arc::from(key), &kv), Ok) {
            Ok(current) => WriteError::Conflict(Some(current)),
            Err(sealed) => WriteError::Unavailable(sealed.0.into()),
        }
    }

    /// Everything written before the call, by whatever server, is in the index when this returns.
    pub async fn barrier(&self) -> Result<(), Arc<str>> {
        self.barrier.pass().await
    }

    /// Forgets etcd's history before a revision.
    pub async fn compact(&self, revision: Revision) -> Result<(), CompactError> {
        let compacted = compactor::compact(&self.client, revision, Instant::now() + CALL_TIMEOUT).await;
        compacted.map_err(|error| CompactError::Write(unavailable(error)))?;
        self.shared.forget(revision);
        Ok(())
    }
}

fn compare(kind: EventKind, key: Bytes, precondition: Precondition) -> Option<Compare> {
    let (result, revision) = match (kind, precondition) {
        (EventKind::Put, Precondition::Any) => return None,
        (_, Precondition::Revision(revision)) => (CompareResult::Equal, revision),
        // Nothing can be deleted that is not there: this never holds along with a deletion.
        (_, Precondition::Absent) => (CompareResult::Equal, 0),
        (_, Precondition::Exists | Precondition::Any) => (CompareResult::Greater, 0),
    };
    Some(Compare {
        result: result.into(),
        target: CompareTarget::Mod.into(),
        key,
        target_union: Some(TargetUnion::ModRevision(revision)),
    })
}

fn unavailable<A>(error: CallError) -> WriteError<A> {
    WriteError::Unavailable(error.message)
}
