//! Who asks? Client certificates, bearer tokens (static ones and those of ServiceAccounts) and, if allowed, nobody.
//!
//! Every method is tried; the first that knows the caller wins. A credential that nobody accepts makes the request
//! fail (401); a request without any credential is anonymous.

mod authenticator;
pub mod bound_objects;
mod keys;
mod review;
pub mod static_tokens;
pub mod token_issuer;
mod token_verifier;
pub mod x509;

pub use authenticator::{Authenticator, Peer, Unauthenticated};
pub use bound_objects::{Bound, BoundKind, BoundObjects, RegistryObjects};
pub use keys::KeyError;
pub use review::{review, self_review, token_review, user_info_value};
pub use token_issuer::{BoundObject, IssueError, IssueRequest, IssuedToken, IssuerError, TokenIssuer};
pub use token_verifier::{TokenError, VerifiedToken};

#[cfg(test)]
mod tests;
