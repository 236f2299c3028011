//! exec, attach and port forwarding. The runtime serves these streams itself at an address it tells; the client's
//! request is repeated there, and after the upgrade bytes are carried through as they are, SPDY or WebSocket alike.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, upgrade};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Answer, BoxError, parameters, text};
use crate::{cri::v1, kubelet::Kubelet, prober::checks, runtime_state::PodRuntime, worker::Handle};

/// Why a request is not carried.
struct Refusal(StatusCode, String);

impl From<Refusal> for Answer {
    fn from(Refusal(status, message): Refusal) -> Self {
        text(status, message)
    }
}

/// What a request's path and query say.
struct Wanted {
    handle: Handle,
    container: String,
    parameters: Vec<(String, String)>,
}

impl Wanted {
    fn flag(&self, name: &str) -> bool {
        self.parameters.iter().any(|(key, value)| key == name && matches!(value.as_str(), "1" | "true" | ""))
    }

    fn runtime(&self) -> PodRuntime {
        self.handle.shared.lock().runtime.clone()
    }

    /// The id of the running container.
    fn running(&self) -> Result<String, Refusal> {
        let runtime = self.runtime();
        match runtime.latest(&self.container) {
            Some(info) if info.running() => Ok(info.id.clone()),
            _ => Err(Refusal(StatusCode::NOT_FOUND, format!("container not found ({:?})", self.container))),
        }
    }
}

/// `<namespace>/<pod>[/<uid>]/<container>`, the container only where one is meant.
fn wanted(kubelet: &Kubelet, parts: &[&str], with_container: bool, query: &str) -> Result<Wanted, Refusal> {
    let (namespace, pod, uid, container) = match (with_container, parts) {
        (true, [namespace, pod, container]) => (namespace, pod, None, *container),
        (true, [namespace, pod, uid, container]) => (namespace, pod, Some(*uid), *container),
        (false, [namespace, pod]) => (namespace, pod, None, ""),
        (false, [namespace, pod, uid]) => (namespace, pod, Some(*uid), ""),
        _ => return Err(Refusal(StatusCode::NOT_FOUND, "404 page not found\n".into())),
    };
    let handle = kubelet.find(namespace, pod, uid);
    let handle = handle.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, "pod does not exist".into()))?;
    Ok(Wanted { handle, container: container.into(), parameters: parameters(query) })
}

fn query(request: &Request<Incoming>) -> String {
    request.uri().query().unwrap_or_default().to_owned()
}

/// Answers /exec.
pub async fn exec(kubelet: &Arc<Kubelet>, parts: &[&str], request: Request<Incoming>) -> Answer {
    let wanted = match wanted(kubelet, parts, true, &query(&request)) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal.into(),
    };
    let container_id = match wanted.running() {
        Ok(id) => id,
        Err(refusal) => return refusal.into(),
    };
    let cmd = wanted.parameters.iter().filter(|(key, _)| key == "command").map(|(_, value)| value.clone()).collect();
    let tty = wanted.flag("tty");
    let asked = v1::ExecRequest {
        container_id,
        cmd,
        tty,
        stdin: wanted.flag("input"),
        stdout: wanted.flag("output"),
        // A terminal has one stream out.
        stderr: wanted.flag("error") && !tty,
    };
    if !(asked.stdin || asked.stdout || asked.stderr) {
        return text(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let url = kubelet.cri.runtime().exec(asked).await.map(|answer| answer.into_inner().url);
    carry(kubelet, url, request).await
}

/// Answers /attach.
pub async fn attach(kubelet: &Arc<Kubelet>, parts: &[&str], request: Request<Incoming>) -> Answer {
    let wanted = match wanted(kubelet, parts, true, &query(&request)) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal.into(),
    };
    let container_id = match wanted.running() {
        Ok(id) => id,
        Err(refusal) => return refusal.into(),
    };
    let tty = wanted.flag("tty");
    let asked = v1::AttachRequest {
        container_id,
        tty,
        stdin: wanted.flag("input"),
        stdout: wanted.flag("output"),
        stderr: wanted.flag("error") && !tty,
    };
    let url = kubelet.cri.runtime().attach(asked).await.map(|answer| answer.into_inner().url);
    carry(kubelet, url, request).await
}

