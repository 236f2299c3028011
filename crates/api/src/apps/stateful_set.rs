//! StatefulSet: pods with names, volumes and an order of their own.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Value, json};

use crate::core::{persistent_volume_claim, pod};
use crate::kind::{Column, Deprecated, Hooks, Kind, Scale, Version};
use crate::value::{integer, semantically_equal};
use crate::workload::{self, Counts};
use crate::{cells, checks, erase, internal, names, strategy};

const SCHEMA: &str = "io.k8s.api.apps.v1.StatefulSet";
const REPLACEMENT: &str = "apps/v1 StatefulSet";
const ROLLING: &str = "RollingUpdate";
/// The fields of the spec that may change.
const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const IMMUTABLE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
const NEGATIVE_HISTORY: &str =
    "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";

pub static KIND: Kind = Kind {
    group: "apps",
    kind: "StatefulSet",
    list_kind: "StatefulSetList",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
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
            |object| {
                workload::selector_from_template(object, true);
                workload::default_in_spec(object, "updateStrategy", json!({"type": "OnDelete"}));
            },
        ),
    ],
    status: true,
    generation: true,
    scale: Some(Scale {
        spec_replicas: "/spec/replicas",
        status_replicas: "/status/replicas",
        selector: workload::scale_selector,
    }),
    columns: &[
        Column::NAME,
        Column::new("Ready", "string", 0, "Number of the pod with ready state"),
        Column::AGE,
        Column::new("Containers", "string", 1, "Names of each container in the template."),
        Column::new("Images", "string", 1, "Images referenced by each container in the template."),
    ],
    cells: |v, now| {
        vec![
            cells::name(v),
            format!("{}/{}", integer(v, "/status/readyReplicas"), integer(v, "/spec/replicas")).into(),
            cells::age(v, now),
            cells::container_names(v),
            cells::container_images(v),
        ]
    },
    hooks: Hooks {
        default: |v| workload::keeping_absent_selector(v, |v| erase::mutate::<StatefulSet>(v, default)),
        validate: |v| workload::checked(v, names::label, validate),
        validate_update: |new, old| workload::checked_update(new, old, validate, frozen),
        ..hooks!(
            StatefulSet,
            true,
            names::label,
            part {
                prepare_create: |new: &mut Value| {
                    strategy::create_with_status(new);
                    drop_max_unavailable(new, None);
                },
                prepare_update: |new: &mut Value, old: &Value| {
                    drop_max_unavailable(new, Some(old));
                    strategy::update_spec(new, old);
                },
                prepare_status_update: strategy::update_status,
                validate_status_update: validate_status_update,
                warnings: warnings,
            }
        )
    },
    ..Kind::BASE
};

fn default(set: &mut StatefulSet) {
    let spec = set.spec.get_or_insert_default();
    if spec.pod_management_policy.as_deref().unwrap_or("").is_empty() {
        spec.pod_management_policy = Some("OrderedReady".to_string());
    }
    let strategy = spec.update_strategy.get_or_insert_default();
    if strategy.type_.as_deref().unwrap_or("").is_empty() {
        strategy.type_ = Some(ROLLING.to_string());
    }
    if strategy.type_.as_deref() == Some(ROLLING) {
        strategy.rolling_update.get_or_insert_default().partition.get_or_insert(0);
    }
    let policy = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
    for when in [&mut policy.when_deleted, &mut policy.when_scaled] {
        if when.as_deref().unwrap_or("").is_empty() {
            *when = Some("Retain".to_string());
        }
    }
    spec.replicas.get_or_insert(1);
    spec.revision_history_limit.get_or_insert(10);
    pod::default::template(&mut spec.template);
    for claim in spec.volume_claim_templates.iter_mut().flatten() {
        claim.status.get_or_insert_default().phase.get_or_insert_with(|| "Pending".to_string());
        persistent_volume_claim::default_spec(claim.spec.get_or_insert_default());
    }
}

/// How many may be unavailable at once is behind a switch that is off.
fn drop_max_unavailable(new: &mut Value, old: Option<&Value>) {
    let pointer = "/spec/updateStrategy/rollingUpdate";
    let used = old.and_then(|old| old.pointer(pointer)).is_some_and(|rolling| !rolling["maxUnavailable"].is_null());
    if !used && let Some(rolling) = new.pointer_mut(pointer).and_then(Value::as_object_mut) {
        rolling.shift_remove("maxUnavailable");
    }
}

