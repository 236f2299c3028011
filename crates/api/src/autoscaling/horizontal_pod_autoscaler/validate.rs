//! What is wrong with an autoscaler.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, CrossVersionObjectReference, ExternalMetricSource, HPAScalingPolicy,
    HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec, MetricTarget,
    ObjectMetricSource, PodsMetricSource,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use machinery::field::{Error, ErrorList, Path};
use machinery::names as rules;

use crate::checks;
use crate::core::pod::resources;

const POLICIES: &[&str] = &["Percent", "Pods"];
const SELECT_POLICIES: &[&str] = &["Disabled", "Max", "Min"];
const SOURCES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
const WINDOW_SECONDS_MAX: i32 = 3600;
const PERIOD_SECONDS_MAX: i32 = 1800;
const BOTH_TARGETS: &str = "may not set both a target raw value and a target utilization";

pub fn autoscaler(new: &HorizontalPodAutoscaler, old: Option<&HorizontalPodAutoscaler>) -> ErrorList {
    let (spec, path) = (&new.spec, Path::new("spec"));
    let old = old.map(|old| &old.spec);
    let mut errors = ErrorList::new();
    // None at all is behind a switch that is off; who has it already keeps it.
    let least = if old.and_then(|old| old.min_replicas) == Some(0) { 0 } else { 1 };
    if let Some(min) = spec.min_replicas.filter(|min| *min < least) {
        let detail = format!("must be greater than or equal to {least}");
        errors.push(Error::invalid(&path.child("minReplicas"), min, detail));
    }
    let max = spec.max_replicas;
    if max < 1 {
        errors.push(Error::required(&path.child("maxReplicas"), "must be set and greater than 0"));
    }
    if spec.min_replicas.is_some_and(|min| max < min) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(Error::invalid(&path.child("maxReplicas"), max, detail));
    }
    let target = &spec.scale_target_ref;
    let same = |old: &CrossVersionObjectReference| (&old.api_version, &old.kind) == (&target.api_version, &target.kind);
    let groups = match old {
        Some(old) if same(&old.scale_target_ref) => Groups::Unchecked,
        // The one kind of the core group that can be scaled.
        _ if target.kind == "ReplicationController" => Groups::Any,
        _ => Groups::Named,
    };
    errors.extend(reference(target, groups, &path.child("scaleTargetRef")));
    errors.extend(metrics(spec, old, &path.child("metrics")));
    if let Some(behavior) = &spec.behavior {
        let path = path.child("behavior");
        for (field, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
            errors.extend(rules.iter().flat_map(|rules| scaling_rules(rules, &path.child(field))));
        }
    }
    errors
}

pub fn status(new: &HorizontalPodAutoscaler) -> ErrorList {
    let Some(status) = &new.status else { return ErrorList::new() };
    let path = Path::new("status");
    let current = status.current_replicas.unwrap_or(0);
    let mut errors: ErrorList =
        checks::non_negative(current.into(), &path.child("currentReplicas")).into_iter().collect();
    errors.extend(checks::non_negative(status.desired_replicas.into(), &path.child("desiredReplicas")));
    errors
}

/// What a reference may say in its apiVersion.
#[derive(Clone, Copy, PartialEq)]
enum Groups {
    /// It was there before, whatever it is.
    Unchecked,
    /// Any group, the core group too.
    Any,
    /// A group with a name.
    Named,
}

fn reference(to: &CrossVersionObjectReference, groups: Groups, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (field, value) in [("kind", &to.kind), ("name", &to.name)] {
        let at = path.child(field);
        if value.is_empty() {
            errors.push(Error::required(&at, ""));
        } else {
            errors.extend(checks::each(&at, value, rules::path_segment_name(value)));
        }
    }
    let version = to.api_version.as_deref().unwrap_or("");
    let fault = match version.matches('/').count() {
        _ if groups == Groups::Unchecked => None,
        // A slash alone counts for nothing.
        _ if version.is_empty() || version == "/" => Some("apiVersion must specify API group".to_string()),
        0 => Some("apiVersion must specify API group".to_string()),
        1 if version.starts_with('/') => Some("apiVersion must specify API group".to_string()),
        1 => None,
        _ => Some(format!("unexpected GroupVersion string: {version}")),
    };
    if let Some(fault) = fault.filter(|fault| groups == Groups::Named || fault.starts_with("unexpected")) {
        errors.push(Error::invalid(&path.child("apiVersion"), version, fault));
    }
    errors
}

fn metrics(spec: &HorizontalPodAutoscalerSpec, old: Option<&HorizontalPodAutoscalerSpec>, path: &Path) -> ErrorList {
    let given = spec.metrics.as_deref().unwrap_or_default();
    let old = old.and_then(|old| old.metrics.as_deref()).unwrap_or_default();
    let known = |metric: &MetricSpec| {
        let described = |metric: &MetricSpec| metric.object.as_ref().map(|object| object.described_object.clone());
        described(metric).is_some_and(|object| old.iter().any(|old| described(old).as_ref() == Some(&object)))
    };
    let each = given.iter().enumerate();
    let mut errors: ErrorList = each
        .flat_map(|(at, metric)| {
            let groups = if known(metric) { Groups::Unchecked } else { Groups::Any };
            validate_metric(metric, groups, &path.index(at))
        })
        .collect();
    let outside = |metric: &MetricSpec| matches!(metric.type_.as_str(), "Object" | "External");
    if spec.min_replicas == Some(0) && !given.iter().any(outside) {
        let detail = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(Error::forbidden(path, detail));
    }
    errors
}

