//! ReplicaSet: so many pods of one template, no more, no fewer.

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use crate::core::pod;
use crate::kind::{Column, Deprecated, Hooks, Kind, Scale, Version};
use crate::value::{integer, semantically_equal};
use crate::workload::{self, Counts};
use crate::{cells, checks, erase, names, strategy};

const SCHEMA: &str = "io.k8s.api.apps.v1.ReplicaSet";
const REPLACEMENT: &str = "apps/v1 ReplicaSet";

pub static KIND: Kind = Kind {
    group: "apps",
    kind: "ReplicaSet",
    list_kind: "ReplicaSetList",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "apps",
            "v1beta2",
            SCHEMA,
            Deprecated { since: "1.9", removed: Some("1.16"), replacement: REPLACEMENT },
            |_| {},
        ),
        Version::old(
            "extensions",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.8", removed: Some("1.16"), replacement: REPLACEMENT },
            |object| workload::selector_from_template(object, true),
        ),
    ],
    status: true,
    generation: true,
    scale: Some(Scale {
        spec_replicas: "/spec/replicas",
        status_replicas: "/status/replicas",
        selector: workload::scale_selector,
    }),
    columns: COLUMNS,
    cells: |v, now| {
        vec![
            cells::name(v),
            integer(v, "/spec/replicas").into(),
            integer(v, "/status/replicas").into(),
            integer(v, "/status/readyReplicas").into(),
            cells::age(v, now),
            cells::container_names(v),
            cells::container_images(v),
            cells::label_selector(v.pointer("/spec/selector")),
        ]
    },
    hooks: Hooks {
        default: |v| workload::keeping_absent_selector(v, |v| erase::mutate::<ReplicaSet>(v, default)),
        validate: |v| workload::checked(v, names::subdomain, validate),
        validate_update: |new, old| workload::checked_update(new, old, validate, immutable_selector),
        ..hooks!(
            ReplicaSet,
            true,
            names::subdomain,
            part {
                prepare_create: strategy::create_with_status,
                prepare_update: strategy::update_spec,
                prepare_status_update: strategy::update_status,
                validate_status_update: |new: &ReplicaSet, _old: &ReplicaSet| validate_status(new),
                warnings: |new: &ReplicaSet, old: Option<&ReplicaSet>| {
                    let template =
                        |rs: &ReplicaSet| rs.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default();
                    workload::template_warnings(&template(new), old.map(template).as_ref())
                },
            }
        )
    },
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new(
        "Desired",
        "integer",
        0,
        "Replicas is the number of desired pods. This is a pointer to distinguish between explicit zero and unspecified. Defaults to 1. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset",
    ),
    Column::new(
        "Current",
        "integer",
        0,
        "Replicas is the most recently observed number of non-terminating pods. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset",
    ),
    Column::new(
        "Ready",
        "integer",
        0,
        "The number of non-terminating pods targeted by this ReplicaSet with a Ready Condition.",
    ),
    Column::AGE,
    Column::new("Containers", "string", 1, "Names of each container in the template."),
    Column::new("Images", "string", 1, "Images referenced by each container in the template."),
    Column::new(
        "Selector",
        "string",
        1,
        "Selector is a label query over pods that should match the replica count. Label keys and values that must match in order to be controlled by this replica set. It must match the pod template's labels. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
    ),
];

fn default(set: &mut ReplicaSet) {
    let spec = set.spec.get_or_insert_default();
    spec.replicas.get_or_insert(1);
    pod::default::template(spec.template.get_or_insert_default());
}

fn validate(value: &Value) -> ErrorList {
    let given = workload::states_selector(value);
    erase::check::<ReplicaSet>(value, |set| {
        let default = ReplicaSetSpec::default();
        validate_spec(set.spec.as_ref().unwrap_or(&default), given)
    })
}

fn validate_spec(spec: &ReplicaSetSpec, selector_given: bool) -> ErrorList {
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    errors.extend(checks::non_negative(spec.replicas.unwrap_or(0).into(), &path.child("replicas")));
    errors.extend(checks::non_negative(spec.min_ready_seconds.unwrap_or(0).into(), &path.child("minReadySeconds")));
    let (faults, selector) =
        workload::selector(selector_given.then_some(&spec.selector), "deployment", &path.child("selector"));
    errors.extend(faults);
    if let Some(selector) = selector {
        let template = spec.template.clone().unwrap_or_default();
        errors.extend(workload::template(&template, &selector, "ReplicaSet", &path.child("template")));
    }
    errors
}

/// Which pods a workload owns is settled when it is made.
pub fn immutable_selector(new: &Value, old: &Value) -> Option<Error> {
    let (new, old) = (new.pointer("/spec/selector"), old.pointer("/spec/selector"));
    let path = Path::new("spec");
    (!semantically_equal(new, old)).then(|| Error::invalid(&path.child("selector"), new, "field is immutable"))
}

fn validate_status(set: &ReplicaSet) -> ErrorList {
    let Some(status) = &set.status else { return ErrorList::new() };
    let mut counts = Counts::new(Path::new("status"));
    counts.non_negative("replicas", Some(status.replicas.into()));
    counts.non_negative("fullyLabeledReplicas", status.fully_labeled_replicas.map(Into::into));
    counts.non_negative("readyReplicas", status.ready_replicas.map(Into::into));
    counts.non_negative("availableReplicas", status.available_replicas.map(Into::into));
    counts.non_negative("terminatingReplicas", status.terminating_replicas.map(Into::into));
    counts.non_negative("observedGeneration", status.observed_generation);
    let all = Some(status.replicas);
    counts.at_most("fullyLabeledReplicas", status.fully_labeled_replicas, all, "status.replicas");
    counts.at_most("readyReplicas", status.ready_replicas, all, "status.replicas");
    counts.at_most("availableReplicas", status.available_replicas, all, "status.replicas");
    counts.at_most("availableReplicas", status.available_replicas, status.ready_replicas, "readyReplicas");
    counts.errors
}
