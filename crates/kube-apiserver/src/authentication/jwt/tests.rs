//! Against an issuer that the test starts: a TLS server that publishes keys, and tokens signed with them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use jsonwebtoken::{EncodingKey, Header};
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::admission::webhook::tests::Hook;
use crate::authentication::keys::SigningKey;
use crate::authentication::{TokenError, configuration};
use crate::testing::{Pki, server_with};

/// An issuer; its keys can be changed.
struct World {
    pki: Pki,
    hook: Hook,
    keys: Arc<Mutex<Vec<Value>>>,
    key: SigningKey,
}

fn key() -> SigningKey {
    SigningKey::from_pem(rcgen::KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap()
}

impl World {
    async fn new() -> Self {
        let (pki, key) = (Pki::new(), key());
        let keys = Arc::new(Mutex::new(vec![key.verifying.jwk.clone()]));
        let (published, port) = (keys.clone(), Arc::new(Mutex::new(String::new())));
        let own = port.clone();
        let hook = Hook::new(&pki, move |asked| {
            let url = own.lock().clone();
            let answer = match asked["path"].as_str() {
                Some("/hook/.well-known/openid-configuration") => {
                    json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "id_token_signing_alg_values_supported": ["ES256"]})
                }
                Some("/hook/other") => json!({"issuer": "https://other", "jwks_uri": format!("{url}/keys")}),
                Some("/hook/keys") => json!({"keys": *published.lock()}),
                _ => return Response::builder().status(404).body(Bytes::new()).unwrap(),
            };
            Response::new(Bytes::from(answer.to_string()))
        })
        .await;
        *port.lock() = hook.url();
        Self { pki, hook, keys, key }
    }

    fn authority(&self) -> String {
        std::fs::read_to_string(self.pki.path().join("ca.crt")).unwrap()
    }

    fn settings(&self, mut more: Value) -> Value {
        let issuer = json!({"url": self.hook.url(), "audiences": ["me"], "certificateAuthority": self.authority()});
        for (field, value) in issuer.as_object().unwrap() {
            if more["issuer"][field].is_null() {
                more["issuer"][field] = value.clone();
            }
        }
        if more["claimMappings"].is_null() {
            more["claimMappings"] = json!({"username": {"claim": "sub", "prefix": "oidc:"}});
        }
        more
    }

    fn issuers(&self, more: Value) -> Issuers {
        let settings: JwtAuthenticator = serde_json::from_value(self.settings(more)).unwrap();
        Issuers::open(&[settings], &[]).unwrap_or_else(|errors| panic!("{}", machinery::field::aggregate(&errors)))
    }

    fn claims(&self, more: Value) -> Value {
        let mut claims = json!({"iss": self.hook.url(), "sub": "jane", "aud": "me", "exp": now().as_second() + 600});
        for (name, value) in more.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().shift_remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn token(&self, more: Value) -> String {
        sign(&self.key, &self.claims(more))
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn sign(key: &SigningKey, claims: &Value) -> String {
    let mut header = Header::new(key.verifying.algorithm);
    header.kid = Some(key.verifying.id.clone());
    jsonwebtoken::encode(&header, claims, &key.encoding).unwrap()
}

async fn find(issuers: &Issuers, token: &str) -> Result<UserInfo, String> {
    issuers.find(token, now()).await.unwrap_or_else(|| Err("not ours".to_owned()))
}

#[tokio::test]
async fn claims_become_a_user() {
    let world = World::new().await;
    let issuers = world.issuers(json!({"claimMappings": {
        "username": {"claim": "sub", "prefix": "oidc:"}, "groups": {"claim": "roles", "prefix": "g:"}, "uid": {"claim": "id"},
        "extra": [{"key": "e.com/tier", "valueExpression": "claims.?tier.orValue('')"}, {"key": "e.com/all", "valueExpression": "claims.roles"}]}}));
    let user = find(&issuers, &world.token(json!({"roles": ["a", "b"], "id": "7"}))).await.unwrap();
    assert_eq!((user.name.as_str(), user.uid.as_deref()), ("oidc:jane", Some("7")));
    assert_eq!(user.groups, ["g:a", "g:b"]);
    assert_eq!(user.extra, [("e.com/all".to_owned(), vec!["a".to_owned(), "b".to_owned()])].into());
    let user = find(&issuers, &world.token(json!({"roles": "a", "id": "7", "tier": "gold"}))).await.unwrap();
    assert_eq!((user.groups, &user.extra["e.com/tier"]), (vec!["g:a".to_owned()], &vec!["gold".to_owned()]));
    assert!(find(&issuers, &world.token(json!({"roles": "a"}))).await.unwrap_err().contains("parse uid claims \"id\""));
    assert!(find(&issuers, &world.token(json!({"sub": null}))).await.unwrap_err().contains("claim not present"));
    // One look for the place of the keys, one for the keys.
    assert_eq!(world.hook.asked.lock().len(), 2);
}

#[tokio::test]
async fn tokens_are_for_somebody_and_for_a_time() {
    let world = World::new().await;
    let issuers = world.issuers(json!({"issuer": {"audiences": ["me", "us"], "audienceMatchPolicy": "MatchAny"}}));
    let refused = async |more: Value| find(&issuers, &world.token(more)).await.map(|user| user.name);
    assert_eq!(refused(json!({"aud": ["x", "us"]})).await, Ok("oidc:jane".to_owned()));
    assert_eq!(
        refused(json!({"aud": ["x"]})).await,
        Err("oidc: expected audience in [\"me\" \"us\"] got [\"x\"]".to_owned())
    );
    let seconds = now().as_second();
    assert!(refused(json!({"exp": seconds - 1})).await.unwrap_err().contains("oidc: token is expired"));
    assert!(refused(json!({"exp": null})).await.unwrap_err().contains("oidc: token is expired"));
    assert!(refused(json!({"nbf": seconds + 301})).await.unwrap_err().contains("before the nbf (not before) time"));
    assert!(refused(json!({"nbf": seconds + 299})).await.is_ok());
    assert_eq!(refused(json!({"iss": "https://elsewhere"})).await, Err("not ours".to_owned()));
    assert!(issuers.find("a.b.c", now()).await.is_none() && issuers.find("opaque", now()).await.is_none());
}

#[tokio::test]
async fn only_the_issuers_signature_counts() {
    let world = World::new().await;
    let issuers = world.issuers(json!({}));
    let claims = world.claims(json!({}));
    let mut stranger = key();
    stranger.verifying.id = world.key.verifying.id.clone();
    let bad_signature = "failed to verify id token signature";
    assert!(find(&issuers, &sign(&stranger, &claims)).await.unwrap_err().contains(bad_signature));
    // The public key as a shared secret, and no signature at all.
    let public = serde_json::to_vec(&world.key.verifying.jwk).unwrap();
    let header = Header::new(Algorithm::HS256);
    let shared = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&public)).unwrap();
    assert!(find(&issuers, &shared).await.unwrap_err().contains("unsupported algorithm"));
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims));
    assert!(find(&issuers, &unsigned).await.unwrap_err().contains("malformed jwt"));
    let good = sign(&world.key, &claims);
    let mut parts: Vec<&str> = good.split('.').collect();
    let root = part(&world.claims(json!({"sub": "root"})));
    parts[1] = &root;
    assert!(find(&issuers, &parts.join(".")).await.unwrap_err().contains(bad_signature));
    assert!(find(&issuers, &good).await.is_ok());
}

