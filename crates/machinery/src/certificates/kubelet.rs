//! What the certificates of kubelets must look like, both those by which they are clients and those by which they serve.

use super::Request;

/// Signs what kubelets are clients by.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Signs what kubelets serve by.
pub const SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
const CLIENT_USAGES: [&str; 3] = ["client auth", "digital signature", "key encipherment"];
const SERVING_USAGES: [&str; 3] = ["digital signature", "key encipherment", "server auth"];

/// What keeps a request from being one for a kubelet's client certificate.
pub fn client_fault(request: &Request, usages: &[&str]) -> Option<String> {
    let fault = organization_fault(request)
        .or_else(|| (request.dns_names > 0).then_some("DNS subjectAltNames are not allowed"))
        .or_else(|| common_fault(request))
        .or_else(|| (request.ip_addresses > 0).then_some("IP subjectAltNames are not allowed"))
        .or_else(|| name_fault(request));
    fault.map(str::to_owned).or_else(|| usages_fault(usages, &CLIENT_USAGES))
}

/// What keeps a request from being one for a kubelet's serving certificate.
pub fn serving_fault(request: &Request, usages: &[&str]) -> Option<String> {
    let nameless = request.dns_names == 0 && request.ip_addresses == 0;
    let fault = organization_fault(request)
        .or_else(|| nameless.then_some("DNS or IP subjectAltName is required"))
        .or_else(|| common_fault(request));
    let fault = fault.map(str::to_owned).or_else(|| usages_fault(usages, &SERVING_USAGES));
    fault.or_else(|| name_fault(request).map(str::to_owned))
}

fn organization_fault(request: &Request) -> Option<&'static str> {
    (request.subject.organizations != [NODES]).then_some("subject organization is not system:nodes")
}

fn common_fault(request: &Request) -> Option<&'static str> {
    if request.emails > 0 {
        return Some("Email subjectAltNames are not allowed");
    }
    (request.uris > 0).then_some("URI subjectAltNames are not allowed")
}

fn name_fault(request: &Request) -> Option<&'static str> {
    let is_node = request.subject.common_name.starts_with(NODE_PREFIX);
    (!is_node).then_some("subject common name does not begin with system:node: ")
}

/// Keys that are not RSA's do without "key encipherment".
fn usages_fault(usages: &[&str], wanted: &[&str; 3]) -> Option<String> {
    let has = |usage: &&str| usages.contains(usage);
    let known = usages.iter().all(|usage| wanted.contains(usage));
    let needed = wanted.iter().filter(|usage| **usage != "key encipherment").all(has);
    (!known || !needed).then(|| format!("usages did not match [{}]", wanted.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn parsed(pem: &str) -> Request {
        Request::parse(pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_kubelets_client_certificate_names_the_node_and_nothing_else() {
        let usages = ["digital signature", "client auth"];
        assert_eq!(client_fault(&parsed(CLIENT_OF_NODE), &usages), None);
        let fault = client_fault(&parsed(SERVER_OF_NODE), &usages);
        assert_eq!(fault.as_deref(), Some("DNS subjectAltNames are not allowed"));
        let fault = client_fault(&parsed(JANE), &usages);
        assert_eq!(fault.as_deref(), Some("subject organization is not system:nodes"));
        let fault = client_fault(&parsed(CLIENT_OF_NODE), &["client auth"]);
        let expected = "usages did not match [client auth digital signature key encipherment]";
        assert_eq!(fault.as_deref(), Some(expected));
    }

    #[test]
    fn a_kubelets_serving_certificate_needs_a_name() {
        let usages = ["digital signature", "key encipherment", "server auth"];
        assert_eq!(serving_fault(&parsed(SERVER_OF_NODE), &usages), None);
        let fault = serving_fault(&parsed(CLIENT_OF_NODE), &usages);
        assert_eq!(fault.as_deref(), Some("DNS or IP subjectAltName is required"));
    }
}