fn validate(value: &Value) -> ErrorList {
    let given = workload::states_selector(value);
    erase::check::<StatefulSet>(value, |set| {
        let default = StatefulSetSpec::default();
        validate_spec(set.spec.as_ref().unwrap_or(&default), given)
    })
}

fn validate_spec(spec: &StatefulSetSpec, selector_given: bool) -> ErrorList {
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    let policy = spec.pod_management_policy.as_deref().unwrap_or("");
    match policy {
        "" => errors.push(Error::required(&path.child("podManagementPolicy"), "")),
        "OrderedReady" | "Parallel" => {}
        _ => {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            errors.push(Error::invalid(&path.child("podManagementPolicy"), policy, detail));
        }
    }
    errors.extend(validate_strategy(spec.update_strategy.as_ref(), &path.child("updateStrategy")));
    if let Some(policy) = &spec.persistent_volume_claim_retention_policy {
        let at = path.child("persistentVolumeClaimRetentionPolicy");
        for (name, when) in [("whenDeleted", &policy.when_deleted), ("whenScaled", &policy.when_scaled)] {
            if !matches!(when.as_deref(), Some("Retain" | "Delete")) {
                errors.push(Error::not_supported(&at.child(name), when.as_deref(), &["Retain", "Delete"]));
            }
        }
    }
    errors.extend(checks::non_negative(spec.replicas.unwrap_or(0).into(), &path.child("replicas")));
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    errors.extend(checks::non_negative(min_ready.into(), &path.child("minReadySeconds")));
    if let Some(ordinals) = &spec.ordinals {
        let at = path.child("ordinals");
        errors.extend(checks::non_negative(ordinals.start.unwrap_or(0).into(), &at.child("start")));
    }
    let selector = selector_given.then_some(&spec.selector);
    let (faults, selector) = workload::selector(selector, "statefulset", &path.child("selector"));
    errors.extend(faults);
    if let Some(selector) = selector {
        errors.extend(workload::template(&with_claims(spec), &selector, "StatefulSet", &path.child("template")));
    }
    let claims = path.child("volumeClaimTemplates");
    for (at, claim) in spec.volume_claim_templates.iter().flatten().enumerate() {
        errors.extend(validate_claim(claim, &claims.index(at)));
    }
    if let Some(service) = spec.service_name.as_deref().filter(|service| !service.is_empty()) {
        errors.extend(checks::dns_label(service, &path.child("serviceName")));
    }
    errors
}

/// The template as its pods will be: each claim is a volume that containers may mount.
fn with_claims(spec: &StatefulSetSpec) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    let Some(pod) = &mut template.spec else { return template };
    let volumes = pod.volumes.get_or_insert_default();
    for name in spec.volume_claim_templates.iter().flatten().filter_map(|claim| claim.metadata.name.clone()) {
        if volumes.iter().all(|volume| volume.name != name) {
            let claim = PersistentVolumeClaimVolumeSource { claim_name: name.clone(), read_only: None };
            volumes.push(Volume { name, persistent_volume_claim: Some(claim), ..Volume::default() });
        }
    }
    template
}

fn validate_claim(claim: &PersistentVolumeClaim, path: &Path) -> ErrorList {
    pod::volumes::claim_spec(&claim.spec.clone().unwrap_or_default(), &path.child("spec"))
}

fn validate_strategy(strategy: Option<&StatefulSetUpdateStrategy>, path: &Path) -> ErrorList {
    let Some(strategy) = strategy else { return ErrorList::new() };
    let at = path.child("rollingUpdate");
    match (strategy.type_.as_deref().unwrap_or(""), &strategy.rolling_update) {
        ("", _) => vec![Error::required(path, "")],
        ("OnDelete", Some(rolling)) => {
            let shown = internal::shown("io.k8s.api.apps.v1.RollingUpdateStatefulSetStrategy", rolling);
            vec![Error::invalid(&at, shown, "only allowed for updateStrategy 'RollingUpdate'")]
        }
        (ROLLING, Some(rolling)) => {
            let partition = rolling.partition.unwrap_or(0);
            checks::non_negative(partition.into(), &at.child("partition")).into_iter().collect()
        }
        ("OnDelete" | ROLLING, None) => ErrorList::new(),
        _ => {
            let shown = internal::shown("io.k8s.api.apps.v1.StatefulSetUpdateStrategy", strategy);
            vec![Error::invalid(path, shown, "must be 'RollingUpdate' or 'OnDelete'")]
        }
    }
}

