use super::destination::Destination;
use super::s3_server::S3Server;
use super::*;
use crate::cli::RootArgs;
use crate::store_files;
use store::journal::Record;

fn root(folder: &Path) -> RootArgs {
    RootArgs { root_dir: folder.to_path_buf() }
}

/// A root folder whose store has one key at revision 7, and certificates.
pub fn cluster() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let record = Record {
        kind: store::EventKind::Put,
        key: "/registry/configmaps/default/a",
        create_revision: 3,
        revision: 5,
        value: br#"{"kind":"ConfigMap"}"#,
        revision_at: None,
        expires_at: 0,
    };
    make_log(&folder.path().join("store"), WalOptions::default(), 7, [record]).unwrap();
    fs::create_dir(folder.path().join("pki")).unwrap();
    fs::write(folder.path().join("pki/ca.crt"), "certificate").unwrap();
    fs::write(folder.path().join("pki/ca.key"), "key").unwrap();
    folder
}

async fn taken(cluster: &Path, to: &Destination, include_pki: bool) -> Result<Written> {
    let layout = Layout::new(cluster)?;
    let more = More::of(&layout, include_pki, false)?;
    write(move || Prepared::of(&layout), more, to).await
}

async fn put_back(cluster: &Path, from: &Destination) -> Result<()> {
    restore_store(from, 1000, &Layout::new(cluster)?).await
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_was_kept_comes_back_at_a_later_revision() {
    let (old, new) = (cluster(), tempfile::tempdir().unwrap());
    let path = new.path().join("backup");
    let file = Destination::File(path.clone());
    taken(old.path(), &file, true).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    let target = new.path().join("root");
    put_back(&target, &file).await.unwrap();
    let (state, found) = store_files::read(&root(&target)).unwrap();
    assert_eq!(found.revision, 1007);
    let record = state.get("/registry/configmaps/default/a").unwrap();
    assert_eq!((record.create_revision, record.revision, record.value), (3, 5, br#"{"kind":"ConfigMap"}"#.as_slice()));
    assert_eq!(fs::read_to_string(target.join("pki/ca.key")).unwrap(), "key");
    assert_eq!((mode(&target.join("pki/ca.key")), mode(&target.join("pki/ca.crt"))), (0o600, 0o644));
    let error = put_back(&target, &file).await.unwrap_err();
    assert!(error.to_string().starts_with("there is a store already at"), "{error}");
}

#[tokio::test]
async fn keys_are_kept_only_where_they_are_asked_for() {
    let (old, new) = (cluster(), tempfile::tempdir().unwrap());
    let path = new.path().join("backup");
    let file = Destination::File(path.clone());
    taken(old.path(), &file, false).await.unwrap();
    let target = new.path().join("root");
    put_back(&target, &file).await.unwrap();
    assert!(!target.join("pki").exists());
    let error = taken(old.path(), &file, false).await.unwrap_err();
    assert!(format!("{error:#}").ends_with("it exists already"), "an older backup is not written over: {error}");
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_nothing_is_made() {
    let (old, new) = (cluster(), tempfile::tempdir().unwrap());
    let path = new.path().join("backup");
    let file = Destination::File(path.clone());
    taken(old.path(), &file, false).await.unwrap();
    let whole = fs::read(&path).unwrap();
    let target = new.path().join("root");
    for at in [20, whole.len() / 2, whole.len() - 6] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        assert!(put_back(&target, &file).await.is_err(), "a wrong byte at {at}");
        assert!(!target.join("store").exists());
    }
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(put_back(&target, &file).await.is_err(), "half a backup");
    fs::write(&path, "hello").unwrap();
    let error = put_back(&target, &file).await.unwrap_err();
    assert!(format!("{error:#}").contains("failed to read"), "{error:#}");
}

#[tokio::test]
async fn a_backup_goes_into_a_bucket_and_comes_back() {
    let (server, old, new) = (S3Server::start().await, cluster(), tempfile::tempdir().unwrap());
    let bucket = Destination::parse(Path::new("s3://bucket/a.tar.gz"), &server.settings()).unwrap();
    let written = taken(old.path(), &bucket, true).await.unwrap();
    assert_eq!((written.objects, written.revision), (1, 7));
    assert_eq!(server.state.lock().unwrap().objects["a.tar.gz"].len() as u64, written.bytes);
    let target = new.path().join("root");
    put_back(&target, &bucket).await.unwrap();
    let (state, _) = store_files::read(&root(&target)).unwrap();
    assert_eq!(state.get("/registry/configmaps/default/a").unwrap().value, br#"{"kind":"ConfigMap"}"#);
    assert_eq!(fs::read_to_string(target.join("pki/ca.key")).unwrap(), "key");
}

#[tokio::test]
async fn the_configuration_comes_back_below_the_new_root_folder_and_nowhere_else() {
    let (old, new) = (cluster(), tempfile::tempdir().unwrap());
    let tokens = old.path().join("tokens.csv");
    fs::write(&tokens, "token,user,1").unwrap();
    let layout = Layout::new(old.path()).unwrap();
    let given = format!(r#"["server","--secure-port","7443","--token-auth-file","{}"]"#, tokens.display());
    Arguments::parse(given.as_bytes()).unwrap().write(&layout).unwrap();
    let file = Destination::File(new.path().join("backup"));
    let more = More::of(&layout, false, true).unwrap();
    let of = layout.clone();
    write(move || Prepared::of(&of), more, &file).await.unwrap();
    fs::remove_file(&tokens).unwrap();

    let target = new.path().join("root");
    put_back(&target, &file).await.unwrap();
    let kept = target.join("config/token-auth-file");
    assert_eq!((fs::read_to_string(&kept).unwrap().as_str(), mode(&kept)), ("token,user,1", 0o600));
    let there = Layout::new(&target).unwrap();
    let started = Arguments::read(&there).unwrap();
    let line = format!(
        "server --root-dir {0} --secure-port 7443 --token-auth-file {0}/config/token-auth-file",
        target.display()
    );
    assert_eq!(started.line(&there), format!("canopus {line}"));
    assert!(!tokens.exists());
    assert_eq!(mode(&target.join("config")), 0o700);
    assert_eq!(fs::read_dir(target.join("config")).unwrap().count(), 1, "only what a flag names");
    // A cluster that was never started, or whose files are gone, has none to keep.
    assert!(More::of(&Layout::new(&new.path().join("other")).unwrap(), false, true).is_err());
    let again = Destination::File(new.path().join("again"));
    let more = More::of(&layout, false, true).unwrap();
    let error = write(move || Prepared::of(&layout), more, &again).await.unwrap_err();
    assert!(format!("{error:#}").contains("the file of --token-auth-file"), "{error:#}");
    // Nobody waits for a pipe, as of a shell's <(...).
    nix::unistd::mkfifo(&tokens, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let layout = Layout::new(old.path()).unwrap();
    let more = More::of(&layout, false, true).unwrap();
    let error = write(move || Prepared::of(&layout), more, &again).await.unwrap_err();
    assert!(format!("{error:#}").ends_with("it is no plain file"), "{error:#}");
    // What is there is not written over.
    let occupied = new.path().join("occupied");
    fs::create_dir_all(occupied.join("config")).unwrap();
    let error = put_back(&occupied, &file).await.unwrap_err();
    assert!(error.to_string().contains("there is a configuration already"), "{error:#}");
    assert!(!occupied.join("store").exists());
}
