//! SelfSubjectRulesReview: what may I do in this namespace? The answer holds the rules only, not the question.

use super::{GROUP, v1beta1};
use crate::kind::{Kind, Verb, Version};

const SCHEMA: &str = "io.k8s.api.authorization.v1.SelfSubjectRulesReview";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "SelfSubjectRulesReview",
    plural: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    namespaced: false,
    versions: &[Version::stored("v1", SCHEMA), v1beta1(SCHEMA, "authorization.k8s.io/v1 SelfSubjectRulesReview")],
    verbs: Verb::CREATE,
    is_virtual: true,
    ..Kind::BASE
};
