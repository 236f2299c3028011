//! `canopus store migrate`: from the embedded store to an etcd and back, by the server if the cluster runs.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kube::Client;
use kube_apiserver::kept::{MIGRATION_PATH, Move, Moved, Progress, at_rest};

use crate::cli::{MigrateArgs, Target};
use crate::layout::Layout;
use crate::{kubeconfig, process, run};

/// How often the server is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);

pub async fn run(arguments: &MigrateArgs, out: &mut impl Write) -> Result<()> {
    let layout = Layout::new(&arguments.root.root_dir)?;
    let store = layout.store();
    let (to, doing) = match &arguments.to {
        Target::Etcd(members) => {
            let settings = arguments.etcd.with_members(members).settings()?.context("no member is named")?;
            (Move::Etcd(settings), format!("failed to move the store at {} to etcd", store.display()))
        }
        Target::Embedded => (Move::Embedded, format!("failed to move the objects of etcd to {}", store.display())),
    };
    if process::running(&layout)?.is_some() {
        let client = run::client_of(&kubeconfig::read(&layout.admin_conf())?).await?;
        return while_it_runs(&client, &to, out).await.context(doing);
    }
    let mut config = kube_apiserver::Config::new(layout.pki(), Some(store.clone()));
    config.encryption_provider_config = arguments.encryption.encryption_provider_config.clone();
    let (settings, is_back) = match to {
        Move::Etcd(settings) => (settings, false),
        Move::Embedded => (from(arguments, &layout)?, true),
    };
    if !is_back && !store.is_dir() {
        bail!("there is no store at {}", store.display());
    }
    let Moved { objects, revision } = at_rest(is_back, &store, &settings, &config).await.context(doing)?;
    say(out, objects, revision, (!is_back).then(|| settings.servers.join(",")).as_deref())
}

fn say(out: &mut impl Write, objects: usize, revision: u64, etcd: Option<&str>) -> Result<()> {
    match etcd {
        Some(servers) => writeln!(
            out,
            "{objects} objects are in etcd at revision {revision}; this cluster goes on there, other servers with: \
             --etcd-servers {servers}"
        )?,
        None => writeln!(
            out,
            "{objects} objects are in files at revision {revision}; this cluster goes on with them, without --etcd-servers"
        )?,
    }
    Ok(())
}

/// The etcd to come back from: the one that is named, or the one that the files went to.
fn from(arguments: &MigrateArgs, layout: &Layout) -> Result<kube_apiserver::etcd::Etcd> {
    if let Some(settings) = arguments.etcd.settings()? {
        return Ok(settings);
    }
    let moved = kube_apiserver::kept::moved_to(&layout.store())?;
    moved.context("--etcd-servers must name the etcd to move the objects from")
}

async fn while_it_runs(client: &Client, to: &Move, out: &mut impl Write) -> Result<()> {
    let ask = http::Request::post(MIGRATION_PATH).body(serde_json::to_vec(to)?)?;
    let mut progress: Progress = client.request(ask).await.map_err(refused)?;
    let mut said = String::new();
    loop {
        let now = match &progress {
            Progress::Opening => "looking at the new place".to_owned(),
            Progress::Waiting { addresses } => format!("waiting for other servers to go ({addresses})"),
            Progress::Raising => "making etcd count as far as the store does".to_owned(),
            Progress::Copying { objects } => format!("copying {objects} objects"),
            Progress::Following => "copying what has changed meanwhile".to_owned(),
            Progress::Failed { reason } => bail!("{reason}; nothing has changed for the cluster"),
            Progress::Moved { objects, revision, paused_milliseconds } => {
                let etcd = match to {
                    Move::Etcd(settings) => Some(settings.servers.join(",")),
                    Move::Embedded => None,
                };
                say(out, *objects, *revision, etcd.as_deref())?;
                writeln!(out, "Writers waited {paused_milliseconds} ms, readers did not; watches began anew.")?;
                return Ok(());
            }
        };
        if now != said {
            writeln!(out, "{now} ...")?;
            said = now;
        }
        tokio::time::sleep(ASK_EVERY).await;
        progress = client.request(http::Request::get(MIGRATION_PATH).body(Vec::new())?).await.map_err(refused)?;
    }
}

/// What the server says, without what the client makes of it.
fn refused(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => anyhow::Error::msg(status.message),
        error => error.into(),
    }
}
