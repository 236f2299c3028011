//! From words such as `deploy/redis` to a pod and one of its containers.

use clap::ArgMatches;
use machinery::labels::Selector;
use serde_json::Value;

use crate::api::Query;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::selection::{self, Item, Selection};
use crate::value::{self, at, list, text};

/// The object that a word such as `redis-1`, `pod/redis-1` or `deploy/redis` names; without a type it is a pod.
pub async fn named(context: &Context, matches: &ArgMatches, word: &str) -> Result<Item> {
    let words = if word.contains('/') { vec![word.to_owned()] } else { vec!["pods".to_owned(), word.to_owned()] };
    match selection::select(context, matches, &words).await? {
        Selection::Items(mut items) if items.len() == 1 => {
            let mut item = items.remove(0);
            item.object = context.api().await?.get(&item.path()).await?;
            Ok(item)
        }
        _ => Err(Error::message("exactly one object must be named")),
    }
}

/// The label selector of the pods that an object is about.
pub fn pod_selector(object: &Value) -> Result<Selector> {
    let selector = at(object, "spec.selector");
    match value::kind(object) {
        "Service" | "ReplicationController" => match selector.as_object().filter(|map| !map.is_empty()) {
            Some(map) => Ok(Selector::from_json_map(map)),
            None => Err(Error::message(format!(
                "invalid {} '{}': Service is defined without a selector",
                value::kind(object).to_lowercase(),
                value::name(object)
            ))),
        },
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => Selector::from_label_selector(selector)
            .map_err(|error| Error::message(format!("invalid label selector: {error}"))),
        other => Err(Error::message(format!("cannot get the pods of a {other}"))),
    }
}

/// The pods of a namespace that a selector takes, those that run first.
pub async fn pods_of(context: &Context, namespace: &str, selector: &Selector) -> Result<Vec<Value>> {
    let resource = context.discovery().await?.find("pods")?;
    let query = Query::new(resource.collection(Some(namespace))).add("labelSelector", selector.to_string());
    let (mut pods, _) = selection::read_list(context, query).await?;
    pods.sort_by_key(|pod| (rank(pod), text(pod, "metadata.creationTimestamp").to_owned()));
    Ok(pods)
}

/// Pods that do more come first.
fn rank(pod: &Value) -> u8 {
    let ready = list(pod, "status.conditions").iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
    match text(pod, "status.phase") {
        "Running" if ready => 0,
        "Running" => 1,
        "Pending" => 2,
        _ => 3,
    }
}

/// The one pod for a word; of several the first, which is said.
pub async fn one_pod(context: &Context, matches: &ArgMatches, word: &str) -> Result<Value> {
    let item = named(context, matches, word).await?;
    if value::kind(&item.object) == "Pod" {
        return Ok(item.object);
    }
    let namespace = item.namespace.clone().unwrap_or_default();
    let mut pods = pods_of(context, &namespace, &pod_selector(&item.object)?).await?;
    if pods.is_empty() {
        return Err(Error::message(format!("timed out waiting for the condition: no pods found for {}", item.label())));
    }
    Ok(pods.swap_remove(0))
}

/// The container to use: `-c`, the default one's annotation, or the first; a choice among several is said unless quiet.
pub fn container(context: &Context, pod: &Value, wanted: Option<&str>, quiet: bool) -> Result<String> {
    if let Some(name) = wanted.filter(|name| !name.is_empty()) {
        if all_containers(pod).any(|container| text(container, "name") == name) {
            return Ok(name.to_owned());
        }
        return Err(Error::message(format!(
            "container {name} not found in pod {}_{}",
            value::name(pod),
            value::namespace(pod)
        )));
    }
    let containers = list(pod, "spec.containers");
    let annotated = at(pod, "metadata.annotations")["kubectl.kubernetes.io/default-container"].as_str();
    if let Some(name) = annotated.filter(|name| all_containers(pod).any(|container| text(container, "name") == *name)) {
        return Ok(name.to_owned());
    }
    let Some(first) = containers.first() else {
        return Err(Error::message(format!("pod {} has no containers", value::name(pod))));
    };
    let name = text(first, "name").to_owned();
    let all: Vec<String> = ["", " (init)", " (ephem)"]
        .into_iter()
        .zip(["spec.containers", "spec.initContainers", "spec.ephemeralContainers"])
        .flat_map(|(suffix, path)| {
            list(pod, path).iter().map(move |container| format!("{}{suffix}", text(container, "name")))
        })
        .collect();
    if all.len() > 1 && !quiet {
        context.console.error_line(&format!("Defaulted container \"{name}\" out of: {}", all.join(", ")));
    }
    Ok(name)
}

pub fn all_containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"].into_iter().flat_map(|path| list(pod, path))
}
