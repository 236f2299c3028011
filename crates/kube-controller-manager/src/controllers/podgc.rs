//! Pod garbage collection: pods of nodes that no longer exist, terminating pods that no node will ever end, pods on
//! nodes that were declared out of service, and the oldest ended pods beyond a threshold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use client::{ApiError, BoxFuture, Controller, Intent, Key, Object, Outside, Plan, Sources, View, request};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::pods;

/// How long a node must have been missing: it may only be coming back.
const QUARANTINE: Duration = Duration::from_secs(40);
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The controller. It has one key, the cluster.
pub struct PodGc {
    /// How many ended pods may lie about; none or negative for any number.
    pub terminated_threshold: i64,
    missing_since: Mutex<BTreeMap<String, Timestamp>>,
}

/// Nodes that pods name and that do not exist: since when, and whether the server has confirmed it.
#[derive(Default)]
pub struct MissingNodes(pub BTreeMap<String, (Timestamp, bool)>);

impl PodGc {
    /// Collects with this threshold.
    pub fn new(terminated_threshold: i64) -> Self {
        Self { terminated_threshold, missing_since: Mutex::default() }
    }
}

impl Controller for PodGc {
    const NAME: &'static str = "pod-garbage-collector";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on::<Pod, _>(|view, change| {
            let pod = change.new?;
            let homeless =
                !pods::node_name(pod).is_empty() && view.of::<Node>().find("", pods::node_name(pod)).is_none();
            let ended = pods::is_terminal(pod) && change.old.is_none_or(|old| !pods::is_terminal(old));
            (homeless || ended || never_ends(pod)).then(cluster)
        });
        sources.on::<Node, _>(|_, change| {
            (change.new.is_none() || change.new.is_some_and(|node| out_of_service(node))).then(cluster)
        });
        sources.every(Duration::from_secs(600), cluster());
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        _key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let (pods, nodes) = (view.of::<Pod>(), view.of::<Node>());
            let named: BTreeSet<&str> =
                pods.iter().map(|pod| pods::node_name(pod)).filter(|node| !node.is_empty()).collect();
            let missing: Vec<String> =
                named.into_iter().filter(|node| nodes.find("", node).is_none()).map(str::to_owned).collect();
            let since = {
                let mut known = self.missing_since.lock();
                known.retain(|node, _| missing.contains(node));
                for node in missing {
                    known.entry(node).or_insert(outside.now);
                }
                known.clone()
            };
            let mut seen = MissingNodes::default();
            for (node, since) in since {
                let over = time_left(since, outside.now).is_none();
                let confirmed = over && is_gone(outside, &node).await?;
                seen.0.insert(node, (since, confirmed));
            }
            view.put(Arc::new(seen));
            Ok(())
        })
    }

    fn reconcile(&self, view: &View, _key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (pods, nodes) = (view.of::<Pod>(), view.of::<Node>());
        let missing = view.extra::<MissingNodes>().unwrap_or_default();
        for (since, confirmed) in missing.0.values() {
            if let (Some(left), false) = (time_left(*since, now), *confirmed) {
                plan.look_again_in(left);
            }
        }
        let mut ended = Vec::new();
        for pod in pods.iter() {
            let node = pods::node_name(pod);
            if missing.0.get(node).is_some_and(|(_, confirmed)| *confirmed) {
                remove(&mut plan, pod, Some("PodGC: node no longer exists"), now);
            } else if never_ends(pod) {
                remove(&mut plan, pod, None, now);
            } else if pod.metadata.deletion_timestamp.is_some()
                && nodes.find("", node).is_some_and(|node| out_of_service(node))
            {
                remove(&mut plan, pod, Some("PodGC: node is out-of-service"), now);
            } else if pods::is_terminal(pod) {
                ended.push(pod);
            }
        }
        let excess = match usize::try_from(self.terminated_threshold) {
            Ok(threshold) if threshold > 0 => ended.len().saturating_sub(threshold),
            _ => 0,
        };
        if excess > 0 {
            // Evicted ones first: they never did their work, and their controllers have long replaced them.
            let evicted =
                |pod: &Pod| pod.status.as_ref().and_then(|status| status.reason.as_deref()) == Some("Evicted");
            ended.sort_by_key(|pod| {
                (!evicted(pod), pod.metadata.creation_timestamp.clone().map(|time| time.0), pod.key())
            });
            plan.because(format!("{excess} ended pods too many"));
            plan.writes.extend(ended.into_iter().take(excess).map(|pod| Intent::delete(&**pod).with_grace(0)));
        }
        plan
    }
}

