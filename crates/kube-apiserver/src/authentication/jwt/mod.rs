//! Tokens of other issuers: OpenID Connect and what else signs JWTs (`--authentication-config`, `--oidc-*`).
//!
//! A token's issuer names who is to verify it; a token of no configured issuer is left to other methods. `settings` is what
//! the configuration says, `validate` what may be wrong with it, `keys` what the issuer publishes, `mappings` how claims
//! become a user.

pub mod keys;
mod mappings;
pub mod settings;
mod validate;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Map, Value};

use self::keys::{IssuerKeys, KeySet};
use self::mappings::Mappings;
use self::settings::JwtAuthenticator;
use crate::UserInfo;
use crate::authorization::rules::quoted_list;

/// Clocks may differ by this much where a token begins to be good; where it ends, it ends.
const NOT_BEFORE_LEEWAY_SECONDS: f64 = 300.0;

/// All configured issuers.
#[derive(Default)]
pub struct Issuers(Vec<Issuer>);

struct Issuer {
    url: String,
    audiences: Vec<String>,
    algorithms: Vec<Algorithm>,
    keys: IssuerKeys,
    mappings: Mappings,
}

impl Issuers {
    /// `own_issuers` are those of ServiceAccount tokens, which nobody else may claim.
    pub fn open(settings: &[JwtAuthenticator], own_issuers: &[String]) -> Result<Self, ErrorList> {
        let mut errors = validate::issuers(settings, own_issuers);
        let mut issuers = Vec::new();
        let root = Path::new("jwt");
        for (at, one) in settings.iter().take(validate::ISSUERS_MAX).enumerate() {
            let path = root.index(at);
            match Mappings::compile(one, &path) {
                Err(wrong) => errors.extend(wrong),
                // Keys are opened with what has been found good only.
                Ok(mappings) if errors.is_empty() => match IssuerKeys::open(&one.issuer) {
                    Ok(keys) => issuers.push(Issuer::new(one, keys, mappings)),
                    Err(error) => errors.push(Error::invalid(&path.child("issuer"), "", error.to_string())),
                },
                Ok(_) => {}
            }
        }
        if errors.is_empty() { Ok(Self(issuers)) } else { Err(errors) }
    }

    /// Waits until the keys of every issuer are there, for so long at most.
    pub async fn ready(&self, within: Duration) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + within;
        for issuer in &self.0 {
            while let Err(error) = issuer.keys.known().await {
                if tokio::time::Instant::now() + LOOK_AGAIN > deadline {
                    return Err(format!("issuer {:?}: {error}", issuer.url));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    /// The user of a token, or why it is not good; nothing when no issuer here has issued it.
    pub async fn find(&self, token: &str, now: Timestamp) -> Option<Result<UserInfo, String>> {
        if self.0.is_empty() {
            return None;
        }
        let url = claimed_issuer(token)?;
        let issuer = self.0.iter().find(|issuer| issuer.url == url)?;
        Some(issuer.user(token, now).await)
    }
}

/// Between looks for keys that are not there yet.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl Issuer {
    fn new(settings: &JwtAuthenticator, keys: IssuerKeys, mappings: Mappings) -> Self {
        let all = || validate::ALGORITHMS.iter().map(|name| (*name).to_owned()).collect();
        let names: Vec<String> = settings.signing_algorithms.clone().unwrap_or_else(all);
        Self {
            url: settings.issuer.url.clone(),
            audiences: settings.issuer.audiences.clone(),
            algorithms: names.iter().filter_map(|name| name.parse().ok()).collect(),
            keys,
            mappings,
        }
    }

    async fn user(&self, token: &str, now: Timestamp) -> Result<UserInfo, String> {
        let fail = |reason: String| format!("oidc: verify token: {reason}");
        let header = jsonwebtoken::decode_header(token).map_err(|error| fail(format!("malformed jwt: {error}")))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(fail(format!("oidc: id token signed with unsupported algorithm, got {:?}", header.alg)));
        }
        let known = self.keys.known().await.map_err(|error| fail(format!("fetching keys {error}")))?;
        let claims = match verified(token, &header, &known) {
            Some(claims) => claims,
            // Keys change: before a signature is called bad the newest ones have been tried.
            None => {
                let newer = self.keys.newer(Some(&known)).await;
                let newer = newer.map_err(|error| fail(format!("fetching keys {error}")))?;
                let claims = verified(token, &header, &newer);
                claims
                    .ok_or_else(|| fail("failed to verify signature: failed to verify id token signature".to_owned()))?
            }
        };
        // The signature covers the issuer: only what has been signed counts.
        if claims.get("iss").and_then(Value::as_str) != Some(&self.url) {
            return Err(fail("oidc: id token issued by a different provider".to_owned()));
        }
        check_times(&claims, now).map_err(fail)?;
        self.check_audience(&claims)?;
        self.mappings.user(&claims)
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), String> {
        let found: Vec<String> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        if found.iter().any(|audience| self.audiences.contains(audience)) {
            return Ok(());
        }
        Err(format!("oidc: expected audience in {} got {}", quoted_list(&self.audiences), quoted_list(&found)))
    }
}

/// The issuer that a token claims to be of. Nothing has been verified.
fn claimed_issuer(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// The claims, if one of the keys has signed them.
fn verified(token: &str, header: &Header, keys: &KeySet) -> Option<Map<String, Value>> {
    let mut validation = Validation::new(header.alg);
    // Times and audiences are looked at afterwards, with upstream's leeway and words.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    keys.of(header.kid.as_deref())
        .find_map(|key| jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, &validation).ok())
        .map(|decoded| decoded.claims)
}

fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<(), String> {
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below what a double holds exactly")]
    let now_seconds = now.as_second() as f64;
    // A token without an end would be good for ever.
    let expires = seconds("exp").ok_or("oidc: token is expired (Token Expiry: 0001-01-01 00:00:00 +0000 UTC)")?;
    if expires < now_seconds {
        return Err(format!("oidc: token is expired (Token Expiry: {expires})"));
    }
    match seconds("nbf") {
        Some(begins) if now_seconds + NOT_BEFORE_LEEWAY_SECONDS < begins => {
            Err(format!("oidc: current time {now} before the nbf (not before) time: {begins}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
