//! HorizontalPodAutoscaler: how many pods of a workload there should be, by what is measured of them.
//!
//! Stored as v2. The older versions cannot say everything: v1 knows the use of cpu alone, v2beta1 no behavior. What they
//! lack stands in annotations there ([`convert`]), which the stored form never has.

mod columns;
mod convert;
mod metrics;
mod validate;

use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, MetricSpec, MetricTarget, ResourceMetricSource,
};

use crate::kind::{Deprecated, Hooks, Kind, Version};
use crate::{erase, names, strategy};

const SCHEMA: &str = "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler";
const REPLACEMENT: &str = "autoscaling/v2 HorizontalPodAutoscaler";
/// The part of the requested cpu that is to be used where nothing else is said.
const CPU_PERCENT: i32 = 80;
const PERIOD_SECONDS: i32 = 15;

pub static KIND: Kind = Kind {
    group: "autoscaling",
    kind: "HorizontalPodAutoscaler",
    list_kind: "HorizontalPodAutoscalerList",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    versions: &[
        Version::stored("v2", SCHEMA),
        Version {
            storage: false,
            convert: Some(convert::V1),
            ..Version::stored("v1", "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler")
        },
        Version::old(
            "autoscaling",
            "v2beta2",
            SCHEMA,
            Deprecated { since: "1.23", removed: Some("1.26"), replacement: REPLACEMENT },
            |_| {},
        ),
        Version {
            convert: Some(convert::V2BETA1),
            ..Version::old(
                "autoscaling",
                "v2beta1",
                "io.k8s.api.autoscaling.v2beta1.HorizontalPodAutoscaler",
                Deprecated { since: "1.22", removed: Some("1.25"), replacement: REPLACEMENT },
                |_| {},
            )
        },
    ],
    status: true,
    columns: columns::COLUMNS,
    cells: columns::cells,
    hooks: Hooks {
        default: |v| {
            convert::drop_annotations(v);
            erase::mutate::<HorizontalPodAutoscaler>(v, default)
        },
        ..hooks!(
            HorizontalPodAutoscaler,
            true,
            names::subdomain,
            part {
                prepare_create: strategy::drop_status,
                prepare_update: strategy::keep_status,
                prepare_status_update: strategy::update_status,
                validate: |new| validate::autoscaler(new, None),
                validate_update: |new, old| validate::autoscaler(new, Some(old)),
                validate_status_update: |new, _old| validate::status(new),
            }
        )
    },
    ..Kind::BASE
};

fn default(autoscaler: &mut HorizontalPodAutoscaler) {
    let spec = &mut autoscaler.spec;
    spec.min_replicas.get_or_insert(1);
    if spec.metrics.as_ref().is_none_or(Vec::is_empty) {
        spec.metrics = Some(vec![cpu_use(CPU_PERCENT)]);
    }
    if let Some(behavior) = &mut spec.behavior {
        let up = behavior.scale_up.get_or_insert_default();
        up.stabilization_window_seconds.get_or_insert(0);
        default_rules(up, &[("Pods", 4), ("Percent", 100)]);
        default_rules(behavior.scale_down.get_or_insert_default(), &[("Percent", 100)]);
    }
}

fn cpu_use(percent: i32) -> MetricSpec {
    let target =
        MetricTarget { type_: "Utilization".to_string(), average_utilization: Some(percent), ..Default::default() };
    let resource = ResourceMetricSource { name: "cpu".to_string(), target };
    MetricSpec { type_: "Resource".to_string(), resource: Some(resource), ..Default::default() }
}

fn default_rules(rules: &mut HPAScalingRules, policies: &[(&str, i32)]) {
    rules.select_policy.get_or_insert_with(|| "Max".to_string());
    // An empty list was meant and is refused later.
    rules.policies.get_or_insert_with(|| {
        let policies = policies.iter();
        policies
            .map(|(kind, value)| HPAScalingPolicy {
                type_: (*kind).to_string(),
                value: *value,
                period_seconds: PERIOD_SECONDS,
            })
            .collect()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_behavior_given_in_part_is_filled_in_both_directions() {
        let mut autoscaler = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3,
            "scaleTargetRef": {"kind": "D", "name": "d"}, "behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}});
        (KIND.hooks.default)(&mut autoscaler).expect("the object is well formed");
        let spec = &autoscaler["spec"];
        assert_eq!((&spec["minReplicas"], &spec["metrics"][0]["resource"]["name"]), (&json!(1), &json!("cpu")));
        assert_eq!(spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"], 0);
        assert_eq!(spec["behavior"]["scaleUp"]["policies"].as_array().map(Vec::len), Some(2));
        let down = &spec["behavior"]["scaleDown"];
        assert_eq!((&down["selectPolicy"], down.get("stabilizationWindowSeconds")), (&json!("Disabled"), None));
        assert_eq!(down["policies"], json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
    }
}
