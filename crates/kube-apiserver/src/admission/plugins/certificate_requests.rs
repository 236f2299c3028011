//! What the plugins for CertificateSigningRequests share: the subject asked for, and who may use a signer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

use crate::admission::Review;
use crate::authorization::Attributes;
use crate::registry::object;

pub const GROUP: &str = "certificates.k8s.io";
pub const RESOURCE: &str = "certificatesigningrequests";

/// The names a request asks to be certified.
pub struct Subject {
    pub common_name: String,
    pub organizations: Vec<String>,
}

/// The subject of the request in `spec.request`.
pub fn subject(object: &Value) -> Result<Subject, &'static str> {
    const NO_PEM: &str = "PEM block type must be CERTIFICATE REQUEST";
    let pem = STANDARD.decode(object::text(object, "/spec/request")).map_err(|_| NO_PEM)?;
    let (_, pem) = parse_x509_pem(&pem).map_err(|_| NO_PEM)?;
    if pem.label != "CERTIFICATE REQUEST" {
        return Err(NO_PEM);
    }
    let (_, request) =
        X509CertificationRequest::from_der(&pem.contents).map_err(|_| "malformed certificate request")?;
    let subject = &request.certification_request_info.subject;
    Ok(Subject {
        common_name: subject.iter_common_name().last().and_then(|name| name.as_str().ok()).unwrap_or_default().into(),
        organizations: subject.iter_organization().filter_map(|name| name.as_str().ok()).map(str::to_owned).collect(),
    })
}

/// Whether the user has the verb (`approve` or `sign`) on the signer, or on all signers of its domain.
pub fn may_use_signer(review: &Review<'_>, verb: &str, signer: &str) -> bool {
    let allows = |name: &str| {
        let mut attributes = Attributes::resource(review.user, verb, GROUP, "signers");
        attributes.name = name;
        review.server.authorizer.allows(&attributes)
    };
    let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
    allows(signer) || allows(&format!("{domain}/*"))
}

/// The signer of the request as it is stored: what the update says of it does not count.
pub fn stored_signer<'a>(review: &Review<'a>) -> &'a str {
    review.old.map_or("", |old| object::text(old, "/spec/signerName"))
}
