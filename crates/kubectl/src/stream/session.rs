//! An exec or attach session: standard streams over channels 0 to 2, the result on 3, the terminal's size on 4.
//!
//! Protocol v5 can say that standard input has ended (255, channel); with v4 the server never learns it.

use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::tungstenite::Message;

use super::{Socket, open, terminal};
use crate::api::{Api, Query};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::value::{list, text};

const PROTOCOLS: &str = "v5.channel.k8s.io, v4.channel.k8s.io";
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const RESULT: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// What a session connects.
#[derive(Debug, Clone, Copy, Default)]
pub struct Streams {
    pub stdin: bool,
    pub tty: bool,
    pub quiet: bool,
}

impl Streams {
    /// A path of exec or attach with these streams asked for; a terminal has no standard error of its own.
    pub fn query(self, path: String, container: &str) -> Query {
        let on = |on: bool| on.then_some("true");
        Query::new(path)
            .maybe("container", Some(container))
            .maybe("stdin", on(self.stdin))
            .add("stdout", "true")
            .maybe("stderr", on(!self.tty))
            .maybe("tty", on(self.tty))
    }
}

/// Runs a session to its end; says whether anything came from the container. A command that fails is `Error::Exit` with
/// its code.
pub async fn run(api: &Api, console: &Arc<Console>, path: &str, streams: Streams) -> Result<bool> {
    let (socket, protocol) = open(api, path, PROTOCOLS).await?;
    let raw = if streams.tty && streams.stdin { terminal::Raw::enter() } else { None };
    let result = carry(socket, protocol.starts_with("v5"), console, streams, tokio::io::stdin()).await;
    drop(raw);
    let end = result?;
    if let Some(status) = end.status {
        outcome(&status, console)?;
    }
    Ok(end.heard)
}

/// How a session ended.
struct End {
    /// The Status of the result channel.
    status: Option<Value>,
    /// Something came on standard output or error.
    heard: bool,
}

/// Carries bytes until the server closes.
async fn carry(
    mut socket: Socket,
    can_close: bool,
    console: &Arc<Console>,
    streams: Streams,
    mut input: impl AsyncRead + Unpin,
) -> Result<End> {
    let mut resized = signal(SignalKind::window_change())?;
    if streams.tty {
        send_size(&mut socket).await;
    }
    let mut reading = streams.stdin;
    let mut buffer = vec![0_u8; 32 << 10];
    let mut end = End { status: None, heard: false };
    loop {
        tokio::select! {
            read = input.read(&mut buffer), if reading => {
                let message = match read {
                    Ok(count) if count > 0 => framed(STDIN, &buffer[..count]),
                    _ => {
                        reading = false;
                        if !can_close {
                            continue;
                        }
                        Message::Binary(Bytes::from_static(&[CLOSE, STDIN]))
                    }
                };
                if socket.send(message).await.is_err() {
                    reading = false;
                }
            }
            _ = resized.recv(), if streams.tty => send_size(&mut socket).await,
            message = socket.next() => {
                let data = match message {
                    None | Some(Ok(Message::Close(_))) => return Ok(end),
                    // Some servers drop the connection after the result instead of closing it.
                    Some(Err(_)) if end.status.is_some() => return Ok(end),
                    Some(Err(error)) => return Err(Error::message(format!("error reading from error stream: {error}"))),
                    Some(Ok(Message::Binary(data))) => data,
                    Some(Ok(Message::Text(text))) => Bytes::from(text.to_string()),
                    Some(Ok(_)) => continue,
                };
                end.heard |= matches!(data.split_first(), Some((&(STDOUT | STDERR), bytes)) if !bytes.is_empty());
                match data.split_first() {
                    Some((&STDOUT, bytes)) => console.bytes(bytes),
                    Some((&STDERR, bytes)) => console.error_bytes(bytes),
                    Some((&RESULT, bytes)) if !bytes.is_empty() => {
                        end.status = Some(serde_json::from_slice(bytes).unwrap_or_else(|_| {
                            json!({"status": "Failure", "message": String::from_utf8_lossy(bytes)})
                        }));
                    }
                    _ => {}
                }
            }
        }
    }
}

fn framed(channel: u8, bytes: &[u8]) -> Message {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    Message::Binary(message.into())
}

async fn send_size(socket: &mut Socket) {
    if let Some((width, height)) = terminal::size() {
        let size = json!({"Width": width, "Height": height}).to_string();
        // A session that has ended shows itself by its next message.
        let _ = socket.send(framed(RESIZE, size.as_bytes())).await;
    }
}

/// What the result channel's Status means for kubectl's own exit.
fn outcome(status: &Value, console: &Console) -> Result<()> {
    if text(status, "status") == "Success" {
        return Ok(());
    }
    if text(status, "reason") == "NonZeroExitCode" {
        let code = list(status, "details.causes").iter().find(|cause| cause["reason"] == "ExitCode");
        let code: i32 = code.and_then(|cause| text(cause, "message").parse().ok()).unwrap_or(1);
        console.error_line(&format!("command terminated with exit code {code}"));
        return Err(Error::Exit(u8::try_from(code).ok().filter(|code| *code != 0).unwrap_or(1)));
    }
    Err(Error::message(text(status, "message")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_passed_on() {
        let console = Console::to(Box::new(std::io::sink()), Box::new(std::io::sink()));
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}});
        assert!(matches!(outcome(&failed, &console), Err(Error::Exit(7))));
        assert!(outcome(&json!({"status": "Success"}), &console).is_ok());
        let other = json!({"status": "Failure", "message": "no such container"});
        assert_eq!(outcome(&other, &console).expect_err("failed").text(), "error: no such container");
    }
}
