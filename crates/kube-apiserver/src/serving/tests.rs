//! Over real sockets and real TLS, on loopback.

use std::net::SocketAddr;

use http_body_util::Empty;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use super::*;
use crate::testing::{Leaf, LeafOptions, Pki};

struct Running {
    address: SocketAddr,
    pki: Pki,
    server: Arc<Server>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), crate::StartError>>,
}

impl Running {
    async fn start() -> Self {
        let pki = Pki::new();
        pki.write("tokens.csv", "secret,admin,token-admin,\"system:masters\"\n");
        let mut config = pki.config();
        config.token_auth_file = Some(pki.path().join("tokens.csv"));
        // Whatever does not end by itself at the shutdown makes its test hang.
        config.shutdown_timeout = Duration::MAX;
        let server = Server::open(config).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server.clone().serve(listener, shutdown.clone()));
        let running = Self { address, pki, server, shutdown, task };
        while running.get(None, "/readyz", &[], false).await.0 != 200 {
            tokio::task::yield_now().await;
        }
        running
    }

    fn client(&self, leaf: Option<&Leaf>, http2: bool) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(&self.pki.path().join("ca.crt")).unwrap() {
            roots.add(certificate).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match leaf {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let chain: Vec<CertificateDer> = vec![leaf.certificate.der().clone()];
                let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        config
    }

    async fn send(
        &self,
        leaf: Option<&Leaf>,
        path: &str,
        headers: &[(&str, &str)],
        http2: bool,
    ) -> http::Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(self.client(leaf, http2)));
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TokioIo::new(connector.connect(name, stream).await.unwrap());
        let uri = if http2 { format!("https://127.0.0.1{path}") } else { path.to_owned() };
        let mut request = http::Request::builder().uri(uri);
        if !http2 {
            request = request.header("host", "127.0.0.1");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        if http2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        }
    }

    async fn get(&self, leaf: Option<&Leaf>, path: &str, headers: &[(&str, &str)], http2: bool) -> (u16, Value) {
        let response = self.send(leaf, path, headers, http2).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()))
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn credentials_over_tls() {
    let running = Running::start().await;
    let path = "/api/v1/namespaces/kube-system";
    let admin = running.pki.leaf("root", LeafOptions { groups: &["system:masters"], ..LeafOptions::default() });
    for http2 in [false, true] {
        let (code, object) = running.get(Some(&admin), path, &[], http2).await;
        assert_eq!((code, object["metadata"]["name"].as_str()), (200, Some("kube-system")), "{object}");
        let token = [("authorization", "Bearer secret")];
        assert_eq!(running.get(None, path, &token, http2).await.0, 200);
    }
    // Neither an unknown authority, nor an expired certificate, nor one for servers gets in; but they get an answer.
    let groups = &["system:masters"][..];
    let strangers = Pki::new();
    let bad = [
        strangers.leaf("root", LeafOptions { groups, ..LeafOptions::default() }),
        running.pki.leaf("root", LeafOptions { groups, expired: true, ..LeafOptions::default() }),
        running.pki.leaf("root", LeafOptions { groups, serving: true, ..LeafOptions::default() }),
    ];
    for leaf in &bad {
        let (code, status) = running.get(Some(leaf), "/healthz", &[], false).await;
        assert_eq!((code, status["message"].as_str()), (401, Some("Unauthorized")), "{status}");
    }
    let (code, status) = running.get(None, "/version", &[("authorization", "Bearer bogus")], false).await;
    assert_eq!((code, status["reason"].as_str()), (401, Some("Unauthorized")));
    assert!(status.get("details").is_none());
    let (code, status) = running.get(None, path, &[], false).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "namespaces \"kube-system\" is forbidden: User \"system:anonymous\" cannot get resource \"namespaces\" in API \
         group \"\" in the namespace \"kube-system\""
    );
    running.stop().await;
}

#[tokio::test]
async fn the_server_ends_when_told_and_takes_no_more() {
    let running = Running::start().await;
    let address = running.address;
    running.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_no_tls_is_dropped() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let running = Running::start().await;
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // An alert or a reset: in any case the connection ends and nothing was served.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"));
    running.stop().await;
}

#[tokio::test]
async fn watches_flow_and_end_with_the_server() {
    let running = Running::start().await;
    let token = [("authorization", "Bearer secret")];
    for http2 in [false, true] {
        let response = running.send(None, "/api/v1/namespaces?watch=true", &token, http2).await;
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(frame.starts_with(b"{\"type\":\"ADDED\""), "{frame:?}");
    }
    let mut open = running.send(None, "/api/v1/namespaces?watch=true", &token, true).await.into_body();
    running.stop().await;
    while let Some(frame) = open.frame().await {
        frame.unwrap();
    }
}

#[tokio::test]
async fn a_requested_token_opens_what_its_account_may_and_dies_with_it() {
    let running = Running::start().await;
    let (server, path) = (&running.server, "/api/v1/namespaces/default/serviceaccounts");
    let admin = async |method: &str, path: &str, body: &str| {
        crate::testing::call(server, crate::testing::admin(), method, path, body).await
    };
    let (code, answer) = admin("POST", path, r#"{"metadata": {"name": "sa"}}"#).await;
    assert_eq!(code, 201, "{answer}");
    let (code, answer) = admin("POST", &format!("{path}/sa/token"), r#"{"spec": {"expirationSeconds": 600}}"#).await;
    assert_eq!(code, 201, "{answer}");
    let bearer = format!("Bearer {}", answer["status"]["token"].as_str().unwrap());
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(running.get(None, "/api", &headers, true).await.0, 200);
    let (code, status) = running.get(None, path, &headers, true).await;
    assert_eq!(code, 403);
    let user = r#"User "system:serviceaccount:default:sa" cannot list resource "serviceaccounts""#;
    assert!(status["message"].as_str().unwrap().contains(user), "{status}");
    assert_eq!(admin("DELETE", &format!("{path}/sa"), "").await.0, 200);
    assert_eq!(running.get(None, "/api", &headers, true).await.0, 401);
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_decides_nothing_may_be_sent_to_its_end() {
    let running = Running::start().await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(running.client(None, true)));
    let stream = connector.connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (chunks, body) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, crate::body::BoxError>>(1);
    let body = crate::body::stream(tokio_stream::wrappers::ReceiverStream::new(body));
    let request = http::Request::post("https://127.0.0.1/api/v1/namespaces").header("authorization", "Bearer none");
    chunks.send(Ok("{".into())).await.unwrap();
    let response = sender.send_request(request.body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), 401);
    response.into_body().collect().await.unwrap();
    // Far more than fits into the windows: it is sent because it is read.
    for _ in 0..32 {
        chunks.send(Ok(vec![b' '; 64 * 1024].into())).await.unwrap();
    }
    drop(chunks);
    drop(sender);
    running.stop().await;
}
