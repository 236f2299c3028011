//! Values kept in another form: nothing of the plain form on the disk, old forms gone by themselves, failures told.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::journal::{JournalError, Opened, Retention, Transformer, Wal, WalOptions};
use crate::tests::{TestStore, value};
use crate::{OpenError, Options, PastError, Precondition, Store, WriteError};

/// Puts a number before the value and turns its bits over. Form 0 is the plain value.
struct Flip {
    form: AtomicU64,
}

impl Flip {
    fn new(form: u64) -> Arc<Self> {
        Arc::new(Self { form: AtomicU64::new(form) })
    }
}

const AWAY: &str = "/registry/secrets/away/";
const UNLUCKY: &str = "/registry/secrets/unlucky/";

impl Transformer for Flip {
    fn ready(&self, key: &str) -> Result<(), String> {
        if key.starts_with(AWAY) { Err("the key service is away".into()) } else { Ok(()) }
    }

    fn seal<'v>(&self, key: &str, value: &'v [u8]) -> Result<Cow<'v, [u8]>, String> {
        match self.form.load(SeqCst) as u8 {
            _ if key.starts_with(UNLUCKY) => Err("no luck".into()),
            0 => Ok(value.into()),
            form => Ok([&[form][..], &value.iter().map(|byte| !byte).collect::<Vec<_>>()].concat().into()),
        }
    }

    fn open<'v>(&self, _: &str, kept: &'v [u8]) -> Result<Opened<'v>, String> {
        let current = self.form.load(SeqCst) as u8;
        match kept {
            [form @ 1..=9, flipped @ ..] if *form <= current => {
                let value = flipped.iter().map(|byte| !byte).collect::<Vec<_>>().into();
                Ok(Opened { value, stale: *form != current })
            }
            [1..=9, ..] => Err("an unknown form".into()),
            plain => Ok(Opened { value: plain.into(), stale: current != 0 }),
        }
    }

    fn generation(&self) -> u64 {
        self.form.load(SeqCst)
    }
}

fn open(folder: &Path, transformer: Arc<Flip>) -> Result<TestStore, OpenError> {
    let wal = WalOptions { segment_bytes: 4096, snapshot_log_bytes: u64::MAX, recycle: false, ..WalOptions::default() };
    open_with(folder, transformer, wal)
}

fn open_with(folder: &Path, transformer: Arc<Flip>, wal: WalOptions) -> Result<TestStore, OpenError> {
    let spawn: crate::options::Spawn = Arc::new(|work| work());
    Store::open(
        Box::new(Wal::open(folder, wal)?),
        Options { spawn, transformer: Some(transformer), ..Options::default() },
    )
}

async fn put(store: &TestStore, key: &str, text: &str) {
    store.put(key, value(text), Precondition::Any).await.expect("written");
}

fn on_disk(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn the_disk_never_holds_what_readers_get() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), Flip::new(1)).expect("opens");
    put(&store, "/registry/secrets/a/b", "the password").await;
    store.delete("/registry/secrets/a/b", value("the password, last seen"), Precondition::Any).await.expect("deleted");
    put(&store, "/registry/secrets/a/c", "the password again").await;
    store.close().await;
    drop(store);
    assert!(on_disk(folder.path(), "/registry/secrets/a/b"), "this looks at the right files");
    assert!(!on_disk(folder.path(), "the password"));
    let store = open(folder.path(), Flip::new(1)).expect("opens again");
    assert_eq!(&store.get("/registry/secrets/a/c").expect("there").value[..], b"the password again");
    let mut watch = store.watch("/registry/secrets/", 1).expect("history");
    assert_eq!(&watch.try_next().expect("alive").expect("an event").entry.value[..], b"the password");
}

#[tokio::test]
async fn old_forms_go_with_the_next_write_after_a_start_and_after_a_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), Flip::new(0)).expect("opens");
    put(&store, "/registry/secrets/a/b", "the password").await;
    store.close().await;
    drop(store);
    assert!(on_disk(folder.path(), "the password"));
    let flip = Flip::new(1);
    let store = open(folder.path(), flip.clone()).expect("opens with a key");
    put(&store, "/registry/leases/a/b", "tick").await;
    store.close().await;
    drop(store);
    assert!(!on_disk(folder.path(), "the password"), "a snapshot took its place");
    let flip = Flip::new(1);
    let store = open(folder.path(), flip.clone()).expect("opens");
    flip.form.store(2, SeqCst);
    put(&store, "/registry/leases/a/b", "tack").await;
    store.close().await;
    drop(store);
    let Err(OpenError(error)) = open(folder.path(), Flip::new(1)) else { panic!("form 1 cannot read form 2") };
    assert!(matches!(error, JournalError::Open { .. }), "{error}");
}

#[tokio::test]
async fn a_value_that_cannot_be_sealed_fails_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), Flip::new(1)).expect("opens");
    for prefix in [AWAY, UNLUCKY] {
        let refused = store.put(&format!("{prefix}x"), value("v"), Precondition::Any).await;
        assert!(matches!(refused, Err(WriteError::Unsealed(_))), "{prefix}: {refused:?}");
        put(&store, "/registry/secrets/a/b", "goes on").await;
    }
    assert_eq!(store.revision(), 3);
}

#[tokio::test]
async fn history_is_sealed_in_the_files_and_opened_when_it_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let (flip, key) = (Flip::new(1), "/registry/secrets/a/1");
    let retention = Retention { revisions: Some(u64::MAX), ..Retention::OFF };
    let wal = WalOptions { segment_bytes: 4096, snapshot_log_bytes: 4096, recycle: false, retention };
    let store = open_with(folder.path(), flip.clone(), wal).expect("it opens");
    for at in 0..100 {
        put(&store, key, &format!("secret {at} {}", "x".repeat(100))).await;
    }
    // Another form from here on: what was written in the one before stays, and can be opened while that is known.
    flip.form.store(2, SeqCst);
    put(&store, key, "newest secret").await;
    store.compact(store.revision()).await.expect("compacted");
    assert!(!on_disk(folder.path(), "secret 5"));
    for revision in [2, 50, 101] {
        let past = store.past("/registry/secrets/", revision).expect("it is kept");
        let text = format!("secret {} ", revision - 2);
        assert!(past.get(key).is_some_and(|entry| entry.value.starts_with(text.as_bytes())));
    }
    let told = store.versions(key, 1000).expect("they are read");
    assert_eq!((told.len(), &told[100].entry.value[..]), (101, &b"newest secret"[..]));
    assert!(told[..100].iter().all(|own| own.entry.value.starts_with(b"secret ")));
    flip.form.store(0, SeqCst);
    let error = store.versions(key, 1000).expect_err("the form is not known any more");
    assert!(matches!(error, PastError::Journal(JournalError::Open { .. })), "{error:?}");
}