fn validate_metric(metric: &MetricSpec, groups: Groups, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = path.child("type");
    let kind = metric.type_.as_str();
    if kind.is_empty() {
        errors.push(Error::required(&at, "must specify a metric source type"));
    }
    let expected = match kind {
        "Object" => "object",
        "External" => "external",
        "Pods" => "pods",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        other => {
            errors.push(Error::not_supported(&at, other, SOURCES));
            ""
        }
    };
    let mut present = Vec::new();
    // Only the first source is looked into.
    let mut source = |field: &'static str, faults: Option<ErrorList>| {
        if let Some(faults) = faults {
            present.push(field);
            errors.extend(faults.into_iter().filter(|_| present.len() == 1));
        }
    };
    source("object", metric.object.as_ref().map(|of| object(of, groups, &path.child("object"))));
    source("external", metric.external.as_ref().map(|of| external(of, &path.child("external"))));
    source("pods", metric.pods.as_ref().map(|of| pods(of, &path.child("pods"))));
    source(
        "resource",
        metric.resource.as_ref().map(|of| {
            let path = path.child("resource");
            let mut errors = resource_name(&of.name, false, &path);
            errors.extend(resource_target(&of.target, &path.child("target")));
            errors
        }),
    );
    let container = path.child("containerResource");
    source("containerResource", metric.container_resource.as_ref().map(|of| container_resource(of, &container)));
    if expected.is_empty() {
        errors.push(Error::not_supported(&at, kind, SOURCES));
    } else if !present.contains(&expected) {
        errors.push(Error::required(&path.child(expected), "must populate information for the given metric source"));
    }
    if present.len() != 1 {
        present.sort_unstable();
        for other in present.into_iter().filter(|field| *field != expected) {
            errors.push(Error::forbidden(&path.child(other), "must populate the given metric source only"));
        }
    }
    errors
}

fn object(source: &ObjectMetricSource, groups: Groups, path: &Path) -> ErrorList {
    let mut errors = reference(&source.described_object, groups, &path.child("describedObject"));
    errors.extend(identifier(&source.metric, &path.child("metric")));
    let at = path.child("target");
    errors.extend(target(&source.target, &at));
    if source.target.value.is_none() && source.target.average_value.is_none() {
        errors.push(Error::required(&at.child("averageValue"), "must set either a target value or averageValue"));
    }
    errors
}

fn external(source: &ExternalMetricSource, path: &Path) -> ErrorList {
    let mut errors = identifier(&source.metric, &path.child("metric"));
    let at = path.child("target");
    errors.extend(target(&source.target, &at));
    match (&source.target.value, &source.target.average_value) {
        (None, None) => errors.push(Error::required(
            &at.child("averageValue"),
            "must set either a target value for metric or a per-pod target",
        )),
        (Some(_), Some(_)) => errors.push(Error::forbidden(
            &at.child("value"),
            "may not set both a target value for metric and a per-pod target",
        )),
        _ => {}
    }
    errors
}

fn pods(source: &PodsMetricSource, path: &Path) -> ErrorList {
    let mut errors = identifier(&source.metric, &path.child("metric"));
    let at = path.child("target");
    errors.extend(target(&source.target, &at));
    if !source.target.average_value.as_ref().is_some_and(is_positive) {
        errors.push(Error::required(&at.child("averageValue"), "must specify a positive target averageValue"));
    }
    errors
}

fn container_resource(source: &ContainerResourceMetricSource, path: &Path) -> ErrorList {
    let mut errors = resource_name(&source.name, true, path);
    if source.container.is_empty() {
        errors.push(Error::required(&path.child("container"), "must specify a container"));
    }
    errors.extend(resource_target(&source.target, &path.child("target")));
    errors
}

fn resource_name(name: &str, of_container: bool, path: &Path) -> ErrorList {
    let at = path.child("name");
    match name {
        "" => vec![Error::required(&at, "must specify a resource name")],
        name if of_container => resources::container_name(name, &at),
        _ => ErrorList::new(),
    }
}

fn resource_target(to: &MetricTarget, path: &Path) -> ErrorList {
    let mut errors = target(to, path);
    match (to.average_utilization, &to.average_value) {
        (None, None) => errors.push(Error::required(
            &path.child("averageUtilization"),
            "must set either a target raw value or a target utilization",
        )),
        (Some(_), Some(_)) => errors.push(Error::forbidden(&path.child("averageValue"), BOTH_TARGETS)),
        _ => {}
    }
    errors
}

