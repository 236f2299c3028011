//! Who asks? Client certificates, bearer tokens (static ones, those of ServiceAccounts and of other issuers) and, if
//! allowed, nobody.
//!
//! Every method is tried; the first that knows the caller wins. A credential that nobody accepts makes the request
//! fail (401); a request without any credential is anonymous.

mod authenticator;
pub mod bootstrap_tokens;
pub mod bound_objects;
pub mod configuration;
pub mod jwt;
mod keys;
pub mod request_header;
mod review;
pub mod static_tokens;
pub mod token_issuer;
mod token_verifier;
pub mod token_webhook;
pub mod x509;

pub use authenticator::{Authenticator, Peer, Unauthenticated};
pub use bound_objects::{Bound, BoundKind, BoundObjects, RegistryObjects};
pub use keys::KeyError;
pub use review::{review, self_review, token_review, user_info_value};
pub use token_issuer::{BoundObject, IssueError, IssueRequest, IssuedToken, IssuerError, LegacySigner, TokenIssuer};
pub use token_verifier::{TokenError, VerifiedToken};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod proxy_tests;
