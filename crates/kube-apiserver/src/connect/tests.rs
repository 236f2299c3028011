//! Against small backends on loopback that answer what they are told to.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::backends::{Target, Trust};
use super::forward::{Forward, carry};
use super::*;
use crate::testing::{self, Pki};
use crate::{BoxError, body};

/// A backend that answers one connection with these bytes and gives what it was sent up to the end of the headers;
/// after that it sends back whatever comes.
async fn backend(answer: &'static [u8]) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = stream.read_u8().await.unwrap();
            head.push(byte);
        }
        sender.send(String::from_utf8(head).unwrap().to_lowercase()).unwrap();
        stream.write_all(answer).await.unwrap();
        if answer.starts_with(b"HTTP/1.1 101") {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        }
    });
    (port, receiver)
}

/// A front end without TLS that hands every request to `carry`.
async fn front(port: u16, options: fn() -> Forward) -> TcpStream {
    let pki = Pki::new();
    let backends = Arc::new(Backends::open(&pki.config()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(move |request: Request<Incoming>| {
            let backends = backends.clone();
            async move {
                let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
                let target = Target {
                    trust: Trust::Plain,
                    host: "127.0.0.1".into(),
                    port,
                    path: "/exec/ns/p/c?command=a".into(),
                };
                let answer = carry(&*backends, &CancellationToken::new(), &target, request, options()).await;
                Ok::<_, std::convert::Infallible>(answer.unwrap_or_else(|status| body::status(&status)))
            }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    });
    TcpStream::connect(address).await.unwrap()
}

const UPGRADE: &[u8] = b"POST /x HTTP/1.1\r\nhost: front\r\nconnection: keep-alive, Upgrade\r\nupgrade: SPDY/3.1\r\n\
    authorization: Bearer secret\r\nx-remote-user: root\r\nimpersonate-user: root\r\nx-stream-protocol-version: v4.channel.k8s.io\r\n\r\n";

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

fn required() -> Forward {
    Forward { upgrade_required: true, ..Forward::default() }
}

#[tokio::test]
async fn an_upgrade_that_the_backend_accepts_becomes_a_pipe() {
    let answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\
        x-stream-protocol-version: v4.channel.k8s.io\r\n\r\nearly";
    let (port, mut heads) = backend(answer).await;
    let mut client = front(port, required).await;
    client.write_all(UPGRADE).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(
        head.contains("upgrade: spdy/3.1\r\n") && head.contains("x-stream-protocol-version: v4.channel.k8s.io"),
        "{head}"
    );
    client.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 9];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"earlyping");
    let seen = heads.recv().await.unwrap();
    assert!(seen.starts_with("post /exec/ns/p/c?command=a http/1.1\r\n"), "{seen}");
    assert!(seen.contains("connection: upgrade\r\n") && seen.contains("upgrade: spdy/3.1\r\n"), "{seen}");
    for secret in ["authorization", "x-remote", "impersonate", "secret"] {
        assert!(!seen.contains(secret), "{secret} went to the backend: {seen}");
    }
}

#[tokio::test]
async fn a_refused_upgrade_is_a_plain_answer_and_ends_the_connection() {
    let answer = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
    let (port, mut heads) = backend(answer).await;
    let mut client = front(port, required).await;
    client.write_all(UPGRADE).await.unwrap();
    // What would be a request of its own to the backend, had the connection been handed over.
    client.write_all(b"GET /secrets HTTP/1.1\r\nhost: front\r\n\r\n").await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    let all = String::from_utf8(all).unwrap().to_lowercase();
    assert!(all.starts_with("http/1.1 403 ") && all.contains("connection: close\r\n"), "{all}");
    assert!(all.ends_with("\r\n\r\nno"), "{all}");
    assert!(heads.recv().await.unwrap().starts_with("post "));
    assert!(heads.recv().await.is_none(), "the backend saw one request");
}

