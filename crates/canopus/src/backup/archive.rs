//! The form of a backup:
//!
//! ```text
//! backup.json            what this is: format, revision, when and by which version it was made
//! store/snapshot-...     the state, with the store's own checksums
//! store/log-...          an empty log after it
//! pki/...                certificates and keys, if they were asked for
//! config/...             the flags of the cluster and the files that they name, if they were asked for (config.rs)
//! ```
//!
//! Values that are encrypted at rest are kept so: the restored cluster needs the same encryption configuration.
//!
//! An archive may come from anybody. Only plain files of these names are unpacked, into a scratch folder; their number is bounded, and so is
//! the size of all but the state's, which may be as large as a cluster is and is bounded by the room for the scratch folder.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use kube_apiserver::etcd::Etcd;
use kube_apiserver::{Config, Server, kept};
use serde::{Deserialize, Serialize};
use store::journal::inspect::{State, inspect};
use store::journal::{WalOptions, restore::restore as make_log};

use super::config;
use crate::arguments::Arguments;
use crate::cli::RootArgs;
use crate::layout::Layout;
use crate::store_files;

const FORMAT: u32 = 1;
const MANIFEST: &str = "backup.json";
const STORE: &str = "store";
pub const PKI: &str = "pki";
/// The log in an archive is empty.
const SEGMENT_BYTES: u64 = 4096;
/// Files of an archive.
const FILES_MAX: usize = 1000;
/// Bytes of one that is not the state's.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// What a header of tar has room for; longer names would need entries of their own, without a bound.
const NAME_BYTES_MAX: usize = 100;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    format: u32,
    revision: u64,
    pub objects: usize,
    /// RFC 3339.
    created: String,
    canopus: String,
    pub pki: bool,
    #[serde(default)]
    pub config: bool,
}

/// What goes into a backup beside the objects.
#[derive(Debug, Default)]
pub struct More {
    /// The folder of certificates and keys.
    pub pki: Option<PathBuf>,
    pub config: Option<Arguments>,
}

impl More {
    /// What is asked for of the cluster below a root folder.
    pub fn of(layout: &Layout, include_pki: bool, include_config: bool) -> Result<Self> {
        let config = include_config.then(|| Arguments::read(layout)).transpose()?;
        Ok(Self { pki: include_pki.then(|| layout.pki()), config })
    }
}

impl Manifest {
    fn new(revision: u64, objects: usize) -> Self {
        let (created, canopus) = (jiff::Timestamp::now().to_string(), env!("CARGO_PKG_VERSION").to_owned());
        Self { format: FORMAT, revision, objects, created, canopus, pki: false, config: false }
    }
}

/// A state that was read, ready to be packed.
pub struct Prepared {
    scratch: tempfile::TempDir,
    manifest: Manifest,
}

impl Prepared {
    /// Reads the state below a root folder, also while a server writes it.
    pub fn of(layout: &Layout) -> Result<Self> {
        kept::still_kept(&layout.store())?;
        let (state, found) = store_files::read(&RootArgs { root_dir: layout.root().to_owned() })?;
        let manifest = Manifest::new(found.revision, state.records().count());
        let scratch = tempfile::tempdir().context("failed to make a scratch folder")?;
        let log = WalOptions { segment_bytes: SEGMENT_BYTES, ..WalOptions::default() };
        make_log(scratch.path(), log, found.revision, state.records()).context("failed to write the state")?;
        Ok(Self { scratch, manifest })
    }

    /// The state of a running server, which may keep it anywhere. It is not read from files, nor held twice in
    /// memory (but for what is encrypted at rest).
    pub fn of_server(server: &Server) -> Result<Self> {
        let scratch = tempfile::tempdir().context("failed to make a scratch folder")?;
        let saved = kept::save(server, scratch.path(), SEGMENT_BYTES).context("failed to write the state")?;
        Ok(Self { scratch, manifest: Manifest::new(saved.revision, saved.objects) })
    }

    /// The state in an etcd. Blocks until etcd is there.
    pub fn of_etcd(settings: &Etcd, config: &Config) -> Result<Self> {
        let scratch = tempfile::tempdir().context("failed to make a scratch folder")?;
        let saved = kept::save_etcd(settings, config, scratch.path(), SEGMENT_BYTES)?;
        Ok(Self { scratch, manifest: Manifest::new(saved.revision, saved.objects) })
    }

    pub fn objects(&self) -> usize {
        self.manifest.objects
    }

    pub fn revision(&self) -> u64 {
        self.manifest.revision
    }

    /// Writes the archive.
    pub fn write(mut self, more: &More, out: &mut dyn Write) -> Result<()> {
        let More { pki, config } = more;
        self.manifest.pki = pki.is_some();
        self.manifest.config = config.is_some();
        let mut packer = Packer { archive: tar::Builder::new(GzEncoder::new(out, Compression::default())), files: 0 };
        let manifest = serde_json::to_vec_pretty(&self.manifest)?;
        packer.add(MANIFEST, manifest.len() as u64, manifest.as_slice())?;
        packer.add_folder(STORE, self.scratch.path())?;
        if let Some(pki) = pki {
            packer.add_folder(PKI, pki)?;
        }
        if let Some(config) = config {
            config::add_to(&mut packer, config)?;
        }
        packer.archive.into_inner()?.finish()?.flush()?;
        Ok(())
    }
}

/// An archive while it is written. What could not be unpacked again is not packed.
pub(super) struct Packer<W: Write> {
    archive: tar::Builder<W>,
    files: usize,
}

