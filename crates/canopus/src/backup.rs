//! `canopus backup` and `canopus restore`: all objects at one revision in a compressed tar archive, in a file or in an object
//! store; and the backups that a server makes by itself.

mod archive;
mod config;
mod destination;
pub mod objects;
pub mod schedule;
pub mod metrics;
mod names;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use kube_apiserver::kept;
use store::journal::{WalOptions, restore::restore as make_log};
use tokio::task::spawn_blocking;

use crate::arguments::Arguments;
use crate::cli::{BackupArgs, RestoreArgs};
use crate::layout::Layout;
use crate::{kubeconfig, process, run};
use archive::{More, Opened, Prepared};
use destination::{Destination, Settings};

pub async fn backup(arguments: &BackupArgs) -> Result<()> {
    let layout = Layout::new(&arguments.root.root_dir)?;
    let destination = Destination::parse(&arguments.destination, &Settings::read(None)?)?;
    // Where the server is told to keep the objects, or where they went by `canopus store migrate`.
    let etcd = match arguments.etcd.settings()? {
        Some(settings) => Some(settings),
        None => kept::moved_to(&layout.store())?,
    };
    let more = More::of(&layout, arguments.include_pki, arguments.include_config)?;
    let mut config = kube_apiserver::Config::new(layout.pki(), None);
    config.encryption_provider_config = arguments.encryption.encryption_provider_config.clone();
    let prepare = move || match etcd {
        Some(settings) => Prepared::of_etcd(&settings, &config),
        // The files are only read, so it does not matter whether a server is writing them.
        None => Prepared::of(&layout),
    };
    let written = write(prepare, more, &destination).await?;
    if !destination.is_standard() {
        let Written { objects, revision, bytes } = written;
        eprintln!("{destination}: {objects} objects at revision {revision}, {bytes} bytes");
    }
    Ok(())
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    pub objects: usize,
    pub revision: u64,
    pub bytes: u64,
}

/// Makes a backup of what `prepare` finds.
async fn write(
    prepare: impl FnOnce() -> Result<Prepared> + Send + 'static,
    more: More,
    destination: &Destination,
) -> Result<Written> {
    let packed = spawn_blocking(prepare).await??;
    let (objects, revision) = (packed.objects(), packed.revision());
    let bytes = destination.write(move |out| packed.write(&more, out)).await?;
    Ok(Written { objects, revision, bytes })
}

/// The whole store of a cluster that does not exist yet, or single objects in one that runs.
pub async fn restore(arguments: &RestoreArgs) -> Result<()> {
    let layout = Layout::new(&arguments.root.root_dir)?;
    let source = Destination::parse(&arguments.source, &Settings::read(None)?)?;
    if !arguments.only.is_some() {
        return restore_store(&source, arguments.bump_revision, &layout).await;
    }
    let opened = source.read(|source| archive::open(source)).await?;
    let client = run::client_of(&kubeconfig::read(&layout.admin_conf())?).await?;
    arguments.only.restore(&opened.state, &client).await
}

async fn restore_store(source: &Destination, bump_revision: u64, layout: &Layout) -> Result<()> {
    if let Some(pid) = process::running(layout)? {
        bail!(
            "a cluster is running below {} (process {pid}); --namespace and --object restore single objects in it",
            layout.root().display()
        );
    }
    ensure!(!layout.store().exists(), "there is a store already at {}", layout.store().display());
    let Opened { scratch, manifest, state, revision } = source.read(|source| archive::open(source)).await?;
    let started = config::of(scratch.path(), &manifest)?;
    if manifest.pki {
        ensure!(!layout.pki().exists(), "there are certificates already at {}", layout.pki().display());
    }
    if let Some(started) = &started {
        ensure!(!layout.config().exists(), "there is a configuration already at {}", layout.config().display());
        config::put_back(scratch.path(), started, layout)?;
    }
    if manifest.pki {
        copy(&scratch.path().join(archive::PKI), &layout.pki())?;
    }
    let revision = revision.saturating_add(bump_revision);
    fs::create_dir_all(layout.root()).with_context(|| format!("failed to make {}", layout.root().display()))?;
    make_log(&layout.store(), WalOptions::default(), revision, state.records()).context("failed to write the store")?;
    println!(
        "{} objects are restored below {}; the store goes on at revision {revision}.",
        manifest.objects,
        layout.root().display()
    );
    if let Some(started) = started {
        tell_how_to_start(&started, layout)?;
    }
    Ok(())
}

fn tell_how_to_start(started: &Arguments, layout: &Layout) -> Result<()> {
    let files = layout.config();
    let (here, there) = started.with_files(|flag| files.join(flag)).on_embedded();
    here.write(layout)?;
    println!("It was started so, with the files that are in {} now:\n{}", files.display(), here.line(layout));
    if let Some(there) = there {
        println!(
            "Its objects were in an etcd and are in the embedded store now. Once it runs, this moves them into an empty etcd:\n{}",
            there.line(layout)
        );
    }
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
mod s3_server;
#[cfg(test)]
mod tests;
