//! Is this token of a ServiceAccount good, now? Signature, issuer, audience and times, then the objects it names: a
//! token dies with its account and with the pod, secret or node it is bound to.

use jiff::Timestamp;
use jsonwebtoken::{TokenData, Validation};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::TokenIssuer;
use super::bound_objects::BoundKind;
use super::token_issuer::{Audiences, BoundObject, Claims, LEGACY_ISSUER};
use crate::UserInfo;

/// Clocks may differ by this much.
const LEEWAY_SECONDS: i64 = 60;
const EXTRA: &str = "authentication.kubernetes.io/";

#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Not a token of ours at all: another method may know it.
    #[error("invalid bearer token")]
    NotOurs,
    #[error("service account token has expired")]
    Expired,
    #[error("service account token is not valid yet")]
    NotYet,
    #[error("token audiences {found} is invalid for the target audiences {wanted}")]
    Audience { found: String, wanted: String },
    #[error("service account token has been invalidated")]
    Invalidated,
    #[error("service account UID ({found}) does not match claim ({claimed})")]
    ServiceAccountUid { found: String, claimed: String },
    #[error("{kind} UID ({found}) does not match service account {kind} ref claim ({claimed})")]
    BoundUid { kind: &'static str, found: String, claimed: String },
    #[error("service account name must be provided")]
    Claims,
    /// The server that knows tokens gave no answer.
    #[error("{0}")]
    Webhook(String),
    /// It said no, and why.
    #[error("{0}")]
    Refused(String),
}

/// A token that is good, and which of the wanted audiences it is for.
#[derive(Debug)]
pub struct VerifiedToken {
    pub user: UserInfo,
    pub audiences: Vec<String>,
}

