//! One question over UDP: tells whether a DNS server answers, which the system's own resolver cannot be asked.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;

/// The IPv4 addresses of `name` as `server` tells them; an answer without any is an error that says why.
pub async fn address_of(server: SocketAddr, name: &str, patience: Duration) -> io::Result<Vec<Ipv4Addr>> {
    let mut name = Name::from_ascii(name).map_err(io::Error::other)?;
    name.set_fqdn(true);
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, RecordType::A));
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(&question.to_vec().map_err(io::Error::other)?).await?;
    let mut buffer = [0; 4096];
    let received = tokio::time::timeout(patience, socket.recv(&mut buffer)).await;
    let length = received.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let answer = Message::from_vec(&buffer[..length]).map_err(io::Error::other)?;
    if answer.metadata.response_code != ResponseCode::NoError {
        return Err(io::Error::other(answer.metadata.response_code.to_str()));
    }
    let addresses: Vec<Ipv4Addr> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .collect();
    if addresses.is_empty() { Err(io::Error::other("the name has no IPv4 address")) } else { Ok(addresses) }
}
