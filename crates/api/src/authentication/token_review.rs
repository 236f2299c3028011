//! TokenReview: is this token good, and whose is it? What a missing token is answered with is the authenticator's.

use super::GROUP;
use crate::kind::{Kind, Verb, Version};

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    namespaced: false,
    versions: &[Version::stored("v1", "io.k8s.api.authentication.v1.TokenReview")],
    verbs: Verb::CREATE,
    is_virtual: true,
    ..Kind::BASE
};
