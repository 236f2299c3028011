//! How many pods the controller of a pod wants: from the caches for the built-in workloads, else by its scale
//! subresource, which is asked before the decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{ApiError, Object, Outside, Resource, View, request};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;

use crate::monitors::discovery::Discovered;

/// What a controller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The controller's uid: for the ReplicaSet of a Deployment the Deployment's.
    pub uid: String,
    /// How many pods.
    pub replicas: i32,
}

/// What the server said about controllers that are no built-in workloads, by their uid: none where there is no such
/// object (any more).
#[derive(Clone, Debug, Default)]
pub struct Scales(pub BTreeMap<String, Result<Option<Scale>, String>>);

/// The scale of a pod's controller; none where the controller cannot be found.
pub fn of(view: &View, owner: &OwnerReference, namespace: &str) -> Result<Option<Scale>, String> {
    if is_built_in(owner) {
        return Ok(built_in(view, owner, namespace));
    }
    let scales = view.extra::<Scales>().unwrap_or_default();
    scales.0.get(&owner.uid).cloned().unwrap_or(Ok(None))
}

fn group(owner: &OwnerReference) -> &str {
    owner.api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

fn is_built_in(owner: &OwnerReference) -> bool {
    matches!(
        (group(owner), owner.kind.as_str()),
        ("apps" | "extensions", "ReplicaSet") | ("apps", "StatefulSet") | ("", "ReplicationController")
    )
}

fn built_in(view: &View, owner: &OwnerReference, namespace: &str) -> Option<Scale> {
    let scale = |uid: &str, replicas: Option<i32>| Scale { uid: uid.to_owned(), replicas: replicas.unwrap_or(1) };
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let sets = view.of::<ReplicaSet>();
            let set = sets.find(namespace, &owner.name).filter(|set| set.meta_ref().uid == owner.uid)?;
            Some(
                deployment(view, set)
                    .unwrap_or_else(|| scale(&owner.uid, set.spec.as_ref().and_then(|spec| spec.replicas))),
            )
        }
        "StatefulSet" => {
            let sets = view.of::<StatefulSet>();
            let set = sets.find(namespace, &owner.name).filter(|set| set.meta_ref().uid == owner.uid)?;
            Some(scale(&owner.uid, set.spec.as_ref().and_then(|spec| spec.replicas)))
        }
        _ => {
            let controllers = view.of::<ReplicationController>();
            let known = controllers.find(namespace, &owner.name);
            let controller = known.filter(|controller| controller.meta_ref().uid == owner.uid)?;
            Some(scale(&owner.uid, controller.spec.as_ref().and_then(|spec| spec.replicas)))
        }
    }
}

/// What the Deployment of a ReplicaSet wants: during a rollout each of its sets has only a part.
fn deployment(view: &View, set: &ReplicaSet) -> Option<Scale> {
    let meta = set.meta_ref();
    let owner = meta.controller().filter(|owner| owner.kind == "Deployment")?;
    let deployments = view.of::<Deployment>();
    let known = deployments.find(meta.namespace, &owner.name);
    let deployment = known.filter(|deployment| deployment.meta_ref().uid == owner.uid)?;
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    Some(Scale { uid: owner.uid.clone(), replicas: replicas.unwrap_or(1) })
}

/// Asks the server for the scale of every controller that the caches do not show.
pub async fn observe(outside: &Outside, discovered: &Discovered, pods: &[&Arc<Pod>]) -> Scales {
    let mut scales = Scales::default();
    for pod in pods {
        let meta = pod.meta_ref();
        let Some(owner) = meta.controller().filter(|owner| !is_built_in(owner)) else { continue };
        if !scales.0.contains_key(&owner.uid) {
            let scale = ask(outside, discovered, owner, meta.namespace).await;
            scales.0.insert(owner.uid.clone(), scale);
        }
    }
    scales
}

async fn ask(
    outside: &Outside,
    discovered: &Discovered,
    owner: &OwnerReference,
    namespace: &str,
) -> Result<Option<Scale>, String> {
    let Some(served) = discovered.find(&owner.api_version, &owner.kind) else {
        let version = owner.api_version.rsplit('/').next().unwrap_or_default();
        return Err(format!(
            "no matches for kind \"{}\" in version \"{}\"",
            owner.kind,
            if group(owner).is_empty() { version } else { owner.api_version.as_str() }
        ));
    };
    let path = format!("{}/{}/scale", served.resource.path(namespace), owner.name);
    let scale = match request::get::<Value>(&outside.client, &path).await {
        Ok(scale) => scale,
        Err(error) if error.is_not_found() => {
            return match has_scale(outside, &served.resource).await {
                Ok(true) => Ok(None),
                Ok(false) => {
                    Err(format!("{} does not implement the scale subresource", served.resource.group_resource()))
                }
                Err(error) => Err(error.to_string()),
            };
        }
        Err(error) => return Err(error.to_string()),
    };
    let uid = scale.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
    let replicas = scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    let replicas = i32::try_from(replicas).unwrap_or(i32::MAX);
    Ok((uid == owner.uid).then(|| Scale { uid: uid.to_owned(), replicas }))
}

/// "Not found" may mean the object or the subresource.
async fn has_scale(outside: &Outside, resource: &Resource) -> Result<bool, ApiError> {
    let root = if resource.group.is_empty() { "/api" } else { "/apis" };
    let listed: Value = request::get(&outside.client, &format!("{root}/{}", resource.api_version())).await?;
    let wanted = format!("{}/scale", resource.plural);
    let resources = listed.get("resources").and_then(Value::as_array);
    Ok(resources.into_iter().flatten().any(|one| one["name"] == wanted.as_str()))
}
