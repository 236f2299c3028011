//! SelfSubjectReview: who am I? The question has no content; whatever metadata came with it is not answered.

use super::GROUP;
use crate::kind::{Hooks, Kind, Verb, Version};
use crate::strategy;

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    namespaced: false,
    versions: &[Version::stored("v1", "io.k8s.api.authentication.v1.SelfSubjectReview")],
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