/// Answers /portForward.
pub async fn port_forward(kubelet: &Arc<Kubelet>, parts: &[&str], request: Request<Incoming>) -> Answer {
    let wanted = match wanted(kubelet, parts, false, &query(&request)) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal.into(),
    };
    let Some(sandbox) = wanted.runtime().ready_sandbox().cloned() else {
        return text(StatusCode::NOT_FOUND, "pod has no sandbox that is ready");
    };
    let ports = wanted.parameters.iter().filter(|(key, _)| matches!(key.as_str(), "port" | "ports"));
    let port = ports.flat_map(|(_, value)| value.split(',')).filter_map(|port| port.parse().ok()).collect();
    let asked = v1::PortForwardRequest { pod_sandbox_id: sandbox.id, port };
    let url = kubelet.cri.runtime().port_forward(asked).await.map(|answer| answer.into_inner().url);
    carry(kubelet, url, request).await
}

/// Answers /run: a command to its end, its output as the answer.
pub async fn run(kubelet: &Arc<Kubelet>, parts: &[&str], request: Request<Incoming>) -> Answer {
    let wanted = match wanted(kubelet, parts, true, &query(&request)) {
        Ok(wanted) => wanted,
        Err(refusal) => return refusal.into(),
    };
    let id = match wanted.running() {
        Ok(id) => id,
        Err(refusal) => return refusal.into(),
    };
    let command = wanted.parameters.iter().find(|(key, _)| key == "cmd").map(|(_, value)| value.clone());
    let command = command.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    match kubelet.cri.exec_sync(&id, command, Duration::from_secs(600)).await {
        Ok(answer) => text(StatusCode::OK, checks::output(&answer)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn carry(kubelet: &Kubelet, url: Result<String, tonic::Status>, request: Request<Incoming>) -> Answer {
    let url = match url {
        Ok(url) => url,
        Err(status) => {
            let code = match status.code() {
                tonic::Code::NotFound => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            return text(code, crate::cri::CriError::from(status).to_string());
        }
    };
    match connect(kubelet, &url, request).await {
        Ok(answer) => answer,
        Err(error) => text(StatusCode::BAD_GATEWAY, format!("failed to reach the runtime's streaming server: {error}")),
    }
}

async fn connect(kubelet: &Kubelet, url: &str, mut request: Request<Incoming>) -> Result<Answer, BoxError> {
    let url: Uri = url.parse()?;
    let authority = url.authority().ok_or("the runtime gave no address")?.clone();
    let stream =
        TcpStream::connect((authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection.with_upgrades());
    let mut onward = Request::new(Empty::new());
    *onward.method_mut() = request.method().clone();
    *onward.uri_mut() = url.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    *onward.headers_mut() = onward_headers(request.headers());
    onward.headers_mut().insert(header::HOST, authority.as_str().parse()?);
    let mut answer = sender.send_request(onward).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (parts, body) = answer.into_parts();
        return Ok(Response::from_parts(parts, body.map_err(|error| Box::new(error) as BoxError).boxed_unsync()));
    }
    let mut reply = Response::new(super::full(Bytes::new()));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *reply.headers_mut() = answer.headers().clone();
    let far = upgrade::on(&mut answer);
    let near = upgrade::on(&mut request);
    tokio::spawn(kubelet.stopping.clone().run_until_cancelled_owned(async move {
        match tokio::try_join!(near, far) {
            Ok((near, far)) => {
                let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
                if let Err(error) = tokio::io::copy_bidirectional(&mut near, &mut far).await {
                    tracing::debug!(%error, "stream ended");
                }
            }
            Err(error) => tracing::debug!(%error, "the upgrade failed"),
        }
        driver.abort();
    }));
    Ok(reply)
}

/// The client's headers but for who it is: that is between it and us.
fn onward_headers(headers: &HeaderMap) -> HeaderMap {
    let mut out = headers.clone();
    for name in [header::AUTHORIZATION, header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::EXPECT]
    {
        out.remove(name);
    }
    out
}
