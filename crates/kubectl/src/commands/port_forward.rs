//! `kubectl port-forward`: local ports that lead to a pod's.
//!
//! Each accepted connection is its own WebSocket, in which the data channel is 0 and errors come on 1; the first message of
//! each channel repeats the port.

use std::net::IpAddr;

use clap::{ArgMatches, Command};
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use super::pods;
use crate::api::{Api, Query, encode};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{Flags, list, option, words};
use crate::stream;
use crate::value::{self, text};

const PROTOCOL: &str = "v4.channel.k8s.io";

pub fn command() -> Command {
    Command::new("port-forward").about("Forward local ports to a pod").args([
        words("POD or TYPE/NAME, and [LOCAL_PORT:]REMOTE_PORT..."),
        list("address", "Addresses to listen on"),
        option("pod-running-timeout", "How long to wait for a pod to run"),
    ])
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let words = matches.words();
    let [word, ports @ ..] = words.as_slice() else {
        return Err(Error::usage("port-forward", "TYPE/NAME and list of ports are required for port-forward"));
    };
    if ports.is_empty() {
        return Err(Error::usage("port-forward", "TYPE/NAME and list of ports are required for port-forward"));
    }
    let item = pods::named(context, matches, word).await?;
    let pod = if value::kind(&item.object) == "Pod" {
        item.object.clone()
    } else {
        pods::one_pod(context, matches, word).await?
    };
    if text(&pod, "status.phase") != "Running" {
        return Err(Error::message(format!(
            "unable to forward port because pod is not running. Current status={}",
            text(&pod, "status.phase")
        )));
    }
    let addresses = match matches.split("address") {
        none if none.is_empty() => vec!["localhost".to_owned()],
        given => given,
    };
    let api = context.api().await?;
    let mut listeners = Vec::new();
    for spec in ports {
        let (local, remote) = port_pair(spec, &item.object, &pod)?;
        for address in &addresses {
            let hosts: Vec<IpAddr> = if address == "localhost" {
                vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]
            } else {
                vec![address.parse().map_err(|_| Error::message(format!("{address} is not a valid IP")))?]
            };
            let mut bound = false;
            for host in &hosts {
                match TcpListener::bind((*host, local)).await {
                    Ok(listener) => {
                        let at = listener.local_addr()?;
                        context.console.line(&format!("Forwarding from {at} -> {remote}"));
                        listeners.push((listener, remote));
                        bound = true;
                    }
                    // localhost may be of one family only.
                    Err(_) if hosts.len() > 1 => {}
                    Err(error) => return Err(Error::message(format!("unable to listen on port {local}: {error}"))),
                }
            }
            if !bound {
                return Err(Error::message(format!(
                    "unable to listen on any of the requested ports: [{{{local} {remote}}}]"
                )));
            }
        }
    }
    let path =
        format!("/api/v1/namespaces/{}/pods/{}/portforward", encode(value::namespace(&pod)), encode(value::name(&pod)));
    let serving = listeners.into_iter().map(|(listener, remote)| serve(context, api, listener, remote, path.clone()));
    futures::future::join_all(serving).await;
    Ok(())
}

/// Accepts for ever; connections are carried beside each other.
async fn serve(context: &Context, api: &Api, listener: TcpListener, remote: u16, path: String) {
    let mut running = futures::stream::FuturesUnordered::new();
    let local = listener.local_addr().map(|address| address.port()).unwrap_or(0);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((connection, _)) = accepted else { continue };
                context.console.line(&format!("Handling connection for {local}"));
                running.push(forward(api, connection, remote, &path));
            }
            Some(result) = running.next(), if !running.is_empty() => {
                if let Err(error) = result {
                    context.console.error_line(&format!("an error occurred forwarding {local} -> {remote}: {error}"));
                }
            }
        }
    }
}