/// What names the pods and their volumes is settled when the set is made.
fn frozen(new: &Value, old: &Value) -> Option<Error> {
    let rest = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        if let Some(spec) = spec.as_object_mut() {
            spec.retain(|field, _| !MUTABLE.contains(&field.as_str()));
        }
        spec
    };
    (!semantically_equal(Some(&rest(new)), Some(&rest(old)))).then(|| Error::forbidden(&Path::new("spec"), IMMUTABLE))
}

fn validate_status_update(new: &StatefulSet, old: &StatefulSet) -> ErrorList {
    let Some(status) = &new.status else { return ErrorList::new() };
    let mut counts = Counts::new(Path::new("status"));
    counts.non_negative("replicas", Some(status.replicas.into()));
    counts.non_negative("readyReplicas", status.ready_replicas.map(Into::into));
    counts.non_negative("currentReplicas", status.current_replicas.map(Into::into));
    counts.non_negative("updatedReplicas", status.updated_replicas.map(Into::into));
    counts.non_negative("availableReplicas", status.available_replicas.map(Into::into));
    counts.non_negative("observedGeneration", status.observed_generation);
    counts.non_negative("collisionCount", status.collision_count.map(Into::into));
    let all = Some(status.replicas);
    counts.at_most("readyReplicas", status.ready_replicas, all, "status.replicas");
    counts.at_most("currentReplicas", status.current_replicas, all, "status.replicas");
    counts.at_most("updatedReplicas", status.updated_replicas, all, "status.replicas");
    counts.at_most("availableReplicas", status.available_replicas, all, "status.replicas");
    counts.at_most("availableReplicas", status.available_replicas, status.ready_replicas, "status.readyReplicas");
    let was = old.status.as_ref().and_then(|s| s.collision_count);
    counts.errors.extend(workload::collisions(status.collision_count, was, &counts.path));
    counts.errors
}

fn warnings(new: &StatefulSet, old: Option<&StatefulSet>) -> Vec<String> {
    let template = |set: &StatefulSet| set.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let mut warnings = workload::template_warnings(&template(new), old.map(template).as_ref());
    if new.spec.as_ref().and_then(|s| s.revision_history_limit).is_some_and(|limit| limit < 0) {
        warnings.push(NEGATIVE_HISTORY.to_string());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(change: impl FnOnce(&mut Value)) -> Value {
        let mut object = json!({"metadata": {"name": "s", "namespace": "n", "resourceVersion": "1"}, "spec": {"serviceName": "svc",
            "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}},
                "spec": {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}});
        change(&mut object);
        (KIND.hooks.default)(&mut object).expect("the object is well formed");
        (KIND.hooks.prepare_create)(&mut object).expect("the object is well formed");
        object
    }

    fn texts(errors: &[Error]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn containers_mount_what_the_set_claims() {
        assert_eq!((KIND.hooks.validate)(&defaulted(|_| {})), []);
        let errors = (KIND.hooks.validate)(&defaulted(|set| {
            set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] = "other".into();
        }));
        assert_eq!(texts(&errors), ["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\""]);
    }

    #[test]
    fn a_few_fields_may_change() {
        let old = defaulted(|_| {});
        let allowed = defaulted(|set| {
            set["spec"]["replicas"] = 3.into();
            set["spec"]["ordinals"] = json!({"start": 2});
            set["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
        });
        assert_eq!((KIND.hooks.validate_update)(&allowed, &old), []);
        assert!(allowed["spec"]["updateStrategy"]["rollingUpdate"].get("maxUnavailable").is_none(), "it is off");
        for field in ["serviceName", "podManagementPolicy"] {
            let changed = defaulted(|set| set["spec"][field] = "Parallel".into());
            let errors = texts(&(KIND.hooks.validate_update)(&changed, &old));
            assert!(errors.last().is_some_and(|error| error.ends_with(IMMUTABLE)), "{field}: {errors:?}");
        }
    }
}