#[tokio::test]
async fn a_stream_without_an_upgrade_is_refused() {
    let mut client = front(1, required).await;
    client
        .write_all(b"POST /x HTTP/1.1\r\nhost: front\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    assert!(all.starts_with("HTTP/1.1 400 ") && all.contains("Upgrade request required"), "{all}");
}

#[tokio::test]
async fn proxied_answers_come_back_through_the_server() {
    let answer = b"HTTP/1.1 302 Found\r\nlocation: /login?a=b\r\naccess-control-allow-origin: *\r\nkeep-alive: x\r\ncontent-length: 0\r\n\r\n";
    let (port, _heads) = backend(answer).await;
    let options = || Forward { prefix: Some("/api/v1/nodes/n/proxy".into()), ..Forward::default() };
    let mut client = front(port, options).await;
    client.write_all(b"GET /x HTTP/1.1\r\nhost: front\r\n\r\n").await.unwrap();
    let head = read_head(&mut client).await;
    assert!(
        head.starts_with("http/1.1 302 ") && head.contains("location: /api/v1/nodes/n/proxy/login?a=b\r\n"),
        "{head}"
    );
    assert!(!head.contains("access-control") && !head.contains("keep-alive"), "{head}");
}

#[tokio::test]
async fn a_backend_that_is_not_there_is_named() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut client = front(closed, Forward::default).await;
    client.write_all(b"GET /x HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).await.unwrap();
    assert!(all.starts_with("HTTP/1.1 503 "), "{all}");
    assert!(
        all.contains(&format!(
            "error trying to reach service: dial tcp 127.0.0.1:{closed}: connect: connection refused"
        )),
        "{all}"
    );
}

/// A kubelet with TLS that asks for the server's certificate.
async fn kubelet(pki: &Pki) -> u16 {
    let config = pki.config();
    let ca = crate::authentication::x509::ClientCa::open(&pki.path().join("ca.crt")).unwrap();
    let tls = crate::serving::tls_config(&config, Some(&ca), None).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(tls);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            let known = stream.get_ref().1.peer_certificates().is_some();
            let service = service_fn(move |request: Request<Incoming>| async move {
                let path = request.uri().to_string();
                let (code, text) = match path.as_str() {
                    path if path.contains("missing") => (StatusCode::NOT_FOUND, "no such container".to_owned()),
                    path if path.contains("waiting") => (
                        StatusCode::BAD_REQUEST,
                        "container \"waiting\" in pod \"p\" is waiting to start: ContainerCreating".to_owned(),
                    ),
                    path => (StatusCode::OK, format!("{path} certificate:{known}")),
                };
                let mut response = http::Response::new(Full::new(Bytes::from(text)));
                *response.status_mut() = code;
                Ok::<_, std::convert::Infallible>(response)
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test]
async fn logs_come_from_the_kubelet_of_the_node() {
    let (server, pki) = testing::server().await;
    let port = kubelet(&pki).await;
    let call = async |method: &str, path: &str, object: serde_json::Value| {
        testing::call(&server, testing::admin(), method, path, &object.to_string()).await
    };
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "Hostname", "address": "nowhere"}, {"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let (code, answer) = call("POST", "/api/v1/nodes", node.clone()).await;
    assert_eq!(code, 201, "{answer}");
    let account = json!({"metadata": {"name": "default"}});
    call("POST", "/api/v1/namespaces/default/serviceaccounts", account).await;
    let containers = ["c", "missing", "waiting"].map(|name| json!({"name": name, "image": "i"}));
    let pod = |name: &str, node: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": node, "automountServiceAccountToken": false, "containers": containers}})
    };
    for (name, node) in [("p", "n1"), ("unscheduled", "")] {
        let (code, answer) = call("POST", "/api/v1/namespaces/default/pods", pod(name, node)).await;
        assert_eq!(code, 201, "{answer}");
    }
    let get = async |path: &str| call("GET", &format!("/api/v1/namespaces/default/pods/{path}"), json!(null)).await;
    let message = |value: &serde_json::Value| value["message"].as_str().unwrap_or_default().to_owned();

    let (code, text) = get("p/log?container=c&follow=true&tailLines=5").await;
    assert_eq!((code, text), (200, json!("/containerLogs/default/p/c?follow=true&tailLines=5 certificate:true")));
    let (code, status) = get("p/log?container=missing").await;
    assert_eq!(
        (code, message(&status)),
        (404, "the server could not find the requested resource ( pods/log p)".to_owned())
    );
    let (code, status) = get("p/log?container=waiting").await;
    assert_eq!(
        (code, message(&status)),
        (400, "container \"waiting\" in pod \"p\" is waiting to start: ContainerCreating".to_owned())
    );
    assert_eq!(get("unscheduled/log?container=c").await, (204, json!("")));
    let (code, status) = get("unscheduled/log").await;
    assert_eq!(
        (code, message(&status)),
        (400, "a container name must be specified for pod unscheduled, choose one of: [c missing waiting]".to_owned())
    );
    let (code, status) = get("p/log?container=zz").await;
    assert_eq!((code, message(&status)), (400, "container zz is not valid for pod p".to_owned()));
    let (code, status) = get("p/log?tailLines=-1&limitBytes=0&container=c").await;
    assert_eq!(code, 422);
    assert_eq!(
        message(&status),
        "PodLogOptions \"p\" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, limitBytes: \
         Invalid value: 0: must be greater than 0]"
    );
    assert_eq!(
        message(&get("p/log?tailLines=x&container=c").await.1),
        "strconv.ParseInt: parsing \"x\": invalid syntax"
    );
    assert_eq!(message(&get("nope/log").await.1), "pods \"nope\" not found");

    for (path, expected) in [
        ("unscheduled/exec?command=x&container=c&stdout=true", "pod unscheduled does not have a host assigned"),
        ("unscheduled/attach?container=c", "pod unscheduled does not have a host assigned"),
        ("unscheduled/portforward", "pod unscheduled does not have a host assigned"),
        ("p/exec?command=x&container=c", "Upgrade request required"),
    ] {
        let (code, status) = call("POST", &format!("/api/v1/namespaces/default/pods/{path}"), json!({})).await;
        assert_eq!((code, message(&status)), (400, expected.to_owned()), "{path}");
    }
    for path in ["unscheduled/proxy", "unscheduled/proxy/x", "unscheduled:80/proxy/x"] {
        let (code, status) = get(path).await;
        assert_eq!((code, message(&status)), (400, "address not allowed".to_owned()), "{path}");
    }
    let (code, text) = call("GET", "/api/v1/nodes/n1/proxy/stats/summary?a=b", json!(null)).await;
    assert_eq!((code, text), (200, json!("/stats/summary?a=b certificate:true")));
    let (code, status) = call("GET", "/api/v1/nodes/n1:1/proxy/x", json!(null)).await;
    assert_eq!((code, message(&status)), (400, "address not allowed".to_owned()));
    let (code, _) = call("GET", "/api/v1/nodes/n1/proxy", json!(null)).await;
    assert_eq!(code, 301);
}

#[tokio::test]
async fn a_websocket_needs_the_right_to_create_the_stream() {
    use tower::Service as _;
    let (server, _pki) = testing::server().await;
    let role = json!({"metadata": {"name": "peek"}, "rules": [
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}]});
    let binding = json!({"metadata": {"name": "peek"}, "subjects": [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "peek"}});
    for (resource, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{resource}");
        assert_eq!(testing::call(&server, testing::admin(), "POST", &path, &object.to_string()).await.0, 201);
    }
    let ask = async |protocol: &str| {
        let request = Request::get("/api/v1/namespaces/default/pods/p/exec?command=sh")
            .header("connection", "Upgrade")
            .header("upgrade", protocol)
            .body(body::empty())
            .unwrap();
        let response = server.in_process(crate::UserInfo::new("bob", [""; 0])).call(request).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        ask("websocket").await,
        "pods \"p\" is forbidden: User \"bob\" cannot create resource \"pods/exec\" in API group \"\" in the namespace \"default\""
    );
    assert_eq!(ask("SPDY/3.1").await, "pods \"p\" not found");
}

#[test]
fn a_node_without_an_address_says_so() {
    let node = json!({"status": {"addresses": [{"type": "InternalDNS", "address": "x"}]}});
    let status = node::address(&node).unwrap_err();
    assert_eq!(status.message(), "no preferred addresses found; known addresses: [{InternalDNS x}]");
    let node = json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.7"}]}});
    assert_eq!(node::address(&node).unwrap(), ("10.0.0.7".to_owned(), 10250));
}

#[test]
fn query_values_are_encoded_for_the_kubelet() {
    let query = query::Query::new(&"/x?command=sh&command=-c&command=a%20%26%20b&tty=false&stdin=".parse().unwrap());
    let mut builder = query::QueryBuilder::default();
    query.all("command").for_each(|word| builder.add("command", word));
    assert_eq!(builder.onto("/exec".into()), "/exec?command=sh&command=-c&command=a%20%26%20b");
    assert!(!query.flag("tty") && query.flag("stdin") && !query.flag("stdout"));
}
