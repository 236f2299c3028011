//! What the machine can do at this moment: a bare HTTPS server that answers given bytes, and appends that are synced.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::connection::Connection;
use crate::measure::{Operation, Rate, repeat};
use crate::server::client_config;

struct Get {
    connection: Connection,
}

impl Operation for Get {
    async fn once(&mut self) -> Result<()> {
        self.connection.get("/").await.map(drop)
    }
}

/// Requests a second of `clients` to a server that does nothing but answer `bytes`. It shares this process' threads.
pub async fn answers(clients: usize, span: Duration, bytes: Bytes) -> Result<Rate> {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone())?;
    let tls = Arc::new(client_config(roots)?);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der());
    let key = key.map_err(|error| anyhow::anyhow!("a key of one's own cannot be read: {error}"))?;
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(server)), bytes));
    let rate =
        repeat(clients, span, async |_| Ok(Get { connection: Connection::open(port, tls.clone()).await? })).await;
    accepting.abort();
    rate
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, bytes: Bytes) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, bytes) = (acceptor.clone(), bytes.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let bytes = bytes.clone();
                async move {
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(Response::new(Full::new(bytes)))
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// How many times a second 1 KiB can be appended to a file and synced, one after the other.
pub async fn syncs(folder: &Path, span: Duration) -> Result<f64> {
    let file = tempfile::NamedTempFile::new_in(folder)?;
    tokio::task::spawn_blocking(move || appends(file.as_file(), span)).await?
}

fn appends(mut file: &File, span: Duration) -> Result<f64> {
    let (started, mut count) = (Instant::now(), 0u32);
    while started.elapsed() < span {
        file.write_all(&[b'x'; 1024])?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}
