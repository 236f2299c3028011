//! DaemonSet: one pod of a template on each node that fits.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use machinery::field::{Error, ErrorList, Path};
use machinery::labels::Selector;
use serde_json::{Value, json};

use super::replicaset::immutable_selector;
use crate::core::pod;
use crate::kind::{Column, Deprecated, Hooks, Kind, Version};
use crate::value::{integer, semantically_equal};
use crate::workload::{self, Counts};
use crate::{cells, checks, erase, internal, names, strategy};

const SCHEMA: &str = "io.k8s.api.apps.v1.DaemonSet";
const REPLACEMENT: &str = "apps/v1 DaemonSet";
/// How often the template has changed. The oldest version had a field for it.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub static KIND: Kind = Kind {
    group: "apps",
    kind: "DaemonSet",
    list_kind: "DaemonSetList",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
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
            |object| {
                workload::selector_from_template(object, true);
                workload::default_in_spec(object, "updateStrategy", json!({"type": "OnDelete"}));
            },
        ),
    ],
    status: true,
    generation: true,
    columns: COLUMNS,
    cells: |v, now| {
        vec![
            cells::name(v),
            integer(v, "/status/desiredNumberScheduled").into(),
            integer(v, "/status/currentNumberScheduled").into(),
            integer(v, "/status/numberReady").into(),
            integer(v, "/status/updatedNumberScheduled").into(),
            integer(v, "/status/numberAvailable").into(),
            cells::label_set(v.pointer("/spec/template/spec/nodeSelector")),
            cells::age(v, now),
            cells::container_names(v),
            cells::container_images(v),
            cells::label_selector(v.pointer("/spec/selector")),
        ]
    },
    hooks: Hooks {
        default: |v| workload::keeping_absent_selector(v, |v| erase::mutate::<DaemonSet>(v, default)),
        validate: |v| workload::checked(v, names::subdomain, validate),
        validate_update: |new, old| workload::checked_update(new, old, validate, immutable_selector),
        ..hooks!(
            DaemonSet,
            true,
            names::subdomain,
            part {
                prepare_create: |new: &mut Value| {
                    strategy::create_with_status(new);
                    set_template_generation(new, template_generation(new).max(1));
                },
                prepare_update: prepare_update,
                prepare_status_update: strategy::update_status,
                validate_status_update: validate_status_update,
                warnings: |new: &DaemonSet, old: Option<&DaemonSet>| {
                    let template = |set: &DaemonSet| set.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
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
        "The total number of nodes that should be running the daemon pod (including nodes correctly running the daemon pod). More info: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
    ),
    Column::new(
        "Current",
        "integer",
        0,
        "The number of nodes that are running at least 1 daemon pod and are supposed to run the daemon pod. More info: https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/",
    ),
    Column::new(
        "Ready",
        "integer",
        0,
        "numberReady is the number of nodes that should be running the daemon pod and have one or more of the daemon pod running with a Ready Condition.",
    ),
    Column::new("Up-to-date", "integer", 0, "The total number of nodes that are running updated daemon pod"),
    Column::new(
        "Available",
        "integer",
        0,
        "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and available (ready for at least spec.minReadySeconds)",
    ),
    Column::new(
        "Node Selector",
        "string",
        0,
        "NodeSelector is a selector which must be true for the pod to fit on a node. Selector which must match a node's labels for the pod to be scheduled on that node. More info: https://kubernetes.io/docs/concepts/configuration/assign-pod-node/",
    ),
    Column::AGE,
    Column::new("Containers", "string", 1, "Names of each container in the template."),
    Column::new("Images", "string", 1, "Images referenced by each container in the template."),
    Column::new(
        "Selector",
        "string",
        1,
        "A label query over pods that are managed by the daemon set. Must match in order to be controlled. It must match the pod template's labels. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
    ),
];

fn default(set: &mut DaemonSet) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.entry(TEMPLATE_GENERATION.to_string()).or_insert_with(|| "1".to_string());
    let spec = set.spec.get_or_insert_default();
    pod::default::template(&mut spec.template);
    let strategy = spec.update_strategy.get_or_insert_default();
    if strategy.type_.as_deref().unwrap_or("").is_empty() {
        strategy.type_ = Some("RollingUpdate".to_string());
    }
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_default();
        rolling.max_unavailable.get_or_insert(IntOrString::Int(1));
        rolling.max_surge.get_or_insert(IntOrString::Int(0));
    }
    spec.revision_history_limit.get_or_insert(10);
}

