//! `canopus store migrate`: from the embedded store to an etcd and back, while the cluster is down.

use std::io::Write;

use anyhow::{Context, Result, bail};
use kube_apiserver::kept::{Moved, to_etcd, to_files};

use crate::cli::{MigrateArgs, Target};
use crate::layout::Layout;
use crate::process;

pub async fn run(arguments: &MigrateArgs, out: &mut impl Write) -> Result<()> {
    let layout = Layout::new(&arguments.root.root_dir)?;
    if let Some(pid) = process::running(&layout)? {
        bail!("a cluster is running below {} (process {pid}); stop it first: canopus down", layout.root().display());
    }
    let mut config = kube_apiserver::Config::new(layout.pki(), Some(layout.store()));
    config.encryption_provider_config = arguments.encryption_provider_config.clone();
    let (folder, name) = (layout.store(), layout.store().display().to_string());
    let to = match &arguments.to {
        Target::Etcd(members) => Some(arguments.etcd.with_members(members)),
        Target::Embedded => None,
    };
    let settings = to.as_ref().unwrap_or(&arguments.etcd).settings()?;
    let settings = settings.context("--etcd-servers must name the etcd to move the objects from")?;
    let servers = settings.servers.join(",");
    if to.is_some() {
        if !folder.is_dir() {
            bail!("there is no store at {name}");
        }
        let moved = to_etcd(&folder, &settings, &config).await;
        let Moved { objects, revision } =
            moved.with_context(|| format!("failed to move the store at {name} to etcd"))?;
        writeln!(out, "{objects} objects are in etcd at revision {revision}; go on with: --etcd-servers {servers}")?;
    } else {
        let moved = to_files(&settings, &folder, &config).await;
        let Moved { objects, revision } =
            moved.with_context(|| format!("failed to move the objects of etcd to {name}"))?;
        writeln!(out, "{objects} objects are at {name} at revision {revision}; go on without --etcd-servers")?;
    }
    Ok(())
}
