//! The kubelet's own server: who may, logs, and streams.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::harness::{TestNode, condition};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Sends a request head and returns the connection.
async fn send(node: &TestNode, request: &str) -> impl Stream + use<> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(node.config.root_dir.join("pki/kubelet.crt")).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = tokio::net::TcpStream::connect(node.config.bind_address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn get(node: &TestNode, path: &str, token: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut answer = Vec::new();
    let _ = send(node, &request).await.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_those_who_may_ask() {
    let Some(node) = TestNode::start().await else { return };
    node.create(
        "talks",
        json!({"containers": [{"name": "c", "command": ["sh", "-c", "echo one; echo two; sleep 1000"]}]}),
    );
    node.wait("talks", |pod| condition(pod, "Ready") == "True").await;
    assert!(get(&node, "/pods", "bad").await.starts_with("HTTP/1.1 401"));
    let refused = get(&node, "/stats/summary", "good").await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert!(refused.contains("Forbidden (user=tester, verb=get, resource=nodes, subresource(s)=[stats])"));
    assert!(get(&node, "/pods", "good").await.contains("\"PodList\""));
    let mut logs = String::new();
    while !logs.contains("two") {
        logs = get(&node, "/containerLogs/default/talks/c?tailLines=1", "good").await;
    }
    assert!(logs.starts_with("HTTP/1.1 200") && !logs.contains("one"), "{logs}");
    assert!(get(&node, "/containerLogs/default/talks/d", "good").await.starts_with("HTTP/1.1 404"));
    let previous = get(&node, "/containerLogs/default/talks/c?previous=true", "good").await;
    assert!(previous.contains("previous terminated container \"c\" in pod \"talks\" not found"));
    assert!(get(&node, "/metrics/resource", "good").await.contains("pod_memory_working_set_bytes"));
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_carried_through_a_web_socket() {
    let Some(node) = TestNode::start().await else { return };
    node.create("runs", json!({"containers": [{"name": "c"}]}));
    node.wait("runs", |pod| condition(pod, "Ready") == "True").await;
    let request = "GET /exec/default/runs/c?command=echo&command=hello&output=1 HTTP/1.1\r\nHost: x\r\n\
        Authorization: Bearer good\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n";
    let mut answer = Vec::new();
    let _ = send(&node, request).await.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(answer.contains("hello\n") && answer.contains("\"status\":\"Success\""), "{answer}");
    node.finish().await;
}
