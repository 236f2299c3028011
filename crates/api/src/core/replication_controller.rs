//! ReplicationController: the first of the workloads; a ReplicaSet whose selector is a plain label set.

use k8s_openapi::api::core::v1::{ReplicationController, ReplicationControllerSpec};
use machinery::field::{Error, ErrorList, Path};
use machinery::labels::Selector;
use serde_json::Value;

use super::pod;
use crate::kind::{Column, FieldSelectorStyle, Hooks, Kind, Scale, SelectableField, Version};
use crate::value::integer;
use crate::workload::{self, Counts};
use crate::{cells, checks, erase, names, strategy};

pub static KIND: Kind = Kind {
    kind: "ReplicationController",
    list_kind: "ReplicationControllerList",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.ReplicationController")],
    status: true,
    generation: true,
    orphan_by_default: true,
    scale: Some(Scale {
        spec_replicas: "/spec/replicas",
        status_replicas: "/status/replicas",
        selector: |v| cells::joined_labels(v.pointer("/spec/selector").and_then(Value::as_object)),
    }),
    selectable_fields: &[SelectableField {
        label: "status.replicas",
        value: |v| integer(v, "/status/replicas").to_string(),
    }],
    field_selector_style: FieldSelectorStyle::NotSupported,
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
            cells::label_set(v.pointer("/spec/selector")),
        ]
    },
    hooks: Hooks {
        default: |v| {
            workload::selector_from_template(v, false);
            erase::mutate::<ReplicationController>(v, default)
        },
        ..hooks!(
            ReplicationController,
            true,
            names::subdomain,
            part {
                prepare_create: strategy::create_with_status,
                prepare_update: strategy::update_spec,
                prepare_status_update: strategy::update_status,
                validate: validate,
                validate_update: |new, _old| validate(new),
                validate_status_update: |new: &ReplicationController, _old: &ReplicationController| validate_status(
                    new
                ),
                warnings: |new: &ReplicationController, old: Option<&ReplicationController>| {
                    let template = |rc: &ReplicationController| {
                        rc.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default()
                    };
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
        "Replicas is the number of desired replicas. This is a pointer to distinguish between explicit zero and unspecified. Defaults to 1. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller#what-is-a-replicationcontroller",
    ),
    Column::new(
        "Current",
        "integer",
        0,
        "Replicas is the most recently observed number of replicas. More info: https://kubernetes.io/docs/concepts/workloads/controllers/replicationcontroller#what-is-a-replicationcontroller",
    ),
    Column::new("Ready", "integer", 0, "The number of ready replicas for this replication controller."),
    Column::AGE,
    Column::new("Containers", "string", 1, "Names of each container in the template."),
    Column::new("Images", "string", 1, "Images referenced by each container in the template."),
    Column::new(
        "Selector",
        "string",
        1,
        "Selector is a label query over pods that should match the Replicas count. If Selector is empty, it is defaulted to the labels present on the Pod template. Label keys and values that must match in order to be controlled by this replication controller, if empty defaulted to labels on Pod template. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
    ),
];

fn default(controller: &mut ReplicationController) {
    let spec = controller.spec.get_or_insert_default();
    spec.replicas.get_or_insert(1);
    if let Some(template) = &mut spec.template {
        pod::default::template(template);
    }
}

fn validate(controller: &ReplicationController) -> ErrorList {
    let default = ReplicationControllerSpec::default();
    let spec = controller.spec.as_ref().unwrap_or(&default);
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    errors.extend(checks::non_negative(spec.min_ready_seconds.unwrap_or(0).into(), &path.child("minReadySeconds")));
    let selector = spec.selector.clone().unwrap_or_default();
    if selector.is_empty() {
        errors.push(Error::required(&path.child("selector"), ""));
    }
    match spec.replicas {
        None => errors.push(Error::required(&path.child("replicas"), "")),
        Some(replicas) => errors.extend(checks::non_negative(replicas.into(), &path.child("replicas"))),
    }
    let at = path.child("template");
    match &spec.template {
        None => errors.push(Error::required(&at, "")),
        Some(template) => {
            let selector = Selector::from_map(selector.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            errors.extend(workload::template(template, &selector, "ReplicationController", &at));
        }
    }
    errors
}

fn validate_status(controller: &ReplicationController) -> ErrorList {
    let Some(status) = &controller.status else { return ErrorList::new() };
    let mut counts = Counts::new(Path::new("status"));
    counts.non_negative("replicas", Some(status.replicas.into()));
    counts.non_negative("fullyLabeledReplicas", status.fully_labeled_replicas.map(Into::into));
    counts.non_negative("readyReplicas", status.ready_replicas.map(Into::into));
    counts.non_negative("availableReplicas", status.available_replicas.map(Into::into));
    counts.non_negative("observedGeneration", status.observed_generation);
    let all = Some(status.replicas);
    counts.at_most("fullyLabeledReplicas", status.fully_labeled_replicas, all, "status.replicas");
    counts.at_most("readyReplicas", status.ready_replicas, all, "status.replicas");
    counts.at_most("availableReplicas", status.available_replicas, all, "status.replicas");
    counts.at_most("availableReplicas", status.available_replicas, status.ready_replicas, "readyReplicas");
    counts.errors
}
