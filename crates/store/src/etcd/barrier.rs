//! Consistent reads: the revision of etcd, read by a quorum, and the index come so far.
//!
//! One read serves all who asked before it began; who asks while it is under way waits for the next, for this one may have
//! been answered before. Thus the number of reads does not grow with the number of readers.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::api::RangeRequest;
use super::client::{CALL_TIMEOUT, CallError, Repeat};
use super::waiters::CatchUp;

/// Readers that wait to be taken; more wait for a place.
const WAITING_MAX: usize = 4096;
/// A key that is never there: only the answer's header counts.
const KEY: &[u8] = b"canopus.barrier";

type Reply = oneshot::Sender<Result<(), CallError>>;

pub(super) struct Barrier(mpsc::Sender<Reply>);

pub(super) struct Asked(mpsc::Receiver<Reply>);

impl Barrier {
    pub fn new() -> (Self, Asked) {
        let (ask, asked) = mpsc::channel(WAITING_MAX);
        (Self(ask), Asked(asked))
    }

    pub async fn pass(&self) -> Result<(), Arc<str>> {
        let (reply, answer) = oneshot::channel();
        let closed = || Arc::from("the store is closed");
        self.0.send(reply).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?.map_err(|error| error.message)
    }
}

impl Asked {
    pub async fn run<A>(mut self, catch_up: CatchUp<A>) {
        let mut waiting = Vec::new();
        while self.0.recv_many(&mut waiting, WAITING_MAX).await > 0 {
            let result = pass(&catch_up).await;
            for reply in waiting.drain(..) {
                // Who no longer waits need not be told.
                let _ = reply.send(result.clone());
            }
        }
    }
}

async fn pass<A>(catch_up: &CatchUp<A>) -> Result<(), CallError> {
    let deadline = Instant::now() + CALL_TIMEOUT;
    let read = |connection: super::client::Connection| async move {
        let key = bytes::Bytes::from_static(KEY);
        connection.kv().range(RangeRequest { key, count_only: true, ..RangeRequest::default() }).await
    };
    let answer = catch_up.client.call(Repeat::Read, deadline, read).await?;
    catch_up.to(answer.header.unwrap_or_default().revision, deadline).await
}
