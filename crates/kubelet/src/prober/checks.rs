//! One look at a container: by command, HTTP, TCP or gRPC.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};

use super::http;
use crate::cri::{Cri, health, v1};

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All well.
    Success,
    /// Not well, and what was seen.
    Failure(String),
    /// Could not look.
    Unknown(String),
}

/// A running container.
pub struct Target<'a> {
    /// The runtime.
    pub cri: &'a Cri,
    /// The container's id.
    pub id: &'a str,
    /// Its definition.
    pub container: &'a Container,
    /// The address it serves at.
    pub host: &'a str,
}

/// The most of a command's output that goes into a message.
const OUTPUT_BYTES_MAX: usize = 10 << 10;

/// Looks once.
pub async fn check(target: &Target<'_>, probe: &Probe, timeout: Duration) -> Outcome {
    if let Some(exec) = &probe.exec {
        let command = exec.command.clone().unwrap_or_default();
        return command_outcome(target, command, timeout).await;
    }
    if let Some(action) = &probe.http_get {
        let request = match http::Request::new(action, target.container, target.host, "kube-probe/1.36") {
            Ok(request) => request,
            Err(error) => return Outcome::Unknown(error),
        };
        return match request.send(timeout).await {
            Ok(answer) if answer.redirected_away || (200..400).contains(&answer.status) => Outcome::Success,
            Ok(answer) => Outcome::Failure(format!("HTTP probe failed with statuscode: {}", answer.status)),
            Err(error) => Outcome::Failure(error),
        };
    }
    if let Some(action) = &probe.tcp_socket {
        let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(target.host);
        let port = match http::port(&action.port, target.container) {
            Ok(port) => port,
            Err(error) => return Outcome::Unknown(error),
        };
        return match tokio::time::timeout(timeout, http::dial(host, port)).await {
            Ok(Ok(_)) => Outcome::Success,
            Ok(Err(error)) => Outcome::Failure(error),
            Err(_) => Outcome::Failure(format!("dial tcp {}: i/o timeout", http::authority(host, port))),
        };
    }
    if let Some(action) = &probe.grpc {
        let service = action.service.clone().unwrap_or_default();
        return grpc(target.host, action.port, service, timeout).await;
    }
    Outcome::Unknown("missing probe handler".into())
}

async fn command_outcome(target: &Target<'_>, command: Vec<String>, timeout: Duration) -> Outcome {
    let named = command.join(" ");
    let call = target.cri.exec_sync(target.id, command, timeout);
    // The runtime ends the command; the margin is for a runtime that does not.
    match tokio::time::timeout(timeout + Duration::from_secs(2), call).await {
        Ok(Ok(answer)) if answer.exit_code == 0 => Outcome::Success,
        Ok(Ok(answer)) => Outcome::Failure(output(&answer)),
        Ok(Err(error)) if error.code == tonic::Code::DeadlineExceeded => timed_out(&named, timeout),
        Ok(Err(error)) => Outcome::Unknown(error.to_string()),
        Err(_) => timed_out(&named, timeout),
    }
}

fn timed_out(command: &str, timeout: Duration) -> Outcome {
    Outcome::Failure(format!("command timed out: {command:?} timed out after {}s", timeout.as_secs()))
}

/// What a command printed, both streams, cut short.
pub fn output(answer: &v1::ExecSyncResponse) -> String {
    let both = [answer.stdout.as_slice(), answer.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both[..both.len().min(OUTPUT_BYTES_MAX)]).into_owned()
}

async fn grpc(host: &str, port: i32, service: String, timeout: Duration) -> Outcome {
    use health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let port = u16::try_from(port).unwrap_or(0);
    let named = http::authority(host, port);
    let failed =
        || Outcome::Failure(format!("timeout: failed to connect service {named:?} within {}s", timeout.as_secs()));
    let Ok(endpoint) = tonic::transport::Endpoint::from_shared(format!("http://{named}")) else { return failed() };
    let call = async {
        let channel = endpoint.connect().await.ok()?;
        Some(HealthClient::new(channel).check(HealthCheckRequest { service }).await)
    };
    match tokio::time::timeout(timeout, call).await {
        Ok(Some(Ok(answer))) => match answer.into_inner().status() {
            ServingStatus::Serving => Outcome::Success,
            other => Outcome::Failure(format!("service unhealthy (responded with {:?})", other.as_str_name())),
        },
        Ok(Some(Err(status))) if status.code() == tonic::Code::Unimplemented => {
            Outcome::Failure("this server does not implement the grpc health protocol (grpc.health.v1.Health)".into())
        }
        Ok(Some(Err(status))) => Outcome::Failure(format!("health rpc probe failed: {}", status.message())),
        _ => failed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Container;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn look(probe: serde_json::Value) -> Outcome {
        let container: Container =
            serde_json::from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": 1}]})).unwrap();
        let cri = Cri::new(std::path::Path::new("/nonexistent.sock"));
        let target = Target { cri: &cri, id: "x", container: &container, host: "127.0.0.1" };
        check(&target, &serde_json::from_value(probe).unwrap(), Duration::from_secs(5)).await
    }

    async fn serve(answers: Vec<&'static str>) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn http_goes_by_status_and_follows_own_redirects() {
        let redirect = "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let bad = "HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let port = serve(vec![redirect, bad]).await;
        let outcome = look(json!({"httpGet": {"port": port, "path": "/x"}})).await;
        assert_eq!(outcome, Outcome::Failure("HTTP probe failed with statuscode: 503".into()));
        let port = serve(vec!["HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]).await;
        assert_eq!(look(json!({"httpGet": {"port": port}})).await, Outcome::Success);
    }

    #[tokio::test]
    async fn refused_connections_read_as_upstream_prints_them() {
        let closed = serve(vec![]).await;
        // The listener ends with its task, which had nothing to serve.
        while tokio::net::TcpStream::connect(("127.0.0.1", closed)).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let expected = format!("dial tcp 127.0.0.1:{closed}: connect: connection refused");
        assert_eq!(look(json!({"tcpSocket": {"port": closed}})).await, Outcome::Failure(expected.clone()));
        let http = look(json!({"httpGet": {"port": closed, "path": "/h"}})).await;
        assert_eq!(http, Outcome::Failure(format!("Get \"http://127.0.0.1:{closed}/h\": {expected}")));
    }
}
