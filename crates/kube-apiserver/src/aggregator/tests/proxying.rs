//! Requests that are handed on.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::*;
use crate::UserInfo;
use crate::testing::admin;

#[tokio::test]
async fn a_request_goes_there_as_it_came_under_the_name_of_who_made_it() {
    let world = World::new().await;
    let extension = Extension::new(&world.pki, |request| {
        json(201, &json!({ "kind": "Widget", "method": request.method().as_str() }))
    });
    let extension = extension.await;
    world.register(&extension).await;
    world.until("Passed").await;
    let mut user = UserInfo::new("jane doe", ["system:masters", "dev"]);
    user.uid = Some("42".to_owned());
    user.extra.insert("example.com/scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
    let path = format!("{GROUP_VERSION}/namespaces/ns/widgets/a%2Fb?x=1&y=a+b");
    let request = Request::post(&path)
        .header("authorization", "Bearer secret")
        .header("x-remote-user", "root")
        .header("x-remote-group", "root")
        .header("x-remote-extra-root", "root")
        .header("impersonate-user", "jane doe")
        .header("connection", "x-hidden")
        .header("x-hidden", "1")
        .header("accept", "application/json")
        .body(Full::new(Bytes::from("{}")))
        .unwrap();
    let mut request = request;
    request.headers_mut().remove("impersonate-user");
    let (code, headers, body) = world.send(user, request).await;
    assert_eq!((code.as_u16(), headers["content-type"].to_str().unwrap()), (201, "application/json"));
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["method"], "POST");
    let seen = extension.seen();
    let [seen] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((seen.method.as_str(), &seen.path), ("POST", &path));
    assert!(seen.certified);
    assert_eq!(seen.header("x-remote-user"), ["jane doe"]);
    assert_eq!(seen.header("x-remote-uid"), ["42"]);
    assert_eq!(seen.header("x-remote-group")[..2], ["system:masters", "dev"]);
    assert_eq!(seen.header("x-remote-extra-example.com%2Fscopes".to_lowercase().as_str()), ["a", "b"]);
    for absent in ["authorization", "x-remote-extra-root", "x-hidden"] {
        assert_eq!(seen.header(absent), Vec::<&str>::new(), "{absent}");
    }
    assert_eq!(seen.header("accept"), ["application/json"]);
}

#[tokio::test]
async fn an_upgrade_becomes_a_pipe() {
    let world = World::new().await;
    let extension = Extension::new(&world.pki, |request| {
        let mut response = json(101, &Value::Null).map(|_| Bytes::new());
        for name in ["connection", "upgrade"] {
            response.headers_mut().insert(name, request.headers()[name].clone());
        }
        response
    });
    let extension = extension.await;
    world.register(&extension).await;
    world.until("Passed").await;
    let mut client = front(&world).await;
    let head = format!(
        "POST {GROUP_VERSION}/namespaces/ns/widgets/w/exec HTTP/1.1\r\nhost: front\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\nx-remote-user: root\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await;
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: spdy/3.1"), "{head}");
    client.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
    assert_eq!(extension.seen()[0].header("x-remote-user"), ["admin"]);
}

/// A front end without TLS that hands every request to the aggregator as the administrator's.
pub async fn front(world: &World) -> tokio::net::TcpStream {
    use http_body_util::BodyExt as _;
    let server = world.server.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let server = server.clone();
            async move {
                let request = request.map(|body| body.map_err(crate::BoxError::from).boxed_unsync());
                let info = crate::RequestInfo::new(request.method(), request.uri()).unwrap();
                let user = std::sync::Arc::new(admin());
                let ctx = std::sync::Arc::new(crate::Context::new(user, info, jiff::Timestamp::now()));
                Ok::<_, std::convert::Infallible>(crate::endpoints::dispatch(&server, ctx, request).await)
            }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
            .with_upgrades()
            .await;
    });
    tokio::net::TcpStream::connect(address).await.unwrap()
}

pub async fn read_head(stream: &mut tokio::net::TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}