async fn forward(api: &Api, mut connection: TcpStream, remote: u16, path: &str) -> Result<()> {
    let path = Query::new(path).add("ports", remote.to_string()).done();
    let (mut socket, _) = stream::open(api, &path, PROTOCOL).await?;
    let (mut read, mut write) = connection.split();
    let mut buffer = vec![0_u8; 32 << 10];
    let mut started = [false; 2];
    let mut reading = true;
    loop {
        tokio::select! {
            count = read.read(&mut buffer[1..]), if reading => match count {
                Ok(count) if count > 0 => {
                    buffer[0] = 0;
                    let message = Message::Binary(buffer[..=count].to_vec().into());
                    socket.send(message).await.map_err(|error| Error::message(error.to_string()))?;
                }
                // The protocol has no half-close; what the pod still sends is worth waiting for.
                _ => {
                    reading = false;
                    socket.close(None).await.map_err(|error| Error::message(error.to_string()))?;
                }
            },
            message = socket.next() => {
                let data = match message {
                    None | Some(Ok(Message::Close(_))) => return Ok(()),
                    Some(Err(_)) if !reading => return Ok(()),
                    Some(Err(error)) => return Err(Error::message(error.to_string())),
                    Some(Ok(Message::Binary(data))) => data,
                    Some(Ok(_)) => continue,
                };
                let Some((&channel, bytes)) = data.split_first() else { continue };
                let Some(seen) = started.get_mut(usize::from(channel)) else { continue };
                if !std::mem::replace(seen, true) && bytes.len() == 2 {
                    continue;
                }
                if channel == 1 {
                    return Err(Error::message(String::from_utf8_lossy(bytes).into_owned()));
                }
                write.write_all(bytes).await?;
            }
        }
    }
}

/// `8080:80`, `80`, `:80`, `8080:http`; a Service's port leads to its target.
fn port_pair(spec: &str, object: &Value, pod: &Value) -> Result<(u16, u16)> {
    let (local, remote) = spec.split_once(':').unwrap_or((spec, spec));
    let bad = || Error::message(format!("invalid port format '{spec}'"));
    let container_port = |name: &str| {
        value::list(pod, "spec.containers").iter().flat_map(|container| value::list(container, "ports")).find_map(
            |port| {
                (text(port, "name") == name).then(|| u16::try_from(value::int(port, "containerPort")).ok()).flatten()
            },
        )
    };
    let mut target: Option<u16> = remote.parse().ok().or_else(|| container_port(remote));
    let local_default = target;
    if value::kind(object) == "Service" {
        let port = value::list(object, "spec.ports")
            .iter()
            .find(|port| text(port, "name") == remote || value::int(port, "port").to_string() == remote);
        let Some(port) = port else {
            return Err(Error::message(format!(
                "Service {} does not have a service port {remote}",
                value::name(object)
            )));
        };
        target = match &port["targetPort"] {
            Value::String(name) => container_port(name),
            Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            _ => u16::try_from(value::int(port, "port")).ok(),
        };
    }
    let target = target.filter(|port| *port > 0).ok_or_else(bad)?;
    let local = match local {
        "" => 0,
        same if same == remote => same.parse().ok().or(local_default).ok_or_else(bad)?,
        number => number.parse().map_err(|_| bad())?,
    };
    Ok((local, target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ports_are_read_in_all_forms() {
        let pod =
            json!({"kind": "Pod", "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]}});
        let pair = |spec| port_pair(spec, &pod, &pod).ok();
        assert_eq!(pair("80"), Some((80, 80)));
        assert_eq!(pair("81:80"), Some((81, 80)));
        assert_eq!(pair(":80"), Some((0, 80)));
        assert_eq!(pair("81:http"), Some((81, 8080)));
        assert_eq!(pair("x"), None);
        let service = json!({"kind": "Service", "spec": {"ports": [{"port": 80, "targetPort": "http"}]}});
        assert_eq!(port_pair("80", &service, &pod).ok(), Some((80, 8080)));
        assert!(port_pair("82", &service, &pod).is_err());
    }
}
