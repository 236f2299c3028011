//! etcd processes of a test, with folders and ports of their own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::etcd::Server;
use crate::etcd::api::kv_client::KvClient;
use crate::etcd::api::maintenance_client::MaintenanceClient;
use crate::etcd::api::request_op::Request;
use crate::etcd::api::{
    CompactionRequest, DeleteRangeRequest, KeyValue, PutRequest, RangeRequest, RequestOp, StatusRequest, TxnRequest,
};

pub struct Cluster {
    pub members: Vec<Member>,
    initial: String,
    _folder: Option<TempDir>,
}

/// Where a member lives.
pub struct Place {
    /// Its address.
    pub host: String,
    /// The file of the network namespace that it is in, unless it is the test's own.
    pub namespace: Option<String>,
    /// Its data.
    pub folder: PathBuf,
}

pub struct Member {
    name: String,
    place: Place,
    client_port: u16,
    peer_port: u16,
    extra: Vec<String>,
    scheme: &'static str,
    child: Option<Child>,
}

/// Ports that nobody has: they are taken and given back, all at once.
fn free_ports(count: usize) -> Vec<u16> {
    let sockets: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    sockets.iter().map(|socket| socket.local_addr().expect("bound").port()).collect()
}

impl Member {
    fn url(&self) -> String {
        format!("{}://{}:{}", self.scheme, self.place.host, self.client_port)
    }

    fn peer_url(&self) -> String {
        format!("http://{}:{}", self.place.host, self.peer_port)
    }
}

impl Cluster {
    pub fn start(size: usize, extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |at| {
            let folder = folder.path().join(format!("m{at}"));
            Place { host: "127.0.0.1".to_owned(), namespace: None, folder }
        };
        let places = (0..size).map(place).collect();
        let mut cluster = Self::start_at(places, extra);
        cluster._folder = Some(folder);
        cluster
    }

    /// Members at places that were made for them.
    pub fn start_at(places: Vec<Place>, extra: &[&str]) -> Self {
        let size = places.len();
        let ports = free_ports(2 * size);
        let member = |((at, place), ports): ((usize, Place), &[u16])| Member {
            name: format!("m{at}"),
            place,
            client_port: ports[0],
            peer_port: ports[1],
            extra: extra.iter().map(|&extra| extra.to_owned()).collect(),
            scheme: if extra.contains(&"--client-cert-auth") { "https" } else { "http" },
            child: None,
        };
        let members: Vec<Member> = places.into_iter().enumerate().zip(ports.chunks(2)).map(member).collect();
        let peers = members.iter().map(|member| format!("{}={}", member.name, member.peer_url()));
        let initial = peers.collect::<Vec<_>>().join(",");
        let mut cluster = Self { members, initial, _folder: None };
        (0..size).for_each(|at| cluster.run(at));
        cluster
    }

    /// Starts a member, with the data that it had.
    pub fn run(&mut self, at: usize) {
        let member = &mut self.members[at];
        let client = member.url();
        let peer = member.peer_url();
        let program = std::env::var("ETCD").unwrap_or_else(|_| "etcd".to_owned());
        let mut command = match &member.place.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={namespace}")).arg("--").arg(program);
                command
            }
        };
        let child = command
            .args(["--name", &member.name, "--log-level", "error", "--logger", "zap"])
            .arg("--data-dir")
            .arg(&member.place.folder)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &self.initial])
            .args(&member.extra)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        member.child = Some(child.expect("etcd is installed (Debian: etcd-server)"));
    }

    /// As by `kill -9`.
    pub fn kill(&mut self, at: usize) {
        if let Some(mut child) = self.members[at].child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it ends");
        }
    }

    /// Sends a member a signal, by its name.
    pub fn signal(&self, at: usize, signal: &str) {
        let child = self.members[at].child.as_ref().expect("it runs");
        let status = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }

    /// Kills a member and lets it begin with nothing.
    pub fn wipe(&mut self, at: usize) {
        self.kill(at);
        std::fs::remove_dir_all(&self.members[at].place.folder).expect("its data are there");
        self.run(at);
    }

    /// Restarts a member where its clients do not find it, or where they do again.
    pub fn move_to(&mut self, at: usize, client_port: u16) {
        self.kill(at);
        self.members[at].client_port = client_port;
        self.run(at);
    }

    pub fn port(&self, at: usize) -> u16 {
        self.members[at].client_port
    }

    pub fn other_port() -> u16 {
        free_ports(1)[0]
    }

    pub fn servers(&self) -> Vec<Server> {
        self.members.iter().map(|member| member.url().parse().expect("a URL")).collect()
    }

    async fn channel(&self, at: usize) -> Channel {
        let server = &self.servers()[at];
        for _ in 0..500 {
            if let Ok(channel) = server.connect(None).await {
                return channel;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{server} does not answer");
    }

    /// etcd itself, past any store.
    pub async fn raw(&self, at: usize) -> Raw {
        let mut raw = Raw(KvClient::new(self.channel(at).await));
        // Until it has found its leader.
        raw.get("none").await;
        raw
    }

    /// The place of the leader.
    pub async fn leader(&self) -> usize {
        for _ in 0..1500 {
            for at in 0..self.members.len() {
                if self.members[at].child.is_none() {
                    continue;
                }
                let status = MaintenanceClient::new(self.channel(at).await).status(StatusRequest {}).await;
                if let Ok(status) = status
                    && let status = status.into_inner()
                    && status.leader != 0
                    && status.leader == status.header.map_or(0, |header| header.member_id)
                {
                    return at;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the members find no leader");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        (0..self.members.len()).for_each(|at| self.kill(at));
    }
}

pub struct Raw(KvClient<Channel>);

impl Raw {
    pub async fn put(&mut self, key: &str, value: &str) -> u64 {
        let put = PutRequest { key: owned(key), value: owned(value), lease: 0 };
        self.txn(vec![Request::RequestPut(put)]).await
    }

    /// Deletes several keys at one revision.
    pub async fn delete(&mut self, keys: &[&str]) -> u64 {
        let delete = |key: &&str| Request::RequestDeleteRange(DeleteRangeRequest { key: owned(key) });
        self.txn(keys.iter().map(delete).collect()).await
    }

    async fn txn(&mut self, operations: Vec<Request>) -> u64 {
        let success = operations.into_iter().map(|request| RequestOp { request: Some(request) }).collect();
        let txn = TxnRequest { success, ..TxnRequest::default() };
        let answer = self.0.txn(txn).await.expect("etcd writes").into_inner();
        answer.header.expect("a header").revision
    }

    pub async fn get(&mut self, key: &str) -> Option<KeyValue> {
        let range = RangeRequest { key: owned(key), ..RangeRequest::default() };
        for _ in 0..500 {
            match self.0.range(range.clone()).await {
                Ok(answer) => return answer.into_inner().kvs.into_iter().next(),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        panic!("etcd does not answer")
    }

    /// Whether a revision can still be read.
    pub async fn has(&mut self, revision: u64) -> bool {
        let range = RangeRequest { key: owned("none"), revision, ..RangeRequest::default() };
        self.0.range(range).await.is_ok()
    }

    pub async fn compact(&mut self, revision: u64) {
        self.0.compact(CompactionRequest { revision }).await.expect("etcd compacts");
    }
}

fn owned(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
