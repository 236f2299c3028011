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
/// The log in an archive is empty.
const SEGMENT_BYTES: u64 = 4096;

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
        let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::default()));
        let manifest = serde_json::to_vec_pretty(&self.manifest)?;
        add(&mut archive, MANIFEST, manifest.len() as u64, manifest.as_slice())?;
        add_folder(&mut archive, "store", self.scratch.path())?;
        if let Some(pki) = pki {
            add_folder(&mut archive, "pki", pki)?;
        }
        if let Some(config) = config {
            config::add_to(&mut archive, config)?;
        }
        archive.into_inner()?.finish()?.flush()?;
        Ok(())
    }
}

pub(super) fn add(archive: &mut tar::Builder<impl Write>, name: &str, bytes: u64, source: impl Read) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    archive.append_data(&mut header, name, source).with_context(|| format!("failed to add {name}"))
}

/// Plain files and folders; nothing else lies there.
fn add_folder(archive: &mut tar::Builder<impl Write>, name: &str, folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let inner = format!("{name}/{}", entry.file_name().to_string_lossy());
        match entry.file_type()? {
            kind if kind.is_dir() => add_folder(archive, &inner, &entry.path())?,
            kind if kind.is_file() && entry.file_name() != "lock" => {
                let file = fs::File::open(entry.path())?;
                add(archive, &inner, file.metadata()?.len(), file)?;
            }
            _ => {}
        }
    }
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
    let (state, found) = inspect(&scratch.path().join("store")).context("it is damaged")?;
    let whole = found.revision == manifest.revision && state.records().count() == manifest.objects;
    ensure!(whole, "it is damaged: it does not hold what it says");
    Ok(Opened { scratch, manifest, state, revision: found.revision })
}

/// Unpacks files whose names stay inside the folder, and nothing else.
fn unpack(source: impl Read, folder: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(GzDecoder::new(source));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        ensure!(inside && entry.header().entry_type().is_file(), "{} does not belong into a backup", path.display());
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
}
