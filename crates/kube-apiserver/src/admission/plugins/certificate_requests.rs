//! What the plugins for CertificateSigningRequests share: the subject asked for, and who may use a signer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machinery::certificates::{Request, Subject};
use serde_json::Value;

use crate::admission::Review;
use crate::authorization::Attributes;
use crate::registry::object;

pub const GROUP: &str = "certificates.k8s.io";
pub const RESOURCE: &str = "certificatesigningrequests";

/// The subject of the request in `spec.request`.
pub fn subject(object: &Value) -> Result<Subject, &'static str> {
    let text = STANDARD.decode(object::text(object, "/spec/request")).unwrap_or_default();
    Ok(Request::parse(&text)?.subject)
}

/// Whether the user has the verb (`approve` or `sign`) on the signer, or on all signers of its domain.
pub async fn may_use_signer(review: &Review<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    for name in [signer, &format!("{domain}/*")] {
        let mut attributes = Attributes::resource(review.user, verb, GROUP, "signers");
        attributes.name = name;
        if review.server.authorizer.allows(&attributes).await {
            return true;
        }
    }
    false
}

/// The signer of the request as it is stored: what the update says of it does not count.
pub fn stored_signer<'a>(review: &Review<'a>) -> &'a str {
    review.old.map_or("", |old| object::text(old, "/spec/signerName"))
}
