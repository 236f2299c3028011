//! The state that the feed begins with: all keys of the prefix at one revision, page by page.
//!
//! The revision is not the newest one but, where etcd still has it, one some way back: what happened since then comes by the
//! watch and becomes history, so that a server that was just started can resume the watches of one that went away.

use std::time::Duration;

use bytes::Bytes;
use tonic::Code;

use super::api::RangeRequest;
use super::client::{Connection, READ_TIMEOUT, reason};
use super::form::Values;
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
    let mut index = Index::new(layout);
    let (mut key, range_end) = values.range();
    let mut kv = connection.kv();
    loop {
        let request =
            RangeRequest { key, range_end: range_end.clone(), limit: PAGE, revision, ..RangeRequest::default() };
        let answer = tokio::time::timeout(PAGE_TIMEOUT, kv.range(request)).await;
        let page = match answer {
            Ok(Ok(page)) => page.into_inner(),
            Ok(Err(status)) if status.code() == Code::OutOfRange => return Err(LoadError::Compacted),
            Ok(Err(status)) => return Err(LoadError::Failed(reason(&status))),
            Err(_) => return Err(LoadError::Failed("etcdserver: request timed out".to_owned())),
        };
        for kv in &page.kvs {
            if let Some(key) = values.key(&kv.key) {
                index.insert(values.open(key, kv).map_err(|sealed| LoadError::Failed(sealed.0))?);
            }
        }
        let last = match page.kvs.last() {
            Some(last) if page.more => &last.key,
            _ => return Ok(Published { index, revision }),
        };
        key = [&last[..], &[0]].concat().into();
    }
}
