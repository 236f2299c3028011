//! certificates.k8s.io/v1beta1: a request need not say who is to sign it nor for what. It is then told by its looks which
//! of the cluster's signers it is for.

use k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec;
use machinery::certificates::{Request, kubelet};
use machinery::field::ErrorList;
use serde_json::Value;

use super::{GROUP, KIND, SCHEMA, validate};
use crate::kind::{Deprecated, Version};
use crate::{erase, names};

pub const VERSION: Version = Version {
    check_instead: Some(check),
    ..Version::old(
        GROUP,
        "v1beta1",
        SCHEMA,
        Deprecated {
            since: "1.19",
            removed: Some("1.22"),
            replacement: "certificates.k8s.io/v1 CertificateSigningRequest",
        },
        default,
    )
};

fn default(request: &mut Value) {
    if let Some(spec) = request.get_mut("spec") {
        // One that cannot be read is refused by what checks it next.
        let _ = erase::mutate::<CertificateSigningRequestSpec>(spec, default_spec);
    }
    let conditions = request.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
        let status = condition.entry("status").or_insert_with(|| "".into());
        if status.as_str() == Some("") {
            *status = "True".into();
        }
    }
}

fn default_spec(spec: &mut CertificateSigningRequestSpec) {
    let usages =
        spec.usages.get_or_insert_with(|| ["digital signature", "key encipherment"].map(str::to_string).to_vec());
    if spec.signer_name.is_empty() {
        spec.signer_name = signer(&spec.request.0, usages).to_string();
    }
}

fn signer(request: &[u8], usages: &[String]) -> &'static str {
    let Ok(request) = Request::parse(request) else { return validate::LEGACY_SIGNER };
    let usages: Vec<&str> = usages.iter().map(String::as_str).collect();
    if kubelet::client_fault(&request, &usages).is_none() {
        kubelet::CLIENT_SIGNER
    } else if kubelet::serving_fault(&request, &usages).is_none() {
        kubelet::SERVING_SIGNER
    } else {
        validate::LEGACY_SIGNER
    }
}

fn check(new: &Value, old: Option<&Value>) -> ErrorList {
    if let Some(old) = old {
        return KIND.validate_update(new, old);
    }
    let mut errors = erase::metadata(new, false, names::any);
    errors.extend(erase::check(new, validate::request_v1beta1));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

    /// Of system:node:x in system:nodes.
    const CLIENT_OF_NODE: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHqMIGRAgEAMC8xFTATBgNVBAoMDHN5c3RlbTpub2RlczEWMBQGA1UEAwwNc3lz
dGVtOm5vZGU6eDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEkPQ8qNSsAh7vju
VLYD5brFl8HPK+x4pyFLANGncfmEZJ92ghM7pX9z+txAeMh2opFEjvG1bWd4mSNu
yDqUjy6gADAKBggqhkjOPQQDAgNIADBFAiEA0JGVaxwQRCJuDBsg8OAsa5xWLxg3
efieWmTIQS3X1VoCIB4Ma5LLKcgisnH9MMRXWx2eBjXRG54XgBQTMh1xNw4b
-----END CERTIFICATE REQUEST-----
";
    /// The same, for the DNS name x.
    const SERVER_OF_NODE: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIIBCDCBsAIBADAvMRUwEwYDVQQKDAxzeXN0ZW06bm9kZXMxFjAUBgNVBAMMDXN5
c3RlbTpub2RlOngwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARJD0PKjUrAIe74
7lS2A+W6xZfBzyvseKchSwDRp3H5hGSfdoITO6V/c/rcQHjIdqKRRI7xtW1neJkj
bsg6lI8uoB8wHQYJKoZIhvcNAQkOMRAwDjAMBgNVHREEBTADggF4MAoGCCqGSM49
BAMCA0cAMEQCIDVIdV4wM2BPi8UxXppCDIF3vTNEo6gRiXQZWOWuDfZRAiB66ZkR
7rdW1zn+/39ddNWvQpqRa7DhbP+fqFkNT/azrw==
-----END CERTIFICATE REQUEST-----
";
    /// Of jane in devs.
    const JANE: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHZMIGAAgEAMB4xDTALBgNVBAoMBGRldnMxDTALBgNVBAMMBGphbmUwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAARJD0PKjUrAIe747lS2A+W6xZfBzyvseKchSwDR
p3H5hGSfdoITO6V/c/rcQHjIdqKRRI7xtW1neJkjbsg6lI8uoAAwCgYIKoZIzj0E
AwIDSAAwRQIhAIv8iks/lmeoTmWT24EsZMdPLwSUT5sOH0vc0MGY0S3lAiA16+so
1U6YpB6ZiRqDKePXz1gYegDXfBYJiwmf3HBe4g==
-----END CERTIFICATE REQUEST-----
";

    fn defaulted(request: &str, usages: &[&str]) -> CertificateSigningRequestSpec {
        let mut spec = CertificateSigningRequestSpec::default();
        spec.request.0 = request.as_bytes().to_vec();
        spec.usages = (!usages.is_empty()).then(|| usages.iter().map(ToString::to_string).collect());
        default_spec(&mut spec);
        spec
    }

    #[test]
    fn the_signer_is_told_by_what_is_asked_for() {
        for (request, usages, signer) in [
            (CLIENT_OF_NODE, &["digital signature", "client auth"][..], kubelet::CLIENT_SIGNER),
            (SERVER_OF_NODE, &["digital signature", "server auth"], kubelet::SERVING_SIGNER),
            (CLIENT_OF_NODE, &["digital signature", "server auth"], validate::LEGACY_SIGNER),
            (JANE, &["digital signature", "client auth"], validate::LEGACY_SIGNER),
            ("nonsense", &[], validate::LEGACY_SIGNER),
        ] {
            assert_eq!(defaulted(request, usages).signer_name, signer, "{usages:?}");
        }
        assert_eq!(defaulted(JANE, &[]).usages.unwrap_or_default(), ["digital signature", "key encipherment"]);
    }

    #[test]
    fn the_old_signer_and_any_usages_may_be_named() {
        let mut request = CertificateSigningRequest::default();
        request.spec.request.0 = JANE.as_bytes().to_vec();
        request.spec.signer_name = validate::LEGACY_SIGNER.to_string();
        request.spec.usages = Some(vec!["walk the dog".to_string()]);
        assert_eq!(validate::request_v1beta1(&request), []);
        assert_eq!(validate::request(&request).len(), 2);
    }
}
