//! What a certificate request (PKCS #10) asks for.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry;
use x509_parser::prelude::FromDer as _;

use super::pem;

const LABEL: &str = "CERTIFICATE REQUEST";

/// Who a certificate is to be of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    pub common_name: String,
    pub organizations: Vec<String>,
}

/// A request, and how many alternative names of each kind it asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    pub subject: Subject,
    pub dns_names: usize,
    pub ip_addresses: usize,
    pub emails: usize,
    pub uris: usize,
}

impl Request {
    /// Reads a request in PEM.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        with_request(text, |request| {
            let subject = &request.certification_request_info.subject;
            let common_name = subject.iter_common_name().last().and_then(|name| name.as_str().ok());
            let organizations = subject.iter_organization().filter_map(|name| name.as_str().ok());
            let mut parsed = Self {
                subject: Subject {
                    common_name: common_name.unwrap_or_default().to_owned(),
                    organizations: organizations.map(str::to_owned).collect(),
                },
                ..Self::default()
            };
            for extension in request.requested_extensions().into_iter().flatten() {
                if let ParsedExtension::SubjectAlternativeName(names) = extension {
                    names.general_names.iter().for_each(|name| parsed.count(name));
                }
            }
            Ok(parsed)
        })
    }

    fn count(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(_) => self.dns_names += 1,
            GeneralName::IPAddress(_) => self.ip_addresses += 1,
            GeneralName::RFC822Name(_) => self.emails += 1,
            GeneralName::URI(_) => self.uris += 1,
            _ => {}
        }
    }
}

/// Whether a request in PEM is well formed and signed by the key that it names.
pub fn verify(text: &[u8]) -> Result<(), &'static str> {
    with_request(text, |request| {
        request.verify_signature().map_err(|_| {
            let algorithm = &request.certification_request_info.subject_pki.algorithm.algorithm;
            if *algorithm == oid_registry::OID_KEY_TYPE_EC_PUBLIC_KEY {
                "x509: ECDSA verification failure"
            } else if *algorithm == oid_registry::OID_PKCS1_RSAENCRYPTION {
                "crypto/rsa: verification error"
            } else {
                "x509: cannot verify signature: algorithm unimplemented"
            }
        })
    })
}

fn with_request<T>(
    text: &[u8],
    f: impl FnOnce(&X509CertificationRequest<'_>) -> Result<T, &'static str>,
) -> Result<T, &'static str> {
    let block = pem::blocks(text).into_iter().next().filter(|block| block.label == LABEL);
    let block = block.ok_or("PEM block type must be CERTIFICATE REQUEST")?;
    match X509CertificationRequest::from_der(&block.contents) {
        Ok(([], request)) => f(&request),
        Ok(_) => Err("asn1: syntax error: trailing data"),
        Err(_) => Err("asn1: structure error: malformed certificate request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of jane in devs.
    const JANE: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIHZMIGAAgEAMB4xDTALBgNVBAoMBGRldnMxDTALBgNVBAMMBGphbmUwWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAARJD0PKjUrAIe747lS2A+W6xZfBzyvseKchSwDR
p3H5hGSfdoITO6V/c/rcQHjIdqKRRI7xtW1neJkjbsg6lI8uoAAwCgYIKoZIzj0E
AwIDSAAwRQIhAIv8iks/lmeoTmWT24EsZMdPLwSUT5sOH0vc0MGY0S3lAiA16+so
1U6YpB6ZiRqDKePXz1gYegDXfBYJiwmf3HBe4g==
-----END CERTIFICATE REQUEST-----
";
    /// Of system:node:x in system:nodes, for the DNS name x.
    const NODE: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIIBCDCBsAIBADAvMRUwEwYDVQQKDAxzeXN0ZW06bm9kZXMxFjAUBgNVBAMMDXN5
c3RlbTpub2RlOngwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARJD0PKjUrAIe74
7lS2A+W6xZfBzyvseKchSwDRp3H5hGSfdoITO6V/c/rcQHjIdqKRRI7xtW1neJkj
bsg6lI8uoB8wHQYJKoZIhvcNAQkOMRAwDjAMBgNVHREEBTADggF4MAoGCCqGSM49
BAMCA0cAMEQCIDVIdV4wM2BPi8UxXppCDIF3vTNEo6gRiXQZWOWuDfZRAiB66ZkR
7rdW1zn+/39ddNWvQpqRa7DhbP+fqFkNT/azrw==
-----END CERTIFICATE REQUEST-----
";

    #[test]
    fn what_is_no_request_says_why() {
        let error = |text: &str| Request::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error("not a csr"), "PEM block type must be CERTIFICATE REQUEST");
        assert_eq!(
            error("-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"),
            "PEM block type must be CERTIFICATE REQUEST"
        );
        assert_eq!(
            error("-----BEGIN CERTIFICATE REQUEST-----\nYWJj\n-----END CERTIFICATE REQUEST-----\n"),
            "asn1: structure error: malformed certificate request"
        );
    }

    #[test]
    fn a_request_says_who_and_under_which_names() {
        let jane = Subject { common_name: "jane".to_owned(), organizations: vec!["devs".to_owned()] };
        assert_eq!(Request::parse(JANE.as_bytes()), Ok(Request { subject: jane, ..Request::default() }));
        let node = Request::parse(NODE.as_bytes()).unwrap();
        assert_eq!((node.subject.common_name.as_str(), node.dns_names), ("system:node:x", 1));
    }

    #[test]
    fn a_request_is_signed_by_its_own_key() {
        assert_eq!((verify(JANE.as_bytes()), verify(NODE.as_bytes())), (Ok(()), Ok(())));
        let forged = JANE.replacen("GphbmU", "GphbmY", 1);
        assert_ne!(forged, JANE);
        assert_eq!(verify(forged.as_bytes()), Err("x509: ECDSA verification failure"));
    }
}
