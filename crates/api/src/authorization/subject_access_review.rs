//! SubjectAccessReview: may this user do this?

use machinery::field::ErrorList;
use serde_json::Value;

use super::{GROUP, GROUPS, access, v1beta1};
use crate::kind::{Hooks, Kind, Verb, Version};

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    namespaced: false,
    versions: &[
        Version::stored("v1", "io.k8s.api.authorization.v1.SubjectAccessReview"),
        Version {
            convert: Some(GROUPS),
            ..v1beta1(
                "io.k8s.api.authorization.v1beta1.SubjectAccessReview",
                "authorization.k8s.io/v1 SubjectAccessReview",
            )
        },
    ],
    verbs: Verb::CREATE,
    is_virtual: true,
    hooks: Hooks { validate, ..Hooks::NONE },
    ..Kind::BASE
};

fn validate(review: &Value) -> ErrorList {
    let mut errors = access::validate_attributes(review);
    errors.extend(access::validate_subject(review));
    errors.extend(access::validate_selectors(review));
    errors.extend(access::validate_metadata(review, &[], "must be empty"));
    errors
}
