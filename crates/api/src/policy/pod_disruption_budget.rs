//! PodDisruptionBudget: how many of some pods may be away at once for reasons of somebody's choice.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Value, json};

use crate::kind::{Column, Convert, Deprecated, Kind, Version};
use crate::value::integer;
use crate::workload::{self, Counts};
use crate::{cells, checks, internal, names, strategy};

const SCHEMA: &str = "io.k8s.api.policy.v1.PodDisruptionBudget";
const POLICIES: &[&str] = &["AlwaysAllow", "IfHealthyBudget"];
/// No pod has it, so a selector that wants it selects none.
const NO_POD: &str = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match";

pub static KIND: Kind = Kind {
    group: "policy",
    kind: "PodDisruptionBudget",
    list_kind: "PodDisruptionBudgetList",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    versions: &[
        Version::stored("v1", SCHEMA),
        Version {
            convert: Some(Convert { to_storage, from_storage }),
            ..Version::old(
                "policy",
                "v1beta1",
                SCHEMA,
                Deprecated { since: "1.21", removed: Some("1.25"), replacement: "policy/v1 PodDisruptionBudget" },
                |_| {},
            )
        },
    ],
    status: true,
    generation: true,
    unconditional_update: false,
    columns: &[
        Column::NAME,
        Column::new("Min Available", "string", 0, "The minimum number of pods that must be available."),
        Column::new("Max Unavailable", "string", 0, "The maximum number of pods that may be unavailable."),
        Column::new(
            "Allowed Disruptions",
            "integer",
            0,
            "Calculated number of pods that may be disrupted at this time.",
        ),
        Column::AGE,
    ],
    cells: |v, now| {
        vec![
            cells::name(v),
            number_or_share(v.pointer("/spec/minAvailable")),
            number_or_share(v.pointer("/spec/maxUnavailable")),
            integer(v, "/status/disruptionsAllowed").into(),
            cells::age(v, now),
        ]
    },
    hooks: hooks!(
        PodDisruptionBudget,
        true,
        names::path_segment,
        generic_none {
            prepare_create: strategy::create_with_status,
            prepare_update: strategy::update_spec,
            prepare_status_update: strategy::update_status,
            validate: validate,
            validate_update: |new, _old| validate(new),
            validate_status_update: |new: &PodDisruptionBudget, _old: &PodDisruptionBudget| validate_status(new),
        }
    ),
    ..Kind::BASE
};

fn number_or_share(value: Option<&Value>) -> Value {
    match value {
        Some(Value::String(text)) => text.clone().into(),
        Some(Value::Number(number)) => number.to_string().into(),
        _ => "N/A".into(),
    }
}

/// In the old version an empty selector was no pod, today it is every pod. Each is written in the other's words.
fn to_storage(budget: &mut Value) {
    replace_selector(budget, &[(json!({}), by_label("Exists")), (by_label("DoesNotExist"), json!({}))]);
    set_api_version(budget, "policy/v1");
}

fn from_storage(budget: &mut Value) {
    replace_selector(budget, &[(by_label("Exists"), json!({})), (json!({}), by_label("DoesNotExist"))]);
    set_api_version(budget, "policy/v1beta1");
}

fn replace_selector(budget: &mut Value, replacements: &[(Value, Value)]) {
    let Some(selector) = budget.pointer_mut("/spec/selector") else { return };
    if let Some((_, new)) = replacements.iter().find(|(old, _)| old == selector) {
        *selector = new.clone();
    }
}

fn by_label(operator: &str) -> Value {
    json!({"matchExpressions": [{"key": NO_POD, "operator": operator}]})
}

fn set_api_version(budget: &mut Value, version: &str) {
    if let Some(budget) = budget.as_object_mut() {
        budget.insert("apiVersion".to_string(), version.into());
    }
}

fn validate(budget: &PodDisruptionBudget) -> ErrorList {
    let default = PodDisruptionBudgetSpec::default();
    let (spec, path) = (budget.spec.as_ref().unwrap_or(&default), Path::new("spec"));
    let mut errors = ErrorList::new();
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        let shown = internal::shown("io.k8s.api.policy.v1.PodDisruptionBudgetSpec", spec);
        errors.push(Error::invalid(&path, shown, "minAvailable and maxUnavailable cannot be both set"));
    }
    for (name, value) in [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)] {
        if let Some(value) = value {
            errors.extend(workload::positive_or_percent(value, &path.child(name)));
            errors.extend(workload::at_most_all(value, &path.child(name)));
        }
    }
    if let Some(selector) = &spec.selector {
        errors.extend(checks::label_selector(selector, &path.child("selector")));
    }
    let policy = spec.unhealthy_pod_eviction_policy.as_deref();
    if let Some(policy) = policy.filter(|policy| !POLICIES.contains(policy)) {
        errors.push(Error::not_supported(&path.child("unhealthyPodEvictionPolicy"), policy, POLICIES));
    }
    errors
}

fn validate_status(budget: &PodDisruptionBudget) -> ErrorList {
    let Some(status) = &budget.status else { return ErrorList::new() };
    let mut counts = Counts::new(Path::new("status"));
    counts.non_negative("disruptionsAllowed", status.disruptions_allowed.map(Into::into));
    counts.non_negative("currentHealthy", status.current_healthy.map(Into::into));
    counts.non_negative("desiredHealthy", status.desired_healthy.map(Into::into));
    counts.non_negative("expectedPods", status.expected_pods.map(Into::into));
    counts.errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_selector_of_the_old_version_still_selects_nothing() {
        let old =
            KIND.version("policy", "v1beta1").and_then(|version| version.convert.as_ref()).expect("the old version");
        let mut budget = json!({"spec": {"selector": {}}});
        (old.to_storage)(&mut budget);
        assert_eq!(budget["spec"]["selector"]["matchExpressions"][0]["operator"], "Exists");
        (old.from_storage)(&mut budget);
        assert_eq!(budget, json!({"spec": {"selector": {}}, "apiVersion": "policy/v1beta1"}));
        for selector in [json!({"matchLabels": {"a": "b"}}), json!({})] {
            let mut budget = json!({"spec": {"selector": selector}});
            (old.from_storage)(&mut budget);
            (old.to_storage)(&mut budget);
            assert_eq!(budget["spec"]["selector"], selector, "what was made today is the same after a detour");
        }
    }

    #[test]
    fn shares_are_at_most_everything_and_policies_known() {
        let budget = json!({"metadata": {"name": "b", "namespace": "n"},
            "spec": {"maxUnavailable": "101%", "unhealthyPodEvictionPolicy": "Odd"}});
        let errors: Vec<_> = (KIND.hooks.validate)(&budget).iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
                "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Odd\": supported values: \"AlwaysAllow\", \
                 \"IfHealthyBudget\""
            ]
        );
    }
}
