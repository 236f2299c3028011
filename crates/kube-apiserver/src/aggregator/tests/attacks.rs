//! Attacks by way of aggregated servers and on them.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::proxying::{front, read_head};
use super::world::*;
use crate::testing::admin;

/// CVE-2022-3172: an aggregated server redirects the client, whose credentials go with it.
#[tokio::test]
async fn redirects_are_neither_followed_nor_passed_on() {
    let world = World::new().await;
    let elsewhere = Extension::new(&world.pki, |_| json(200, &Value::Null)).await;
    let url = format!("https://127.0.0.1:{}/steal", elsewhere.port);
    let extension = Extension::new(&world.pki, move |_| {
        let mut response = json(302, &json!({ "see": "there" }));
        response.headers_mut().insert("location", url.parse().unwrap());
        response
    });
    let extension = extension.await;
    world.register(&extension).await;
    world.until("Passed").await;
    for method in ["GET", "POST"] {
        let request = Request::builder().method(method).uri(format!("{GROUP_VERSION}/widgets"));
        let request = request.header("authorization", "Bearer secret").body(Full::new(Bytes::new())).unwrap();
        let (code, headers, body) = world.send(admin(), request).await;
        assert_eq!(code.as_u16(), 502);
        assert!(!headers.contains_key("location"));
        assert_eq!(body, "the backend attempted to redirect this request, which is not permitted");
    }
    assert_eq!(extension.seen().len(), 2, "the attack reached the guard");
    assert!(elsewhere.seen().is_empty());
}

/// CVE-2018-1002105: an upgrade that fails leaves a connection on which the client goes on under the server's name.
#[tokio::test]
async fn a_refused_upgrade_leaves_no_connection_behind() {
    let world = World::new().await;
    let extension = Extension::new(&world.pki, |_| json(403, &json!({ "no": true }))).await;
    world.register(&extension).await;
    world.until("Passed").await;
    let mut client = front(&world).await;
    let head = format!(
        "GET {GROUP_VERSION}/widgets HTTP/1.1\r\nhost: front\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    // What would be a request of the server's own, had the connection been handed over.
    let second = "GET /apis/secrets HTTP/1.1\r\nhost: front\r\nx-remote-user: system:admin\r\nx-remote-group: system:masters\r\n\r\n";
    let _ = client.write_all(second.as_bytes()).await;
    let head = read_head(&mut client).await;
    assert!(head.starts_with("http/1.1 403 ") && head.contains("connection: close"), "{head}");
    let mut rest = Vec::new();
    // The connection may end by a reset, too: something was sent that nobody reads.
    let _ = client.read_to_end(&mut rest).await;
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"), "one answer only");
    let seen = extension.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].header("x-remote-user"), ["admin"]);
}

/// A client that says in a header who it is.
#[tokio::test]
async fn an_extra_key_is_no_way_to_another_header() {
    let headers = crate::aggregator::proxy::identity_headers(&{
        let mut user = admin();
        user.extra.insert("a\r\nx-remote-user: root".to_owned(), vec!["v".to_owned()]);
        user.groups.push("g\r\nx-remote-user: root".to_owned());
        user
    });
    let users: Vec<_> = headers.get_all("x-remote-user").iter().collect();
    assert_eq!(users, ["admin"]);
    assert!(headers.keys().any(|name| name.as_str().starts_with("x-remote-extra-a%0d%0a")));
}
