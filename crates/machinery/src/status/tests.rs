use super::*;
use crate::field::{Error, Path};
use crate::gvk::{GroupKind, GroupResource};
use serde_json::json;

fn text(status: &Status) -> String {
    String::from_utf8(status.to_json()).unwrap()
}

#[test]
fn fields_come_in_upstreams_order() {
    let status = Status::not_found(&GroupResource::new("apps", "deployments"), "x");
    assert_eq!(
        text(&status),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"deployments.apps \"x\" not found","reason":"NotFound","details":{"name":"x","group":"apps","kind":"deployments"},"code":404}"#
    );
    assert!(status.is_not_found() && !status.is_conflict());
}

#[test]
fn invalid_lists_its_causes() {
    let spec = Path::new("spec");
    let errors = vec![Error::required(&spec.child("a"), ""), Error::invalid(&spec.child("b"), 3, "must be 4")];
    let status = Status::invalid(&GroupKind::new("", "Pod"), "p", errors);
    assert_eq!(
        status.message(),
        r#"Pod "p" is invalid: [spec.a: Required value, spec.b: Invalid value: 3: must be 4]"#
    );
    assert_eq!(
        serde_json::to_value(status.details()).unwrap(),
        json!({"name": "p", "kind": "Pod", "causes": [
            {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.a"},
            {"reason": "FieldValueInvalid", "message": "Invalid value: 3: must be 4", "field": "spec.b"},
        ]})
    );
}

#[test]
fn success_has_no_code_unless_asked() {
    let deleted = Status::deleted(&GroupResource::new("", "configmaps"), "a", "u");
    assert_eq!(
        text(&deleted),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"a","kind":"configmaps","uid":"u"}}"#
    );
    assert_eq!(deleted.code(), 200);
    assert_eq!(
        text(&Status::created()),
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201}"#
    );
}

#[test]
fn messages_are_upstreams() {
    let pods = GroupResource::new("", "pods");
    for (status, code, reason, message) in [
        (Status::forbidden(&pods, "p", "no"), 403, "Forbidden", r#"pods "p" is forbidden: no"#),
        (Status::forbidden(&pods, "", "no"), 403, "Forbidden", "pods is forbidden: no"),
        (Status::forbidden(&GroupResource::default(), "", "no"), 403, "Forbidden", "forbidden: no"),
        (
            Status::optimistic_lock(&pods, "p"),
            409,
            "Conflict",
            r#"Operation cannot be fulfilled on pods "p": the object has been modified; please apply your changes to the latest version and try again"#,
        ),
        (Status::unauthorized(""), 401, "Unauthorized", "Unauthorized"),
        (Status::internal("x"), 500, "InternalError", "Internal error occurred: x"),
        (Status::unexpected("x"), 500, "", "x"),
        (Status::timeout("x", 1), 504, "Timeout", "Timeout: x"),
        (
            Status::not_acceptable(&["a/b", "c/d"]),
            406,
            "NotAcceptable",
            "only the following media types are accepted: a/b, c/d",
        ),
        (
            Status::method_not_supported(&pods, "list"),
            405,
            "MethodNotAllowed",
            r#"list is not supported on resources of kind "pods""#,
        ),
        (
            Status::server_timeout(&pods, "create", 2),
            500,
            "ServerTimeout",
            "The create operation against pods could not be completed at this time, please try again.",
        ),
    ] {
        assert_eq!((status.code(), status.reason(), status.message()), (code, reason, message));
    }
}

#[test]
fn a_future_revision_is_a_timeout_with_a_cause() {
    assert_eq!(
        Status::future_revision(99999999999, 38850).to_value(),
        json!({"apiVersion": "v1", "code": 504, "details": {"causes": [{"message": "Too large resource version", "reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1},
            "kind": "Status", "message": "Timeout: Too large resource version: 99999999999, current: 38850", "metadata": {}, "reason": "Timeout", "status": "Failure"})
    );
}

#[test]
fn a_status_survives_its_json_form() {
    let status = Status::too_many_requests("slow down", 3).with_metadata("continue", "token");
    let back: Status = serde_json::from_slice(&status.to_json()).unwrap();
    assert_eq!(back, status);
    assert_eq!(back.retry_after(), Some(3));
}
