//! Who approves or denies a CertificateSigningRequest needs the verb `approve` on its signer.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

use super::certificate_requests::{self, GROUP, RESOURCE};
use crate::admission::{Operation, Plugin, Review};

pub struct CertificateApproval;

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let about = (review.kind.group, review.kind.plural, review.subresource, review.operation);
        if about != (GROUP, RESOURCE, "approval", Operation::Update) {
            return Ok(());
        }
        let signer = certificate_requests::stored_signer(review);
        if certificate_requests::may_use_signer(review, "approve", signer).await {
            return Ok(());
        }
        let signer = machinery::go_text::quote(signer);
        Err(review.forbidden(object, format!("user not permitted to approve requests with signerName {signer}")))
    }
}
