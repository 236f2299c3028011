//! The state that the feed begins with: all keys of the prefix at one revision, page by page.
//!
//! The revision is not the newest one but, where etcd still has it, one some way back: what happened since then comes by the
//! watch and becomes history, so that a server that was just started can resume the watches of one that went away.

use std::time::Duration;

use bytes::Bytes;
use tonic::Code;

use super::api::{RangeRequest, RangeResponse};
use super::client::{Connection, READ_TIMEOUT, reason};
use super::form::{Sealed, Values};
use crate::Revision;
use crate::index::{Index, Published};
use crate::options::Layout;

/// How many revisions are followed again at the start.
const HISTORY_REVISIONS_MAX: u64 = 10_000;
const PAGE: i64 = 1000;
/// A page of large values takes its time.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the state could not be read.
#[derive(Debug)]
pub(super) enum LoadError {
    /// etcd no longer has the revision.
    Compacted,
    Failed(String),
}

impl From<Sealed> for LoadError {
    fn from(Sealed(reason): Sealed) -> Self {
        Self::Failed(reason)
    }
}

/// etcd's revision, by a quorum.
pub(super) async fn revision(connection: &Connection, key: Bytes) -> Result<Revision, String> {
    let request = RangeRequest { key, count_only: true, ..RangeRequest::default() };
    let mut kv = connection.kv();
    let answer = tokio::time::timeout(READ_TIMEOUT, kv.range(request)).await;
    let answer = answer.map_err(|_| "etcdserver: request timed out".to_owned())?;
    let header = answer.map_err(|status| reason(&status))?.into_inner().header;
    Ok(header.unwrap_or_default().revision)
}

/// The revision to begin with when etcd stands at `current`, if it is not compacted.
pub(super) fn start(current: Revision) -> Revision {
    current.saturating_sub(HISTORY_REVISIONS_MAX).max(1)
}

/// All keys of the prefix as they were at a revision.
pub(super) async fn state<A>(
    connection: &Connection,
    values: &Values,
    layout: Layout,
    revision: Revision,
) -> Result<Published<A>, LoadError> {
    let read = |request| {
        let mut kv = connection.kv();
        async move {
            match tokio::time::timeout(PAGE_TIMEOUT, kv.range(request)).await {
                Ok(Ok(page)) => Ok(page.into_inner()),
                Ok(Err(status)) if status.code() == Code::OutOfRange => Err(LoadError::Compacted),
                Ok(Err(status)) => Err(LoadError::Failed(reason(&status))),
                Err(_) => Err(LoadError::Failed("etcdserver: request timed out".to_owned())),
            }
        }
    };
    pages(values, values.range(), layout, revision, read).await
}

/// The keys of a range as they were at a revision, by as many calls of `read` as there are pages.
pub(super) async fn pages<A, E, F>(
    values: &Values,
    (mut key, range_end): (Bytes, Bytes),
    layout: Layout,
    revision: Revision,
    read: impl Fn(RangeRequest) -> F,
) -> Result<Published<A>, E>
where
    E: From<Sealed>,
    F: Future<Output = Result<RangeResponse, E>>,
{
    let mut index = Index::new(layout);
    loop {
        let request =
            RangeRequest { key, range_end: range_end.clone(), limit: PAGE, revision, ..RangeRequest::default() };
        let page = read(request).await?;
        for kv in &page.kvs {
            if let Some(key) = values.key(&kv.key) {
                index.insert(values.open(key, kv)?);
            }
        }
        let last = match page.kvs.last() {
            Some(last) if page.more => &last.key,
            _ => return Ok(Published { index, revision }),
        };
        key = [&last[..], &[0]].concat().into();
    }
}
