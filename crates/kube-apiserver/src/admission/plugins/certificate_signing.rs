//! Who puts a certificate or a condition into a CertificateSigningRequest's status needs the verb `sign` on its signer.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

use super::certificate_requests::{self, GROUP, RESOURCE};
use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

pub struct CertificateSigning;

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let about = (review.kind.group, review.kind.plural, review.subresource, review.operation);
        let (Some(new), Some(old)) = (object, review.old) else { return Ok(()) };
        if about != (GROUP, RESOURCE, "status", Operation::Update) {
            return Ok(());
        }
        let certificate = |request| object::text(request, "/status/certificate");
        let conditions = |request| object::list(request, "/status/conditions");
        if certificate(new) == certificate(old) && conditions(new) == conditions(old) {
            return Ok(());
        }
        let signer = certificate_requests::stored_signer(review);
        if certificate_requests::may_use_signer(review, "sign", signer).await {
            return Ok(());
        }
        let signer = machinery::go_text::quote(signer);
        Err(review.forbidden(object, format!("user not permitted to sign requests with signerName {signer}")))
    }
}
