//! Scale: the one number of a workload, in the same form for all kinds that have it. It is the body of their `scale`
//! subresource and has no collection of its own.

use k8s_openapi::api::autoscaling::v1::Scale;
use machinery::field::{ErrorList, Path};

use crate::kind::{Column, Kind, Verb, Version};
use crate::value::integer;
use crate::{cells, checks, names};

pub static KIND: Kind = Kind {
    group: "autoscaling",
    kind: "Scale",
    plural: "scales",
    singular: "scale",
    versions: &[Version::stored("v1", "io.k8s.api.autoscaling.v1.Scale")],
    verbs: Verb::GET_PATCH_UPDATE,
    is_virtual: true,
    columns: &[
        Column { format: "", ..Column::NAME },
        Column::new("Desired", "integer", 0, "replicas is the desired number of instances for the scaled object."),
        Column::new(
            "Available",
            "integer",
            0,
            "replicas is the actual number of observed instances of the scaled object.",
        ),
        Column::AGE,
    ],
    cells: |v, now| {
        vec![
            cells::name(v),
            integer(v, "/spec/replicas").into(),
            integer(v, "/status/replicas").into(),
            cells::age(v, now),
        ]
    },
    hooks: hooks!(
        Scale,
        true,
        names::subdomain,
        part { validate: validate, validate_update: |new, _old| validate(new) }
    ),
    ..Kind::BASE
};

fn validate(scale: &Scale) -> ErrorList {
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    checks::non_negative(replicas.into(), &Path::new("spec.replicas")).into_iter().collect()
}
