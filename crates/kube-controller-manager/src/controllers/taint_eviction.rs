//! Taint eviction: pods on a node with NoExecute taints go unless they tolerate every one of them, and no later than the
//! shortest toleration allows. The time counts from when the taint was added, or from when the pod was bound if that was
//! later. A taint that does not say when it was added counts from when it was first seen here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{
    ApiError, BoxFuture, Change, Controller, EventType, Index, Intent, Key, Note, Object, Outside, Plan, Sources, View,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use parking_lot::Mutex;
use serde_json::json;

use crate::pods;

/// The reason of the DisruptionTarget condition.
const REASON: &str = "DeletionByTaintManager";

/// The controller. Its keys are pods.
#[derive(Default)]
pub struct TaintEviction {
    /// Since when each pod (by uid) has been seen under a taint that carries no time.
    seen_since: Mutex<HashMap<Key, (String, Timestamp)>>,
}

/// Put into the view: since when the pod has been seen under a taint that carries no time.
pub struct SeenSince(pub Timestamp);

impl Controller for TaintEviction {
    const NAME: &'static str = "taint-eviction";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on::<Node, _>(|view, change: &Change<'_, Node>| {
            let evicting = |node: Option<&std::sync::Arc<Node>>| node.map(|node| evicting(node)).unwrap_or_default();
            match change.latest().filter(|_| evicting(change.old) != evicting(change.new)) {
                Some(node) => view.of::<Pod>().by(Index::Node, node.meta_ref().name).map(|pod| pod.key()).collect(),
                None => Vec::new(),
            }
        });
        sources.on::<Pod, _>(|view, change| {
            let pod = change.new?;
            let nodes = view.of::<Node>();
            let node = nodes.find("", pods::node_name(pod))?;
            (!evicting(node).is_empty()).then(|| pod.key())
        });
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let (pods, nodes) = (view.of::<Pod>(), view.of::<Node>());
        let timeless = |pod: &&Arc<Pod>| {
            let node = nodes.find("", pods::node_name(pod));
            node.is_some_and(|node| evicting(node).iter().any(|taint| taint.time_added.is_none()))
        };
        let mut seen = self.seen_since.lock();
        match pods.get(key).filter(timeless) {
            None => drop(seen.remove(key)),
            Some(pod) => {
                let uid = pod.meta_ref().uid;
                let known = seen.get(key).filter(|(known, _)| known == uid).map(|(_, since)| *since);
                let since = known.unwrap_or(outside.now);
                seen.insert(key.clone(), (uid.to_owned(), since));
                view.put(Arc::new(SeenSince(since)));
            }
        }
        Box::pin(async { Ok(()) })
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (pods, nodes) = (view.of::<Pod>(), view.of::<Node>());
        let Some(pod) = pods.get(key).filter(|pod| pods::is_active(pod)) else { return plan };
        let Some(node) = nodes.find("", pods::node_name(pod)) else { return plan };
        let taints = evicting(node);
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.clone()).unwrap_or_default();
        let seen = view.extra::<SeenSince>().map_or(now, |seen| seen.0);
        let start = |taint: &Taint| taint.time_added.as_ref().map_or(seen, |time| time.0).max(bound_at(pod));
        let Some(time) = time_to_stay(&taints, &tolerations, start, now) else { return plan };
        if !time.is_zero() {
            plan.look_again_in(time);
            return plan;
        }
        plan.because(format!("node {} has taints that the pod does not tolerate any longer", node.meta_ref().name));
        plan.event(Note::about(
            &**pod,
            EventType::Normal,
            "TaintManagerEviction",
            format!("Marking for deletion Pod {key}"),
        ));
        plan.writes.extend(disruption(pod, now));
        plan.write(Intent::delete(&**pod));
        plan
    }
}

fn evicting(node: &Node) -> Vec<Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute").cloned().collect()
}

/// When the pod came to its node.
fn bound_at(pod: &Pod) -> Timestamp {
    let scheduled = pods::condition(pod, "PodScheduled").and_then(|condition| condition.last_transition_time.as_ref());
    scheduled.or(pod.metadata.creation_timestamp.as_ref()).map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// How long a pod may stay: none for ever, zero not at all. `start` says from when its time under a taint counts.
fn time_to_stay(
    taints: &[Taint],
    tolerations: &[Toleration],
    start: impl Fn(&Taint) -> Timestamp,
    now: Timestamp,
) -> Option<Duration> {
    let mut shortest: Option<Duration> = None;
    for taint in taints {
        let mut tolerating = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).peekable();
        if tolerating.peek().is_none() {
            return Some(Duration::ZERO);
        }
        // The shortest limit among those that tolerate the taint counts.
        let Some(seconds) = tolerating.filter_map(|toleration| toleration.toleration_seconds).min() else { continue };
        let end_ms = start(taint).as_millisecond().saturating_add(seconds.max(0).saturating_mul(1000));
        let left = Duration::from_millis(u64::try_from(end_ms - now.as_millisecond()).unwrap_or(0));
        shortest = Some(shortest.map_or(left, |known| known.min(left)));
    }
    shortest
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    let same_value = value == taint.value.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    (effect.is_empty() || effect == taint.effect)
        && (key == taint.key || (key.is_empty() && exists))
        && (exists || same_value)
}

