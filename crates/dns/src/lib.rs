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
use client::Reflectors;
use hickory_server::Server;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
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
pub async fn run(caches: Arc<Reflectors>, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
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
    let publisher = publish(&caches, domain, published);
    tokio::select! {
        () = shutdown.cancelled() => server.shutdown_gracefully().await.map_err(Error::Server),
        result = server.block_until_done() => result.map_err(Error::Server),
        () = publisher => Ok(()),
    }
}

/// Follows the cluster and publishes a new zone after each change, the first one when both lists are in.
async fn publish(caches: &Reflectors, domain: hickory_proto::rr::Name, published: Arc<ArcSwapOption<Zone>>) {
    let (services, slices) = (caches.store::<Service>(), caches.store::<EndpointSlice>());
    let (mut service_changes, mut slice_changes) = (services.changes(), slices.changes());
    tokio::join!(service_changes.next(), slice_changes.next());
    loop {
        published.store(Some(Arc::new(Zone::new(domain.clone(), &services.snapshot(), &slices.snapshot()))));
        tokio::select! {
            () = service_changes.next() => {}
            () = slice_changes.next() => {}
        }
        tokio::time::sleep(COALESCE).await;
    }
}

#[cfg(test)]
mod tests {
    use client::{Environment, fake::FakeServer};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn zones_follow_the_cluster_from_its_first_complete_lists_on() {
        let server = FakeServer::new();
        server.put(
            "/api/v1/namespaces/default/services",
            json!({"metadata": {"namespace": "default", "name": "web"}, "spec": {"clusterIP": "10.96.0.5"}}),
        );
        let cancel = CancellationToken::new();
        let _guard = cancel.clone().drop_guard();
        let caches = Reflectors::new(server.client(), Environment::system(), cancel);
        let (domain, published) = (zone::parse_domain("cluster.local").unwrap(), Arc::new(ArcSwapOption::empty()));
        let name = |service: &str| {
            let name = format!("{service}.default.svc.cluster.local.");
            hickory_proto::rr::Name::from_ascii(name).unwrap()
        };
        let known = |zone: &Zone, service: &str| {
            matches!(zone.answer(&name(service), hickory_proto::rr::RecordType::A), zone::Answer::Records(_))
        };
        let follow = async {
            // The first zone has everything that was there, and a later one what came after it.
            while published.load().is_none() {
                tokio::task::yield_now().await;
            }
            assert!(known(published.load().as_ref().unwrap(), "web"));
            server.put(
                "/api/v1/namespaces/default/services",
                json!({"metadata": {"namespace": "default", "name": "new"}, "spec": {"clusterIP": "10.96.0.6"}}),
            );
            while !known(published.load().as_ref().unwrap(), "new") {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = publish(&caches, domain, published.clone()) => unreachable!("it has no end"),
            () = follow => {}
        }
    }
}
