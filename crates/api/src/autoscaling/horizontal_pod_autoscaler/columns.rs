//! What a table shows of an autoscaler: above all each metric as `now/wanted`.

use jiff::Timestamp;
use serde_json::Value;

use crate::cells;
use crate::kind::Column;
use crate::value::{integer, list, text};

/// Metrics that a table shows.
const METRICS_SHOWN: usize = 2;
const UNKNOWN: &str = "<unknown>";

pub const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new(
        "Reference",
        "string",
        0,
        "scaleTargetRef points to the target resource to scale, and is used to the pods for which metrics should be collected, as well as to actually change the replica count.",
    ),
    Column::new(
        "Targets",
        "string",
        0,
        "metrics contains the specifications for which to use to calculate the desired replica count (the maximum replica count across all metrics will be used).  The desired replica count is calculated multiplying the ratio between the target value and the current value by the current number of pods.  Ergo, metrics used must decrease as the pod count is increased, and vice-versa.  See the individual metric source types for more information about how each type of metric must respond. If not set, the default metric will be set to 80% average CPU utilization.",
    ),
    Column::new(
        "MinPods",
        "string",
        0,
        "minReplicas is the lower limit for the number of replicas to which the autoscaler can scale down.  It defaults to 1 pod.  minReplicas is allowed to be 0 if the alpha feature gate HPAScaleToZero is enabled and at least one Object or External metric is configured.  Scaling is active as long as at least one metric value is available.",
    ),
    Column::new(
        "MaxPods",
        "string",
        0,
        "maxReplicas is the upper limit for the number of replicas to which the autoscaler can scale up. It cannot be less that minReplicas.",
    ),
    Column::new(
        "Replicas",
        "string",
        0,
        "currentReplicas is current number of replicas of pods managed by this autoscaler, as last seen by the autoscaler.",
    ),
    Column::AGE,
];

pub fn cells(v: &Value, now: Timestamp) -> Vec<Value> {
    let min = v.pointer("/spec/minReplicas").and_then(Value::as_i64);
    vec![
        cells::name(v),
        format!("{}/{}", text(v, "/spec/scaleTargetRef/kind"), text(v, "/spec/scaleTargetRef/name")).into(),
        metrics(v).into(),
        min.map_or_else(|| "<unset>".to_string(), |min| min.to_string()).into(),
        integer(v, "/spec/maxReplicas").into(),
        integer(v, "/status/currentReplicas").into(),
        cells::age(v, now),
    ]
}

fn metrics(v: &Value) -> String {
    let (specs, statuses) = (list(v, "/spec/metrics"), list(v, "/status/currentMetrics"));
    if specs.is_empty() {
        return "<none>".to_string();
    }
    let all = specs.iter().enumerate().map(|(at, spec)| metric(spec, statuses.get(at)));
    let shown: Vec<String> = all.take(METRICS_SHOWN).collect();
    let shown = shown.join(", ");
    match specs.len().saturating_sub(METRICS_SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let (source, is_resource) = match text(spec, "/type") {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_string(),
    };
    let target = &spec[source]["target"];
    let averages = !target["averageValue"].is_null();
    let (field, suffix) = match (is_resource, averages) {
        (true, false) => ("averageUtilization", ""),
        (true, true) => ("averageValue", ""),
        (false, true) if source != "pods" => ("averageValue", " (avg)"),
        (false, _) if source == "pods" => ("averageValue", ""),
        (false, _) => ("value", ""),
    };
    let now = status.and_then(|status| shown(&status[source]["current"][field]));
    let now = now.unwrap_or_else(|| UNKNOWN.to_string());
    let wanted = shown(&target[field]).unwrap_or_else(|| "<auto>".to_string());
    match is_resource {
        true => format!("{}: {now}/{wanted}", text(&spec[source], "/name")),
        false => format!("{now}/{wanted}{suffix}"),
    }
}

/// A quantity as it is, a share in per cent.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(quantity) => Some(quantity.clone()),
        Value::Number(percent) => Some(format!("{percent}%")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn two_metrics_are_shown_and_the_others_counted() {
        let target = |field: &str, value: Value| json!({"target": {field: value}, "name": "cpu"});
        let specs = [
            json!({"type": "External", "external": target("averageValue", json!("5"))}),
            json!({"type": "ContainerResource", "containerResource": target("averageUtilization", json!(50))}),
            json!({"type": "Pods", "pods": target("averageValue", json!("7"))}),
        ];
        let status = json!({"currentMetrics": [{"external": {"current": {"averageValue": "3"}}}]});
        let shown = |specs: &[Value]| metrics(&json!({"spec": {"metrics": specs}, "status": status}));
        assert_eq!(shown(&specs[..1]), "3/5 (avg)");
        assert_eq!(shown(&specs), "3/5 (avg), cpu: <unknown>/50% + 1 more...");
        assert_eq!(shown(&specs[2..]), "<unknown>/7");
        assert_eq!(shown(&[json!({"type": "Object", "object": target("value", json!("1"))})]), "<unknown>/1");
        assert_eq!(shown(&[]), "<none>");
    }
}
