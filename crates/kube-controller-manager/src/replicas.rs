//! Keeping a number of pods: what ReplicaSets and ReplicationControllers share. The owner is seen as a [`Wanted`]; the
//! answer is writes on pods and the counts for its status.

pub mod ranking;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{EventType, Intent, Note, Object, Plan, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::common::controller_reference;
use crate::pods;

/// How many pods one plan creates or deletes at most.
const BURST: usize = 500;

/// How many pods of which shape.
pub struct Wanted<'a> {
    /// Number of pods.
    pub replicas: i32,
    /// Their shape.
    pub template: Option<&'a PodTemplateSpec>,
    /// How long a pod must be ready to count as available.
    pub min_ready_seconds: i32,
}

/// Counts for a status.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Active pods.
    pub replicas: i32,
    /// Those with all labels of the template.
    pub fully_labeled: i32,
    /// Those that are ready.
    pub ready: i32,
    /// Those that have been ready long enough.
    pub available: i32,
    /// Pods that are going away and have not ended.
    pub terminating: i32,
    /// When the next ready pod becomes available.
    pub next_available_in: Option<Duration>,
}

/// Counts an owner's pods.
pub fn count(owned: &[Arc<Pod>], wanted: &Wanted<'_>, now: Timestamp) -> Counts {
    let labels = wanted.template.and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let mut counts = Counts::default();
    for pod in owned {
        if pods::is_terminal(pod) {
            continue;
        }
        if pod.metadata.deletion_timestamp.is_some() {
            counts.terminating += 1;
            continue;
        }
        counts.replicas += 1;
        if has_all(pod.metadata.labels.as_ref(), labels) {
            counts.fully_labeled += 1;
        }
        if let Some(missing) = pods::time_to_available(pod, wanted.min_ready_seconds, now) {
            counts.ready += 1;
            if missing.is_zero() {
                counts.available += 1;
            } else {
                counts.next_available_in = Some(counts.next_available_in.map_or(missing, |known| known.min(missing)));
            }
        }
    }
    counts
}

/// Plans the pods that are missing or too many; `related` are the pods of sibling owners, which deletions should spread
/// over nodes together with.
pub fn keep<O>(
    plan: &mut Plan,
    owner: &O,
    owned: &[Arc<Pod>],
    related: &[Arc<Pod>],
    wanted: &Wanted<'_>,
    now: Timestamp,
) where
    O: Object + kube::Resource<DynamicType = ()>,
{
    let active: Vec<_> = owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
    let target = usize::try_from(wanted.replicas).unwrap_or(0);
    if active.len() < target {
        let missing = (target - active.len()).min(BURST);
        plan.because(format!("{} of {target} pods are there: creating {missing}", active.len()));
        let Some(template) = wanted.template else { return };
        let create = Intent::create(&pod_from(template, owner))
            .on_success(Note::about(owner, EventType::Normal, "SuccessfulCreate", "Created pod: {}"))
            .on_failure(Note::about(owner, EventType::Warning, "FailedCreate", "Error creating: {}"));
        plan.writes.extend(std::iter::repeat_n(create, missing));
    } else if active.len() > target {
        let excess = (active.len() - target).min(BURST);
        plan.because(format!("{} pods where {target} are wanted: deleting {excess}", active.len()));
        for pod in ranking::first_to_go(active, related, now).into_iter().take(excess) {
            let name = pod.meta_ref().name.to_owned();
            let delete = Intent::delete(&*pod)
                .on_success(Note::about(owner, EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {name}")))
                .on_failure(Note::about(owner, EventType::Warning, "FailedDelete", "Error deleting: {}"));
            plan.write(delete);
        }
    }
}

/// The failed attempt on pods that a ReplicaFailure condition shows: its reason and message.
pub fn pod_failure(view: &View) -> Option<(&'static str, String)> {
    let failure = view.failure().filter(|failure| failure.resource == "pods")?;
    let reason = match failure.verb {
        "create" => "FailedCreate",
        "delete" => "FailedDelete",
        _ => return None,
    };
    Some((reason, failure.error.to_string()))
}

fn pod_from<O: Object + kube::Resource<DynamicType = ()>>(template: &PodTemplateSpec, owner: &O) -> Pod {
    let shape = template.metadata.clone().unwrap_or_default();
    let meta = owner.meta_ref();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", meta.name)),
            namespace: Some(meta.namespace.to_owned()),
            labels: shape.labels,
            annotations: shape.annotations,
            finalizers: shape.finalizers,
            owner_references: Some(vec![controller_reference(owner)]),
            ..Default::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

fn has_all(labels: Option<&BTreeMap<String, String>>, wanted: Option<&BTreeMap<String, String>>) -> bool {
    wanted.into_iter().flatten().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}
