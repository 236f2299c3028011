//! Strict serializability under real threads: clients that all write, read, watch and compact at once, each noting when it
//! asked and when it was answered. Afterwards there must be one order of all operations that the answers fit and in which what
//! was answered before another was asked comes first.
//!
//! Finding such an order is simple here: every write has a revision, and so has every snapshot. Each operation is placed at the
//! revision of the state that it saw (of a conflict and a plain read, whose answers carry none, at the first that fits). Going
//! through the operations as they were asked, each must stand no earlier than all that had been answered by then, and a write
//! later than all of them.
//!
//! A watch is an operation too: when it has nothing more to tell, it stands where its progress says. That is no earlier than the
//! writes that had been answered; readers may be a step ahead of it, as they are shown what is durable first.

mod clients;
mod order;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::journal::{Journal, Memory, Wal, WalOptions};
use crate::{EventKind, Options, Precondition, Revision, Store};
use clients::Client;

const CLIENTS: u64 = 6;

/// Key to (created, written).
type State = BTreeMap<Arc<str>, (Revision, Revision)>;

/// What an operation was answered.
#[derive(Debug)]
enum Seen {
    Written {
        kind: EventKind,
        key: Arc<str>,
        precondition: Precondition,
        created: Revision,
        revision: Revision,
    },
    Refused {
        kind: EventKind,
        key: &'static str,
        precondition: Precondition,
        current: Option<Revision>,
    },
    Read {
        key: &'static str,
        current: Option<Revision>,
    },
    Whole {
        revision: Revision,
        state: State,
    },
    /// All of a watch that began after a revision, and where it stands now.
    Told {
        prefix: &'static str,
        after: Revision,
        events: Vec<(Revision, EventKind, Arc<str>)>,
        progress: Revision,
    },
}

#[derive(Debug)]
struct Operation {
    asked: u64,
    answered: u64,
    seen: Seen,
}

async fn round(journal: Box<dyn Journal>, seed: u64) {
    // Few events are kept, so that watches fall behind too, and groups are small, so that writers wait for room.
    let options = Options { ring_events_max: 64, group_bytes_max: 200, ..Options::default() };
    let store = Store::<()>::open(journal, options).expect("it opens");
    let time = Arc::new(AtomicU64::new(0));
    let clients = (0..CLIENTS).map(|client| Client::new(store.clone(), time.clone(), seed * CLIENTS + client));
    let histories = clients.map(Client::run).collect::<tokio::task::JoinSet<_>>().join_all().await;
    let history: Vec<Operation> = histories.into_iter().flatten().collect();
    let told =
        history.iter().filter(|operation| matches!(&operation.seen, Seen::Told { events, .. } if !events.is_empty()));
    assert!(told.count() > 20 && store.revision() > 100, "little happened");
    order::check(history);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_of_a_store_in_memory_see_one_order() {
    for seed in 0..40 {
        round(Box::new(Memory::default()), seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_of_a_store_on_disk_see_one_order() {
    let wal = |folder: &Path| {
        let wal = WalOptions { segment_bytes: 16 << 10, snapshot_log_bytes: 20 << 10, ..WalOptions::default() };
        Box::new(Wal::open(folder, wal).expect("the folder opens"))
    };
    for seed in 0..5 {
        let folder = tempfile::tempdir().expect("a folder");
        round(wal(folder.path()), seed).await;
    }
}
