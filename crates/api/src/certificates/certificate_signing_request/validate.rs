//! What is wrong with a request, and with changing it. What was wrong before is let through.

use std::collections::BTreeSet;

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestSpec,
};
use machinery::certificates::{only_certificates, verify};
use machinery::field::{Error, ErrorList, Path};
use machinery::go_text;

use crate::certificates::signer_name;

pub const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const SECONDS_MIN: i32 = 600;
/// In the order in which messages list them.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const STATUSES: &[&str] = &["False", "True", "Unknown"];
const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";

/// What the way of an update may change.
#[derive(Clone, Copy, Default)]
pub struct Allowed {
    pub certificate: bool,
    pub approval: bool,
}

pub fn request(new: &CertificateSigningRequest) -> ErrorList {
    whole(new, None, false)
}

/// What is wrong with a new request of v1beta1: it may name the old signer, and any usages.
pub fn request_v1beta1(new: &CertificateSigningRequest) -> ErrorList {
    whole(new, None, true)
}

pub fn update(new: &CertificateSigningRequest, old: &CertificateSigningRequest, allowed: Allowed) -> ErrorList {
    let mut errors = whole(new, Some(old), false);
    let path = Path::new("status");
    let at = path.child("conditions");
    let of = |request, kind| conditions(request).iter().filter(|c| c.type_ == kind).collect::<Vec<_>>();
    for kind in [APPROVED, DENIED, FAILED] {
        if of(new, kind).len() < of(old, kind).len() {
            let kind = go_text::quote(kind);
            errors.push(Error::forbidden(&at, format!("updates may not remove a condition of type {kind}")));
        }
    }
    for kind in [APPROVED, DENIED].into_iter().filter(|_| !allowed.approval) {
        let (new, old) = (of(new, kind), of(old, kind));
        let kind = go_text::quote(kind);
        if new.len() > old.len() {
            errors.push(Error::forbidden(&at, format!("updates may not add a condition of type {kind}")));
        } else if new.len() == old.len() && new != old {
            let shown = |list| serde_json::to_string(list).unwrap_or_default();
            let change = format!("- {}\n+ {}\n", shown(&old), shown(&new));
            errors.push(Error::forbidden(&at, format!("updates may not modify a condition of type {kind}\n{change}")));
        }
    }
    let (now, before) = (certificate(new), certificate(old));
    if now != before {
        let at = path.child("certificate");
        if !allowed.certificate {
            errors.push(Error::forbidden(&at, "updates may not set certificate content"));
        } else if !before.is_empty() {
            errors.push(Error::forbidden(&at, "updates may not modify existing certificate content"));
        }
    }
    errors
}

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn certificate(request: &CertificateSigningRequest) -> &[u8] {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.map(|certificate| certificate.0.as_slice()).unwrap_or_default()
}

fn whole(new: &CertificateSigningRequest, old: Option<&CertificateSigningRequest>, is_v1beta1: bool) -> ErrorList {
    let mut errors = spec(&new.spec, old.map(|old| &old.spec), is_v1beta1, &Path::new("spec"));
    let path = Path::new("status");
    let before = old.map(conditions).unwrap_or_default();
    errors.extend(validate_conditions(conditions(new), before, &path.child("conditions")));
    // What is not touched, and what was no certificate before, is not looked at.
    let lenient =
        old.is_some_and(|old| certificate(old) == certificate(new) || only_certificates(certificate(old)).is_err());
    if let Err(fault) = only_certificates(certificate(new))
        && !lenient
    {
        errors.push(Error::invalid(&path.child("certificate"), "<certificate data>", fault));
    }
    errors
}

fn spec(
    new: &CertificateSigningRequestSpec,
    old: Option<&CertificateSigningRequestSpec>,
    is_v1beta1: bool,
    path: &Path,
) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Err(fault) = verify(&new.request.0) {
        let shown = (!new.request.0.is_empty()).then_some(&new.request);
        errors.push(Error::invalid(&path.child("request"), shown, fault));
    }
    if !is_v1beta1 {
        errors.extend(usages(new, old, &path.child("usages")));
    }
    let at = path.child("signerName");
    let was_legacy = is_v1beta1 || old.is_some_and(|old| old.signer_name == LEGACY_SIGNER);
    if new.signer_name == LEGACY_SIGNER && !was_legacy {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.push(Error::invalid(&at, &new.signer_name, detail));
    } else {
        errors.extend(signer_name::validate(&new.signer_name, &at));
    }
    if let Some(seconds) = new.expiration_seconds.filter(|seconds| *seconds < SECONDS_MIN) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(Error::invalid(&path.child("expirationSeconds"), seconds, detail));
    }
    errors
}

