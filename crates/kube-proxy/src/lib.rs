//! The service proxy: makes Services reachable by nftables. It decides purely from Services and EndpointSlices which
//! ports lead where (`services`), writes that as nftables maps and chains (`script`), and changes the kernel's table by
//! the difference alone. Knows no pods and no nodes but the name of its own.

pub mod conntrack;
pub mod health;
pub mod script;
pub mod services;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use client::Reflectors;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use services::{ServicePort, ServicePortName};

/// Changes that come within this time of each other reach the kernel in one transaction.
const COALESCE: Duration = Duration::from_millis(10);
/// After a failure the whole table is written anew after this time, doubling up to the maximum.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What the proxy needs to know of its node and cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of this node: endpoints on it are local.
    pub node_name: String,
    /// Addresses of all pods of the cluster; traffic to cluster IPs from elsewhere is masqueraded.
    pub cluster_cidr: String,
    /// Name of the nftables table.
    pub table: String,
    /// Where `/healthz` and `/livez` are served (upstream: port 10256), if anywhere.
    pub healthz_bind_address: Option<SocketAddr>,
}

/// What can end the proxy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to serve health at {address}")]
    Health {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to run nft")]
    Nft(#[source] std::io::Error),
    #[error("nft refused the rules: {0}")]
    Refused(String),
}

/// Follows Services and EndpointSlices until `shutdown`; the rules stay in place after it, so that traffic goes on while
/// the proxy restarts.
pub async fn run(caches: Arc<Reflectors>, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let health = Arc::new(health::Health::default());
    if let Some(address) = config.healthz_bind_address {
        health::serve(address, health.clone(), shutdown.clone()).await?;
    }
    let (services, slices) = (caches.store::<Service>(), caches.store::<EndpointSlice>());
    let (mut service_changes, mut slice_changes) = (services.changes(), slices.changes());
    // Without both lists any decision would take services away that are there.
    tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        ((), ()) = async { tokio::join!(service_changes.next(), slice_changes.next()) } => {}
    }
    let mut applied: Option<BTreeMap<ServicePortName, ServicePort>> = None;
    let mut retry = RETRY_MIN;
    loop {
        let wanted = services::plan(&services.snapshot(), &slices.snapshot(), &config.node_name);
        match synchronize(&config, applied.as_ref(), &wanted).await {
            Ok(()) => {
                let before = applied.replace(wanted);
                if let (Some(before), Some(now)) = (before, &applied) {
                    conntrack::forget_stale(&before, now).await;
                }
                health.synchronized();
                retry = RETRY_MIN;
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    () = service_changes.next() => {}
                    () = slice_changes.next() => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "failed to write the service rules; the whole table is written again");
                applied = None;
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    () = tokio::time::sleep(retry) => {}
                }
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(COALESCE) => {}
        }
    }
}

/// Removes the table. Safe to repeat.
pub async fn cleanup(table: &str) -> Result<(), Error> {
    nft(&script::remove(table)).await
}

async fn synchronize(
    config: &Config,
    applied: Option<&BTreeMap<ServicePortName, ServicePort>>,
    wanted: &BTreeMap<ServicePortName, ServicePort>,
) -> Result<(), Error> {
    let script = match applied {
        Some(applied) => script::difference(&config.table, applied, wanted),
        None => script::whole(&config.table, &config.cluster_cidr, wanted),
    };
    if script.is_empty() { Ok(()) } else { nft(&script).await }
}

async fn nft(script: &str) -> Result<(), Error> {
    let mut child = tokio::process::Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::Nft)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).await.map_err(Error::Nft)?;
    }
    let output = child.wait_with_output().await.map_err(Error::Nft)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
