//! The two halves of a session's connection, whatever protocol carries it.

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::{Socket, open, spdy, upgrade};
use crate::api::Api;
use crate::error::{Error, Result};

pub const STDIN: u8 = 0;
pub const STDOUT: u8 = 1;
pub const STDERR: u8 = 2;
pub const RESULT: u8 = 3;
pub const RESIZE: u8 = 4;
/// Protocol v5: the channel in the next byte has ended.
const CLOSE: u8 = 255;

pub enum Sender {
    Web { sink: SplitSink<Socket, Message>, can_close: bool },
    Spdy { sender: spdy::Sender, pings: mpsc::Receiver<u32> },
}

pub enum Receiver {
    Web(SplitStream<Socket>),
    Spdy { receiver: spdy::Receiver, pings: mpsc::Sender<u32> },
}

/// Opens a session. When standard input's end must be told, a server that cannot hear it by WebSocket is asked by SPDY.
pub async fn connect(api: &Api, path: &str, channels: &[(u8, &str)], must_close: bool) -> Result<(Sender, Receiver)> {
    let offered = if must_close { "v5.channel.k8s.io" } else { "v5.channel.k8s.io, v4.channel.k8s.io" };
    match open(api, path, offered).await {
        Ok((socket, protocol)) if !must_close || protocol.starts_with("v5") => {
            let (sink, stream) = socket.split();
            return Ok((Sender::Web { sink, can_close: protocol.starts_with("v5") }, Receiver::Web(stream)));
        }
        Err(error @ (Error::Refused(_) | Error::Connection(_))) => return Err(error),
        Err(error) if !must_close => return Err(error),
        // Whatever the refusal was for, the next request is told the same or works.
        _ => {}
    }
    let request = http::Request::post(path)
        .header(http::header::CONNECTION, "Upgrade")
        .header(http::header::UPGRADE, "SPDY/3.1")
        .header("X-Stream-Protocol-Version", "v4.channel.k8s.io");
    let (io, _) = upgrade(api, request).await?;
    let (mut sender, mut receiver) = spdy::split(io);
    sender.open(&mut receiver, channels).await?;
    // More unanswered pings than these are not answered, which a peer that sends them so fast deserves.
    let (to, pings) = mpsc::channel(16);
    Ok((Sender::Spdy { sender, pings }, Receiver::Spdy { receiver, pings: to }))
}

impl Sender {
    pub async fn send(&mut self, channel: u8, data: &[u8]) -> Result<()> {
        match self {
            Sender::Web { sink, .. } => {
                let mut message = Vec::with_capacity(data.len() + 1);
                message.push(channel);
                message.extend_from_slice(data);
                sink.send(Message::Binary(message.into())).await.map_err(|error| Error::message(error.to_string()))
            }
            Sender::Spdy { sender, .. } => Ok(sender.data(channel, data, false).await?),
        }
    }

    /// Says that standard input has ended, where the protocol can.
    pub async fn end_input(&mut self) -> Result<()> {
        match self {
            Sender::Web { sink, can_close: true } => {
                let message = Message::Binary(Bytes::from_static(&[CLOSE, STDIN]));
                sink.send(message).await.map_err(|error| Error::message(error.to_string()))
            }
            Sender::Web { .. } => Ok(()),
            Sender::Spdy { sender, .. } => Ok(sender.data(STDIN, &[], true).await?),
        }
    }

    /// Does what the connection itself needs, for ever; safe to be dropped at any time.
    pub async fn next_ping(&mut self) -> u32 {
        let ping = match self {
            Sender::Spdy { pings, .. } => pings.recv().await,
            Sender::Web { .. } => None,
        };
        match ping {
            Some(id) => id,
            None => std::future::pending().await,
        }
    }

    pub async fn answer_ping(&mut self, id: u32) -> Result<()> {
        match self {
            Sender::Spdy { sender, .. } => Ok(sender.answer_ping(id).await?),
            Sender::Web { .. } => Ok(()),
        }
    }
}

impl Receiver {
    /// The next channel and its data; None when the session has ended.
    pub async fn next(&mut self) -> Option<Result<(u8, Bytes)>> {
        match self {
            Receiver::Web(stream) => loop {
                let data = match stream.next().await {
                    None | Some(Ok(Message::Close(_))) => return None,
                    Some(Err(error)) => {
                        return Some(Err(Error::message(format!("error reading from error stream: {error}"))));
                    }
                    Some(Ok(Message::Binary(data))) => data,
                    Some(Ok(Message::Text(text))) => Bytes::from(text.to_string()),
                    Some(Ok(_)) => continue,
                };
                if let Some(channel) = data.first().copied() {
                    return Some(Ok((channel, data.slice(1..))));
                }
            },
            Receiver::Spdy { receiver, pings } => loop {
                match receiver.next().await? {
                    Err(error) => {
                        return Some(Err(Error::message(format!("error reading from error stream: {error}"))));
                    }
                    Ok(spdy::Event::Data(channel, data)) => return Some(Ok((channel, data))),
                    // The result channel is the last word.
                    Ok(spdy::Event::End(RESULT) | spdy::Event::GoAway) => return None,
                    Ok(spdy::Event::End(_)) => {}
                    Ok(spdy::Event::Ping(id)) => drop(pings.try_send(id)),
                }
            },
        }
    }
}
