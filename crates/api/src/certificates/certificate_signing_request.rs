//! CertificateSigningRequest: somebody asks a signer for a certificate; somebody else approves or denies it; the signer
//! issues it. Who asks is filled in by the server; the request itself never changes.

mod v1beta1;
mod validate;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde_json::Value;

use crate::kind::{Column, FieldSelectorStyle, Kind, SelectableField, Subresource, SubresourceUpdate, Verb, Version};
use crate::value::{list, text};
use crate::{cells, erase, names, strategy};

const GROUP: &str = "certificates.k8s.io";
const SCHEMA: &str = "io.k8s.api.certificates.v1.CertificateSigningRequest";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "CertificateSigningRequest",
    list_kind: "CertificateSigningRequestList",
    plural: "certificatesigningrequests",
    singular: "certificatesigningrequest",
    short_names: &["csr"],
    namespaced: false,
    versions: &[Version::stored("v1", SCHEMA), v1beta1::VERSION],
    status: true,
    subresources: &[Subresource {
        update: Some(SubresourceUpdate { prepare: prepare_approval, validate: validate_approval }),
        ..Subresource::new("approval", "CertificateSigningRequest", Verb::GET_PATCH_UPDATE)
    }],
    selectable_fields: &[SelectableField {
        label: "spec.signerName",
        value: |v| text(v, "/spec/signerName").to_string(),
    }],
    field_selector_style: FieldSelectorStyle::NotSupported,
    columns: COLUMNS,
    cells: |v, now| {
        vec![
            cells::name(v),
            cells::age(v, now),
            cells::or_none(text(v, "/spec/signerName")),
            text(v, "/spec/username").into(),
            duration(v),
            condition(v).into(),
        ]
    },
    hooks: hooks!(
        CertificateSigningRequest,
        false,
        names::any,
        full {
            prepare_create: strategy::drop_status,
            prepare_update: |new: &mut Value, old: &Value| {
                strategy::copy_field(new, old, "spec");
                strategy::keep_status(new, old);
            },
            prepare_status_update: strategy::update_status,
            validate: validate::request,
            validate_update: |new, old| validate::update(new, old, validate::Allowed::default()),
            validate_status_update: |new, old| {
                validate::update(new, old, validate::Allowed { certificate: true, ..Default::default() })
            },
        }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::AGE,
    Column::new(
        "SignerName",
        "string",
        0,
        "Requested signer for the request. It is a qualified name in the form: `scope-hostname.io/name`. If empty, it will be defaulted:\n 1. If it's a kubelet client certificate, it is assigned\n    \"kubernetes.io/kube-apiserver-client-kubelet\".\n 2. If it's a kubelet serving certificate, it is assigned\n    \"kubernetes.io/kubelet-serving\".\n 3. Otherwise, it is assigned \"kubernetes.io/legacy-unknown\".\nDistribution of trust for signers happens out of band. You can select on this field using `spec.signerName`.",
    ),
    Column::new("Requestor", "string", 0, "Base64-encoded PKCS#10 CSR data"),
    Column::new(
        "RequestedDuration",
        "string",
        0,
        "expirationSeconds is the requested duration of validity of the issued certificate. The certificate signer may issue a certificate with a different validity duration so a client must check the delta between the notBefore and and notAfter fields in the issued certificate to determine the actual duration.\n\nThe v1.22+ in-tree implementations of the well-known Kubernetes signers will honor this field as long as the requested duration is not greater than the maximum duration they will honor per the --cluster-signing-duration CLI flag to the Kubernetes controller manager.\n\nCertificate signers may not honor this field for various reasons:\n\n  1. Old signer that is unaware of the field (such as the in-tree\n     implementations prior to v1.22)\n  2. Signer whose configured maximum is shorter than the requested duration\n  3. Signer whose configured minimum is longer than the requested duration\n\nThe minimum valid value for expirationSeconds is 600, i.e. 10 minutes.",
    ),
    Column::new("Condition", "string", 0, "Conditions applied to the request, such as approval or denial."),
];

fn duration(request: &Value) -> Value {
    match request.pointer("/spec/expirationSeconds").and_then(Value::as_i64) {
        Some(seconds) => cells::human_duration(seconds).into(),
        None => "<none>".into(),
    }
}

/// How far it has come: `Approved,Issued`.
fn condition(request: &Value) -> String {
    let has = |kind: &str| list(request, "/status/conditions").iter().any(|condition| condition["type"] == kind);
    let mut words = vec![if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }];
    words.extend(has("Failed").then_some("Failed"));
    words.extend((!text(request, "/status/certificate").is_empty()).then_some("Issued"));
    words.join(",")
}

/// An approval changes the conditions alone.
fn prepare_approval(new: &mut Value, old: &Value) -> Result<(), machinery::status::Status> {
    erase::keep_server_fields(new, old);
    let conditions = new.pointer("/status/conditions").cloned();
    strategy::copy_field(new, old, "spec");
    strategy::keep_status(new, old);
    let Some(object) = new.as_object_mut() else { return Ok(()) };
    let status = object.entry("status").or_insert_with(|| serde_json::json!({}));
    if let Some(status) = status.as_object_mut() {
        status.insert("conditions".to_string(), conditions.unwrap_or(Value::Null));
    }
    Ok(())
}

fn validate_approval(new: &Value, old: &Value) -> machinery::field::ErrorList {
    let mut errors = erase::metadata_update(new, old, false, Some(names::any));
    let allowed = validate::Allowed { approval: true, ..Default::default() };
    errors.extend(erase::compare(new, old, |new, old| validate::update(new, old, allowed)));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_says_how_far_a_request_has_come() {
        let shown = |conditions: &[&str], certificate: &str| {
            let conditions: Vec<_> = conditions.iter().map(|kind| json!({"type": kind})).collect();
            condition(&json!({"status": {"conditions": conditions, "certificate": certificate}}))
        };
        assert_eq!(shown(&[], ""), "Pending");
        assert_eq!(shown(&["Approved"], "x"), "Approved,Issued");
        assert_eq!(shown(&["Failed", "Approved", "Denied"], ""), "Denied,Failed");
    }

    #[test]
    fn an_approval_changes_conditions_and_nothing_else() {
        let old =
            json!({"metadata": {"name": "c"}, "spec": {"signerName": "a.b/c"}, "status": {"certificate": "eA=="}});
        let mut new = json!({"metadata": {"name": "c"}, "spec": {"signerName": "x.y/z"},
            "status": {"certificate": "eQ==", "conditions": [{"type": "Approved"}]}});
        prepare_approval(&mut new, &old).expect("a well formed request");
        assert_eq!(new["spec"], old["spec"]);
        assert_eq!(new["status"], json!({"certificate": "eA==", "conditions": [{"type": "Approved"}]}));
    }
}
