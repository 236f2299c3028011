//! CertificateSigningRequests: who approves those of kubelets ([`approving`]), who signs ([`signing`]) and when they are
//! thrown away ([`cleaner`]).

pub mod approving;
pub mod cleaner;
pub mod signing;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";

fn condition<'a>(request: &'a CertificateSigningRequest, kind: &str) -> Option<&'a CertificateSigningRequestCondition> {
    request.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// The certificate that was issued, if any.
fn certificate(request: &CertificateSigningRequest) -> Option<&[u8]> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    (!certificate.0.is_empty()).then_some(certificate.0.as_slice())
}

/// The request with one more condition.
fn with_condition(
    request: &CertificateSigningRequest,
    kind: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> CertificateSigningRequest {
    let mut request = request.clone();
    let conditions = request.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: None,
    });
    request
}

fn usages(request: &CertificateSigningRequest) -> Vec<&str> {
    request.spec.usages.iter().flatten().map(String::as_str).collect()
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::testing::object;
    use serde_json::{Value, json};

    /// A request of a signer, with some conditions (each a minute old at second 60).
    pub fn request(signer: &str, pem: &str, usages: &[&str], conditions: &[&str]) -> CertificateSigningRequest {
        let conditions: Vec<Value> = conditions
            .iter()
            .map(|kind| json!({"type": kind, "status": "True", "lastUpdateTime": "1970-01-01T00:00:00Z"}))
            .collect();
        let mut request: CertificateSigningRequest = object(json!({"metadata": {"name": "c", "namespace": ""},
            "spec": {"request": "", "signerName": signer, "usages": usages, "username": "system:node:x"},
            "status": {"conditions": conditions}}));
        request.spec.request.0 = pem.as_bytes().to_vec();
        request
    }

    /// Of system:node:x in system:nodes.
    pub const CLIENT_OF_NODE: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHqMIGRAgEAMC8xFTATBgNVBAoMDHN5c3RlbTpub2RlczEWMBQGA1UEAwwNc3lz
dGVtOm5vZGU6eDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEkPQ8qNSsAh7vju
VLYD5brFl8HPK+x4pyFLANGncfmEZJ92ghM7pX9z+txAeMh2opFEjvG1bWd4mSNu
yDqUjy6gADAKBggqhkjOPQQDAgNIADBFAiEA0JGVaxwQRCJuDBsg8OAsa5xWLxg3
efieWmTIQS3X1VoCIB4Ma5LLKcgisnH9MMRXWx2eBjXRG54XgBQTMh1xNw4b
-----END CERTIFICATE REQUEST-----
";
    /// The same, for the DNS name x.
    pub const SERVER_OF_NODE: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIIBCDCBsAIBADAvMRUwEwYDVQQKDAxzeXN0ZW06bm9kZXMxFjAUBgNVBAMMDXN5
c3RlbTpub2RlOngwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARJD0PKjUrAIe74
7lS2A+W6xZfBzyvseKchSwDRp3H5hGSfdoITO6V/c/rcQHjIdqKRRI7xtW1neJkj
bsg6lI8uoB8wHQYJKoZIhvcNAQkOMRAwDjAMBgNVHREEBTADggF4MAoGCCqGSM49
BAMCA0cAMEQCIDVIdV4wM2BPi8UxXppCDIF3vTNEo6gRiXQZWOWuDfZRAiB66ZkR
7rdW1zn+/39ddNWvQpqRa7DhbP+fqFkNT/azrw==
-----END CERTIFICATE REQUEST-----
";
    /// Of jane in devs.
    pub const JANE: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHZMIGAAgEAMB4xDTALBgNVBAoMBGRldnMxDTALBgNVBAMMBGphbmUwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAARJD0PKjUrAIe747lS2A+W6xZfBzyvseKchSwDR
p3H5hGSfdoITO6V/c/rcQHjIdqKRRI7xtW1neJkjbsg6lI8uoAAwCgYIKoZIzj0E
AwIDSAAwRQIhAIv8iks/lmeoTmWT24EsZMdPLwSUT5sOH0vc0MGY0S3lAiA16+so
1U6YpB6ZiRqDKePXz1gYegDXfBYJiwmf3HBe4g==
-----END CERTIFICATE REQUEST-----
";
}
