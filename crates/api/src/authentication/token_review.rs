//! TokenReview: is this token good, and whose is it? What a missing token is answered with is the authenticator's.

use super::{GROUP, v1beta1};
use crate::kind::{Kind, Verb, Version};

const SCHEMA: &str = "io.k8s.api.authentication.v1.TokenReview";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    namespaced: false,
    versions: &[Version::stored("v1", SCHEMA), v1beta1(SCHEMA, "1.19", "1.22", "authentication.k8s.io/v1 TokenReview")],
    verbs: Verb::CREATE,
    is_virtual: true,
    ..Kind::BASE
};
