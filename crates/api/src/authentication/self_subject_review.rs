//! SelfSubjectReview: who am I? The question has no content; whatever metadata came with it is not answered.

use super::{GROUP, v1beta1};
use crate::kind::{Hooks, Kind, Verb, Version};
use crate::strategy;

const SCHEMA: &str = "io.k8s.api.authentication.v1.SelfSubjectReview";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        v1beta1(SCHEMA, "1.30", "1.33", "authentication.k8s.io/v1 SelfSubjectReview"),
    ],
    verbs: Verb::CREATE,
    is_virtual: true,
    hooks: Hooks {
        prepare_create: |review| {
            strategy::drop_field(review, "metadata");
            strategy::drop_field(review, "status");
            Ok(())
        },
        ..Hooks::NONE
    },
    ..Kind::BASE
};
