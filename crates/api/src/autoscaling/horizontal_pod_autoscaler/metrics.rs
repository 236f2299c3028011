//! The two forms of a metric: today's, with a `metric` and a `target` (or `current`) of their own, and the flat one of
//! v2beta1 and of v1's annotations, with a field for each kind of number.

use serde_json::{Map, Value, json};

/// Which of the two sides of an autoscaler: what is wanted, or what was measured.
#[derive(Clone, Copy)]
pub enum Side {
    Spec,
    Status,
}

impl Side {
    /// The schema of the flat form.
    pub fn flat_schema(self) -> &'static str {
        match self {
            Side::Spec => "io.k8s.api.autoscaling.v2beta1.MetricSpec",
            Side::Status => "io.k8s.api.autoscaling.v2beta1.MetricStatus",
        }
    }

    fn numbers(self) -> &'static str {
        match self {
            Side::Spec => "target",
            Side::Status => "current",
        }
    }
}

/// (field of the source, its field for the metric's selector, then for the value, the average value and the average
/// utilization).
type Source = (&'static str, &'static str, [&'static str; 3]);

/// `-` stands for the side's prefix (`target`, `current`).
const SOURCES: &[Source] = &[
    ("object", "selector", ["-Value", "averageValue", ""]),
    ("pods", "selector", ["", "-AverageValue", ""]),
    ("resource", "", ["", "-AverageValue", "-AverageUtilization"]),
    ("containerResource", "", ["", "-AverageValue", "-AverageUtilization"]),
    ("external", "metricSelector", ["-Value", "-AverageValue", ""]),
];
const NUMBERS: [&str; 3] = ["value", "averageValue", "averageUtilization"];

/// Makes flat metrics of today's.
pub fn flatten(metrics: &[Value], side: Side) -> Vec<Value> {
    metrics.iter().map(|metric| each_source(metric, |source, of| flat(source, of, side))).collect()
}

/// Makes today's metrics of flat ones.
pub fn unflatten(metrics: &[Value], side: Side) -> Vec<Value> {
    metrics.iter().map(|metric| each_source(metric, |source, of| structured(source, of, side))).collect()
}

fn each_source(metric: &Value, convert: impl Fn(&Source, &Map<String, Value>) -> Value) -> Value {
    let mut out = json!({"type": metric["type"]});
    for source in SOURCES {
        if let Some(of) = metric[source.0].as_object() {
            out[source.0] = convert(source, of);
        }
    }
    out
}

fn flat_name(name: &str, side: Side) -> Option<String> {
    (!name.is_empty()).then(|| name.replacen('-', side.numbers(), 1))
}

/// Fields that both forms have as they are.
fn common(of: &Map<String, Value>) -> Map<String, Value> {
    let shared = of.iter().filter(|(field, _)| matches!(field.as_str(), "name" | "container"));
    shared.map(|(field, value)| (field.clone(), value.clone())).collect()
}

fn flat((source, selector, numbers): &Source, of: &Map<String, Value>, side: Side) -> Value {
    let mut out = common(of);
    let mut put = |field: &str, value: Option<&Value>| {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            out.insert(field.to_string(), value.clone());
        }
    };
    if *source == "object" {
        put("target", of.get("describedObject"));
    }
    if let Some(metric) = of.get("metric") {
        put("metricName", metric.get("name"));
        put(selector, metric.get("selector"));
    }
    for (number, field) in NUMBERS.into_iter().zip(numbers) {
        if let Some(field) = flat_name(field, side) {
            put(&field, of.get(side.numbers()).and_then(|numbers| numbers.get(number)));
        }
    }
    out.into()
}

fn structured((source, selector, numbers): &Source, of: &Map<String, Value>, side: Side) -> Value {
    let mut out = common(of);
    let given = |field: &str| of.get(field).filter(|value| !value.is_null()).cloned();
    if *source == "object"
        && let Some(target) = given("target")
    {
        out.insert("describedObject".to_string(), target);
    }
    if !selector.is_empty() {
        let mut metric = json!({"name": given("metricName").unwrap_or_else(|| "".into())});
        if let Some(selector) = given(selector) {
            metric["selector"] = selector;
        }
        out.insert("metric".to_string(), metric);
    }
    let mut found = Map::new();
    for (number, field) in NUMBERS.into_iter().zip(numbers) {
        if let Some(value) = flat_name(field, side).and_then(|field| given(&field)) {
            found.insert(number.to_string(), value);
        }
    }
    // The flat form of an object's metric always has a value; 0 beside an average stands for none.
    if *source == "object" && found.contains_key("averageValue") && found.get("value").is_some_and(|v| v == "0") {
        found.shift_remove("value");
    }
    if matches!(side, Side::Spec) {
        found.insert("type".to_string(), target_type(source, &found).into());
    }
    out.insert(side.numbers().to_string(), found.into());
    out.into()
}

fn target_type(source: &str, target: &Map<String, Value>) -> &'static str {
    let has = |number| target.contains_key(number);
    match source {
        "resource" | "containerResource" if has("averageUtilization") => "Utilization",
        "object" if !has("averageValue") => "Value",
        "external" if has("value") => "Value",
        _ => "AverageValue",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(metrics: &Value, side: Side) -> (Value, Value) {
        let metrics = metrics.as_array().expect("a list");
        let flat = flatten(metrics, side);
        let back = unflatten(&flat, side);
        (flat.into(), back.into())
    }

    #[test]
    fn what_is_wanted_survives_the_flat_form() {
        let selector = json!({"matchLabels": {"a": "b"}});
        let target = |kind: &str, field: &str, value: Value| json!({field: value, "type": kind});
        let metrics = json!([
            {"type": "Object", "object": {"describedObject": {"kind": "S", "name": "s"},
                "metric": {"name": "m", "selector": selector}, "target": target("Value", "value", json!("10k"))}},
            {"type": "Object", "object": {"describedObject": {"kind": "S", "name": "s"}, "metric": {"name": "m"},
                "target": target("AverageValue", "averageValue", json!("1"))}},
            {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": target("AverageValue", "averageValue", json!("1"))}},
            {"type": "Resource", "resource": {"name": "cpu", "target": target("Utilization", "averageUtilization", json!(5))}},
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                "target": target("AverageValue", "averageValue", json!("1Gi"))}},
            {"type": "External", "external": {"metric": {"name": "e", "selector": selector},
                "target": target("Value", "value", json!("30"))}},
        ]);
        let (flat, back) = there_and_back(&metrics, Side::Spec);
        assert_eq!(back, metrics);
        assert_eq!(flat[0]["object"]["targetValue"], "10k");
        assert_eq!(flat[5]["external"], json!({"metricName": "e", "metricSelector": selector, "targetValue": "30"}));
    }

    #[test]
    fn what_was_measured_survives_the_flat_form() {
        let metrics = json!([
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageValue": "5m", "averageUtilization": 3}}},
            {"type": "External", "external": {"metric": {"name": "e"}, "current": {"value": "1"}}},
        ]);
        let (flat, back) = there_and_back(&metrics, Side::Status);
        assert_eq!(back, metrics);
        assert_eq!(flat[0]["resource"]["currentAverageUtilization"], 3);
    }
}
