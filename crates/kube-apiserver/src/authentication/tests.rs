use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::configuration::Anonymous;
use super::static_tokens::StaticTokens;
use super::token_issuer::WARN_ONLY_EXPIRATION_SECONDS;
use super::x509::{ClientCa, PeerCertificate};
use super::*;
use crate::testing::{LeafOptions, Pki};

#[derive(Default)]
struct Objects(Mutex<HashMap<(BoundKind, String), Bound>>);

impl Objects {
    fn set(&self, kind: BoundKind, name: &str, uid: &str, deleted: Option<i64>) {
        self.0.lock().insert((kind, name.to_owned()), Bound { uid: uid.to_owned(), deleted });
    }
}

impl BoundObjects for Objects {
    fn find(&self, kind: BoundKind, _: &str, name: &str) -> Option<Bound> {
        self.0.lock().get(&(kind, name.to_owned())).cloned()
    }

    /// Tests keep the Secret's token in the place of its uid.
    fn secret_token(&self, namespace: &str, name: &str) -> Option<Vec<u8>> {
        self.find(BoundKind::Secret, namespace, name).map(|secret| secret.uid.into_bytes())
    }
}

fn issuer(pki: &Pki) -> (TokenIssuer, Arc<Objects>) {
    let objects = Arc::new(Objects::default());
    objects.set(BoundKind::ServiceAccount, "sa", "u1", None);
    (TokenIssuer::open(&pki.config(), objects.clone()).unwrap(), objects)
}