#[tokio::test]
async fn new_keys_are_fetched_when_a_token_needs_them() {
    let world = World::new().await;
    let issuers = world.issuers(json!({}));
    assert!(find(&issuers, &world.token(json!({}))).await.is_ok());
    let next = key();
    *world.keys.lock() = vec![next.verifying.jwk.clone()];
    let tokens: Vec<String> = (0..20).map(|_| sign(&next, &world.claims(json!({})))).collect();
    let found = futures::future::join_all(tokens.iter().map(|token| find(&issuers, token))).await;
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    // However many tokens wait, one of them asks.
    assert_eq!(world.hook.asked.lock().len(), 3);
    assert!(find(&issuers, &world.token(json!({}))).await.is_err(), "the old key is gone");
}

#[tokio::test]
async fn rules_judge_claims_and_users() {
    let world = World::new().await;
    let issuers = world.issuers(json!({
        "claimValidationRules": [{"claim": "hd", "requiredValue": "e.com"}, {"expression": "claims.exp - claims.nbf <= 3600", "message": "too long"}],
        "claimMappings": {"username": {"expression": "claims.sub + '@' + claims.hd"}, "groups": {"expression": "claims.?roles.orValue([])"}},
        "userValidationRules": [{"expression": "!user.username.startsWith('system:')", "message": "reserved"}, {"expression": "user.groups.size() < 3", "message": "too many"}]}));
    let seconds = now().as_second();
    let ask = async |more: Value| {
        let mut claims = json!({"hd": "e.com", "nbf": seconds, "roles": ["a"]});
        more.as_object().unwrap().iter().for_each(|(name, value)| claims[name] = value.clone());
        find(&issuers, &world.token(claims)).await.map(|user| user.name)
    };
    assert_eq!(ask(json!({})).await, Ok("jane@e.com".to_owned()));
    assert_eq!(
        ask(json!({"hd": "x.com"})).await.unwrap_err(),
        "oidc: required claim hd value does not match. Got = x.com, want = e.com"
    );
    assert_eq!(
        ask(json!({"exp": seconds + 7200})).await.unwrap_err(),
        "oidc: error evaluating claim validation expression: validation expression 'claims.exp - claims.nbf <= 3600' failed: too long"
    );
    assert_eq!(
        ask(json!({"sub": "system:admin"})).await.unwrap_err(),
        "oidc: error evaluating user info validation rule: validation expression '!user.username.startsWith('system:')' failed: reserved"
    );
    assert!(ask(json!({"roles": ["a", "b", "c"]})).await.unwrap_err().contains("failed: too many"));
    assert!(ask(json!({"roles": 7})).await.unwrap_err().contains("must return a string or a list of strings"));
}

