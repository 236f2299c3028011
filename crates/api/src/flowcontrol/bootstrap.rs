//! The objects that every cluster has. The mandatory ones are always exactly these, since without them there are requests
//! that nothing lets in; the suggested ones are a beginning that people may change.

use serde_json::{Value, json};

use super::GROUP;

/// Whether the server keeps an object's spec as it is here; what says neither is kept until somebody changes the spec.
pub const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
/// The level of those who never wait, and the schema that leads there.
pub const EXEMPT: &str = "exempt";
/// The level and schema of what no other schema takes.
pub const CATCH_ALL: &str = "catch-all";

/// Whether an object of this name (of either kind) must be as it is here.
pub fn is_mandatory(name: &str) -> bool {
    matches!(name, EXEMPT | CATCH_ALL)
}

/// All PriorityLevelConfigurations, suggested ones first.
pub fn priority_levels() -> Vec<Value> {
    let queue = |queues: i32, hand: i32| json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}});
    // Shares, lendable percent, and what becomes of those who find no seat.
    let limited = [
        ("system", 30, 33, queue(64, 6)),
        ("node-high", 40, 25, queue(64, 6)),
        ("leader-election", 10, 0, queue(16, 4)),
        ("workload-high", 40, 50, queue(128, 6)),
        ("workload-low", 100, 90, queue(128, 6)),
        ("global-default", 20, 50, queue(128, 6)),
        (CATCH_ALL, 5, 0, json!({"type": "Reject"})),
    ];
    let limited = limited.map(|(name, shares, lendable, response)| {
        let limited =
            json!({"nominalConcurrencyShares": shares, "limitResponse": response, "lendablePercent": lendable});
        object("PriorityLevelConfiguration", name, json!({"type": "Limited", "limited": limited}))
    });
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    limited.into_iter().chain([object("PriorityLevelConfiguration", EXEMPT, exempt)]).collect()
}

/// All FlowSchemas, suggested ones first.
pub fn flow_schemas() -> Vec<Value> {
    let everybody = || vec![group("system:unauthenticated"), group("system:authenticated")];
    let nodes = || vec![group("system:nodes")];
    let system_accounts =
        || json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "kube-system"}});
    let (manager, scheduler) = (user("system:kube-controller-manager"), user("system:kube-scheduler"));
    let leases = |verbs: Value| json!({"verbs": verbs, "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]});
    let node_objects = json!({"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"],
        "clusterScope": true, "namespaces": ["*"]});
    let leading = json!({
        "subjects": [manager, scheduler, system_accounts()],
        "resourceRules": [leases(json!(["get", "create", "update"]))],
    });
    let beating = json!({"subjects": nodes(), "resourceRules": [node_objects, leases(json!(["*"]))]});
    let probing = json!({
        "subjects": everybody(),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    });
    let accounts = vec![group("system:serviceaccounts")];
    vec![
        schema("system-nodes", "system", 500, Some("ByUser"), anything(nodes())),
        schema("system-node-high", "node-high", 400, Some("ByUser"), beating),
        schema("probes", EXEMPT, 2, None, probing),
        schema("system-leader-election", "leader-election", 100, Some("ByUser"), leading),
        schema("kube-controller-manager", "workload-high", 800, Some("ByNamespace"), anything(vec![manager.clone()])),
        schema("kube-scheduler", "workload-high", 800, Some("ByNamespace"), anything(vec![scheduler.clone()])),
        schema(
            "kube-system-service-accounts",
            "workload-high",
            900,
            Some("ByNamespace"),
            anything(vec![system_accounts()]),
        ),
        schema("service-accounts", "workload-low", 9000, Some("ByUser"), anything(accounts)),
        schema("global-default", "global-default", 9900, Some("ByUser"), anything(everybody())),
        schema(CATCH_ALL, CATCH_ALL, 10_000, Some("ByUser"), anything(everybody())),
        schema(EXEMPT, EXEMPT, 1, None, anything(vec![group("system:masters")])),
    ]
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": {"name": name, "annotations": {AUTOUPDATE: "true"}},
        "spec": spec,
    })
}

fn schema(name: &str, level: &str, precedence: i32, distinguisher: Option<&str>, rule: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    });
    if let Some(method) = distinguisher {
        spec["distinguisherMethod"] = json!({"type": method});
    }
    object("FlowSchema", name, spec)
}

/// All that somebody asks.
fn anything(subjects: Vec<Value>) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::flowcontrol::{flow_schema, priority_level_configuration};

    #[test]
    fn all_are_valid_as_they_are_and_defaults_add_nothing() {
        for (kind, objects) in
            [(&flow_schema::KIND, flow_schemas()), (&priority_level_configuration::KIND, priority_levels())]
        {
            for object in objects {
                let mut defaulted = object.clone();
                (kind.hooks.default)(&mut defaulted).unwrap();
                defaulted.sort_all_objects();
                let mut sorted = object.clone();
                sorted.sort_all_objects();
                assert_eq!(defaulted["spec"], sorted["spec"]);
                assert_eq!((kind.hooks.validate)(&object), [], "{}", object["metadata"]["name"]);
            }
        }
    }

    #[test]
    fn schemas_lead_to_levels_that_exist() {
        let levels: Vec<Value> = priority_levels().iter().map(|level| level["metadata"]["name"].clone()).collect();
        for schema in flow_schemas() {
            assert!(levels.contains(&schema["spec"]["priorityLevelConfiguration"]["name"]), "{schema}");
        }
    }

    #[test]
    fn all_are_as_recorded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/cases/network-storage");
        for (case, objects) in [
            ("flowcontrol-bootstrap-flowschemas", flow_schemas()),
            ("flowcontrol-bootstrap-priority-levels", priority_levels()),
        ] {
            let Ok(text) = std::fs::read(folder.join(format!("{case}.json"))) else {
                println!("no recording of {case}: nothing is compared");
                continue;
            };
            let case: Value = serde_json::from_slice(&text).unwrap();
            let steps = case["steps"].as_array().unwrap();
            assert_eq!(steps.len(), objects.len());
            for step in steps {
                let mut recorded = step["answer"]["body"].clone();
                let name = &recorded["metadata"]["name"];
                let mut own = objects.iter().find(|own| own["metadata"]["name"] == *name).unwrap().clone();
                own.sort_all_objects();
                recorded.sort_all_objects();
                assert_eq!(own["spec"], recorded["spec"]);
                assert_eq!(own["metadata"]["annotations"], recorded["metadata"]["annotations"]);
            }
        }
    }
}
