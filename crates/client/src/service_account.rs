//! A client that acts as a ServiceAccount by asking for its tokens (TokenRequest), as a controller manager of its own
//! process does (`--use-service-account-credentials`). Tokens are kept in memory, renewed before they run out, and
//! dropped when the server no longer takes them.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Client};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// What is asked for.
const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
/// A token is used for this part of the life that it was asked for.
const TOKEN_USE: Duration = Duration::from_secs(3600 * 8 / 10);

/// A client of the account `namespace`/`name`. `issuer` may make ServiceAccounts and their tokens; `anonymous` is a
/// connection to the same server without credentials of its own.
pub fn client_of(issuer: Client, anonymous: Client, namespace: &str, name: &str, user_agent: &str) -> Client {
    let tokens =
        Arc::new(Tokens { accounts: Api::namespaced(issuer, namespace), name: name.into(), current: Mutex::default() });
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let (tokens, anonymous) = (tokens.clone(), anonymous.clone());
        async move {
            let token = tokens.get().await?;
            request.headers_mut().insert(AUTHORIZATION, token);
            let answer = anonymous.send(request).await?;
            if answer.status() == StatusCode::UNAUTHORIZED {
                tokens.forget().await;
            }
            Ok::<_, tower::BoxError>(answer)
        }
    });
    crate::for_service(service, user_agent)
}

struct Tokens {
    accounts: Api<ServiceAccount>,
    name: String,
    current: Mutex<Option<(HeaderValue, Instant)>>,
}

impl Tokens {
    /// The lock is held while a token is asked for, so that many requests ask once.
    async fn get(&self) -> Result<HeaderValue, tower::BoxError> {
        let mut current = self.current.lock().await;
        if let Some((header, renew_at)) = current.as_ref()
            && Instant::now() < *renew_at
        {
            return Ok(header.clone());
        }
        let token = match self.request().await {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                self.make_account().await?;
                self.request().await?
            }
            other => other?,
        };
        let token = token.ok_or("the server answered a token request without a token")?;
        let mut header = HeaderValue::from_str(&format!("Bearer {token}"))?;
        header.set_sensitive(true);
        *current = Some((header.clone(), Instant::now() + TOKEN_USE));
        Ok(header)
    }

    /// None where the server answered without a token.
    async fn request(&self) -> Result<Option<String>, kube::Error> {
        let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_LIFETIME.as_secs() as i64), ..Default::default() };
        let wanted = TokenRequest { spec: Some(spec), ..Default::default() };
        let made = self.accounts.create_token_request(&self.name, &PostParams::default(), &wanted).await?;
        Ok(made.status.and_then(|status| status.token))
    }

    async fn make_account(&self) -> Result<(), kube::Error> {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..Default::default() };
        let account = ServiceAccount { metadata, ..Default::default() };
        match self.accounts.create(&PostParams::default(), &account).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop),
        }
    }

    async fn forget(&self) {
        *self.current.lock().await = None;
    }
}