impl<W: Write> Packer<W> {
    pub fn add(&mut self, name: &str, bytes: u64, source: impl Read) -> Result<()> {
        self.files += 1;
        check_limits(Path::new(name), bytes, self.files)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o600);
        self.archive.append_data(&mut header, name, source).with_context(|| format!("failed to add {name}"))
    }

    /// Plain files and folders; nothing else lies there.
    fn add_folder(&mut self, name: &str, folder: &Path) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let inner = format!("{name}/{}", entry.file_name().to_string_lossy());
            match entry.file_type()? {
                kind if kind.is_dir() => self.add_folder(&inner, &entry.path())?,
                kind if kind.is_file() && entry.file_name() != "lock" => {
                    let file = fs::File::open(entry.path())?;
                    self.add(&inner, file.metadata()?.len(), file)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What a backup may hold as its file number `files`.
fn check_limits(name: &Path, bytes: u64, files: usize) -> Result<()> {
    ensure!(files <= FILES_MAX, "more than {FILES_MAX} files do not belong into a backup");
    let is_short = name.as_os_str().len() <= NAME_BYTES_MAX;
    ensure!(is_short, "{} has more than {NAME_BYTES_MAX} bytes in its name", name.display());
    let fits = name.starts_with(STORE) || bytes <= FILE_BYTES_MAX;
    ensure!(fits, "{} has {bytes} bytes, more than {FILE_BYTES_MAX}", name.display());
    Ok(())
}

/// A backup that was found whole.
pub struct Opened {
    /// Its files.
    pub scratch: tempfile::TempDir,
    pub manifest: Manifest,
    pub state: State,
    pub revision: u64,
}

/// Unpacks a backup and checks it.
pub fn open(source: impl Read) -> Result<Opened> {
    let scratch = tempfile::tempdir().context("failed to make a scratch folder")?;
    unpack(source, scratch.path())?;
    let manifest = fs::read(scratch.path().join(MANIFEST)).context("it is no backup")?;
    let manifest: Manifest = serde_json::from_slice(&manifest).context("it is no backup")?;
    ensure!(manifest.format <= FORMAT, "it was made by a newer version, {}", manifest.canopus);
    let (state, found) = inspect(&scratch.path().join(STORE)).context("it is damaged")?;
    let whole = found.revision == manifest.revision && state.records().count() == manifest.objects;
    ensure!(whole, "it is damaged: it does not hold what it says");
    Ok(Opened { scratch, manifest, state, revision: found.revision })
}

/// Unpacks files whose names stay inside the folder and are a backup's, and nothing else.
fn unpack(source: impl Read, folder: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(source));
    // Raw: headers that go on in entries of their own, which may be of any size, are refused like any other kind.
    for (at, entry) in archive.entries()?.raw(true).enumerate() {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        let is_in = |folder: &str| path.starts_with(folder) && path != Path::new(folder);
        let is_known = path == Path::new(MANIFEST) || [STORE, PKI, config::FOLDER].into_iter().any(is_in);
        let is_plain = entry.header().entry_type().is_file();
        ensure!(inside && is_known && is_plain, "{} does not belong into a backup", path.display());
        check_limits(&path, entry.size(), at + 1)?;
        let target = folder.join(&path);
        if let Some(parent) = target.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&target)?;
        io::copy(&mut entry, &mut file)?;
    }
    // Up to the end, where the checksum of all is.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an attacker writes: no library refuses anything.
    fn packed(entries: &[(&str, tar::EntryType, u64)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(*bytes);
            header.set_mode(0o600);
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            archive.append(&header, io::repeat(b'x').take(*bytes)).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    fn refused(entries: &[(&str, tar::EntryType, u64)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let error = unpack(packed(entries).as_slice(), &inner).unwrap_err();
        assert!(!folder.path().join("outside").exists());
        error.to_string()
    }

    #[test]
    fn an_archive_writes_nowhere_else() {
        for name in ["../outside", "/outside", "store/../../outside", "config/../../outside", "other", "store"] {
            let error = refused(&[(name, tar::EntryType::Regular, 1)]);
            assert!(error.contains("does not belong into a backup"), "{name}: {error}");
        }
        use tar::EntryType::{Directory, GNULongName, GNUSparse, Link, Symlink, XHeader};
        for kind in [Symlink, Link, Directory, GNULongName, GNUSparse, XHeader] {
            let error = refused(&[("pki/ca.key", kind, 0)]);
            assert!(error.contains("does not belong into a backup"), "{kind:?}: {error}");
        }
    }

    #[test]
    fn an_archive_is_no_larger_than_what_a_backup_needs() {
        let file = tar::EntryType::Regular;
        for name in ["config/token-auth-file", "pki/ca.key", MANIFEST] {
            assert!(refused(&[(name, file, FILE_BYTES_MAX + 1)]).contains("more than"), "{name}");
        }
        let names: Vec<String> = (0..=FILES_MAX).map(|at| format!("pki/{at}")).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), file, 0)).collect();
        assert!(refused(&many).contains("more than 1000 files"));
        let folder = tempfile::tempdir().unwrap();
        unpack(packed(&many[1..]).as_slice(), folder.path()).unwrap();
        // No such backup is made either.
        let mut packer = Packer { archive: tar::Builder::new(io::sink()), files: 0 };
        assert!(packer.add("pki/a", FILE_BYTES_MAX + 1, io::empty()).is_err());
        assert!(packer.add(&format!("pki/{}", "a".repeat(NAME_BYTES_MAX)), 0, io::empty()).is_err());
        packer.files = FILES_MAX;
        assert!(packer.add("pki/a", 0, io::empty()).is_err());
    }
}
