//! A store whose truth is an etcd cluster, shared with other servers.
//!
//! ```text
//! put/delete (write.rs) -> one transaction comparing mod_revision -> etcd
//! etcd -> one watch on the prefix (feed.rs) -> index, history, rings (apply.rs) -> the writer that waits (waiters.rs)
//! barrier (barrier.rs) -> a quorum read of the revision, shared by all who wait -> until the feed has come so far
//! ```
//!
//! What readers and watchers see is the same as with a journal: index, history and rings are fed by the watch and by nothing
//! else, so all servers of a cluster see the same events in the same order under etcd's own revisions.
//!
//! Invariants:
//! - A write is answered once it is in the own index: who writes reads what was written.
//! - Nothing enters the index but by the watch (or by the range it begins with); a gap is never papered over: if etcd has
//!   compacted what was missed, everything is read again and the watchers are told to do the same.
//! - Whatever is read after [`crate::Store::barrier`] is no older than the moment at which the barrier was asked for.
//! - The values in etcd are those that upstream writes: [`Form`] changes between them and what the store serves.

pub mod api;
pub(crate) mod apply;
mod barrier;
mod client;
mod compactor;
mod dial;
mod feed;
mod form;
mod lease;
mod load;
mod past;
mod waiters;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::history::History;
use crate::index::{Index, Published};
use crate::journal::{JournalError, Retention};
use crate::ring::Rings;
use crate::shared::{Reached, Shared};
use crate::{OpenError, Options};

pub use dial::{EndpointError, Server};
pub use form::Form;

pub(crate) use form::Values;
pub(crate) use past::Remote;
#[cfg(test)]
pub(crate) use waiters::Waiters;

/// Which etcd, and how its data are used.
#[derive(Clone)]
pub struct EtcdOptions {
    /// Members of the cluster; one is used at a time, the next one when it fails.
    pub servers: Vec<Server>,
    /// For `https` servers: whom to trust and what to show.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// What the store's keys begin with.
    pub root: String,
    /// What etcd's keys begin with in its place.
    pub prefix: String,
    /// Changes between the store's values and etcd's.
    pub form: Arc<dyn Form>,
    /// How often one of the servers compacts etcd's history; zero leaves that to others.
    pub compaction_interval: Duration,
    /// What is kept beyond that; it has no say over bytes.
    pub retention: Retention,
    /// How long keys that expire may share a lease.
    pub lease_reuse: Duration,
    /// How long opening waits for etcd.
    pub open_timeout: Duration,
}

impl EtcdOptions {
    /// Upstream's defaults.
    pub fn new(servers: Vec<Server>, form: Arc<dyn Form>) -> Self {
        Self {
            servers,
            tls: None,
            root: "/registry".into(),
            prefix: "/registry".into(),
            form,
            compaction_interval: Duration::from_secs(300),
            retention: Retention::OFF,
            lease_reuse: Duration::from_secs(60),
            open_timeout: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("servers", &self.servers)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What the handle of a store on etcd has besides what every store has.
pub(crate) struct Etcd<A> {
    pub shared: Arc<Shared<A>>,
    client: Arc<client::Client>,
    values: Arc<Values>,
    catch_up: waiters::CatchUp<A>,
    leases: lease::Leases,
    barrier: barrier::Barrier,
    ending: CancellationToken,
}

impl<A> Etcd<A> {
    /// Ends the feed and all that waits.
    pub fn end(&self) {
        self.ending.cancel();
    }
}

/// Starts to follow etcd and returns when the index is complete. The thread ends after [`Etcd::end`].
pub(crate) fn open<A: Send + Sync + 'static>(
    etcd: EtcdOptions,
    options: Options,
) -> Result<(Etcd<A>, std::thread::JoinHandle<()>), OpenError> {
    let (open_timeout, lease_reuse) = (etcd.open_timeout, etcd.lease_reuse);
    let speaks_http2 = |tls: &Arc<rustls::ClientConfig>| {
        let mut tls = rustls::ClientConfig::clone(tls);
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(tls)
    };
    let etcd = EtcdOptions { tls: etcd.tls.as_ref().map(speaks_http2), ..etcd };
    let empty = Arc::new(Published { index: Index::new(options.layout()), revision: 0 });
    let rings = Rings::new(0, options.layout(), options.ring_events_max);
    let values = Arc::new(Values::new(&etcd, options.transformer.clone()));
    let shared = Shared::new(options, History::new(empty), rings, Default::default());
    let (client, failures) = client::Client::new();
    let (client, waiters) = (Arc::new(client), Arc::new(waiters::Waiters::default()));
    let (barrier, asked) = barrier::Barrier::new();
    let (opened, is_open) = std::sync::mpsc::sync_channel(1);
    let compactor = compactor::Compactor::new(client.clone(), etcd.compaction_interval, etcd.retention);
    let parts = (shared.clone(), client.clone(), waiters.clone(), values.clone());
    let feed = feed::Feed::new(etcd, parts, failures, opened);
    let catch_up = waiters::CatchUp { shared: shared.clone(), client: client.clone(), waiters };
    let behind = catch_up.clone();
    let work = async { _ = tokio::join!(feed.run(), asked.run(behind), compactor.run()) };

    let leases = lease::Leases::new(lease_reuse);
    let ending = CancellationToken::new();
    let (closing, until) = (shared.clone(), ending.clone());
    let runtime = runtime().map_err(|error| JournalError::Etcd { reason: error.to_string() })?;
    shared.past.read_from_etcd(Remote::new(client.clone(), values.clone(), runtime.handle().clone()));
    let thread = std::thread::Builder::new().name("store-etcd-feed".into()).spawn(move || {
        runtime.block_on(async { _ = until.run_until_cancelled(work).await });
        // Nobody waits for more: watches end, and so do those who wait for a revision.
        closing.close("the connection to etcd was ended");
        closing.rings.close();
        closing.revisions.send_replace(Reached::End);
    });
    let thread = thread.map_err(|error| JournalError::Etcd { reason: error.to_string() })?;
    let etcd = Etcd { shared, client, values, catch_up, leases, barrier, ending };
    if is_open.recv_timeout(open_timeout).is_ok() {
        return Ok((etcd, thread));
    }
    etcd.end();
    let reason = etcd.client.last_failure().unwrap_or_else(|| "context deadline exceeded".into());
    // Ends at once. A panic there has been reported by the panic hook.
    drop(thread.join());
    Err(JournalError::Etcd { reason: reason.to_string() }.into())
}

/// Connections and their timers have a runtime of their own, so that no request's work delays them.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("store-etcd").enable_all().build()
}
