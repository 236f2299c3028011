//! Eviction: a delete of a pod that first asks whether it may. It is the body of `pods/eviction` and has no
//! collection of its own; its name must be the pod's.

use crate::kind::{Deprecated, Kind, Verb, Version};

const SCHEMA: &str = "io.k8s.api.policy.v1.Eviction";

pub static KIND: Kind = Kind {
    group: "policy",
    kind: "Eviction",
    plural: "evictions",
    singular: "eviction",
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "policy",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.22", removed: Some("1.25"), replacement: "policy/v1 Eviction" },
            |_| {},
        ),
    ],
    verbs: Verb::CREATE,
    is_virtual: true,
    ..Kind::BASE
};
