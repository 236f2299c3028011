//! Authenticating proxies, bootstrap tokens and anonymous requests, and attacks on them.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::x509::ClientCa;
use super::{Authenticator, Peer};
use crate::admission::webhook::tests::Hook;
use crate::testing::{Leaf, LeafOptions, Pki, admin, call, server_with};
use crate::{Server, UserInfo};

/// A server behind proxies that `front` signed; its own clients have certificates of `pki`.
struct Fronted {
    server: Arc<Server>,
    pki: Pki,
    front: Pki,
    client_ca: ClientCa,
}

impl Fronted {
    async fn new() -> Self {
        let front = Pki::new();
        let file = front.path().join("ca.crt");
        let (server, pki) = server_with(|config| {
            config.requestheader_client_ca_file = Some(file);
            config.requestheader_allowed_names = vec!["front".to_owned()];
        })
        .await;
        let client_ca = ClientCa::open(&pki.path().join("ca.crt")).unwrap();
        Self { server, pki, front, client_ca }
    }

    fn authenticator(&self) -> &Authenticator {
        &self.server.authenticator
    }

    /// The connection of somebody with this certificate, judged as a listening server judges it.
    fn peer(&self, leaf: Option<&Leaf>) -> Peer {
        let der: Vec<CertificateDer> = leaf.iter().map(|leaf| leaf.certificate.der().clone()).collect();
        let chain = (!der.is_empty()).then_some(&der[..]);
        let now = Timestamp::now();
        let proxy = self.authenticator().request_header().unwrap().judge(chain, now);
        Peer { certificate: self.client_ca.judge(chain, now), proxy, ..Peer::default() }
    }

    /// The user, and what is left of the headers.
    fn ask(&self, leaf: Option<&Leaf>, headers: &[(&str, &str)]) -> (Result<UserInfo, String>, HeaderMap) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let user = self
            .authenticator()
            .authenticate(&mut map, &self.peer(leaf), "/api", Timestamp::now())
            .now_or_never()
            .unwrap();
        (user.map_err(|error| error.to_string()), map)
    }
}

const ROOT: [(&str, &str); 3] =
    [("X-Remote-User", "root"), ("X-REMOTE-GROUP", "system:masters"), ("x-remote-extra-acme%2Fkey", "1")];

#[tokio::test]
async fn a_proxy_vouches_for_the_user_that_it_names() {
    let fronted = Fronted::new().await;
    let proxy = fronted.front.leaf("front", LeafOptions::default());
    let (user, left) = fronted.ask(Some(&proxy), &ROOT);
    let user = user.unwrap();
    assert_eq!(
        (user.name.as_str(), &user.groups[..]),
        ("root", &["system:masters".to_owned(), "system:authenticated".to_owned()][..])
    );
    assert_eq!(user.extra["acme/key"], ["1"]);
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn headers_of_a_proxy_mean_nothing_without_its_certificate_and_go_no_further() {
    let fronted = Fronted::new().await;
    // Nobody, a client of the cluster's, a proxy of another name, and one that a stranger signed.
    let (user, left) = fronted.ask(None, &ROOT);
    assert_eq!((user.unwrap(), left.len()), (UserInfo::anonymous(), 0));
    let client = fronted.pki.leaf("bob", LeafOptions::default());
    let (user, left) = fronted.ask(Some(&client), &ROOT);
    assert_eq!((user.unwrap().name.as_str(), left.len()), ("bob", 0));
    let other = fronted.front.leaf("other", LeafOptions::default());
    let (refused, left) = fronted.ask(Some(&other), &ROOT);
    assert!(refused.is_err() && left.is_empty());
    let stranger = Pki::new();
    let (refused, left) = fronted.ask(Some(&stranger.leaf("front", LeafOptions::default())), &ROOT);
    assert!(refused.is_err() && left.is_empty());
    let expired = fronted.front.leaf("front", LeafOptions { expired: true, ..LeafOptions::default() });
    assert!(fronted.ask(Some(&expired), &ROOT).0.is_err());
}

#[tokio::test]
async fn a_certificate_of_the_proxies_authority_is_no_client_certificate() {
    let fronted = Fronted::new().await;
    let masters = LeafOptions { groups: &["system:masters"], ..LeafOptions::default() };
    for name in ["root", "front"] {
        let (refused, _) = fronted.ask(Some(&fronted.front.leaf(name, masters)), &[]);
        assert!(refused.unwrap_err().contains("x509"), "{name}");
    }
}

fn bootstrap_secret(more: Value) -> String {
    let mut data =
        json!({ "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true" });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "metadata": { "name": "bootstrap-token-abcdef" }, "type": "bootstrap.kubernetes.io/token", "stringData": data }).to_string()
}

