//! Deployment: replaces the pods of one template by those of the next, a few at a time.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Value, json};

use super::replicaset::immutable_selector;
use crate::core::pod;
use crate::kind::{Column, Deprecated, Hooks, Kind, Scale, Version};
use crate::value::{integer, semantically_equal};
use crate::workload::{self, Counts};
use crate::{cells, checks, erase, internal, names, strategy};

const SCHEMA: &str = "io.k8s.api.apps.v1.Deployment";
const REPLACEMENT: &str = "apps/v1 Deployment";

pub static KIND: Kind = Kind {
    group: "apps",
    kind: "Deployment",
    list_kind: "DeploymentList",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
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
            "apps",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.8", removed: Some("1.16"), replacement: REPLACEMENT },
            default_apps_v1beta1,
        ),
        Version::old(
            "extensions",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.8", removed: Some("1.16"), replacement: REPLACEMENT },
            default_extensions_v1beta1,
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
        let ready = format!("{}/{}", integer(v, "/status/readyReplicas"), integer(v, "/spec/replicas"));
        vec![
            cells::name(v),
            ready.into(),
            integer(v, "/status/updatedReplicas").into(),
            integer(v, "/status/availableReplicas").into(),
            cells::age(v, now),
            cells::container_names(v),
            cells::container_images(v),
            cells::label_selector(v.pointer("/spec/selector")),
        ]
    },
    hooks: Hooks {
        default: |v| workload::keeping_absent_selector(v, |v| erase::mutate::<Deployment>(v, default)),
        validate: |v| workload::checked(v, names::subdomain, validate),
        validate_update: |new, old| workload::checked_update(new, old, validate, immutable_selector),
        ..hooks!(
            Deployment,
            true,
            names::subdomain,
            part {
                prepare_create: strategy::create_with_status,
                prepare_update: prepare_update,
                prepare_status_update: strategy::update_status_keep_labels,
                validate_status_update: validate_status_update,
                warnings: |new: &Deployment, old: Option<&Deployment>| {
                    let template = |d: &Deployment| d.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
                    workload::template_warnings(&template(new), old.map(template).as_ref())
                },
            }
        )
    },
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Ready", "string", 0, "Number of the pod with ready state"),
    Column::new(
        "Up-to-date",
        "string",
        0,
        "Total number of non-terminating pods targeted by this deployment that have the desired template spec.",
    ),
    Column::new(
        "Available",
        "string",
        0,
        "Total number of available non-terminating pods (ready for at least minReadySeconds) targeted by this deployment.",
    ),
    Column::AGE,
    Column::new("Containers", "string", 1, "Names of each container in the template."),
    Column::new("Images", "string", 1, "Images referenced by each container in the template."),
    Column::new(
        "Selector",
        "string",
        1,
        "Label selector for pods. Existing ReplicaSets whose pods are selected by this will be the ones affected by this deployment. It must match the pod template's labels.",
    ),
];

fn default(deployment: &mut Deployment) {
    let spec = deployment.spec.get_or_insert_default();
    spec.replicas.get_or_insert(1);
    spec.revision_history_limit.get_or_insert(10);
    spec.progress_deadline_seconds.get_or_insert(600);
    pod::default::template(&mut spec.template);
    let strategy = spec.strategy.get_or_insert_default();
    if strategy.type_.as_deref().unwrap_or("").is_empty() {
        strategy.type_ = Some("RollingUpdate".to_string());
    }
    if strategy.type_.as_deref() == Some("RollingUpdate") {
        let rolling = strategy.rolling_update.get_or_insert_default();
        rolling.max_unavailable.get_or_insert_with(|| IntOrString::String("25%".to_string()));
        rolling.max_surge.get_or_insert_with(|| IntOrString::String("25%".to_string()));
    }
}