/// Says why the pod goes, unless that has been said.
fn disruption(pod: &Pod, now: Timestamp) -> Option<Intent> {
    let said = |condition: &k8s_openapi::api::core::v1::PodCondition| {
        condition.status == "True" && condition.reason.as_deref() == Some(REASON)
    };
    if pods::condition(pod, "DisruptionTarget").is_some_and(said) {
        return None;
    }
    let conditions = pods::disrupted(pod, REASON, "Taint manager: deleting due to NoExecute taint", now);
    Some(Intent::patch_status(pod, json!({"status": {"conditions": conditions}})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, lines, object, pod};
    use serde_json::Value;

    fn plan(taints: Value, tolerations: Value) -> Plan {
        plan_for(taints, tolerations, json!({}), 400)
    }

    fn plan_for(taints: Value, tolerations: Value, status: Value, seen: i64) -> Plan {
        let node: Node = object(json!({"metadata": {"name": "a", "namespace": ""}, "spec": {"taints": taints}}));
        let pod = pod(
            json!({"metadata": {"name": "p"}, "spec": {"nodeName": "a", "tolerations": tolerations}, "status": status}),
        );
        let view = View::new().with([node]).with([pod]).with_extra(SeenSince(at(seen)));
        TaintEviction::default().reconcile(&view, &Key::new("n", "p"), at(400))
    }

    #[test]
    fn the_time_counts_from_the_taint_the_binding_or_the_first_sight() {
        let scheduled = |time: &str| json!({"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": time}]});
        let added = json!([{"key": "k", "effect": "NoExecute", "timeAdded": "1970-01-01T00:02:00Z"}]);
        let timeless = json!([{"key": "k", "effect": "NoExecute"}]);
        let two = json!([{"key": "k", "effect": "NoExecute", "timeAdded": "1970-01-01T00:06:00Z"}, {"key": "l", "effect": "NoExecute", "timeAdded": "1970-01-01T00:06:00Z"}]);
        let one = |seconds: i64| json!([{"key": "k", "operator": "Exists", "tolerationSeconds": seconds}]);
        let both = json!([{"key": "k", "operator": "Exists", "tolerationSeconds": 90}, {"key": "l", "operator": "Exists", "tolerationSeconds": 70}]);
        let cases = [
            ("from the taint", &added, one(300), scheduled("1970-01-01T00:01:00Z"), Some(20)),
            ("from the binding", &added, one(300), scheduled("1970-01-01T00:05:00Z"), Some(200)),
            ("from the first sight", &timeless, one(30), scheduled("1970-01-01T00:05:00Z"), Some(20)),
            ("over", &timeless, one(10), scheduled("1970-01-01T00:05:00Z"), None),
            ("none at all", &added, one(-1), scheduled("1970-01-01T00:06:40Z"), None),
            ("the shorter counts", &two, both, json!({}), Some(30)),
            ("one is not tolerated", &two, one(90), json!({}), None),
        ];
        for (case, taints, tolerations, status, expected) in cases {
            let plan = plan_for(taints.clone(), tolerations, status, 390);
            assert_eq!(plan.requeue_after.map(|time| time.as_secs()), expected, "{case}");
            assert_eq!(plan.writes.is_empty(), expected.is_some(), "{case}");
        }
    }

    #[test]
    fn why_it_goes_is_said_once() {
        let said =
            json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]});
        let again = plan_for(json!([{"key": "k", "effect": "NoExecute"}]), json!([]), said, 0);
        assert_eq!(lines(&again), ["event TaintManagerEviction Marking for deletion Pod n/p", "delete pods n/p"]);
    }

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates_every_evicting_taint() {
        let unreachable = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "1970-01-01T00:02:00Z"}]);
        let for_seconds = |seconds: Value| json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
        let gone =
            ["event TaintManagerEviction Marking for deletion Pod n/p", "patch pods/status n/p", "delete pods n/p"];
        assert_eq!(lines(&plan(unreachable.clone(), json!([]))), gone);
        assert_eq!(lines(&plan(unreachable.clone(), for_seconds(json!(280)))), gone);
        let waiting = plan(unreachable.clone(), for_seconds(json!(300)));
        assert_eq!((waiting.writes.len(), waiting.requeue_after.unwrap().as_secs()), (0, 20));
        assert_eq!(plan(unreachable, for_seconds(Value::Null)), Plan::nothing());
        assert_eq!(plan(json!([{"key": "k", "effect": "NoSchedule"}]), json!([])), Plan::nothing());
        assert_eq!(
            plan(json!([{"key": "k", "value": "v", "effect": "NoExecute"}]), json!([{"operator": "Exists"}])),
            Plan::nothing()
        );
        assert_eq!(
            lines(&plan(
                json!([{"key": "k", "value": "v", "effect": "NoExecute"}]),
                json!([{"key": "k", "value": "w"}])
            )),
            gone
        );
    }
}
