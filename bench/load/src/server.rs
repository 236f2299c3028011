//! The server that is measured, as a process of its own; it and its data go with the value.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::Args;
use crate::connection::Connection;
use crate::memory;

pub const TOKEN: &str = "load";
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    process: Child,
    pub port: u16,
    pub tls: Arc<ClientConfig>,
    root: Arc<tempfile::TempDir>,
}

impl Server {
    /// The whole control plane, `canopus server`.
    pub async fn start(args: &Args) -> Result<Self> {
        let root = Arc::new(tempfile::Builder::new().prefix("load-").tempdir_in(&args.root_parent)?);
        let mut file =
            fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(root.path().join("tokens"))?;
        writeln!(file, "{TOKEN},load,load,system:masters")?;
        let folder = root.path().join("root");
        let more = ["--root-dir".into(), folder.into()];
        Self::spawn(&args.canopus, root, "server", &more).await
    }

    /// The API server alone, `canopus kube-apiserver`, on the keys that a control plane has made.
    pub async fn start_alone(args: &Args) -> Result<Self> {
        let root = Self::start(args).await?.root.clone();
        let at = |name: &str| root.path().join("root/pki").join(name).into_os_string();
        let more = [
            "--data-dir".into(),
            root.path().join("alone").into(),
            "--tls-cert-file".into(),
            at("apiserver.crt"),
            "--tls-private-key-file".into(),
            at("apiserver.key"),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            "--service-account-signing-key-file".into(),
            at("sa.key"),
            // No controller makes the default service account here.
            "--disable-admission-plugins=ServiceAccount".into(),
        ];
        Self::spawn(&args.canopus, root, "kube-apiserver", &more).await
    }

    async fn spawn(canopus: &Path, root: Arc<tempfile::TempDir>, what: &str, more: &[OsString]) -> Result<Self> {
        // Whoever takes the port in between makes the start fail, not the figures wrong.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = fs::File::create(root.path().join(format!("{what}.log")))?;
        let process = Command::new(canopus)
            .args([what, "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"])
            .args(["--secure-port", &port.to_string(), "--token-auth-file"])
            .arg(root.path().join("tokens"))
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("failed to start {}", canopus.display()))?;
        let mut server = Self { process, port, tls: Arc::new(client_config(RootCertStore::empty())?), root };
        let authority = server.root.path().join("root/pki/ca.crt");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = server.process.try_wait()? {
                bail!("{} {what} ended at once: {status}", canopus.display());
            }
            if let Ok(pem) = fs::read(&authority)
                && let Ok(certificate) = CertificateDer::from_pem_slice(&pem)
            {
                let mut roots = RootCertStore::empty();
                roots.add(certificate)?;
                server.tls = Arc::new(client_config(roots)?);
                if server.is_ready().await {
                    return Ok(server);
                }
            }
            ensure!(Instant::now() < deadline, "the server did not become ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn is_ready(&self) -> bool {
        let Ok(mut connection) = self.connect().await else { return false };
        connection.get("/readyz").await.is_ok()
    }

    pub async fn connect(&self) -> Result<Connection> {
        Connection::open(self.port, self.tls.clone()).await
    }

    /// Resident memory in bytes.
    pub fn rss(&self) -> Result<u64> {
        memory::rss(self.process.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn client_config(roots: RootCertStore) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
