//! Nobody becomes a member of `system:masters` by a certificate that the cluster signs.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

use super::certificate_requests::{self, GROUP, RESOURCE};
use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;
use crate::user::MASTERS_GROUP;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

pub struct CertificateSubjectRestriction;

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(request) = object.filter(|_| review.operation == Operation::Create && review.is(GROUP, RESOURCE))
        else {
            return Ok(());
        };
        if object::text(request, "/spec/signerName") != SIGNER {
            return Ok(());
        }
        let subject = certificate_requests::subject(request)
            .map_err(|reason| review.forbidden(object, format!("unable to parse CSR: {reason}")))?;
        if subject.organizations.iter().any(|organization| organization == MASTERS_GROUP) {
            let message = format!("use of {SIGNER} signer with {MASTERS_GROUP} group is not allowed");
            return Err(review.forbidden(object, message));
        }
        Ok(())
    }
}