fn target(to: &MetricTarget, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    match to.type_.as_str() {
        "" => errors.push(Error::required(&path.child("type"), "must specify a metric target type")),
        "Utilization" | "Value" | "AverageValue" => {}
        other => {
            let detail = "must be either Utilization, Value, or AverageValue";
            errors.push(Error::invalid(&path.child("type"), other, detail));
        }
    }
    for (field, value) in [("value", &to.value), ("averageValue", &to.average_value)] {
        if let Some(value) = value.as_ref().filter(|value| !is_positive(value)) {
            errors.push(Error::invalid(&path.child(field), checks::shown(value), "must be positive"));
        }
    }
    if let Some(percent) = to.average_utilization.filter(|percent| *percent < 1) {
        errors.push(Error::invalid(&path.child("averageUtilization"), percent, "must be greater than 0"));
    }
    errors
}

fn is_positive(value: &Quantity) -> bool {
    checks::quantity(value).is_some_and(|value| value.signum() > 0)
}

fn identifier(metric: &MetricIdentifier, path: &Path) -> ErrorList {
    let at = path.child("name");
    if metric.name.is_empty() {
        return vec![Error::required(&at, "must specify a metric name")];
    }
    checks::each(&at, &metric.name, rules::path_segment_name(&metric.name))
}

fn scaling_rules(of: &HPAScalingRules, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = path.child("stabilizationWindowSeconds");
    match of.stabilization_window_seconds {
        Some(seconds) if seconds < 0 => {
            errors.push(Error::invalid(&at, seconds, "must be greater than or equal to zero"));
        }
        Some(seconds) if seconds > WINDOW_SECONDS_MAX => {
            errors.push(Error::invalid(&at, seconds, format!("must be less than or equal to {WINDOW_SECONDS_MAX}")));
        }
        _ => {}
    }
    if let Some(select) = of.select_policy.as_deref().filter(|select| !SELECT_POLICIES.contains(select)) {
        errors.push(Error::not_supported(&path.child("selectPolicy"), select, SELECT_POLICIES));
    }
    let at = path.child("policies");
    let policies = of.policies.as_deref().unwrap_or_default();
    if policies.is_empty() {
        errors.push(Error::required(&at, "must specify at least one Policy"));
    }
    errors.extend(policies.iter().enumerate().flat_map(|(index, of)| policy(of, &at.index(index))));
    if let Some(tolerance) = &of.tolerance {
        errors.extend(checks::non_negative_quantity(tolerance, &path.child("tolerance")));
    }
    errors
}

fn policy(of: &HPAScalingPolicy, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if !POLICIES.contains(&of.type_.as_str()) {
        errors.push(Error::not_supported(&path.child("type"), &of.type_, POLICIES));
    }
    for (field, value) in [("value", of.value), ("periodSeconds", of.period_seconds)] {
        if value <= 0 {
            errors.push(Error::invalid(&path.child(field), value, "must be greater than zero"));
        }
    }
    if of.period_seconds > PERIOD_SECONDS_MAX {
        let detail = format!("must be less than or equal to {PERIOD_SECONDS_MAX}");
        errors.push(Error::invalid(&path.child("periodSeconds"), of.period_seconds, detail));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn errors(spec: Value, old: Option<Value>) -> Vec<String> {
        let typed = |spec: Value| serde_json::from_value(json!({"spec": spec})).expect("an autoscaler");
        autoscaler(&typed(spec), old.map(typed).as_ref()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_target_names_its_group_unless_it_was_there_before() {
        let spec = |version: &str, kind: &str| json!({"maxReplicas": 1, "scaleTargetRef": {"apiVersion": version, "kind": kind, "name": "n"}});
        let fault = "spec.scaleTargetRef.apiVersion: Invalid value: \"v1\": apiVersion must specify API group";
        assert_eq!(errors(spec("v1", "Deployment"), None), [fault]);
        assert_eq!(errors(spec("v1", "Deployment"), Some(spec("v1", "Deployment"))), [""; 0]);
        assert_eq!(errors(spec("v1", "ReplicationController"), None), [""; 0]);
        assert_eq!(
            errors(spec("a/b/c", "ReplicationController"), None),
            ["spec.scaleTargetRef.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c"]
        );
    }

    #[test]
    fn a_metric_has_the_one_source_of_its_type() {
        let target = json!({"apiVersion": "apps/v1", "kind": "D", "name": "d"});
        let metric = json!({"type": "Resource", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue",
            "averageValue": "1"}}, "external": {"metric": {"name": "m"}, "target": {"type": "Odd"}}});
        assert_eq!(
            errors(json!({"maxReplicas": 0, "minReplicas": 0, "scaleTargetRef": target, "metrics": [metric]}), None),
            [
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                "spec.maxReplicas: Required value: must be set and greater than 0",
                "spec.metrics[0].external.target.type: Invalid value: \"Odd\": must be either Utilization, Value, or AverageValue",
                "spec.metrics[0].external.target.averageValue: Required value: must set either a target value for metric or a per-pod target",
                "spec.metrics[0].resource: Required value: must populate information for the given metric source",
                "spec.metrics[0].external: Forbidden: must populate the given metric source only",
                "spec.metrics[0].pods: Forbidden: must populate the given metric source only",
                "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
            ]
        );
    }
}
