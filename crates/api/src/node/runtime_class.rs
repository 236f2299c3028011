//! RuntimeClass: a container runtime to choose by name, what a pod costs more with it, and which nodes have it.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};
use machinery::field::{Error, ErrorList, Path};

use crate::core::pod::{affinity, resources};
use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::text;
use crate::{cells, checks, internal, names};

const SCHEMA: &str = "io.k8s.api.node.v1.RuntimeClass";

pub static KIND: Kind = Kind {
    group: "node.k8s.io",
    kind: "RuntimeClass",
    list_kind: "RuntimeClassList",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "node.k8s.io",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.22", removed: Some("1.25"), replacement: "node.k8s.io/v1 RuntimeClass" },
            |_| {},
        ),
    ],
    create_on_update: true,
    unconditional_update: false,
    columns: COLUMNS,
    cells: |v, now| vec![cells::name(v), text(v, "/handler").into(), cells::age(v, now)],
    hooks: hooks!(RuntimeClass, false, names::subdomain, full { validate: validate, validate_update: validate_update }),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[Column::NAME, Column::new("Handler", "string", 0, ""), Column::AGE];

fn validate(class: &RuntimeClass) -> ErrorList {
    let mut errors = checks::dns_label(&class.handler, &Path::new("handler"));
    if let Some(overhead) = &class.overhead {
        let as_limits = ResourceRequirements { limits: overhead.pod_fixed.clone(), ..Default::default() };
        errors.extend(resources::container(&as_limits, &[], &Path::new("overhead")));
    }
    if let Some(scheduling) = &class.scheduling {
        errors.extend(validate_scheduling(scheduling, &Path::new("scheduling")));
    }
    errors
}

fn validate_scheduling(scheduling: &Scheduling, path: &Path) -> ErrorList {
    let mut errors = checks::labels(scheduling.node_selector.as_ref(), &path.child("nodeSelector"));
    let tolerations = scheduling.tolerations.as_deref().unwrap_or(&[]);
    let at = path.child("tolerations");
    errors.extend(affinity::tolerations(tolerations, &at));
    for (i, toleration) in checks::duplicates(tolerations) {
        let shown = internal::shown("io.k8s.api.core.v1.Toleration", toleration);
        errors.push(Error::duplicate(&at.index(i), shown));
    }
    errors
}

fn validate_update(new: &RuntimeClass, old: &RuntimeClass) -> ErrorList {
    let mut errors = validate(new);
    errors.extend(checks::immutable(&new.handler, &old.handler, &Path::new("handler")));
    errors
}