fn usages(new: &CertificateSigningRequestSpec, old: Option<&CertificateSigningRequestSpec>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let usages = new.usages.as_deref().unwrap_or_default();
    let before = old.and_then(|old| old.usages.as_deref()).unwrap_or_default();
    if usages.is_empty() {
        errors.push(Error::required(path, ""));
    }
    let unknown = |usage: &str| !USAGES.contains(&usage);
    if !before.iter().any(|usage| unknown(usage)) {
        for (index, usage) in usages.iter().enumerate().filter(|(_, usage)| unknown(usage)) {
            errors.push(Error::not_supported(&path.index(index), usage, USAGES));
        }
    }
    if crate::checks::duplicates(before).next().is_none() {
        let twice = crate::checks::duplicates(usages);
        errors.extend(twice.map(|(index, usage)| Error::duplicate(&path.index(index), usage)));
    }
    errors
}

fn validate_conditions(
    new: &[CertificateSigningRequestCondition],
    old: &[CertificateSigningRequestCondition],
    path: &Path,
) -> ErrorList {
    let mut errors = ErrorList::new();
    let has = |list: &[CertificateSigningRequestCondition], kind: &str| list.iter().any(|c| c.type_ == kind);
    let types =
        |list: &[CertificateSigningRequestCondition]| list.iter().map(|c| c.type_.clone()).collect::<BTreeSet<_>>();
    let (was_both, was_untyped) = (has(old, APPROVED) && has(old, DENIED), has(old, ""));
    let was_twice = types(old).len() < old.len();
    for (index, condition) in new.iter().enumerate() {
        let (kind, at) = (condition.type_.as_str(), path.index(index));
        if kind.is_empty() && !was_untyped {
            errors.push(Error::required(&at.child("type"), ""));
        }
        let decided = matches!(kind, APPROVED | DENIED | FAILED);
        let statuses = if decided { &["True"] } else { STATUSES };
        match condition.status.as_str() {
            "" => errors.push(Error::required(&at.child("status"), "")),
            status if !statuses.contains(&status) => {
                errors.push(Error::not_supported(&at.child("status"), status, statuses));
            }
            _ => {}
        }
        let other = match kind {
            APPROVED => DENIED,
            DENIED => APPROVED,
            _ => "",
        };
        if !was_both && !other.is_empty() && has(&new[..index], other) {
            errors.push(Error::invalid(path, kind, "Approved and Denied conditions are mutually exclusive"));
        }
        if !was_twice && has(&new[..index], kind) {
            errors.push(Error::duplicate(&at.child("type"), kind));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn with(conditions: Value) -> CertificateSigningRequest {
        serde_json::from_value(json!({"metadata": {"name": "c"}, "spec": {"request": "", "signerName": "a.b/c"},
            "status": {"conditions": conditions}}))
        .expect("a request")
    }

    fn texts(errors: ErrorList) -> Vec<String> {
        let errors = errors.iter().map(ToString::to_string);
        errors.filter(|error| error.starts_with("status")).collect()
    }

    #[test]
    fn approval_is_given_by_the_approval_subresource_alone() {
        let (none, approved) = (with(json!([])), with(json!([{"type": "Approved", "status": "True"}])));
        assert_eq!(
            texts(update(&approved, &none, Allowed::default())),
            ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
        );
        assert_eq!(texts(update(&approved, &none, Allowed { approval: true, ..Default::default() })), [""; 0]);
        assert_eq!(
            texts(update(&none, &approved, Allowed { approval: true, ..Default::default() })),
            ["status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""]
        );
    }

    #[test]
    fn a_certificate_is_set_once_and_by_the_status_alone() {
        let issued = |text: &str| {
            let mut request = with(json!([]));
            let certificate = k8s_openapi::ByteString(text.as_bytes().to_vec());
            request.status.get_or_insert_default().certificate = Some(certificate);
            request
        };
        let allowed = Allowed { certificate: true, ..Default::default() };
        assert_eq!(
            texts(update(&issued("x"), &with(json!([])), allowed)),
            [
                "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block"
            ]
        );
        assert_eq!(
            texts(update(&issued("y"), &issued("x"), allowed)),
            ["status.certificate: Forbidden: updates may not modify existing certificate content"]
        );
        assert_eq!(texts(update(&issued("x"), &issued("x"), Allowed::default())), [""; 0]);
    }
}
