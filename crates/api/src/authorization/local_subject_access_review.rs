//! LocalSubjectAccessReview: may this user do this in this namespace?

use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::{GROUP, GROUPS, access, v1beta1};
use crate::kind::{Hooks, Kind, Verb, Version};
use crate::value::text;

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
    singular: "localsubjectaccessreview",
    versions: &[
        Version::stored("v1", "io.k8s.api.authorization.v1.LocalSubjectAccessReview"),
        Version {
            convert: Some(GROUPS),
            ..v1beta1(
                "io.k8s.api.authorization.v1beta1.LocalSubjectAccessReview",
                "authorization.k8s.io/v1 LocalSubjectAccessReview",
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
    errors.extend(access::validate_metadata(review, &["namespace"], "must be empty except for namespace"));
    if let Some(resource) = access::given(review, "resourceAttributes") {
        let (asked, own) = (text(resource, "/namespace"), text(review, "/metadata/namespace"));
        if asked != own {
            let path = Path::new("spec.resourceAttributes.namespace");
            errors.push(Error::invalid(&path, asked, "must match metadata.namespace"));
        }
    }
    if let Some(url) = access::given(review, "nonResourceAttributes") {
        let path = Path::new("spec.nonResourceAttributes");
        errors.push(Error::invalid(&path, access::shown(url), "disallowed on this kind of request"));
    }
    errors
}
