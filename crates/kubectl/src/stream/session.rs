//! An exec or attach session: standard streams, the result and the terminal's size, each on its channel.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::signal::unix::{SignalKind, signal};

use super::link::{self, RESIZE, RESULT, Receiver, STDERR, STDIN, STDOUT, Sender};
use super::terminal;
use crate::api::{Api, Query};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::value::{list, text};

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

    /// The channels in the order in which servers expect them.
    fn channels(self) -> Vec<(u8, &'static str)> {
        let all = [
            (RESULT, "error", true),
            (STDIN, "stdin", self.stdin),
            (STDOUT, "stdout", true),
            (STDERR, "stderr", !self.tty),
            (RESIZE, "resize", self.tty),
        ];
        all.into_iter().filter(|(.., wanted)| *wanted).map(|(channel, name, _)| (channel, name)).collect()
    }
}

/// Runs a session to its end; says whether anything came from the container. A command that fails is `Error::Exit` with
/// its code.
pub async fn run(api: &Api, console: &Arc<Console>, path: &str, streams: Streams) -> Result<bool> {
    // A terminal ends its input by a character; a pipe's end must be told.
    let (sender, receiver) = link::connect(api, path, &streams.channels(), streams.stdin && !streams.tty).await?;
    let raw = if streams.tty && streams.stdin { terminal::Raw::enter() } else { None };
    // Both directions go on beside each other: a container that waits for its output to be taken takes no input.
    let result = tokio::select! {
        end = receive(receiver, console) => end,
        error = send(sender, streams, tokio::io::stdin()) => Err(error),
    };
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

async fn receive(mut receiver: Receiver, console: &Console) -> Result<End> {
    let mut end = End { status: None, heard: false };
    let mut result: Vec<u8> = Vec::new();
    while let Some(message) = receiver.next().await {
        let (channel, data) = match message {
            Ok(message) => message,
            // Some servers drop the connection after the result instead of closing it.
            Err(_) if !result.is_empty() => break,
            Err(error) => return Err(error),
        };
        end.heard |= matches!(channel, STDOUT | STDERR) && !data.is_empty();
        match channel {
            STDOUT => console.bytes(&data),
            STDERR => console.error_bytes(&data),
            RESULT if result.len() < RESULT_MAX => result.extend_from_slice(&data),
            _ => {}
        }
    }
    if !result.is_empty() {
        let unreadable = || json!({"status": "Failure", "message": String::from_utf8_lossy(&result)});
        end.status = Some(serde_json::from_slice(&result).unwrap_or_else(|_| unreadable()));
    }
    Ok(end)
}

/// A result is a small Status.
const RESULT_MAX: usize = 1 << 20;

/// Sends input and sizes for ever. A connection that takes no more is left to the receiver to report.
async fn send(mut sender: Sender, streams: Streams, mut input: impl AsyncRead + Unpin) -> Error {
    let mut resized = match signal(SignalKind::window_change()) {
        Ok(resized) => resized,
        Err(error) => return error.into(),
    };
    let mut buffer = vec![0_u8; 32 << 10];
    let mut reading = streams.stdin;
    let mut sent = if streams.tty { send_size(&mut sender).await } else { Ok(()) };
    loop {
        if sent.is_err() {
            std::future::pending::<()>().await;
        }
        sent = tokio::select! {
            read = input.read(&mut buffer), if reading => match read {
                Ok(count) if count > 0 => sender.send(STDIN, &buffer[..count]).await,
                _ => {
                    reading = false;
                    sender.end_input().await
                }
            },
            _ = resized.recv(), if streams.tty => send_size(&mut sender).await,
            ping = sender.next_ping() => sender.answer_ping(ping).await,
        };
    }
}

async fn send_size(sender: &mut Sender) -> Result<()> {
    match terminal::size() {
        None => Ok(()),
        Some((width, height)) => {
            sender.send(RESIZE, json!({"Width": width, "Height": height}).to_string().as_bytes()).await
        }
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