fn template_generation(set: &Value) -> i64 {
    let annotation = set["metadata"]["annotations"][TEMPLATE_GENERATION].as_str();
    annotation.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn set_template_generation(set: &mut Value, generation: i64) {
    set["metadata"]["annotations"][TEMPLATE_GENERATION] = generation.to_string().into();
}

/// Another template counts on its own, and needs the controller to look like any other change.
fn prepare_update(new: &mut Value, old: &Value) {
    strategy::update_spec(new, old);
    let changed = !semantically_equal(new.pointer("/spec/template"), old.pointer("/spec/template"));
    set_template_generation(new, template_generation(old) + i64::from(changed));
}

fn validate(value: &Value) -> ErrorList {
    let given = workload::states_selector(value);
    erase::check::<DaemonSet>(value, |set| {
        let default = DaemonSetSpec::default();
        validate_spec(set.spec.as_ref().unwrap_or(&default), given)
    })
}

fn validate_spec(spec: &DaemonSetSpec, selector_given: bool) -> ErrorList {
    let path = Path::new("spec");
    let template = path.child("template");
    let mut errors = validate_selector(spec, selector_given, &path);
    errors.extend(workload::lasting_template(&spec.template, "DaemonSet", &template));
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    errors.extend(checks::non_negative(min_ready.into(), &path.child("minReadySeconds")));
    errors.extend(validate_strategy(spec.update_strategy.as_ref(), &path.child("updateStrategy")));
    if let Some(limit) = spec.revision_history_limit {
        errors.extend(checks::non_negative(limit.into(), &path.child("revisionHistoryLimit")));
    }
    errors
}

/// Unlike with its siblings, no selector at all is only wrong in that it finds nothing.
fn validate_selector(spec: &DaemonSetSpec, given: bool, path: &Path) -> ErrorList {
    let mut errors = checks::label_selector(&spec.selector, &path.child("selector"));
    let selector = match serde_json::to_value(&spec.selector) {
        Ok(value) if given => Selector::from_label_selector(&value).ok(),
        _ => Some(Selector::nothing()),
    };
    let template = path.child("template");
    errors.extend(selector.and_then(|s| workload::unmatched_labels(&spec.template, &s, &template)));
    if given && spec.selector == LabelSelector::default() {
        let detail = "empty selector is invalid for daemonset";
        errors.push(Error::invalid(&path.child("selector"), &spec.selector, detail));
    }
    errors
}

fn validate_strategy(strategy: Option<&DaemonSetUpdateStrategy>, path: &Path) -> ErrorList {
    let Some(strategy) = strategy else { return ErrorList::new() };
    let at = path.child("rollingUpdate");
    match (strategy.type_.as_deref().unwrap_or(""), &strategy.rolling_update) {
        ("OnDelete", _) => ErrorList::new(),
        ("RollingUpdate", Some(rolling)) => validate_rolling_update(rolling, &at),
        ("RollingUpdate", None) => vec![Error::required(&at, "")],
        _ => {
            let shown = internal::shown("io.k8s.api.apps.v1.DaemonSetUpdateStrategy", strategy);
            vec![Error::not_supported(path, shown, &["RollingUpdate", "OnDelete"])]
        }
    }
}

fn validate_rolling_update(rolling: &RollingUpdateDaemonSet, path: &Path) -> ErrorList {
    let zero = IntOrString::Int(0);
    let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
    let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
    let at = (path.child("maxUnavailable"), path.child("maxSurge"));
    let mut errors = workload::positive_or_percent(unavailable, &at.0);
    errors.extend(workload::positive_or_percent(surge, &at.1));
    match (workload::is_zero(unavailable), workload::is_zero(surge)) {
        (false, false) => {
            errors.push(Error::invalid(&at.1, surge, "may not be set when maxUnavailable is non-zero"));
        }
        (true, true) => errors.push(Error::required(&at.0, "cannot be 0 when maxSurge is 0")),
        _ => {}
    }
    errors.extend(workload::at_most_all(unavailable, &at.0));
    errors.extend(workload::at_most_all(surge, &at.1));
    errors
}

fn validate_status_update(new: &DaemonSet, old: &DaemonSet) -> ErrorList {
    let Some(status) = &new.status else { return ErrorList::new() };
    let mut counts = Counts::new(Path::new("status"));
    counts.non_negative("currentNumberScheduled", Some(status.current_number_scheduled.into()));
    counts.non_negative("numberMisscheduled", Some(status.number_misscheduled.into()));
    counts.non_negative("desiredNumberScheduled", Some(status.desired_number_scheduled.into()));
    counts.non_negative("numberReady", Some(status.number_ready.into()));
    counts.non_negative("observedGeneration", status.observed_generation);
    counts.non_negative("updatedNumberScheduled", status.updated_number_scheduled.map(Into::into));
    counts.non_negative("numberAvailable", status.number_available.map(Into::into));
    counts.non_negative("numberUnavailable", status.number_unavailable.map(Into::into));
    counts.non_negative("collisionCount", status.collision_count.map(Into::into));
    let was = old.status.as_ref().and_then(|s| s.collision_count);
    counts.errors.extend(workload::collisions(status.collision_count, was, &counts.path));
    counts.errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "d", "namespace": "n"}, "spec": spec});
        (KIND.hooks.default)(&mut object).expect("the object is well formed");
        (KIND.hooks.prepare_create)(&mut object).expect("the object is well formed");
        object
    }

    fn spec(image: &str) -> Value {
        json!({"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "image": image}]}}})
    }

    #[test]
    fn another_template_counts_twice_and_other_changes_once() {
        let old = defaulted(spec("i:1"));
        let mut new = defaulted(spec("i:2"));
        (KIND.hooks.prepare_update)(&mut new, &old).expect("prepared");
        assert_eq!((strategy::generation(&new), template_generation(&new)), (2, 2));
        let mut later = new.clone();
        later["spec"]["minReadySeconds"] = 5.into();
        later["metadata"]["annotations"] = json!({TEMPLATE_GENERATION: "77"});
        (KIND.hooks.prepare_update)(&mut later, &new).expect("prepared");
        assert_eq!((strategy::generation(&later), template_generation(&later)), (3, 2));
        assert_eq!((KIND.hooks.validate)(&later), []);
    }

    #[test]
    fn without_a_selector_nothing_matches() {
        let mut object = spec("i:1");
        object.as_object_mut().expect("an object").remove("selector");
        let errors: Vec<_> = (KIND.hooks.validate)(&defaulted(object)).iter().map(ToString::to_string).collect();
        let wanted = "spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`";
        assert_eq!(errors, [wanted]);
    }
}
