//! Between the stored form and the older versions. What a version has no field for stands in an annotation of its own:
//! metrics and measurements in their flat form, conditions as they are, the behavior under the names of Go's fields.
//! An annotation that cannot be read is dropped, as upstream does.

use machinery::go_text;
use machinery::schema::{self, FieldValidation};
use serde_json::{Map, Value, json};

use super::metrics::{Side, flatten, unflatten};
use crate::kind::Convert;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CPU_PERCENT: &str = "targetCPUUtilizationPercentage";
const CURRENT_CPU_PERCENT: &str = "currentCPUUtilizationPercentage";
const CONDITION_SCHEMA: &str = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerCondition";
const BEHAVIOR_SCHEMA: &str = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior";
/// The names and the order of the behavior's fields in its annotation.
const RULES: &[&str] = &["ScaleUp", "ScaleDown"];
const RULE: &[&str] = &["StabilizationWindowSeconds", "SelectPolicy", "Policies", "Tolerance"];
const POLICY: &[&str] = &["Type", "Value", "PeriodSeconds"];

pub const V1: Convert = Convert { to_storage: from_v1, from_storage: to_v1 };
pub const V2BETA1: Convert = Convert { to_storage: from_v2beta1, from_storage: to_v2beta1 };

/// The stored form has fields for all that annotations of older versions say.
pub fn drop_annotations(object: &mut Value) {
    for name in [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR] {
        take_annotation(object, name);
    }
}

fn from_v1(object: &mut Value) {
    set_api_version(object, "autoscaling/v2");
    let cpu = take(object, "spec", CPU_PERCENT);
    let cpu = cpu.map(|percent| {
        json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent}}})
    });
    let mut metrics = unflatten(&annotated(object, METRICS, Side::Spec.flat_schema()), Side::Spec);
    metrics.extend(cpu);
    put_list(object, "spec", "metrics", metrics);
    let current = take(object, "status", CURRENT_CPU_PERCENT).map(
        |percent| json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}}),
    );
    // The annotation knows more than the number.
    let mut measured = unflatten(&annotated(object, CURRENT_METRICS, Side::Status.flat_schema()), Side::Status);
    if measured.is_empty() {
        measured.extend(current);
    }
    put_list(object, "status", "currentMetrics", measured);
    let conditions = annotated(object, CONDITIONS, CONDITION_SCHEMA);
    put_list(object, "status", "conditions", conditions);
    restore_behavior(object);
}

fn to_v1(object: &mut Value) {
    drop_annotations(object);
    set_api_version(object, "autoscaling/v1");
    let metrics = take_list(object, "spec", "metrics");
    let (cpu, others): (Vec<Value>, Vec<Value>) = metrics.into_iter().partition(is_cpu_use);
    if let Some(first) = cpu.first() {
        put(object, "spec", CPU_PERCENT, first["resource"]["target"]["averageUtilization"].clone());
    }
    annotate_metrics(object, METRICS, &others, Side::Spec);
    let measured = take_list(object, "status", "currentMetrics");
    let percent = measured.iter().find(|status| status["resource"]["name"] == "cpu");
    let percent = percent.map(|status| &status["resource"]["current"]["averageUtilization"]);
    if let Some(percent) = percent.filter(|percent| !percent.is_null()) {
        put(object, "status", CURRENT_CPU_PERCENT, percent.clone());
    }
    annotate_metrics(object, CURRENT_METRICS, &measured, Side::Status);
    let mut conditions = take_list(object, "status", "conditions");
    conditions.iter_mut().for_each(|condition| canonicalize(CONDITION_SCHEMA, condition));
    annotate_list(object, CONDITIONS, conditions);
    annotate_behavior(object);
}

fn is_cpu_use(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && !metric["resource"]["target"]["averageUtilization"].is_null()
}

fn from_v2beta1(object: &mut Value) {
    set_api_version(object, "autoscaling/v2");
    for (part, field, side) in [("spec", "metrics", Side::Spec), ("status", "currentMetrics", Side::Status)] {
        let metrics = take_list(object, part, field);
        put_list(object, part, field, unflatten(&metrics, side));
    }
    restore_behavior(object);
}

