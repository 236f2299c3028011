//! certificates.k8s.io: asking for a certificate, approving and issuing it.

pub mod certificate_signing_request;
mod signer_name;
