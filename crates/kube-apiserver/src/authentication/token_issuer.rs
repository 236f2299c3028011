//! Tokens of ServiceAccounts: signed here (TokenRequest); `token_verifier` is the other half.
//!
//! A token names the account and the object it is bound to with their uids, so that it dies with either of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::Header;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bound_objects::BoundObjects;
use super::keys::{KeyError, SigningKey, VerifyingKey};
use crate::{Config, user};

/// What a projected token asks for when it wants an hour and a bit: such tokens live a year, with a warning after
/// that hour, so that old clients that never reload their token keep working.
pub const WARN_ONLY_EXPIRATION_SECONDS: i64 = 3607;
const EXTENDED_EXPIRATION_SECONDS: i64 = 365 * 24 * 3600;
pub(super) const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// The name and uid of an object that a token is bound to: the token dies with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundObject {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// What a token is to say. The endpoint of TokenRequest has checked that the objects exist and belong together.
#[derive(Clone, Debug, Default)]
pub struct IssueRequest {
    pub namespace: String,
    pub service_account: String,
    pub service_account_uid: String,
    pub pod: Option<BoundObject>,
    pub secret: Option<BoundObject>,
    /// The node itself, or the node that the pod is bound to.
    pub node: Option<BoundObject>,
    /// Empty means the API server's own audiences.
    pub audiences: Vec<String>,
    pub expiration_seconds: i64,
}

#[derive(Clone, Debug)]
pub struct IssuedToken {
    pub token: String,
    /// What `status.expirationTimestamp` says: when the client should have a new one.
    pub expiration: Timestamp,
    /// The lifetime was shortened to the server's maximum.
    pub shortened: bool,
    pub audiences: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    #[error("failed to read the key file {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("failed to use the key file {0}")]
    Key(PathBuf, #[source] KeyError),
    #[error("service-account-issuer is empty")]
    NoIssuer,
}

/// Signs and verifies tokens of ServiceAccounts. Cheap to clone.
#[derive(Clone)]
pub struct TokenIssuer(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) signing: SigningKey,
    pub(super) verifying: Vec<VerifyingKey>,
    pub(super) issuers: Vec<String>,
    pub(super) audiences: Vec<String>,
    max_expiration_seconds: Option<i64>,
    extend_expiration: bool,
    jwks_uri: Option<String>,
    pub(super) objects: Arc<dyn BoundObjects>,
}

