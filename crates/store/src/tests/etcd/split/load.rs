//! Stores that write, read and watch, and the book that is kept of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::{TestStore, text, until};
use crate::Precondition;

const PODS: &str = "/registry/pods/";
const WRITERS: usize = 8;
/// Stores that know all members; those behind them may be cut off.
const CONNECTED: usize = 2;

/// A write that was acknowledged.
struct Written {
    store: usize,
    begun: Instant,
    ended: Instant,
    key: String,
    revision: u64,
}

type Seen = Arc<Mutex<Vec<(u64, String)>>>;

#[derive(Default)]
struct Book {
    written: Mutex<Vec<Written>>,
    /// The newest revision that anybody was told of.
    newest: AtomicU64,
    serial: AtomicU64,
    /// Reads behind a barrier.
    reads: AtomicU64,
}

pub struct Load {
    stores: Vec<TestStore>,
    book: Arc<Book>,
    seen: Vec<Seen>,
    done: CancellationToken,
    tasks: JoinSet<()>,
    /// They end after those who write.
    closing: CancellationToken,
    watchers: JoinSet<()>,
}

impl Load {
    pub fn begin(stores: Vec<TestStore>) -> Self {
        let (book, done) = (Arc::new(Book::default()), CancellationToken::new());
        let (mut tasks, mut watchers, mut seen) = (JoinSet::new(), JoinSet::new(), Vec::new());
        let closing = CancellationToken::new();
        let from = stores.iter().map(TestStore::revision).max().expect("stores");
        for (at, store) in stores.iter().enumerate() {
            for _ in 0..WRITERS {
                tasks.spawn(write(at, store.clone(), book.clone(), done.clone()));
            }
            tasks.spawn(knock(at, store.clone(), book.clone(), done.clone()));
            for _ in 0..2 {
                tasks.spawn(read(store.clone(), book.clone(), done.clone()));
            }
            let own = Seen::default();
            seen.push(own.clone());
            watchers.spawn(watch(store.clone(), from, own, closing.clone()));
        }
        Self { stores, book, seen, done, tasks, closing, watchers }
    }

    /// When the first write of a store that was begun after a moment was acknowledged.
    fn again(&self, store: usize, after: Instant) -> Option<Instant> {
        let written = self.book.written.lock();
        written.iter().filter(|own| own.store == store && own.begun > after).map(|own| own.ended).min()
    }

    /// Every store that knows all members has written so often since a moment.
    pub async fn goes_on(&self, after: Instant, count: usize) {
        let enough = |store| {
            let written = self.book.written.lock();
            written.iter().filter(|own| own.store == store && own.begun > after).count() >= count
        };
        until("writes are acknowledged again", async || (0..CONNECTED).all(enough)).await;
    }

    /// Every store has written since a moment.
    pub async fn all_go_on(&self, after: Instant) {
        let written = || (0..self.stores.len()).all(|store| self.again(store, after).is_some());
        until("every store writes again", async || written()).await;
    }

    /// How long the stores that know all members could not write.
    pub fn away(&self, since: Instant) -> Vec<Duration> {
        (0..CONNECTED).filter_map(|store| Some(self.again(store, since)? - since)).collect()
    }

    /// The longest time between two acknowledgements.
    pub fn longest_silence(&self, from: Instant, to: Instant) -> Duration {
        let written = self.book.written.lock();
        let mut ends: Vec<_> = written.iter().map(|own| own.ended).filter(|at| (from..to).contains(at)).collect();
        ends.extend([from, to]);
        ends.sort_unstable();
        ends.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default()
    }

    /// Stops, and compares the book with what the stores say and have told.
    pub async fn end(mut self) {
        self.done.cancel();
        while let Some(task) = self.tasks.join_next().await {
            task.expect("no read is stale");
        }
        self.closing.cancel();
        // They end when they have told everything that was acknowledged.
        while let Some(task) = self.watchers.join_next().await {
            task.expect("a watch goes on");
        }
        let written = std::mem::take(&mut *self.book.written.lock());
        let last = written.iter().map(|own| own.revision).max().expect("many");
        let told: Vec<_> = self.seen.iter().map(|seen| std::mem::take(&mut *seen.lock())).collect();
        for (at, (store, seen)) in self.stores.iter().zip(&told).enumerate() {
            store.barrier().await.expect("a leader is there");
            assert!(seen.windows(2).all(|two| two[0].0 < two[1].0), "store {at} told out of order or twice");
            for own in &written {
                assert_eq!(store.get(&own.key).map(|entry| entry.revision), Some(own.revision), "{} is lost", own.key);
                let told = seen.binary_search_by_key(&own.revision, |(revision, _)| *revision).map(|at| &seen[at].1);
                assert_eq!(told, Ok(&own.key), "store {at} did not tell of it");
            }
            let until_last =
                |seen: &[(u64, String)]| seen.iter().take_while(|(at, _)| *at <= last).cloned().collect::<Vec<_>>();
            assert!(until_last(seen) == until_last(&told[0]), "store {at} and the first have told different things");
        }
        let by = |store| written.iter().filter(|own| own.store == store).count();
        let reads = self.book.reads.load(Ordering::SeqCst);
        println!(
            "{:?} writes acknowledged, {reads} consistent reads, {} events each",
            [by(0), by(1), by(2)],
            told[0].len()
        );
    }
}

/// One write after the other.
async fn write(at: usize, store: TestStore, book: Arc<Book>, done: CancellationToken) {
    while !done.is_cancelled() {
        if !put(at, &store, &book).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Writes that wait for no other: how soon there is an answer again shows by them.
async fn knock(at: usize, store: TestStore, book: Arc<Book>, done: CancellationToken) {
    let mut knocking = JoinSet::new();
    while !done.is_cancelled() {
        let (store, book) = (store.clone(), book.clone());
        knocking.spawn(async move { put(at, &store, &book).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        while knocking.try_join_next().is_some() {}
    }
    knocking.join_all().await;
}

/// Whoever gives up does not know, and tries something else.
async fn put(at: usize, store: &TestStore, book: &Book) -> bool {
    let key = format!("{PODS}default/p{}", book.serial.fetch_add(1, Ordering::Relaxed));
    let begun = Instant::now();
    let put = store.put(&key, text("x"), Precondition::Absent);
    let Ok(Ok(entry)) = tokio::time::timeout(Duration::from_secs(2), put).await else { return false };
    let revision = entry.revision;
    book.newest.fetch_max(revision, Ordering::SeqCst);
    book.written.lock().push(Written { store: at, begun, ended: Instant::now(), key, revision });
    true
}

/// What was acknowledged anywhere before a consistent read is in it.
async fn read(store: TestStore, book: Arc<Book>, done: CancellationToken) {
    while !done.is_cancelled() {
        let before = book.newest.load(Ordering::SeqCst);
        if store.barrier().await.is_ok() {
            assert!(store.revision() >= before, "read {} after {before} was acknowledged", store.revision());
            book.reads.fetch_add(1, Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn watch(store: TestStore, from: u64, seen: Seen, closing: CancellationToken) {
    let mut watch = store.watch(PODS, from).expect("kept");
    loop {
        let event = tokio::select! {
            event = watch.next() => event,
            () = closing.cancelled() => break,
        };
        let event = event.expect("the watch goes on").expect("an event");
        seen.lock().push((event.revision, event.entry.key.to_string()));
    }
    // All that was acknowledged comes still.
    store.barrier().await.expect("a leader is there");
    let last = store.revision();
    while watch.revision() < last {
        let event = watch.next().await.expect("the watch goes on").expect("an event");
        seen.lock().push((event.revision, event.entry.key.to_string()));
    }
}
