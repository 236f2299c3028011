//! The methods in their order: a proxy that vouches, the connection's certificate, a bearer token, nobody.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;

use super::bootstrap_tokens::BootstrapTokens;
use super::configuration::Configured;
use super::request_header::RequestHeader;
use super::static_tokens::StaticTokens;
use super::token_webhook::TokenWebhook;
use super::x509::PeerCertificate;
use super::{TokenError, TokenIssuer, VerifiedToken};
use crate::UserInfo;

/// A browser cannot set headers on a WebSocket: it names its token as a subprotocol.
const WEBSOCKET_TOKEN_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// What is known of the other end of a connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    pub address: Option<SocketAddr>,
    pub certificate: PeerCertificate,
    /// The same certificate, judged as that of an authenticating proxy.
    pub proxy: PeerCertificate,
}

/// No method accepted what the request came with. The reason is for the log, not for the client.
#[derive(Debug, thiserror::Error)]
#[error("failed to authenticate the request: {0}")]
pub struct Unauthenticated(pub String);

pub struct Authenticator {
    static_tokens: Option<StaticTokens>,
    tokens: TokenIssuer,
    bootstrap: Option<BootstrapTokens>,
    request_header: Option<RequestHeader>,
    webhook: Option<TokenWebhook>,
    /// What can change while the server runs.
    configured: ArcSwap<Configured>,
}

impl Authenticator {
    pub fn new(tokens: TokenIssuer, static_tokens: Option<StaticTokens>, configured: impl Into<Configured>) -> Self {
        let configured = ArcSwap::from_pointee(configured.into());
        Self { static_tokens, tokens, bootstrap: None, request_header: None, webhook: None, configured }
    }

    /// Requests from now on are judged by this configuration.
    pub fn reconfigure(&self, configured: Configured) {
        self.configured.store(Arc::new(configured));
    }

    pub fn with_bootstrap_tokens(mut self, bootstrap: Option<BootstrapTokens>) -> Self {
        self.bootstrap = bootstrap;
        self
    }

    pub fn with_webhook(mut self, webhook: Option<TokenWebhook>) -> Self {
        self.webhook = webhook;
        self
    }

    pub fn with_request_header(mut self, request_header: Option<RequestHeader>) -> Self {
        self.request_header = request_header;
        self
    }

    pub fn request_header(&self) -> Option<&RequestHeader> {
        self.request_header.as_ref()
    }

    /// The user of a request. Credentials are taken off the headers: nothing behind this needs them.
    pub async fn authenticate(
        &self,
        headers: &mut HeaderMap,
        peer: &Peer,
        path: &str,
        now: Timestamp,
    ) -> Result<UserInfo, Unauthenticated> {
        let bearer = bearer_token(headers);
        headers.remove(header::AUTHORIZATION);
        let websocket = websocket_token(headers);
        let mut refused = None;
        if let Some(request_header) = &self.request_header {
            match request_header.user(headers, &peer.proxy, now) {
                Ok(Some(user)) => return Ok(user.with_authenticated_group()),
                Ok(None) => {}
                Err(reason) => refused = Some(reason),
            }
        }
        match &peer.certificate {
            PeerCertificate::None => {}
            PeerCertificate::Invalid(reason) => refused = Some(reason.clone()),
            PeerCertificate::Valid(identity) => match identity.user_at(now) {
                Some(user) => return Ok(user.clone().with_authenticated_group()),
                None => refused = Some("x509: the certificate has expired".to_owned()),
            },
        }
        for token in bearer.into_iter().chain(websocket) {
            match self.token(&token, &[], now).await {
                Ok(verified) => return Ok(verified.user),
                Err(error) => refused = Some(error.to_string()),
            }
        }
        match refused {
            Some(reason) => Err(Unauthenticated(reason)),
            None if self.configured.load().anonymous.is_allowed(path) => Ok(UserInfo::anonymous()),
            None => Err(Unauthenticated("no credentials were given".to_owned())),
        }
    }

    /// The user of a token that is good for one of the audiences (empty: for this server).
    pub async fn token(&self, token: &str, audiences: &[String], now: Timestamp) -> Result<VerifiedToken, TokenError> {
        if let Some(user) = self.static_tokens.as_ref().and_then(|tokens| tokens.find(token)) {
            return self.for_this_server(user, audiences);
        }
        let verified = self.tokens.verify(token, audiences, now);
        if let (Err(TokenError::NotOurs), Some(bootstrap)) = (&verified, &self.bootstrap)
            && let Some(user) = bootstrap.find(token, now)
        {
            return self.for_this_server(user, audiences);
        }
        let verified = match verified {
            Err(TokenError::NotOurs) => self.of_other_issuers(token, audiences, now).await,
            verified => verified,
        };
        let mut verified = match (verified, &self.webhook) {
            (Err(error @ (TokenError::NotOurs | TokenError::Refused(_))), Some(webhook)) => {
                let wanted = if audiences.is_empty() { self.tokens.default_audiences() } else { audiences };
                let found = webhook.find(token, wanted).await;
                // Why an issuer's token is not good says more than that nobody else knows it.
                if found.as_ref().is_err_and(|found| *found == TokenError::NotOurs) { Err(error) } else { found }?
            }
            (verified, _) => verified?,
        };
        verified.user = verified.user.with_authenticated_group();
        Ok(verified)
    }

    async fn of_other_issuers(
        &self,
        token: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<VerifiedToken, TokenError> {
        let configured = self.configured.load_full();
        match configured.issuers.find(token, now).await {
            None => Err(TokenError::NotOurs),
            Some(Err(reason)) => Err(TokenError::Refused(reason)),
            Some(Ok(user)) => self.for_this_server(user, audiences),
        }
    }

    /// A token that names no audience is good for the server's own.
    fn for_this_server(&self, user: UserInfo, audiences: &[String]) -> Result<VerifiedToken, TokenError> {
        let own = self.tokens.default_audiences();
        let audiences: Vec<String> = match audiences {
            [] => own.to_vec(),
            wanted => wanted.iter().filter(|audience| own.contains(audience)).cloned().collect(),
        };
        if audiences.is_empty() {
            return Err(TokenError::NotOurs);
        }
        Ok(VerifiedToken { user: user.with_authenticated_group(), audiences })
    }
}

/// `Authorization: Bearer TOKEN`; other schemes are not looked at, as upstream.
fn bearer_token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, rest) = value.split_once(' ')?;
    let token = rest.split(' ').next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

/// Takes the token out of the offered subprotocols; the others stay.
fn websocket_token(headers: &mut HeaderMap) -> Option<String> {
    let is_websocket = headers.get(header::UPGRADE)?.as_bytes().eq_ignore_ascii_case(b"websocket");
    let offered: Vec<String> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|protocol| protocol.trim().to_owned())
        .collect();
    let at = offered.iter().position(|protocol| protocol.starts_with(WEBSOCKET_TOKEN_PREFIX))?;
    let others: Vec<&str> =
        offered.iter().map(String::as_str).filter(|one| !one.starts_with(WEBSOCKET_TOKEN_PREFIX)).collect();
    // A token alone would leave nothing to agree on.
    if !is_websocket || others.is_empty() {
        return None;
    }
    let protocols = HeaderValue::from_str(&others.join(", ")).ok()?;
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
    let encoded = offered[at][WEBSOCKET_TOKEN_PREFIX.len()..].trim_end_matches('=');
    String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok().filter(|token| !token.is_empty())
}