fn to_v2beta1(object: &mut Value) {
    drop_annotations(object);
    set_api_version(object, "autoscaling/v2beta1");
    for (part, field, side) in [("spec", "metrics", Side::Spec), ("status", "currentMetrics", Side::Status)] {
        let metrics = take_list(object, part, field);
        put_list(object, part, field, flatten(&metrics, side));
    }
    annotate_behavior(object);
}

fn restore_behavior(object: &mut Value) {
    let text = take_annotation(object, BEHAVIOR);
    let behavior = text.and_then(|text| parse(&text)).map(|behavior| renamed(behavior, str::to_lowercase));
    let behavior = behavior.and_then(|behavior| decode(BEHAVIOR_SCHEMA, behavior));
    if let Some(behavior) = behavior.filter(|behavior| behavior.as_object().is_some_and(|rules| !rules.is_empty())) {
        put(object, "spec", "behavior", behavior);
    }
}

fn annotate_behavior(object: &mut Value) {
    let Some(behavior) = take(object, "spec", "behavior") else { return };
    let behavior = renamed(behavior, str::to_uppercase);
    let ordered = |value: &Value, fields: &[&str], each: &dyn Fn(&str, &Value) -> Value| -> Value {
        if value.is_null() {
            return Value::Null;
        }
        fields.iter().map(|field| ((*field).to_string(), each(field, &value[*field]))).collect::<Map<_, _>>().into()
    };
    let policy = |policy: &Value| ordered(policy, POLICY, &|_, value| value.clone());
    let rule = |rule: &Value| {
        ordered(rule, RULE, &|field, value| match value.as_array().filter(|_| field == "Policies") {
            Some(policies) => policies.iter().map(policy).collect(),
            None => value.clone(),
        })
    };
    let text = go_text::json(&ordered(&behavior, RULES, &|_, value| rule(value)));
    annotate(object, BEHAVIOR, text);
}

/// Changes the first letter of each field's name, at every depth.
fn renamed(value: Value, case: fn(&str) -> String) -> Value {
    match value {
        Value::Object(fields) => {
            let rename = |name: String| match name.char_indices().nth(1) {
                Some((rest, _)) => format!("{}{}", case(&name[..rest]), &name[rest..]),
                None => case(&name),
            };
            let fields = fields.into_iter().map(|(name, value)| (rename(name), renamed(value, case)));
            fields.collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(|item| renamed(item, case)).collect(),
        other => other,
    }
}

/// Takes the list in an annotation away; empty where an item is not of the schema.
fn annotated(object: &mut Value, name: &str, schema: &str) -> Vec<Value> {
    let Some(Value::Array(items)) = take_annotation(object, name).and_then(|text| parse(&text)) else {
        return Vec::new();
    };
    items.into_iter().map(|item| decode(schema, item)).collect::<Option<_>>().unwrap_or_default()
}

fn annotate_metrics(object: &mut Value, name: &str, metrics: &[Value], side: Side) {
    let mut metrics = flatten(metrics, side);
    metrics.iter_mut().for_each(|metric| canonicalize(side.flat_schema(), metric));
    annotate_list(object, name, metrics);
}

fn annotate_list(object: &mut Value, name: &str, items: Vec<Value>) {
    if !items.is_empty() {
        annotate(object, name, go_text::json(&items.into()));
    }
}

fn parse(text: &str) -> Option<Value> {
    machinery::codec::json::parse(text.as_bytes(), machinery::codec::Limits::default()).ok().map(|parsed| parsed.value)
}

fn decode(schema: &str, value: Value) -> Option<Value> {
    let types = schema::builtin();
    schema::decode(types, types.id(schema)?, value, FieldValidation::Ignore).ok().map(|decoded| decoded.value)
}

fn canonicalize(schema: &str, value: &mut Value) {
    let types = schema::builtin();
    if let Some(id) = types.id(schema) {
        schema::canonicalize(types, id, value);
    }
}

fn set_api_version(object: &mut Value, version: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".to_string(), version.into());
    }
}

