//! A pod keeps others off its node at most, not off a whole zone: that would be too cheap a way to claim one.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const HOST: &str = "kubernetes.io/hostname";
const TERMS: &str = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";

pub struct LimitPodHardAntiAffinityTopology;

#[async_trait]
impl Plugin for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let about = review.is("", "pods") && matches!(review.operation, Operation::Create | Operation::Update);
        let Some(pod) = object.filter(|_| about) else { return Ok(()) };
        let mut keys = object::list(pod, TERMS).iter().map(|term| object::text(term, "/topologyKey"));
        match keys.find(|key| *key != HOST) {
            None => Ok(()),
            Some(key) => {
                let rule = "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey";
                Err(review.forbidden(object, format!("{rule} {key} but only key {HOST} is allowed")))
            }
        }
    }
}
