//! Debian's etcd as one member, and a client of it that creates keys as an API server does: if they are not there yet.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use store::etcd::Server;
use store::etcd::api::kv_client::KvClient;
use store::etcd::api::{Compare, PutRequest, RequestOp, TxnRequest, compare, request_op};
use tonic::transport::Channel;

use super::{VALUE_BYTES, key};
use crate::measure::Operation;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Etcd {
    process: Child,
    server: Server,
}

impl Etcd {
    /// With the defaults of the package: every write is synced before it is answered.
    pub async fn start(folder: &Path) -> Result<Self> {
        let free = || anyhow::Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port());
        let (client, peer) = (format!("http://127.0.0.1:{}", free()?), format!("http://127.0.0.1:{}", free()?));
        let process = Command::new(std::env::var_os("ETCD").unwrap_or_else(|| "etcd".into()))
            .args(["--name", "load", "--log-level", "error", "--logger", "zap", "--data-dir"])
            .arg(folder)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("load={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("failed to start etcd (Debian: apt-get install etcd-server; ETCD names another)")?;
        let mut etcd = Self { process, server: client.parse()? };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = etcd.process.try_wait()? {
                bail!("etcd ended at once: {status}");
            }
            if let Ok(mut client) = etcd.client(usize::MAX).await
                && client.once().await.is_ok()
            {
                return Ok(etcd);
            }
            ensure!(Instant::now() < deadline, "etcd did not become ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Each client has a connection of its own.
    pub async fn client(&self, client: usize) -> Result<Put> {
        let channel = self.server.connect(None).await.map_err(anyhow::Error::msg)?;
        Ok(Put { kv: KvClient::new(channel), client, number: 0 })
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub struct Put {
    kv: KvClient<Channel>,
    client: usize,
    number: usize,
}

impl Operation for Put {
    async fn once(&mut self) -> Result<()> {
        self.number += 1;
        let (key, value) = (key(self.client, self.number), vec![b'x'; VALUE_BYTES].into());
        let compare = Compare {
            result: compare::CompareResult::Equal.into(),
            target: compare::CompareTarget::Mod.into(),
            key: key.clone().into(),
            target_union: Some(compare::TargetUnion::ModRevision(0)),
        };
        let put = PutRequest { key: key.into(), value, ..PutRequest::default() };
        let success = vec![RequestOp { request: Some(request_op::Request::RequestPut(put)) }];
        let answer = self.kv.txn(TxnRequest { compare: vec![compare], success, ..TxnRequest::default() }).await?;
        ensure!(answer.into_inner().succeeded, "the key was there already");
        Ok(())
    }
}