fn request() -> IssueRequest {
    IssueRequest {
        namespace: "ns".into(),
        service_account: "sa".into(),
        service_account_uid: "u1".into(),
        expiration_seconds: 3600,
        ..IssueRequest::default()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn a_token_says_who_it_is_for_and_dies_in_time() {
    let pki = Pki::new();
    let (issuer, _) = issuer(&pki);
    let issued = issuer.issue(&request(), at(0)).unwrap();
    assert_eq!(issued.expiration, at(3600));
    let verified = issuer.verify(&issued.token, &[], at(10)).unwrap();
    assert_eq!(verified.user.name, "system:serviceaccount:ns:sa");
    assert_eq!(verified.user.uid.as_deref(), Some("u1"));
    assert_eq!(verified.user.groups, ["system:serviceaccounts", "system:serviceaccounts:ns"]);
    let id = &verified.user.extra["authentication.kubernetes.io/credential-id"][0];
    assert_eq!(*id, format!("JTI={}", claims(&issued.token)["jti"].as_str().unwrap()));
    assert_eq!(verified.audiences, ["https://kubernetes.default.svc.cluster.local"]);
    assert!(issuer.verify(&issued.token, &[], at(3650)).is_ok(), "clocks may differ a little");
    assert_eq!(issuer.verify(&issued.token, &[], at(3700)).unwrap_err(), TokenError::Expired);
    assert_eq!(issuer.verify(&issued.token, &[], at(-100)).unwrap_err(), TokenError::NotYet);
}

#[test]
fn the_claims_are_upstreams() {
    let pki = Pki::new();
    let (issuer, _) = issuer(&pki);
    let bound = |name: &str, uid: &str| Some(BoundObject { name: name.into(), uid: uid.into() });
    let request = IssueRequest {
        pod: bound("p", "pu"),
        node: bound("n", "nu"),
        expiration_seconds: WARN_ONLY_EXPIRATION_SECONDS,
        ..request()
    };
    let issued = issuer.issue(&request, at(0)).unwrap();
    let mut claims = claims(&issued.token);
    let seconds = at(0).as_second();
    claims["jti"] = "j".into();
    assert_eq!(
        claims,
        json!({
            "aud": ["https://kubernetes.default.svc.cluster.local"],
            "exp": seconds + 365 * 24 * 3600, "iat": seconds, "nbf": seconds, "jti": "j",
            "iss": "https://kubernetes.default.svc.cluster.local",
            "kubernetes.io": {"namespace": "ns", "node": {"name": "n", "uid": "nu"}, "pod": {"name": "p", "uid": "pu"},
                "serviceaccount": {"name": "sa", "uid": "u1"}, "warnafter": seconds + 3607},
            "sub": "system:serviceaccount:ns:sa",
        })
    );
    assert_eq!(issued.expiration, at(3607), "the client is told to come back after the hour");
    let jwks = issuer.jwks();
    let header = URL_SAFE_NO_PAD.decode(issued.token.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header, json!({"alg": "ES256", "kid": jwks["keys"][0]["kid"]}));
    assert_eq!(jwks["keys"][0]["crv"], "P-256");
}

#[test]
fn a_token_dies_with_its_account_and_its_pod() {
    let pki = Pki::new();
    let (issuer, objects) = issuer(&pki);
    let pod = Some(BoundObject { name: "p".into(), uid: "pu".into() });
    let token = issuer.issue(&IssueRequest { pod, ..request() }, at(0)).unwrap().token;
    let verify = || issuer.verify(&token, &[], at(100)).map(|verified| verified.user.extra);
    assert_eq!(verify().unwrap_err(), TokenError::Invalidated);
    objects.set(BoundKind::Pod, "p", "pu", None);
    assert_eq!(verify().unwrap()["authentication.kubernetes.io/pod-name"], ["p"]);
    objects.set(BoundKind::Pod, "p", "other", None);
    assert!(matches!(verify().unwrap_err(), TokenError::BoundUid { kind: "pod", .. }));
    objects.set(BoundKind::Pod, "p", "pu", Some(at(90).as_second()));
    assert!(verify().is_ok(), "a pod that has just begun to end still works");
    objects.set(BoundKind::Pod, "p", "pu", Some(at(0).as_second()));
    assert_eq!(verify().unwrap_err(), TokenError::Invalidated);
    objects.set(BoundKind::Pod, "p", "pu", None);
    objects.set(BoundKind::ServiceAccount, "sa", "u2", None);
    assert!(matches!(verify().unwrap_err(), TokenError::ServiceAccountUid { .. }));
}

#[test]
fn audiences_keys_and_algorithms_are_checked() {
    let pki = Pki::new();
    let (issuer, _) = issuer(&pki);
    let other = issuer.issue(&IssueRequest { audiences: vec!["vault".into()], ..request() }, at(0)).unwrap().token;
    assert!(matches!(issuer.verify(&other, &[], at(1)).unwrap_err(), TokenError::Audience { .. }));
    assert_eq!(issuer.verify(&other, &["vault".into(), "x".into()], at(1)).unwrap().audiences, ["vault"]);

    let strange = Pki::new();
    let foreign = self::issuer(&strange).0.issue(&request(), at(0)).unwrap().token;
    assert_eq!(issuer.verify(&foreign, &[], at(1)).unwrap_err(), TokenError::NotOurs);
    let good = issuer.issue(&request(), at(0)).unwrap().token;
    let parts: Vec<&str> = good.split('.').collect();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let hmac = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
    let mut changed = claims(&good);
    changed["sub"] = "system:serviceaccount:kube-system:admin".into();
    let changed = URL_SAFE_NO_PAD.encode(changed.to_string());
    for bad in [
        format!("{none}.{}.", parts[1]),
        format!("{hmac}.{}.{}", parts[1], parts[2]),
        format!("{}.{changed}.{}", parts[0], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        String::new(),
        "bogus".to_owned(),
        "..".to_owned(),
    ] {
        assert_eq!(issuer.verify(&bad, &[], at(1)).unwrap_err(), TokenError::NotOurs, "{bad}");
    }
}

#[test]
fn rsa_keys_sign_and_verify_too() {
    let pki = Pki::new();
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    pki.write("sa.key", &key.serialize_pem());
    pki.write("sa.pub", &key.public_key_pem());
    let objects = Arc::new(Objects::default());
    objects.set(BoundKind::ServiceAccount, "sa", "u1", None);
    let mut config = pki.config();
    config.service_account_key_files = vec![pki.path().join("sa.pub")];
    let issuer = TokenIssuer::open(&config, objects).unwrap();
    let token = issuer.issue(&request(), at(0)).unwrap().token;
    assert!(issuer.verify(&token, &[], at(1)).is_ok());
    let jwks = issuer.jwks();
    assert_eq!((&jwks["keys"][0]["alg"], &jwks["keys"][0]["e"]), (&json!("RS256"), &json!("AQAB")));
    let configuration = issuer.openid_configuration("10.0.0.1:6443");
    assert_eq!(configuration["id_token_signing_alg_values_supported"], json!(["RS256"]));
    assert_eq!(configuration["jwks_uri"], "https://10.0.0.1:6443/openid/v1/jwks");
}

#[test]
fn tokens_in_secrets_are_good_as_long_as_the_secret_holds_them() {
    let pki = Pki::new();
    let (issuer, objects) = issuer(&pki);
    let token = issuer.issue_legacy("ns", "sa", "u1", "s").unwrap();
    assert_eq!(issuer.verify(&token, &[], at(0)).unwrap_err(), TokenError::Invalidated);
    objects.set(BoundKind::Secret, "s", &token, None);
    assert_eq!(issuer.verify(&token, &[], at(0)).unwrap().user.name, "system:serviceaccount:ns:sa");
}

#[test]
fn certificates_name_user_and_groups() {
    let pki = Pki::new();
    let ca = ClientCa::open(&pki.path().join("ca.crt")).unwrap();
    let now = Timestamp::now();
    let judge = |pki: &Pki, options| {
        let leaf = pki.leaf("jane", options);
        let der: CertificateDer = leaf.certificate.der().clone();
        ca.judge(Some(&[der]), now)
    };
    let options = LeafOptions { groups: &["dev"], ..LeafOptions::default() };
    let PeerCertificate::Valid(identity) = judge(&pki, options) else { panic!("a good certificate") };
    let user = identity.user_at(now).unwrap();
    assert_eq!((user.name.as_str(), &user.groups[..]), ("jane", &["dev".to_owned()][..]));
    assert!(user.extra["authentication.kubernetes.io/credential-id"][0].starts_with("X509SHA256="));
    let later = now.checked_add(jiff::SignedDuration::from_hours(24 * 365 * 3000)).unwrap_or(Timestamp::MAX);
    assert!(identity.user_at(later).is_none(), "a connection does not outlive its certificate");
    for bad in [LeafOptions { expired: true, ..options }, LeafOptions { serving: true, ..options }] {
        assert!(matches!(judge(&pki, bad), PeerCertificate::Invalid(_)));
    }
    assert!(matches!(judge(&Pki::new(), options), PeerCertificate::Invalid(_)), "another authority");
    assert!(matches!(judge(&pki, LeafOptions::default()), PeerCertificate::Valid(_)));
    assert!(matches!(ca.judge(None, now), PeerCertificate::None));
}

fn authenticator(pki: &Pki, anonymous: bool) -> Authenticator {
    pki.write("tokens.csv", "secret,admin,token-admin,\"system:masters\"\n");
    let tokens = StaticTokens::open(&pki.path().join("tokens.csv")).unwrap();
    Authenticator::new(issuer(pki).0, Some(tokens), if anonymous { Anonymous::Everywhere } else { Anonymous::Nowhere })
}

#[test]
fn bearer_tokens_and_anonymous_requests() {
    let pki = Pki::new();
    let authenticator = authenticator(&pki, true);
    let ask = |value: Option<&str>| {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let user = authenticator.authenticate(&mut headers, &Peer::default(), "/api", at(0)).now_or_never().unwrap();
        assert!(headers.is_empty(), "credentials must not go further");
        user.map(|user| user.name).ok()
    };
    assert_eq!(ask(Some("Bearer secret")).as_deref(), Some("admin"));
    assert_eq!(ask(Some("bearer secret")).as_deref(), Some("admin"));
    assert_eq!(ask(Some("Bearer bogus")), None);
    for other in [None, Some("Basic dTpw"), Some("Bearer"), Some("Bearer ")] {
        assert_eq!(ask(other).as_deref(), Some("system:anonymous"), "{other:?}");
    }
    let strict = self::authenticator(&pki, false);
    assert!(
        strict.authenticate(&mut HeaderMap::new(), &Peer::default(), "/api", at(0)).now_or_never().unwrap().is_err()
    );
}

#[test]
fn a_bad_certificate_is_refused_unless_a_token_helps() {
    let pki = Pki::new();
    let authenticator = authenticator(&pki, true);
    let peer = Peer { certificate: PeerCertificate::Invalid("x509: unknown".into()), ..Peer::default() };
    assert!(authenticator.authenticate(&mut HeaderMap::new(), &peer, "/api", at(0)).now_or_never().unwrap().is_err());
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
    assert_eq!(
        authenticator.authenticate(&mut headers, &peer, "/api", at(0)).now_or_never().unwrap().unwrap().groups,
        ["system:masters", "system:authenticated"]
    );
}

#[test]
fn a_websocket_names_its_token_as_a_subprotocol() {
    let pki = Pki::new();
    let authenticator = authenticator(&pki, true);
    let encoded = URL_SAFE_NO_PAD.encode("secret");
    let protocols = format!("v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.{encoded}");
    let mut headers = HeaderMap::new();
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(&protocols).unwrap());
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let user =
        authenticator.authenticate(&mut headers, &Peer::default(), "/api", at(0)).now_or_never().unwrap().unwrap();
    assert_eq!(user.name, "admin");
    assert_eq!(headers[header::SEC_WEBSOCKET_PROTOCOL], "v4.channel.k8s.io");
}

#[test]
fn token_reviews_tell_whose_a_token_is() {
    let pki = Pki::new();
    let authenticator = authenticator(&pki, true);
    let ask = |spec: Value| {
        token_review(&authenticator, json!({"spec": spec}), at(0))
            .now_or_never()
            .unwrap()
            .map(|object| object["status"].clone())
    };
    assert_eq!(
        ask(json!({"token": "secret"})).unwrap(),
        json!({"authenticated": true, "audiences": ["https://kubernetes.default.svc.cluster.local"],
            "user": {"username": "admin", "uid": "token-admin", "groups": ["system:masters", "system:authenticated"]}})
    );
    let refused = json!({"user": {}, "error": "invalid bearer token"});
    assert_eq!(ask(json!({"token": "abcdef.0123456789abcdef"})).unwrap(), refused);
    assert_eq!(ask(json!({"token": "secret", "audiences": ["other"]})).unwrap(), refused);
    let (issuer, _) = issuer(&pki);
    let old = issuer.issue(&request(), at(-10_000)).unwrap().token;
    assert_eq!(
        ask(json!({"token": old})).unwrap()["error"],
        "[invalid bearer token, service account token has expired]"
    );
    let error = ask(json!({})).unwrap_err();
    assert_eq!(error.message(), "token is required for TokenReview in authentication");
}

#[test]
fn self_reviews_tell_who_one_is() {
    let mut user = crate::UserInfo::new("jane", ["g1"]);
    user.extra.insert("scopes".into(), vec!["a".into()]);
    let object = json!({"kind": "SelfSubjectReview", "metadata": {"name": "x"}});
    assert_eq!(
        self_review(&user, object, at(0)),
        json!({"kind": "SelfSubjectReview", "metadata": {"creationTimestamp": "2027-01-15T08:00:00Z"},
            "status": {"userInfo": {"username": "jane", "groups": ["g1"], "extra": {"scopes": ["a"]}}}})
    );
}
