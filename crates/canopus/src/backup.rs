//! `canopus backup` and `canopus restore`: all objects at one revision in a compressed tar archive.
//!
//! ```text
//! backup.json            what this is: format, revision, when and by which version it was made
//! store/snapshot-...     the state, with the store's own checksums
//! store/log-...          an empty log after it
//! pki/...                certificates and keys, if they were asked for
//! ```
//!
//! Values that are encrypted at rest are kept so: the restored cluster needs the same encryption configuration.

pub mod objects;

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path};

use anyhow::{Context, Result, bail, ensure};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use store::journal::inspect::{State, inspect};
use store::journal::{WalOptions, restore::restore as make_log};

use crate::cli::{BackupArgs, RestoreArgs};
use crate::layout::Layout;
use crate::{kubeconfig, process, run, store_files};

const FORMAT: u32 = 1;
const MANIFEST: &str = "backup.json";
/// The log in an archive is empty.
const SEGMENT_BYTES: u64 = 4096;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    format: u32,
    revision: u64,
    objects: usize,
    /// RFC 3339.
    created: String,
    canopus: String,
    pki: bool,
}

pub fn backup(arguments: &BackupArgs) -> Result<()> {
    let layout = Layout::new(&arguments.root.root_dir)?;
    let (state, found) = store_files::read(&arguments.root)?;
    let manifest = Manifest {
        format: FORMAT,
        revision: found.revision,
        objects: state.records().count(),
        created: jiff::Timestamp::now().to_string(),
        canopus: env!("CARGO_PKG_VERSION").to_owned(),
        pki: arguments.include_pki,
    };
    let scratch = tempfile::tempdir().context("failed to make a scratch folder")?;
    let log = WalOptions { segment_bytes: SEGMENT_BYTES, ..WalOptions::default() };
    make_log(scratch.path(), log, found.revision, state.records()).context("failed to write the state")?;
    let write = |out: Box<dyn Write>| -> Result<()> {
        let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::default()));
        add(&mut archive, MANIFEST, &serde_json::to_vec_pretty(&manifest)?)?;
        add_folder(&mut archive, "store", scratch.path())?;
        if arguments.include_pki {
            add_folder(&mut archive, "pki", &layout.pki())?;
        }
        archive.into_inner()?.finish()?.flush()?;
        Ok(())
    };
    if arguments.file == Path::new("-") {
        return write(Box::new(io::stdout().lock())).context("failed to write the backup");
    }
    // Nobody but the owner reads it: there are Secrets in it.
    let file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&arguments.file);
    let name = arguments.file.display();
    let file = file.with_context(|| format!("failed to make {name}"))?;
    let kept = file.try_clone()?;
    let written = write(Box::new(file)).and_then(|()| Ok(kept.sync_all()?));
    if let Err(error) = written {
        let _ = fs::remove_file(&arguments.file);
        return Err(error.context(format!("failed to write {name}")));
    }
    let Manifest { objects, revision, .. } = manifest;
    eprintln!("{name}: {objects} objects at revision {revision}");
    Ok(())
}

fn add(archive: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o600);
    archive.append_data(&mut header, name, bytes).with_context(|| format!("failed to add {name}"))
}

/// Plain files and folders; nothing else lies there.
fn add_folder(archive: &mut tar::Builder<impl Write>, name: &str, folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let inner = format!("{name}/{}", entry.file_name().to_string_lossy());
        match entry.file_type()? {
            kind if kind.is_dir() => add_folder(archive, &inner, &entry.path())?,
            kind if kind.is_file() && entry.file_name() != "lock" => add(archive, &inner, &fs::read(entry.path())?)?,
            _ => {}
        }
    }
    Ok(())
}

/// The whole store of a cluster that does not exist yet, or single objects in one that runs.
pub async fn restore(arguments: &RestoreArgs) -> Result<()> {
    let layout = Layout::new(&arguments.root.root_dir)?;
    if !arguments.only.is_some() {
        return restore_store(arguments, &layout);
    }
    let opened = open(&arguments.file)?;
    let client = run::client_of(&kubeconfig::read(&layout.admin_conf())?).await?;
    arguments.only.restore(&opened.state, &client).await
}

fn restore_store(arguments: &RestoreArgs, layout: &Layout) -> Result<()> {
    if let Some(pid) = process::running(layout)? {
        bail!(
            "a cluster is running below {} (process {pid}); --namespace and --object restore single objects in it",
            layout.root().display()
        );
    }
    ensure!(!layout.store().exists(), "there is a store already at {}", layout.store().display());
    let Opened { scratch, manifest, state, revision } = open(&arguments.file)?;
    if manifest.pki {
        ensure!(!layout.pki().exists(), "there are certificates already at {}", layout.pki().display());
        copy(&scratch.path().join("pki"), &layout.pki())?;
    }
    let revision = revision.saturating_add(arguments.bump_revision);
    fs::create_dir_all(layout.root()).with_context(|| format!("failed to make {}", layout.root().display()))?;
    make_log(&layout.store(), WalOptions::default(), revision, state.records()).context("failed to write the store")?;
    println!(
        "{} objects are restored below {}; the store goes on at revision {revision}.",
        manifest.objects,
        layout.root().display()
    );
    Ok(())
}

/// A backup that was found whole.
struct Opened {
    /// Its files.
    scratch: tempfile::TempDir,
    manifest: Manifest,
    state: State,
    revision: u64,
}

fn open(file: &Path) -> Result<Opened> {
    let scratch = tempfile::tempdir().context("failed to make a scratch folder")?;
    let name = file.display();
    let source: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(fs::File::open(file).with_context(|| format!("failed to open {name}"))?),
    };
    unpack(source, scratch.path()).with_context(|| format!("failed to read {name}"))?;
    let manifest = fs::read(scratch.path().join(MANIFEST)).with_context(|| format!("{name} is no backup"))?;
    let manifest: Manifest = serde_json::from_slice(&manifest).with_context(|| format!("{name} is no backup"))?;
    ensure!(manifest.format <= FORMAT, "{name} was made by a newer version, {}", manifest.canopus);
    let (state, found) = inspect(&scratch.path().join("store")).with_context(|| format!("{name} is damaged"))?;
    let whole = found.revision == manifest.revision && state.records().count() == manifest.objects;
    ensure!(whole, "{name} is damaged: it does not hold what it says");
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

/// Certificates may be read by everybody, keys only by their owner.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("failed to make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("failed to read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
            continue;
        }
        let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&target)?;
        file.write_all(&fs::read(entry.path())?)?;
        if target.extension().is_some_and(|kind| kind == "crt" || kind == "pub") {
            fs::set_permissions(&target, fs::Permissions::from_mode(0o644))?;
        }
        file.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