/// The first home's defaults: one pod at a time, no deadline, all revisions kept.
fn default_extensions_v1beta1(object: &mut Value) {
    workload::selector_from_template(object, true);
    workload::default_in_spec(object, "revisionHistoryLimit", i32::MAX.into());
    workload::default_in_spec(object, "progressDeadlineSeconds", i32::MAX.into());
    workload::default_in_spec(object, "strategy", json!({}));
    let Some(strategy) = object.pointer_mut("/spec/strategy").and_then(Value::as_object_mut) else { return };
    if strategy.get("type").and_then(Value::as_str).unwrap_or("").is_empty() {
        strategy.insert("type".to_string(), "RollingUpdate".into());
    }
    if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
        let rolling = strategy.entry("rollingUpdate").or_insert_with(|| json!({}));
        if let Some(rolling) = rolling.as_object_mut() {
            rolling.entry("maxUnavailable").or_insert_with(|| 1.into());
            rolling.entry("maxSurge").or_insert_with(|| 1.into());
        }
    }
}

/// The second home's: today's, but for the selector and fewer revisions.
fn default_apps_v1beta1(object: &mut Value) {
    workload::selector_from_template(object, true);
    workload::default_in_spec(object, "revisionHistoryLimit", 2.into());
}

fn prepare_update(new: &mut Value, old: &Value) {
    strategy::update_spec(new, old);
    // Annotations are handed down to the ReplicaSet, so the controller has to look at them as well.
    let annotations = "/metadata/annotations";
    if !semantically_equal(new.pointer(annotations), old.pointer(annotations)) {
        strategy::set_generation(new, strategy::generation(old) + 1);
    }
}

fn validate(value: &Value) -> ErrorList {
    let given = workload::states_selector(value);
    erase::check::<Deployment>(value, |deployment| {
        let default = DeploymentSpec::default();
        validate_spec(deployment.spec.as_ref().unwrap_or(&default), given)
    })
}

fn validate_spec(spec: &DeploymentSpec, selector_given: bool) -> ErrorList {
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    errors.extend(checks::non_negative(spec.replicas.unwrap_or(0).into(), &path.child("replicas")));
    let (faults, selector) =
        workload::selector(selector_given.then_some(&spec.selector), "deployment", &path.child("selector"));
    errors.extend(faults);
    if let Some(selector) = selector {
        errors.extend(workload::template(&spec.template, &selector, "ReplicaSet", &path.child("template")));
    }
    errors.extend(validate_strategy(spec.strategy.as_ref(), &path.child("strategy")));
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    errors.extend(checks::non_negative(min_ready.into(), &path.child("minReadySeconds")));
    if let Some(limit) = spec.revision_history_limit {
        errors.extend(checks::non_negative(limit.into(), &path.child("revisionHistoryLimit")));
    }
    if let Some(deadline) = spec.progress_deadline_seconds {
        let at = path.child("progressDeadlineSeconds");
        errors.extend(checks::non_negative(deadline.into(), &at));
        if deadline <= min_ready {
            errors.push(Error::invalid(&at, deadline, "must be greater than minReadySeconds"));
        }
    }
    errors
}

fn validate_strategy(strategy: Option<&DeploymentStrategy>, path: &Path) -> ErrorList {
    let Some(strategy) = strategy else { return ErrorList::new() };
    let at = path.child("rollingUpdate");
    match (strategy.type_.as_deref().unwrap_or(""), &strategy.rolling_update) {
        ("Recreate", Some(_)) => {
            vec![Error::forbidden(&at, "may not be specified when strategy `type` is 'Recreate'")]
        }
        ("Recreate", None) => ErrorList::new(),
        ("RollingUpdate", Some(rolling)) => validate_rolling_update(rolling, &at),
        ("RollingUpdate", None) => vec![Error::required(&at, "this should be defaulted and never be nil")],
        _ => {
            let shown = internal::shown("io.k8s.api.apps.v1.DeploymentStrategy", strategy);
            vec![Error::not_supported(path, shown, &["Recreate", "RollingUpdate"])]
        }
    }
}

