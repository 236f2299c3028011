//! What the machine can do at this moment: a bare HTTPS server that answers given bytes, and appends that are synced.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_rustls::TlsAcceptor;

use crate::connection::Connection;
use crate::measure::{Operation, Rate, repeat};
use crate::server::client_config;

/// The argument that makes this program the bare server.
pub const BARE: &str = "bare-server";

struct Get {
    connection: Connection,
}

impl Operation for Get {
    async fn once(&mut self) -> Result<()> {
        self.connection.get("/").await.map(drop)
    }
}

/// Requests a second of `clients` to a server that does nothing but answer `bytes`. It is this program in a process of its own,
/// for the way from one process to another and back is most of what a single client waits for.
pub async fn answers(clients: usize, span: Duration, bytes: Bytes) -> Result<Rate> {
    let mut process = Command::new(std::env::current_exe()?)
        .arg(BARE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("failed to start the bare server")?;
    let mut stdin = process.stdin.take().context("no way to the bare server")?;
    stdin.write_all(&bytes).await?;
    drop(stdin);
    let mut lines = BufReader::new(process.stdout.take().context("no way from the bare server")?);
    let (mut port, mut pem) = (String::new(), String::new());
    lines.read_line(&mut port).await?;
    while !pem.ends_with("-----END CERTIFICATE-----\n") {
        ensure!(lines.read_line(&mut pem).await? > 0, "the bare server gave no certificate");
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes())?)?;
    let (tls, port) = (Arc::new(client_config(roots)?), port.trim().parse()?);
    repeat(clients, span, async |_| Ok(Get { connection: Connection::open(port, tls.clone()).await? })).await
}

/// The bare server: reads what it is to answer, says its port and its certificate, and serves until it is ended.
pub async fn bare() -> Result<()> {
    let mut bytes = Vec::new();
    tokio::io::stdin().read_to_end(&mut bytes).await?;
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der());
    let key = key.map_err(|error| anyhow::anyhow!("a key of one's own cannot be read: {error}"))?;
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut out = tokio::io::stdout();
    let said =
        format!("{}\n{}\n", listener.local_addr()?.port(), certified.cert.pem().replace("\r\n", "\n").trim_end());
    out.write_all(said.as_bytes()).await?;
    out.flush().await?;
    accept(listener, TlsAcceptor::from(Arc::new(server)), bytes.into()).await;
    Ok(())
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

/// How many times a second so many bytes can be appended to a file and synced, one after the other.
pub async fn syncs(folder: &Path, span: Duration, bytes: usize) -> Result<f64> {
    let file = tempfile::NamedTempFile::new_in(folder)?;
    tokio::task::spawn_blocking(move || appends(file.as_file(), span, &vec![b'x'; bytes])).await?
}

fn appends(mut file: &File, span: Duration, bytes: &[u8]) -> Result<f64> {
    let (started, mut count) = (Instant::now(), 0u32);
    while started.elapsed() < span {
        file.write_all(bytes)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}
