//! The cluster's DNS, by the Kubernetes DNS-based service discovery specification 1.1.0: Services, headless Services and
//! their endpoints, SRV and PTR records, pods by address, and everything else forwarded to the node's own resolvers.
//!
//! `zone` decides purely what a name means, `forward` asks others, `handler` puts both behind hickory's server, `probe`
//! is a tiny client that tells whether all of it works.

pub mod forward;
pub mod handler;
pub mod probe;
pub mod zone;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::{Stream, StreamExt};
use hickory_server::Server;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::Lookup;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use handler::Handler;
use zone::Zone;

/// Changes that come within this time of each other are published together.
const COALESCE: Duration = Duration::from_millis(10);
/// A TCP client that sends nothing for this long is disconnected.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers waiting to be written to one TCP client.
const TCP_RESPONSES_MAX: usize = 32;

/// Where to listen and for which zone to answer.
#[derive(Debug, Clone)]
pub struct Config {
    /// UDP and TCP are served at each of these.
    pub listen: Vec<SocketAddr>,
    /// `cluster.local`, without the last dot.
    pub cluster_domain: String,
    /// File with the resolvers that other names are forwarded to; `/etc/resolv.conf` on most machines.
    pub resolv_conf: PathBuf,
}

/// What can end the server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to listen for DNS at {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("{0:?} is not a domain name")]
    Domain(String),
    #[error("the DNS server failed")]
    Server(#[source] hickory_server::net::NetError),
}

/// Serves until `shutdown`. Until Services and EndpointSlices have been listed, names of the cluster are answered with
/// SERVFAIL, never with a wrong "no such name".
pub async fn run(client: Client, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let published = Arc::new(ArcSwapOption::<Zone>::empty());
    let domain = zone::parse_domain(&config.cluster_domain)?;
    let forwarder = forward::Forwarder::new(config.resolv_conf.clone(), config.listen.clone());
    let mut server = Server::new(Handler::new(domain.clone(), published.clone(), forwarder));
    for address in &config.listen {
        let failed = |source| Error::Listen { address: *address, source };
        server.register_socket(tokio::net::UdpSocket::bind(address).await.map_err(failed)?);
        let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
        server.register_listener(listener, TCP_IDLE, TCP_RESPONSES_MAX);
    }
    let publisher = publish(client, domain, published);
    tokio::select! {
        _ = shutdown.cancelled() => server.shutdown_gracefully().await.map_err(Error::Server),
        result = server.block_until_done() => result.map_err(Error::Server),
        () = publisher => Ok(()),
    }
}

/// Follows the cluster and publishes a new zone after each change.
async fn publish(client: Client, domain: hickory_proto::rr::Name, published: Arc<ArcSwapOption<Zone>>) {
    let (services, service_changes) = follow::<Service>(Api::all(client.clone()));
    let (slices, slice_changes) = follow::<EndpointSlice>(Api::all(client));
    let mut changes = Box::pin(futures::stream::select(service_changes, slice_changes));
    let both = async { tokio::join!(services.wait_until_ready(), slices.wait_until_ready()) };
    tokio::pin!(both);
    loop {
        tokio::select! {
            _ = &mut both => break,
            _ = changes.next() => {}
        }
    }
    loop {
        published.store(Some(Arc::new(Zone::new(domain.clone(), services.state(), slices.state()))));
        if changes.next().await.is_none() {
            return;
        }
        let coalesced = tokio::time::sleep(COALESCE);
        tokio::pin!(coalesced);
        loop {
            tokio::select! {
                _ = &mut coalesced => break,
                _ = changes.next() => {}
            }
        }
    }
}

fn follow<K>(api: Api<K>) -> (reflector::Store<K>, impl Stream<Item = ()>)
where
    K: kube::Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let (store, writer) = reflector::store();
    let changes = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .filter_map(|event| async move {
            event
                .inspect_err(|error| tracing::warn!(%error, "the DNS server's watch failed and goes on"))
                .ok()
                .map(drop)
        });
    (store, changes)
}
