use super::*;
use crate::cli::RootArgs;
use store::journal::Record;

fn root(folder: &Path) -> RootArgs {
    RootArgs { root_dir: folder.to_path_buf() }
}

/// A root folder whose store has one key at revision 7, and certificates.
fn cluster() -> tempfile::TempDir {
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

fn taken(cluster: &Path, file: &Path, include_pki: bool) -> Result<()> {
    backup(&BackupArgs { root: root(cluster), include_pki, file: file.to_path_buf() })
}

fn put_back(cluster: &Path, file: &Path) -> Result<()> {
    let arguments =
        RestoreArgs { root: root(cluster), bump_revision: 1000, only: Default::default(), file: file.to_path_buf() };
    restore_store(&arguments, &Layout::new(cluster)?)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_was_kept_comes_back_at_a_later_revision() {
    let (old, new) = (cluster(), tempfile::tempdir().unwrap());
    let file = new.path().join("backup");
    taken(old.path(), &file, true).unwrap();
    assert_eq!(mode(&file), 0o600);
    let target = new.path().join("root");
    put_back(&target, &file).unwrap();
    let (state, found) = store_files::read(&root(&target)).unwrap();
    assert_eq!(found.revision, 1007);
    let record = state.get("/registry/configmaps/default/a").unwrap();
    assert_eq!((record.create_revision, record.revision, record.value), (3, 5, br#"{"kind":"ConfigMap"}"#.as_slice()));
    assert_eq!(fs::read_to_string(target.join("pki/ca.key")).unwrap(), "key");
    assert_eq!((mode(&target.join("pki/ca.key")), mode(&target.join("pki/ca.crt"))), (0o600, 0o644));
    let error = put_back(&target, &file).unwrap_err();
    assert!(error.to_string().starts_with("there is a store already at"), "{error}");
}

#[test]
fn keys_are_kept_only_where_they_are_asked_for() {
    let (old, new) = (cluster(), tempfile::tempdir().unwrap());
    let file = new.path().join("backup");
    taken(old.path(), &file, false).unwrap();
    let target = new.path().join("root");
    put_back(&target, &file).unwrap();
    assert!(!target.join("pki").exists());
    let error = taken(old.path(), &file, false).unwrap_err();
    assert!(error.to_string().starts_with("failed to make"), "an older backup is not written over: {error}");
}

#[test]
fn a_damaged_backup_is_refused_and_nothing_is_made() {
    let (old, new) = (cluster(), tempfile::tempdir().unwrap());
    let file = new.path().join("backup");
    taken(old.path(), &file, false).unwrap();
    let whole = fs::read(&file).unwrap();
    let target = new.path().join("root");
    for at in [20, whole.len() / 2, whole.len() - 6] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&file, &bytes).unwrap();
        assert!(put_back(&target, &file).is_err(), "a wrong byte at {at}");
        assert!(!target.join("store").exists());
    }
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert!(put_back(&target, &file).is_err(), "half a backup");
    fs::write(&file, "hello").unwrap();
    let error = put_back(&target, &file).unwrap_err();
    assert!(format!("{error:#}").contains("failed to read"), "{error:#}");
}

#[test]
fn an_archive_writes_nowhere_else() {
    for name in ["../outside", "/outside", "store/../../outside"] {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o600);
        // The library refuses such names, an attacker does not.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, b"x".as_slice()).unwrap();
        let bytes = archive.into_inner().unwrap().finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let error = unpack(bytes.as_slice(), &inner).unwrap_err();
        assert!(error.to_string().contains("does not belong into a backup"), "{name}: {error}");
        assert!(!folder.path().join("outside").exists());
    }
}