#[tokio::test]
async fn an_address_counts_only_when_the_issuer_stands_for_it() {
    let world = World::new().await;
    let issuers = world.issuers(json!({"claimMappings": {"username": {"claim": "email", "prefix": ""}}}));
    let ask = async |verified: Value| {
        find(&issuers, &world.token(json!({"email": "j@e.com", "email_verified": verified})))
            .await
            .map(|user| user.name)
    };
    assert_eq!(ask(json!(true)).await, Ok("j@e.com".to_owned()));
    assert_eq!(ask(Value::Null).await, Ok("j@e.com".to_owned()));
    assert_eq!(ask(json!(false)).await, Err("oidc: email not verified".to_owned()));
}

#[tokio::test]
async fn discovery_must_name_the_issuer() {
    let world = World::new().await;
    let issuers = world.issuers(json!({"issuer": {"discoveryURL": format!("{}/other", world.hook.url())}}));
    let error = find(&issuers, &world.token(json!({}))).await.unwrap_err();
    assert!(error.contains("issuer did not match the issuer returned by provider"), "{error}");
    // A failure is remembered for a while.
    assert!(find(&issuers, &world.token(json!({}))).await.is_err());
    assert_eq!(world.hook.asked.lock().len(), 1);
}

#[test]
fn expressions_are_judged_when_the_configuration_is_read() {
    let wrong = |more: Value| {
        let mut settings = json!({"issuer": {"url": "https://i", "audiences": ["a"]}, "claimMappings": {"username": {"expression": "claims.sub"}}});
        more.as_object().unwrap().iter().for_each(|(name, value)| settings[name] = value.clone());
        let settings: JwtAuthenticator = serde_json::from_value(settings).unwrap();
        Issuers::open(&[settings], &[]).err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(wrong(json!({})), Vec::<String>::new());
    assert_eq!(
        wrong(json!({"claimMappings": {"username": {"expression": "1 + 1"}}})),
        ["jwt[0].claimMappings.username.expression: Invalid value: \"1 + 1\": must evaluate to string"]
    );
    assert!(wrong(json!({"userValidationRules": [{"expression": "user.nope"}]}))[0].contains("undefined field 'nope'"));
    assert!(wrong(json!({"claimValidationRules": [{"expression": "claims."}]}))[0].contains("compilation failed"));
}

async fn token_user(server: &crate::Server, token: &str) -> Result<String, TokenError> {
    server.authenticator.token(token, &[], now()).await.map(|verified| verified.user.name)
}

#[tokio::test]
async fn a_changed_file_is_taken_over_and_a_wrong_one_is_not() {
    let world = World::new().await;
    let file = world.pki.path().join("authentication.yaml");
    let write = |prefix: &str| {
        let jwt = world.settings(json!({"claimMappings": {"username": {"claim": "sub", "prefix": prefix}}}));
        let text = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [jwt],
            "anonymous": {"enabled": true, "conditions": [{"path": "/livez"}]}});
        std::fs::write(&file, text.to_string()).unwrap();
    };
    write("one:");
    let (server, _pki) = server_with(|config| {
        config.authentication_config = Some(file.clone());
    })
    .await;
    let token = world.token(json!({}));
    assert_eq!(token_user(&server, &token).await, Ok("one:jane".to_owned()));
    let verified = server.authenticator.token(&token, &[], now()).await.unwrap();
    assert_eq!(verified.user.groups, ["system:authenticated"]);
    assert_eq!(verified.audiences, ["https://kubernetes.default.svc.cluster.local"]);
    std::fs::write(&file, "nonsense: {").unwrap();
    write("two:");
    let taken_over = async {
        while token_user(&server, &token).await != Ok("two:jane".to_owned()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken_over).await.unwrap();
    let wrong = b"apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt: [{}]\n";
    let refused = configuration::reload(&server, &file, wrong).await.unwrap_err();
    assert!(refused.contains("jwt[0].issuer.url: Required value: URL is required"), "{refused}");
    assert_eq!(token_user(&server, &token).await, Ok("two:jane".to_owned()));
}

#[tokio::test]
async fn flags_name_one_issuer() {
    let world = World::new().await;
    let flags = settings::OidcFlags {
        issuer_url: world.hook.url(),
        client_id: "me".to_owned(),
        ca: world.authority(),
        username_claim: "sub".to_owned(),
        groups_claim: "roles".to_owned(),
        signing_algs: vec!["ES256".to_owned()],
        required_claims: vec![("hd".to_owned(), "e.com".to_owned())],
        ..settings::OidcFlags::default()
    };
    let (server, _pki) = server_with(|config| config.oidc = Some(flags)).await;
    let name = format!("{}#jane", world.hook.url());
    assert_eq!(token_user(&server, &world.token(json!({"hd": "e.com"}))).await, Ok(name));
    let refused = token_user(&server, &world.token(json!({}))).await.unwrap_err();
    assert_eq!(refused.to_string(), "oidc: required claim hd not present in ID token");
    assert_eq!(token_user(&server, "opaque").await, Err(TokenError::NotOurs));
}
