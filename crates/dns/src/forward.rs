//! Asking the node's own resolvers for names that are not the cluster's: over UDP, and over TCP when the answer was cut
//! short. Resolvers are tried in the order of `resolv.conf`, which is read again when it changes.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hickory_proto::op::Message;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;

/// How long one resolver may take; with the usual two of them a client's own five seconds are kept.
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Questions under way at once; more are answered with SERVFAIL rather than queued without bound.
const FORWARDED_MAX: usize = 1000;
const RESOLVERS_MAX: usize = 3;

pub struct Forwarder {
    resolv_conf: PathBuf,
    /// The server's own addresses, which must not be asked in turn.
    own: Vec<SocketAddr>,
    resolvers: Mutex<(Option<SystemTime>, Vec<SocketAddr>)>,
    under_way: Semaphore,
}

impl Forwarder {
    pub fn new(resolv_conf: PathBuf, own: Vec<SocketAddr>) -> Self {
        Self { resolv_conf, own, resolvers: Mutex::new((None, Vec::new())), under_way: Semaphore::new(FORWARDED_MAX) }
    }

    /// The first answer that a resolver gives to the question, which is passed on as it came.
    pub async fn ask(&self, question: &[u8]) -> Option<Message> {
        let _place = self.under_way.try_acquire().ok()?;
        for resolver in self.resolvers() {
            match tokio::time::timeout(RESOLVER_TIMEOUT, exchange(resolver, question)).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%resolver, %error, "a resolver did not answer"),
                Err(_) => tracing::debug!(%resolver, "a resolver did not answer in time"),
            }
        }
        None
    }

    fn resolvers(&self) -> Vec<SocketAddr> {
        let changed = std::fs::metadata(&self.resolv_conf).and_then(|metadata| metadata.modified()).ok();
        let mut cached = self.resolvers.lock();
        if cached.0 != changed || changed.is_none() {
            let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
            let found = parse(&text).into_iter().filter(|address| !self.own.contains(address)).take(RESOLVERS_MAX);
            *cached = (changed, found.collect());
        }
        cached.1.clone()
    }
}

fn parse(resolv_conf: &str) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver")?.split_whitespace().next()?.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .collect()
}

async fn exchange(resolver: SocketAddr, question: &[u8]) -> std::io::Result<Message> {
    let any: SocketAddr = if resolver.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    // Connected: datagrams from anybody else are dropped by the kernel, and a closed port is an error at once.
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if buffer.get(..2) != question.get(..2) {
            continue;
        }
        let answer = Message::from_vec(&buffer[..length]).map_err(std::io::Error::other)?;
        return if answer.metadata.truncation { exchange_tcp(resolver, question).await } else { Ok(answer) };
    }
}

async fn exchange_tcp(resolver: SocketAddr, question: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(question).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Message::from_vec(&answer).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_and_the_own_address_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        std::fs::write(&file, "# a comment\nsearch x\nnameserver 127.0.0.9\nnameserver bad\nnameserver ::1 # two\n")
            .unwrap();
        let forwarder = Forwarder::new(file, vec!["127.0.0.9:53".parse().unwrap()]);
        assert_eq!(forwarder.resolvers(), ["[::1]:53".parse().unwrap()]);
    }
}
