//! Tokens that a server of the administrator's choice knows (`--authentication-token-webhook-config-file`): it is sent a
//! TokenReview. Its answers are remembered for a while, by the token's hash.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{TokenError, VerifiedToken};
use crate::outbound::{Endpoint, EndpointError};
use crate::recent::Recent;
use crate::{Config, UserInfo};

const ANSWERS_MAX: usize = 4096;
const TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);

/// The user, and the audiences that the token is good for.
type Answer = Result<(UserInfo, Vec<String>), TokenError>;

pub struct TokenWebhook {
    endpoint: Endpoint,
    version: String,
    ttl: Duration,
    answers: Recent<[u8; 32], Answer>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: User,
    audiences: Vec<String>,
    error: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: std::collections::BTreeMap<String, Vec<String>>,
}

impl TokenWebhook {
    /// None where no such server is configured.
    pub fn open(config: &Config) -> Result<Option<Self>, EndpointError> {
        let Some(file) = &config.authentication_token_webhook_config_file else { return Ok(None) };
        Ok(Some(Self {
            endpoint: Endpoint::open(file, PAUSE)?,
            version: config.authentication_token_webhook_version.clone(),
            ttl: config.authentication_token_webhook_cache_ttl,
            answers: Recent::new(ANSWERS_MAX),
        }))
    }

    /// The user of a token that is good for one of these audiences.
    pub async fn find(&self, token: &str, audiences: &[String]) -> Result<VerifiedToken, TokenError> {
        let mut hash = Sha256::new();
        hash.update(token);
        for audience in audiences {
            hash.update([0]);
            hash.update(audience);
        }
        let key: [u8; 32] = hash.finalize().into();
        let answer = match self.answers.get(&key) {
            Some(answer) => answer,
            None => {
                let answer = self.ask(token, audiences).await;
                // A server that could not be asked may be there the next time.
                if !matches!(answer, Err(TokenError::Webhook(_))) {
                    self.answers.put(key, answer.clone(), self.ttl);
                }
                answer
            }
        };
        answer.map(|(user, audiences)| VerifiedToken { user, audiences })
    }

    async fn ask(&self, token: &str, audiences: &[String]) -> Answer {
        let question = json!({
            "kind": "TokenReview",
            "apiVersion": format!("authentication.k8s.io/{}", self.version),
            "metadata": { "creationTimestamp": null },
            "spec": { "token": token, "audiences": audiences },
            "status": { "user": {} },
        });
        let fail = |reason: String| TokenError::Webhook(reason);
        let mut reply = self.endpoint.post(&question, TIMEOUT).await.map_err(|error| fail(error.to_string()))?;
        let status = reply.get_mut("status").map(Value::take).unwrap_or_default();
        let status: Status = serde_json::from_value(status).map_err(|error| fail(error.to_string()))?;
        if !status.authenticated || status.user.username.is_empty() {
            return Err(if status.error.is_empty() { TokenError::NotOurs } else { TokenError::Refused(status.error) });
        }
        // One that knows no audiences speaks of this server's own.
        let good: Vec<String> = match &status.audiences[..] {
            [] => audiences.to_vec(),
            named => audiences.iter().filter(|audience| named.contains(audience)).cloned().collect(),
        };
        if good.is_empty() {
            return Err(TokenError::NotOurs);
        }
        let user = UserInfo {
            name: status.user.username,
            uid: Some(status.user.uid).filter(|uid| !uid.is_empty()),
            groups: status.user.groups,
            extra: status.user.extra,
        };
        Ok((user, good))
    }
}