fn validate_rolling_update(rolling: &RollingUpdateDeployment, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let (unavailable, surge) = (rolling.max_unavailable.as_ref(), rolling.max_surge.as_ref());
    let at = (path.child("maxUnavailable"), path.child("maxSurge"));
    errors.extend(unavailable.map(|v| workload::positive_or_percent(v, &at.0)).unwrap_or_default());
    errors.extend(surge.map(|v| workload::positive_or_percent(v, &at.1)).unwrap_or_default());
    if unavailable.is_none_or(workload::is_zero) && surge.is_none_or(workload::is_zero) {
        errors.push(Error::invalid(&at.0, unavailable, "may not be 0 when `maxSurge` is 0"));
    }
    errors.extend(unavailable.and_then(|v| workload::at_most_all(v, &at.0)));
    errors
}

fn validate_status_update(new: &Deployment, old: &Deployment) -> ErrorList {
    let Some(status) = &new.status else { return ErrorList::new() };
    let mut counts = Counts::new(Path::new("status"));
    counts.non_negative("observedGeneration", status.observed_generation);
    counts.non_negative("replicas", status.replicas.map(Into::into));
    counts.non_negative("updatedReplicas", status.updated_replicas.map(Into::into));
    counts.non_negative("readyReplicas", status.ready_replicas.map(Into::into));
    counts.non_negative("availableReplicas", status.available_replicas.map(Into::into));
    counts.non_negative("unavailableReplicas", status.unavailable_replicas.map(Into::into));
    counts.non_negative("terminatingReplicas", status.terminating_replicas.map(Into::into));
    counts.non_negative("collisionCount", status.collision_count.map(Into::into));
    counts.at_most("updatedReplicas", status.updated_replicas, status.replicas, "status.replicas");
    counts.at_most("readyReplicas", status.ready_replicas, status.replicas, "status.replicas");
    counts.at_most("availableReplicas", status.available_replicas, status.replicas, "status.replicas");
    counts.at_most("availableReplicas", status.available_replicas, status.ready_replicas, "readyReplicas");
    let was = old.status.as_ref().and_then(|s| s.collision_count);
    counts.errors.extend(workload::collisions(status.collision_count, was, &counts.path));
    counts.errors
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::KIND;

    fn defaulted(group: &str, version: &str, spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "d", "namespace": "n"}, "spec": spec});
        let version = KIND.version(group, version).expect("a version of the list");
        if let Some(default) = version.default {
            default(&mut object);
        }
        (KIND.hooks.default)(&mut object).expect("the object is well formed");
        object
    }

    fn template() -> Value {
        json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
    }

    #[test]
    fn the_first_home_selects_by_the_template_and_replaces_one_by_one() {
        let object = defaulted("extensions", "v1beta1", json!({"template": template()}));
        assert_eq!(object["spec"]["selector"], json!({"matchLabels": {"app": "x"}}));
        assert_eq!(object["metadata"]["labels"], json!({"app": "x"}));
        let rolling = json!({"maxSurge": 1, "maxUnavailable": 1});
        assert_eq!(object["spec"]["strategy"], json!({"type": "RollingUpdate", "rollingUpdate": rolling}));
        assert_eq!(object["spec"]["progressDeadlineSeconds"], i32::MAX);
        assert_eq!((KIND.hooks.validate)(&object), []);
    }

    #[test]
    fn the_second_home_keeps_two_revisions() {
        let object = defaulted("apps", "v1beta1", json!({"template": template()}));
        assert_eq!(object["spec"]["revisionHistoryLimit"], 2);
        assert_eq!(object["spec"]["progressDeadlineSeconds"], 600);
        assert_eq!(object["spec"]["selector"], json!({"matchLabels": {"app": "x"}}));
    }

    #[test]
    fn today_a_selector_must_be_given() {
        for version in ["v1", "v1beta2"] {
            let object = defaulted("apps", version, json!({"template": template()}));
            let errors = (KIND.hooks.validate)(&object);
            assert_eq!(errors[0].to_string(), "spec.selector: Required value", "{version}");
        }
    }

    #[test]
    fn recreate_gets_no_rolling_update() {
        let spec = json!({"template": template(), "strategy": {"type": "Recreate"}});
        for (group, version) in [("extensions", "v1beta1"), ("apps", "v1")] {
            let object = defaulted(group, version, spec.clone());
            assert_eq!(object["spec"]["strategy"], json!({"type": "Recreate"}), "{group}/{version}");
        }
    }
}