fn cluster() -> Key {
    Key::cluster("cluster")
}

/// A pod that is to go and was never bound: no kubelet will confirm its end.
fn never_ends(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && pods::node_name(pod).is_empty()
}

fn out_of_service(node: &Node) -> bool {
    let ready = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|one| one.type_ == "Ready" && one.status == "True");
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    !ready && taints.into_iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

fn time_left(since: Timestamp, now: Timestamp) -> Option<Duration> {
    let passed = u64::try_from(now.as_millisecond() - since.as_millisecond()).unwrap_or(0);
    QUARANTINE.checked_sub(Duration::from_millis(passed)).filter(|left| !left.is_zero())
}

async fn is_gone(outside: &Outside, node: &str) -> Result<bool, ApiError> {
    match request::get::<Value>(&outside.client, &format!("/api/v1/nodes/{node}")).await {
        Ok(_) => Ok(false),
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) => Err(error),
    }
}

/// Deletes a pod at once; one that had not ended is marked as failed first, with the reason.
fn remove(plan: &mut Plan, pod: &Pod, disruption: Option<&str>, now: Timestamp) {
    if !pods::is_terminal(pod) {
        let mut status = json!({"phase": "Failed"});
        if let Some(message) = disruption {
            status["conditions"] = pods::disrupted(pod, "DeletionByPodGC", message, now);
        }
        plan.write(Intent::patch_status(pod, json!({"status": status})));
    }
    plan.write(Intent::delete(pod).with_grace(0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, body, lines, object, pod};

    fn plan(threshold: i64, pods: Vec<Pod>, nodes: Vec<Node>, missing: &[(&str, i64, bool)]) -> Plan {
        let missing = MissingNodes(
            missing.iter().map(|(node, since, confirmed)| ((*node).to_owned(), (at(*since), *confirmed))).collect(),
        );
        PodGc::new(threshold).reconcile(&View::new().with(pods).with(nodes).with_extra(missing), &cluster(), at(100))
    }

    #[test]
    fn pods_of_a_missing_node_go_after_the_quarantine_and_a_live_look() {
        let orphan =
            pod(json!({"metadata": {"name": "p"}, "spec": {"nodeName": "gone"}, "status": {"phase": "Running"}}));
        let early = plan(0, vec![orphan.clone()], vec![], &[("gone", 90, false)]);
        assert_eq!((lines(&early), early.requeue_after.unwrap().as_secs()), (vec![], 30));
        let late = plan(0, vec![orphan], vec![], &[("gone", 10, true)]);
        assert_eq!(lines(&late), ["patch pods/status n/p", "delete pods n/p"]);
        assert_eq!(body(&late, 0)["status"]["conditions"][0]["reason"], "DeletionByPodGC");
    }

    #[test]
    fn unbound_terminating_pods_go_at_once() {
        let stuck = pod(
            json!({"metadata": {"name": "p", "deletionTimestamp": "1970-01-01T00:00:00Z"}, "status": {"phase": "Pending"}}),
        );
        assert_eq!(lines(&plan(0, vec![stuck], vec![], &[])), ["patch pods/status n/p", "delete pods n/p"]);
    }

    #[test]
    fn the_oldest_ended_pods_beyond_the_threshold_go() {
        let ended = |name: &str, created: &str| {
            pod(json!({"metadata": {"name": name, "creationTimestamp": created}, "status": {"phase": "Succeeded"}}))
        };
        let pods = vec![
            ended("a", "1970-01-01T00:00:09Z"),
            ended("b", "1970-01-01T00:00:01Z"),
            ended("c", "1970-01-01T00:00:05Z"),
        ];
        assert_eq!(lines(&plan(2, pods.clone(), vec![], &[])), ["delete pods n/b"]);
        let mut evicted = pods.clone();
        evicted[0].status.get_or_insert_default().reason = Some("Evicted".to_owned());
        assert_eq!(lines(&plan(1, evicted, vec![], &[])), ["delete pods n/a", "delete pods n/b"]);
        assert_eq!(plan(0, pods, vec![], &[]).writes, []);
    }

    #[test]
    fn terminating_pods_of_a_node_out_of_service_go() {
        let node: Node = object(
            json!({"metadata": {"name": "n1", "namespace": ""}, "spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]}}),
        );
        let leaving = pod(
            json!({"metadata": {"name": "p", "deletionTimestamp": "1970-01-01T00:00:00Z"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Failed"}}),
        );
        assert_eq!(lines(&plan(0, vec![leaving], vec![node], &[])), ["delete pods n/p"]);
    }
}