impl TokenIssuer {
    /// `audiences`: one of them must be among the token's; empty stands for the server's own.
    pub fn verify(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<VerifiedToken, TokenError> {
        let claims: Value = self.decode(token)?;
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        if issuer == LEGACY_ISSUER {
            return self.verify_legacy(token, &claims, audiences);
        }
        if !self.0.issuers.iter().any(|own| own == issuer) {
            return Err(TokenError::NotOurs);
        }
        let claims: Claims = serde_json::from_value(claims).map_err(|_| TokenError::Claims)?;
        self.verify_bound(&claims, audiences, now)
    }

    fn verify_bound(&self, claims: &Claims, audiences: &[String], now: Timestamp) -> Result<VerifiedToken, TokenError> {
        let wanted = if audiences.is_empty() { &self.0.audiences } else { audiences };
        let found = match &claims.aud {
            Audiences::Many(all) => all.clone(),
            Audiences::One(one) => vec![one.clone()],
        };
        let matching: Vec<String> = wanted.iter().filter(|audience| found.contains(audience)).cloned().collect();
        if matching.is_empty() {
            let quote = |list: &[String]| crate::authorization::rules::quoted_list(list);
            return Err(TokenError::Audience { found: quote(&found), wanted: quote(wanted) });
        }
        let seconds = now.as_second();
        // Without an expiry a token would be good for ever; ours always have one.
        if claims.exp.is_none_or(|expires| seconds > expires.saturating_add(LEEWAY_SECONDS)) {
            return Err(TokenError::Expired);
        }
        let start = claims.nbf.max(claims.iat).unwrap_or(seconds);
        if seconds.saturating_add(LEEWAY_SECONDS) < start {
            return Err(TokenError::NotYet);
        }
        let private = claims.private.as_ref().ok_or(TokenError::Claims)?;
        let (namespace, account) = (&private.namespace, &private.serviceaccount);
        if namespace.is_empty() || account.name.is_empty() || account.uid.is_empty() {
            return Err(TokenError::Claims);
        }
        if claims.sub != crate::user::service_account_name(namespace, &account.name) {
            return Err(TokenError::Claims);
        }
        self.check_account(namespace, &account.name, &account.uid, seconds)?;
        let bound = [
            (BoundKind::Secret, "secret", &private.secret, namespace.as_str()),
            (BoundKind::Pod, "pod", &private.pod, namespace.as_str()),
        ];
        for (kind, name, object, namespace) in bound {
            if let Some(object) = object {
                self.check_bound(kind, name, object, namespace, seconds)?;
            }
        }
        // The node of a pod is only information; a token bound to the node itself dies with it.
        if let (Some(node), None) = (&private.node, &private.pod) {
            self.check_bound(BoundKind::Node, "node", node, "", seconds)?;
        }
        let mut user = UserInfo::service_account(namespace, &account.name, Some(account.uid.clone()));
        let mut extra = |key: &str, value: &str| {
            if !value.is_empty() {
                user.extra.insert(format!("{EXTRA}{key}"), vec![value.to_owned()]);
            }
        };
        if let Some(pod) = &private.pod {
            extra("pod-name", &pod.name);
            extra("pod-uid", &pod.uid);
        }
        if let Some(node) = &private.node {
            extra("node-name", &node.name);
            extra("node-uid", &node.uid);
        }
        if !claims.jti.is_empty() {
            extra("credential-id", &format!("JTI={}", claims.jti));
        }
        Ok(VerifiedToken { user, audiences: matching })
    }

    fn check_account(&self, namespace: &str, name: &str, uid: &str, seconds: i64) -> Result<(), TokenError> {
        let account = self.0.objects.find(BoundKind::ServiceAccount, namespace, name).ok_or(TokenError::Invalidated)?;
        if account.gone_at(seconds, LEEWAY_SECONDS) {
            return Err(TokenError::Invalidated);
        }
        if account.uid != uid {
            return Err(TokenError::ServiceAccountUid { found: account.uid, claimed: uid.to_owned() });
        }
        Ok(())
    }

    fn check_bound(
        &self,
        kind: BoundKind,
        kind_name: &'static str,
        object: &BoundObject,
        namespace: &str,
        seconds: i64,
    ) -> Result<(), TokenError> {
        let found = self.0.objects.find(kind, namespace, &object.name).ok_or(TokenError::Invalidated)?;
        // A node that is being deleted still needs its token to clean up after itself.
        if kind != BoundKind::Node && found.gone_at(seconds, LEEWAY_SECONDS) {
            return Err(TokenError::Invalidated);
        }
        if found.uid != object.uid {
            return Err(TokenError::BoundUid { kind: kind_name, found: found.uid, claimed: object.uid.clone() });
        }
        Ok(())
    }

    /// Tokens kept in Secrets: good as long as the Secret holds just this token.
    fn verify_legacy(&self, token: &str, claims: &Value, audiences: &[String]) -> Result<VerifiedToken, TokenError> {
        let wanted = if audiences.is_empty() { &self.0.audiences } else { audiences };
        let matching: Vec<String> = wanted.iter().filter(|one| self.0.audiences.contains(one)).cloned().collect();
        if matching.is_empty() {
            let quote = |list: &[String]| crate::authorization::rules::quoted_list(list);
            return Err(TokenError::Audience { found: quote(&self.0.audiences), wanted: quote(wanted) });
        }
        let claim = |name: &str| claims.get(format!("kubernetes.io/serviceaccount/{name}")).and_then(Value::as_str);
        let (Some(namespace), Some(name), Some(uid), Some(secret)) =
            (claim("namespace"), claim("service-account.name"), claim("service-account.uid"), claim("secret.name"))
        else {
            return Err(TokenError::Claims);
        };
        if claims.get("sub").and_then(Value::as_str) != Some(&crate::user::service_account_name(namespace, name)) {
            return Err(TokenError::Claims);
        }
        if self.0.objects.secret_token(namespace, secret).as_deref() != Some(token.as_bytes()) {
            return Err(TokenError::Invalidated);
        }
        self.check_account(namespace, name, uid, i64::MIN)?;
        let user = UserInfo::service_account(namespace, name, Some(uid.to_owned()));
        Ok(VerifiedToken { user, audiences: matching })
    }

    /// The claims when one of our keys signed the token. Times and audiences are not looked at yet.
    fn decode<T: DeserializeOwned + Clone>(&self, token: &str) -> Result<T, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::NotOurs)?;
        for key in &self.0.verifying {
            if key.algorithm != header.alg || header.kid.as_ref().is_some_and(|id| *id != key.id) {
                continue;
            }
            let mut validation = Validation::new(key.algorithm);
            validation.required_spec_claims.clear();
            validation.validate_exp = false;
            validation.validate_nbf = false;
            validation.validate_aud = false;
            let decoded: Result<TokenData<T>, _> = jsonwebtoken::decode(token, &key.decoding, &validation);
            if let Ok(decoded) = decoded {
                return Ok(decoded.claims);
            }
        }
        Err(TokenError::NotOurs)
    }
}
