//! SelfSubjectAccessReview: may I do this?

use machinery::field::ErrorList;
use serde_json::Value;

use super::{GROUP, access, v1beta1};
use crate::kind::{Hooks, Kind, Verb, Version};

const SCHEMA: &str = "io.k8s.api.authorization.v1.SelfSubjectAccessReview";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    namespaced: false,
    versions: &[Version::stored("v1", SCHEMA), v1beta1(SCHEMA, "authorization.k8s.io/v1 SelfSubjectAccessReview")],
    verbs: Verb::CREATE,
    is_virtual: true,
    hooks: Hooks { validate, ..Hooks::NONE },
    ..Kind::BASE
};

fn validate(review: &Value) -> ErrorList {
    let mut errors = access::validate_attributes(review);
    errors.extend(access::validate_selectors(review));
    errors.extend(access::validate_metadata(review, &[], "must be empty"));
    errors
}
