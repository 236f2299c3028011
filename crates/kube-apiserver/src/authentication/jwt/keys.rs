//! The keys of an issuer: where they are is asked once (OpenID Connect discovery), what they are again whenever a token
//! names one that is not known.
//!
//! However many tokens wait for keys, one of them asks. The issuer is asked for keys at most once a second and, while it
//! cannot be reached, at most every ten seconds: tokens, which anybody can make up, do not become requests without bound.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::settings::Issuer;
use crate::outbound::tls::Roots;
use crate::outbound::{FetchError, Tls, TlsError, Url};

const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 1 << 20;
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
const REFRESH_PAUSE: Duration = Duration::from_secs(1);
const FAILURE_PAUSE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, thiserror::Error)]
pub enum KeysError {
    #[error("{0:?} is no https URL")]
    Url(String),
    #[error("{0}")]
    Fetch(Arc<FetchError>),
    #[error("oidc: failed to decode provider discovery object: {0}")]
    Discovery(String),
    #[error("oidc: issuer did not match the issuer returned by provider, expected {wanted:?} got {found:?}")]
    OtherIssuer { wanted: String, found: String },
    #[error("oidc: failed to decode keys: {0}")]
    Keys(String),
}

impl From<FetchError> for KeysError {
    fn from(error: FetchError) -> Self {
        Self::Fetch(Arc::new(error))
    }
}

pub struct Key {
    id: Option<String>,
    pub decoding: DecodingKey,
}

/// What the issuer had at one time.
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// The keys that may have signed a token with this key id.
    pub fn of<'k>(&'k self, id: Option<&'k str>) -> impl Iterator<Item = &'k Key> {
        self.0.iter().filter(move |key| id.is_none_or(|id| key.id.as_deref() == Some(id)))
    }
}

pub struct IssuerKeys {
    issuer: String,
    discovery: Url,
    tls: Tls,
    known: ArcSwapOption<KeySet>,
    asking: Mutex<Asked>,
}

/// Held while the issuer is asked.
#[derive(Default)]
struct Asked {
    keys_at: Option<Url>,
    last: Option<Instant>,
    failure: Option<KeysError>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0:?} is no https URL")]
    Url(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl IssuerKeys {
    pub fn open(issuer: &Issuer) -> Result<Self, OpenError> {
        let by_rule = || format!("{}{WELL_KNOWN}", issuer.url.trim_end_matches('/'));
        let text = issuer.discovery_url.clone().unwrap_or_else(by_rule);
        let roots = match issuer.certificate_authority.as_str() {
            "" => Roots::System,
            pem => Roots::Pem(pem.as_bytes()),
        };
        Ok(Self {
            issuer: issuer.url.clone(),
            discovery: Url::parse(&text, None).ok_or(OpenError::Url(text))?,
            tls: Tls::new(roots, None)?,
            known: ArcSwapOption::empty(),
            asking: Mutex::default(),
        })
    }

    /// The keys as they are known; asks when none are.
    pub async fn known(&self) -> Result<Arc<KeySet>, KeysError> {
        match self.known.load_full() {
            Some(known) => Ok(known),
            None => self.newer(None).await,
        }
    }

    /// Newer keys than these: those that somebody else has fetched meanwhile, or fresh ones.
    pub async fn newer(&self, than: Option<&Arc<KeySet>>) -> Result<Arc<KeySet>, KeysError> {
        let mut asked = self.asking.lock().await;
        if let Some(known) = self.known.load_full()
            && than.is_none_or(|than| !Arc::ptr_eq(than, &known))
        {
            return Ok(known);
        }
        if let (Some(last), Some(failure)) = (asked.last, &asked.failure)
            && last.elapsed() < FAILURE_PAUSE
        {
            return Err(failure.clone());
        }
        if let Some(last) = asked.last {
            tokio::time::sleep_until(last + REFRESH_PAUSE).await;
        }
        let fetched = self.fetch(&mut asked.keys_at).await;
        asked.last = Some(Instant::now());
        asked.failure = fetched.as_ref().err().cloned();
        let fetched = Arc::new(fetched?);
        self.known.store(Some(fetched.clone()));
        Ok(fetched)
    }

    async fn fetch(&self, keys_at: &mut Option<Url>) -> Result<KeySet, KeysError> {
        let url = match keys_at {
            Some(url) => url,
            None => keys_at.insert(self.discover().await?),
        };
        let bytes = url.get(&self.tls, TIMEOUT, ANSWER_BYTES_MAX).await?;
        parse(&bytes)
    }

    async fn discover(&self) -> Result<Url, KeysError> {
        let bytes = self.discovery.get(&self.tls, TIMEOUT, ANSWER_BYTES_MAX).await?;
        let found: Discovery =
            serde_json::from_slice(&bytes).map_err(|error| KeysError::Discovery(error.to_string()))?;
        if found.issuer != self.issuer {
            return Err(KeysError::OtherIssuer { wanted: self.issuer.clone(), found: found.issuer });
        }
        Url::parse(&found.jwks_uri, None).ok_or(KeysError::Url(found.jwks_uri))
    }
}

/// Keys that cannot verify signatures here are left out, so that they do no harm to the others.
fn parse(bytes: &[u8]) -> Result<KeySet, KeysError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(bytes).map_err(|error| KeysError::Keys(error.to_string()))?;
    let key = |value: Value| {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        // A shared secret published to everybody would let everybody sign.
        let is_public = !matches!(jwk.algorithm, jsonwebtoken::jwk::AlgorithmParameters::OctetKey(_));
        let decoding = DecodingKey::from_jwk(&jwk).ok().filter(|_| signs && is_public)?;
        Some(Key { id: jwk.common.key_id, decoding })
    };
    Ok(KeySet(set.keys.into_iter().filter_map(key).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_signing_keys_count() {
        let rsa = r#"{"kty":"RSA","kid":"a","use":"sig","alg":"RS256","n":"sXch","e":"AQAB"}"#;
        let encrypts = r#"{"kty":"RSA","kid":"b","use":"enc","n":"sXch","e":"AQAB"}"#;
        let secret = r#"{"kty":"oct","kid":"c","k":"AAAA"}"#;
        let odd = r#"{"kty":"odd","kid":"d"}"#;
        let set = parse(format!("{{\"keys\":[{rsa},{encrypts},{secret},{odd}]}}").as_bytes()).unwrap();
        assert_eq!(set.of(None).count(), 1);
        assert_eq!((set.of(Some("a")).count(), set.of(Some("b")).count()), (1, 0));
        assert!(parse(b"[]").is_err());
    }
}