/// The claims of a bound token, in upstream's names.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    pub aud: Audiences,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    pub iss: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jti: String,
    #[serde(rename = "kubernetes.io", skip_serializing_if = "Option::is_none")]
    pub private: Option<PrivateClaims>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    pub sub: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PrivateClaims {
    pub namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<BoundObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<BoundObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<BoundObject>,
    pub serviceaccount: BoundObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// One or many: the standard allows both forms.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Audiences {
    Many(Vec<String>),
    One(String),
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl TokenIssuer {
    pub fn open(config: &Config, objects: Arc<dyn BoundObjects>) -> Result<Self, IssuerError> {
        let read = |path: &Path| std::fs::read(path).map_err(|error| IssuerError::Read(path.to_owned(), error));
        let path = &config.service_account_signing_key_file;
        let signing_pem = read(path)?;
        let signing = SigningKey::from_pem(&signing_pem).map_err(|error| IssuerError::Key(path.clone(), error))?;
        let mut verifying = Vec::new();
        for path in &config.service_account_key_files {
            let keys = VerifyingKey::all_from_pem(&read(path)?);
            verifying.extend(keys.map_err(|error| IssuerError::Key(path.clone(), error))?);
        }
        if verifying.is_empty() {
            let keys = VerifyingKey::all_from_pem(&signing_pem);
            verifying = keys.map_err(|error| IssuerError::Key(path.clone(), error))?;
        }
        if config.service_account_issuers.is_empty() {
            return Err(IssuerError::NoIssuer);
        }
        Ok(Self(Arc::new(Inner {
            signing,
            verifying,
            issuers: config.service_account_issuers.clone(),
            audiences: config.audiences().to_vec(),
            max_expiration_seconds: config
                .service_account_max_token_expiration
                .and_then(|max| i64::try_from(max.as_secs()).ok()),
            extend_expiration: config.service_account_extend_token_expiration,
            jwks_uri: config.service_account_jwks_uri.clone(),
            objects,
        })))
    }

    /// The audiences of tokens that name none.
    pub fn default_audiences(&self) -> &[String] {
        &self.0.audiences
    }

    /// A new token. Fails only when the key cannot sign.
    pub fn issue(&self, request: &IssueRequest, now: Timestamp) -> Result<IssuedToken, IssueError> {
        let inner = &*self.0;
        let audiences = if request.audiences.is_empty() { inner.audiences.clone() } else { request.audiences.clone() };
        let mut lifetime = request.expiration_seconds;
        let mut shortened = false;
        if let Some(max) = inner.max_expiration_seconds.filter(|&max| max < lifetime) {
            (lifetime, shortened) = (max, true);
        }
        let seconds = now.as_second();
        let expiration = seconds.saturating_add(lifetime);
        let mut warn_after = None;
        let own_audience = audiences.iter().all(|audience| inner.audiences.contains(audience));
        if inner.extend_expiration && request.pod.is_some() && lifetime == WARN_ONLY_EXPIRATION_SECONDS && own_audience
        {
            warn_after = Some(expiration);
            lifetime = EXTENDED_EXPIRATION_SECONDS.min(inner.max_expiration_seconds.unwrap_or(i64::MAX));
        }
        let claims = Claims {
            aud: Audiences::Many(audiences.clone()),
            exp: Some(seconds.saturating_add(lifetime)),
            iat: Some(seconds),
            iss: inner.issuers[0].clone(),
            jti: uuid::Uuid::new_v4().to_string(),
            nbf: Some(seconds),
            sub: user::service_account_name(&request.namespace, &request.service_account),
            private: Some(PrivateClaims {
                namespace: request.namespace.clone(),
                node: request.node.clone(),
                pod: request.pod.clone(),
                secret: request.secret.clone(),
                serviceaccount: BoundObject {
                    name: request.service_account.clone(),
                    uid: request.service_account_uid.clone(),
                },
                warnafter: warn_after,
            }),
        };
        let expiration = Timestamp::from_second(expiration).map_err(|_| IssueError::Expiration)?;
        Ok(IssuedToken { token: self.sign(&claims)?, expiration, shortened, audiences })
    }

    /// The never-expiring token of a Secret of type `kubernetes.io/service-account-token`.
    pub fn issue_legacy(&self, namespace: &str, name: &str, uid: &str, secret: &str) -> Result<String, IssueError> {
        legacy_token(&self.0.signing, namespace, name, uid, secret)
    }

    /// What `/openid/v1/jwks` answers.
    pub fn jwks(&self) -> Value {
        json!({"keys": self.0.verifying.iter().map(|key| &key.jwk).collect::<Vec<_>>()})
    }

    /// What `/.well-known/openid-configuration` answers; `host` is where the request reached this server.
    pub fn openid_configuration(&self, host: &str) -> Value {
        let mut algorithms: Vec<String> = self.0.verifying.iter().map(|key| format!("{:?}", key.algorithm)).collect();
        algorithms.sort();
        algorithms.dedup();
        json!({
            "issuer": self.0.issuers[0],
            "jwks_uri": self.0.jwks_uri.clone().unwrap_or_else(|| format!("https://{host}/openid/v1/jwks")),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        })
    }

    fn sign(&self, claims: &impl Serialize) -> Result<String, IssueError> {
        sign(&self.0.signing, claims)
    }
}

/// Makes the tokens of Secrets and nothing else: what the controller manager has of the key.
pub struct LegacySigner(SigningKey);

impl LegacySigner {
    pub fn open(path: &Path) -> Result<Self, IssuerError> {
        let pem = std::fs::read(path).map_err(|error| IssuerError::Read(path.to_owned(), error))?;
        SigningKey::from_pem(&pem).map(Self).map_err(|error| IssuerError::Key(path.to_owned(), error))
    }

    /// The token of an account, for the Secret of that name.
    pub fn sign(&self, namespace: &str, name: &str, uid: &str, secret: &str) -> Result<String, IssueError> {
        legacy_token(&self.0, namespace, name, uid, secret)
    }
}

fn legacy_token(key: &SigningKey, namespace: &str, name: &str, uid: &str, secret: &str) -> Result<String, IssueError> {
    let claims = json!({
        "iss": LEGACY_ISSUER,
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": secret,
        "kubernetes.io/serviceaccount/service-account.name": name,
        "kubernetes.io/serviceaccount/service-account.uid": uid,
        "sub": user::service_account_name(namespace, name),
    });
    sign(key, &claims)
}

fn sign(key: &SigningKey, claims: &impl Serialize) -> Result<String, IssueError> {
    let mut header = Header::new(key.verifying.algorithm);
    header.typ = None;
    header.kid = Some(key.verifying.id.clone());
    Ok(jsonwebtoken::encode(&header, claims, &key.encoding)?)
}

#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("failed to sign the token")]
    Sign(#[from] jsonwebtoken::errors::Error),
    #[error("the expiration is out of range")]
    Expiration,
}