fn take(object: &mut Value, part: &str, field: &str) -> Option<Value> {
    let value = object.get_mut(part)?.as_object_mut()?.shift_remove(field)?;
    (!value.is_null()).then_some(value)
}

fn take_list(object: &mut Value, part: &str, field: &str) -> Vec<Value> {
    match take(object, part, field) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn put(object: &mut Value, part: &str, field: &str, value: Value) {
    let Some(object) = object.as_object_mut() else { return };
    let part = object.entry(part).or_insert_with(|| json!({}));
    if part.is_null() {
        *part = json!({});
    }
    if let Some(part) = part.as_object_mut() {
        part.insert(field.to_string(), value);
    }
}

fn put_list(object: &mut Value, part: &str, field: &str, items: Vec<Value>) {
    if !items.is_empty() {
        put(object, part, field, items.into());
    }
}

fn annotate(object: &mut Value, name: &str, text: String) {
    let mut annotations =
        object.pointer("/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default();
    annotations.insert(name.to_string(), text.into());
    annotations.sort_keys();
    put(object, "metadata", "annotations", annotations.into());
}

fn take_annotation(object: &mut Value, name: &str) -> Option<String> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let value = annotations.shift_remove(name)?;
    if annotations.is_empty() {
        metadata.shift_remove("annotations");
    }
    value.as_str().map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::list;

    fn stored() -> Value {
        json!({"apiVersion": "autoscaling/v2", "metadata": {"name": "h", "annotations": {"a": "b"}},
            "spec": {"maxReplicas": 5, "metrics": [
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
                "behavior": {"scaleUp": {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}}},
            "status": {"currentReplicas": 1, "desiredReplicas": 2,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                    "current": {"averageUtilization": 5, "averageValue": "50m"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True"}]}})
    }

    #[test]
    fn what_v1_cannot_say_stands_in_annotations() {
        let mut object = stored();
        to_v1(&mut object);
        assert_eq!(object["spec"], json!({"maxReplicas": 5, "targetCPUUtilizationPercentage": 70}));
        assert_eq!(object["status"]["currentCPUUtilizationPercentage"], 5);
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(
            annotations[METRICS],
            r#"[{"type":"Resource","resource":{"name":"memory","targetAverageValue":"1Gi"}}]"#
        );
        assert_eq!(
            annotations[BEHAVIOR],
            r#"{"ScaleUp":{"StabilizationWindowSeconds":null,"SelectPolicy":"Max","Policies":[{"Type":"Pods","Value":4,"PeriodSeconds":15}],"Tolerance":null},"ScaleDown":null}"#
        );
        assert_eq!(list(&object, "/metadata/annotations").len(), 0);
        assert!(annotations[CONDITIONS].as_str().is_some_and(|text| text.contains("AbleToScale")));
        from_v1(&mut object);
        assert_eq!(object["metadata"]["annotations"], json!({"a": "b"}));
        let mut expected = stored();
        expected["spec"]["metrics"].as_array_mut().expect("metrics").sort_by_key(|m| m["resource"]["name"] == "cpu");
        assert_eq!(
            (&object["spec"], &object["status"]["currentMetrics"]),
            (&expected["spec"], &expected["status"]["currentMetrics"])
        );
    }

    #[test]
    fn annotations_that_cannot_be_read_are_dropped() {
        let mut object = json!({"metadata": {"annotations": {METRICS: "[{\"type\": 5}]", BEHAVIOR: "no", CONDITIONS: "{}"}},
            "spec": {"targetCPUUtilizationPercentage": 50}});
        from_v1(&mut object);
        assert_eq!(object["metadata"], json!({}));
        assert_eq!(list(&object, "/spec/metrics").len(), 1);
        assert_eq!(object["spec"].get("behavior"), None);
    }

    #[test]
    fn v2beta1_is_flat_and_keeps_the_behavior_aside() {
        let mut object = stored();
        to_v2beta1(&mut object);
        assert_eq!(object["apiVersion"], "autoscaling/v2beta1");
        assert_eq!(object["spec"]["metrics"][1]["resource"], json!({"name": "cpu", "targetAverageUtilization": 70}));
        from_v2beta1(&mut object);
        assert_eq!(object, stored());
    }
}
