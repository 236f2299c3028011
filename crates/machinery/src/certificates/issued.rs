//! Certificates that were issued, in PEM.

use jiff::Timestamp;
use x509_parser::parse_x509_certificate;

use super::pem;
use crate::go_text;

/// Whether a text is nothing at all, or certificates and nothing else.
pub fn only_certificates(text: &[u8]) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let blocks = pem::blocks(text);
    for block in &blocks {
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {}", go_text::quote(&block.label)));
        }
        if block.has_headers {
            return Err("no PEM block headers are permitted".to_owned());
        }
        let mut rest = block.contents.as_slice();
        if rest.is_empty() {
            return Err("found CERTIFICATE PEM block containing 0 certificates".to_owned());
        }
        while !rest.is_empty() {
            rest = parse_x509_certificate(rest).map_err(|_| "x509: malformed certificate".to_owned())?.0;
        }
    }
    if blocks.is_empty() { Err("must contain at least one CERTIFICATE PEM block".to_owned()) } else { Ok(()) }
}

/// When the first certificate of a text expires.
pub fn not_after(text: &[u8]) -> Option<Timestamp> {
    let block = pem::blocks(text).into_iter().next()?;
    let (_, certificate) = parse_x509_certificate(&block.contents).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_certificates_is_taken() {
        let block = |label: &str| format!("-----BEGIN {label}-----\nYWJj\n-----END {label}-----\n");
        let error = |text: &str| only_certificates(text.as_bytes()).unwrap_err();
        assert_eq!(only_certificates(b""), Ok(()));
        assert_eq!(error("x"), "must contain at least one CERTIFICATE PEM block");
        assert_eq!(error(&block("KEY")), "only CERTIFICATE PEM blocks are allowed, found \"KEY\"");
        assert_eq!(error(&block("CERTIFICATE")), "x509: malformed certificate");
        assert_eq!(not_after(block("CERTIFICATE").as_bytes()), None);
    }
}