#[tokio::test]
async fn bootstrap_tokens_are_good_until_they_expire_and_give_no_foreign_groups() {
    let path = "/api/v1/namespaces/kube-system/secrets";
    let soon = (Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let cases = [
        (
            json!({ "expiration": soon, "auth-extra-groups": "system:bootstrappers:kubeadm:x" }),
            "abcdef.0123456789abcdef",
            true,
        ),
        (json!({}), "abcdef.0123456789abcdee", false),
        (json!({}), "abcdef.0123456789ABCDEF", false),
        (json!({ "expiration": "2020-01-01T00:00:00Z" }), "abcdef.0123456789abcdef", false),
        (json!({ "expiration": "nonsense" }), "abcdef.0123456789abcdef", false),
        (json!({ "usage-bootstrap-authentication": "false" }), "abcdef.0123456789abcdef", false),
        (json!({ "token-id": "fedcba" }), "abcdef.0123456789abcdef", false),
        (json!({ "auth-extra-groups": "system:masters" }), "abcdef.0123456789abcdef", false),
        (json!({ "auth-extra-groups": "system:bootstrappers:x,system:nodes" }), "abcdef.0123456789abcdef", false),
    ];
    for (data, token, is_good) in cases {
        let (server, _pki) = server_with(|config| config.enable_bootstrap_token_auth = true).await;
        assert_eq!(call(&server, admin(), "POST", path, &bootstrap_secret(data.clone())).await.0, 201);
        let found = server.authenticator.token(token, &[], Timestamp::now()).await;
        assert_eq!(found.is_ok(), is_good, "{data}");
        if let Ok(found) = found {
            assert_eq!(found.user.name, "system:bootstrap:abcdef");
            assert_eq!(
                found.user.groups,
                ["system:bootstrappers", "system:bootstrappers:kubeadm:x", "system:authenticated"]
            );
            let deleted = call(&server, admin(), "DELETE", &format!("{path}/bootstrap-token-abcdef"), "").await;
            assert_eq!(deleted.0, 200);
            assert!(server.authenticator.token(token, &[], Timestamp::now()).await.is_err());
        }
    }
    // Not switched on, a token is nothing.
    let (server, _pki) = server_with(|_| {}).await;
    assert_eq!(call(&server, admin(), "POST", path, &bootstrap_secret(json!({}))).await.0, 201);
    assert!(server.authenticator.token("abcdef.0123456789abcdef", &[], Timestamp::now()).await.is_err());
}

#[tokio::test]
async fn anonymous_requests_reach_the_paths_of_the_configuration() {
    let configure = |pki: &Pki, text: &str| {
        pki.write(
            "authentication.yaml",
            &format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n{text}\n"),
        );
        let mut config = pki.config();
        config.authentication_config = Some(pki.path().join("authentication.yaml"));
        Server::open(config)
    };
    let pki = Pki::new();
    let server = configure(&pki, "anonymous: {enabled: true, conditions: [{path: /livez}]}").unwrap();
    let ask = |server: &Server, path: &str| {
        server
            .authenticator
            .authenticate(&mut HeaderMap::new(), &Peer::default(), path, Timestamp::now())
            .now_or_never()
            .unwrap()
            .is_ok()
    };
    assert_eq!([ask(&server, "/livez"), ask(&server, "/livez/x"), ask(&server, "/api")], [true, false, false]);
    let pki = Pki::new();
    assert!(!ask(&configure(&pki, "anonymous: {enabled: false}").unwrap(), "/livez"));
    assert!(configure(&Pki::new(), "anonymous: {enabled: false, conditions: [{path: /livez}]}").is_err());
    assert!(configure(&Pki::new(), "jwt: [{}]").is_err() && configure(&Pki::new(), "anonymus: {}").is_err());
}

#[tokio::test]
async fn a_webhook_is_asked_for_tokens_that_nobody_knows_and_remembered() {
    let pki = Pki::new();
    let hook = Hook::new(&pki, |question| {
        let token = question["spec"]["token"].as_str().unwrap_or_default();
        let mut answer = question.clone();
        answer["status"] = match token {
            "good" => json!({ "authenticated": true, "user": { "username": "jane", "uid": "7", "groups": ["dev"], "extra": { "k": ["v"] } } }),
            "elsewhere" => json!({ "authenticated": true, "user": { "username": "jane" }, "audiences": ["https://other"] }),
            "nameless" => json!({ "authenticated": true, "user": { "groups": ["system:masters"] } }),
            "broken" => return http::Response::builder().status(404).body(Bytes::new()).unwrap(),
            _ => json!({ "authenticated": false, "error": "no such token" }),
        };
        http::Response::new(Bytes::from(answer.to_string()))
    })
    .await;
    let kubeconfig = json!({
        "clusters": [{ "name": "c", "cluster": { "server": hook.url(), "certificate-authority": "ca.crt" } }],
        "users": [], "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "" } }], "current-context": "x",
    });
    pki.write("tokens.conf", &kubeconfig.to_string());
    let mut config = pki.config();
    config.authentication_token_webhook_config_file = Some(pki.path().join("tokens.conf"));
    let server = Server::open(config).unwrap();
    let ask = async |token: &str| server.authenticator.token(token, &[], Timestamp::now()).await;
    let jane = ask("good").await.unwrap();
    assert_eq!((jane.user.name.as_str(), jane.user.uid.as_deref()), ("jane", Some("7")));
    assert_eq!(jane.user.groups, ["dev", "system:authenticated"]);
    assert_eq!(jane.audiences, ["https://kubernetes.default.svc.cluster.local"]);
    let question = hook.asked.lock()[0].clone();
    assert_eq!(
        (&question["apiVersion"], &question["kind"]),
        (&json!("authentication.k8s.io/v1beta1"), &json!("TokenReview"))
    );
    assert_eq!(question["spec"]["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
    for (token, error) in [
        ("elsewhere", "invalid bearer token"),
        ("nameless", "invalid bearer token"),
        ("unknown", "no such token"),
        ("broken", "the server answered with the status code 404 Not Found"),
    ] {
        assert_eq!(ask(token).await.unwrap_err().to_string(), error, "{token}");
    }
    // Answers are remembered, the good and the bad; no answer is none to remember.
    let before = hook.asked.lock().len();
    assert!(ask("good").await.is_ok() && ask("unknown").await.is_err());
    assert_eq!(hook.asked.lock().len(), before);
    assert!(ask("broken").await.is_err());
    assert_eq!(hook.asked.lock().len(), before + 1);
}
