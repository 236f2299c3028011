//! A pod that names a RuntimeClass gets what the class says: what it costs beside its containers, and which nodes have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::node::v1::RuntimeClass as Class;
use machinery::status::Status;
use serde_json::{Map, Value, json};

use super::tolerations;
use crate::admission::usage::quantities;
use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

pub struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if review.operation != Operation::Create || !review.is("", "pods") {
            return Ok(());
        }
        let Some(class) = look_up(review, object)? else { return Ok(()) };
        if let Some(overhead) = overhead(&class) {
            if object.pointer("/spec/overhead").is_some_and(|own| !own.is_null()) {
                check_overhead(review, object, Some(&overhead))?;
            }
            object::map_mut(object, "spec").insert("overhead".to_owned(), overhead);
        }
        let Some(scheduling) = &class.scheduling else { return Ok(()) };
        select_nodes(review, object, scheduling.node_selector.as_ref())?;
        let own = tolerations::read(object.pointer("/spec/tolerations"));
        let merged = tolerations::merge(own, scheduling.tolerations.clone().unwrap_or_default());
        if !merged.is_empty() {
            object::map_mut(object, "spec").insert("tolerations".to_owned(), json!(merged));
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(pod) = object.filter(|_| review.operation == Operation::Create && review.is("", "pods")) else {
            return Ok(());
        };
        let class = look_up(review, pod)?;
        check_overhead(review, pod, class.as_deref().and_then(overhead).as_ref())
    }
}

fn look_up(review: &Review, pod: &Value) -> Result<Option<Arc<Class>>, Status> {
    let Some(name) = pod.pointer("/spec/runtimeClassName").and_then(Value::as_str) else { return Ok(None) };
    let kind = api::find("node.k8s.io", "v1", "runtimeclasses").map(|(kind, _)| kind);
    let class = kind.and_then(|kind| review.server.registry.reflected::<Class>(kind).get("", name));
    class.map(Some).ok_or_else(|| {
        let name = machinery::go_text::quote(name);
        review.forbidden(Some(pod), format!("pod rejected: RuntimeClass {name} not found"))
    })
}

fn overhead(class: &Class) -> Option<Value> {
    class.overhead.as_ref().map(|overhead| json!(overhead.pod_fixed.clone().unwrap_or_default()))
}

fn check_overhead(review: &Review, pod: &Value, wanted: Option<&Value>) -> Result<(), Status> {
    let own = pod.pointer("/spec/overhead").filter(|own| !own.is_null());
    let message = match (own, wanted) {
        (Some(_), None) => "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        (own, Some(wanted)) if quantities(own) != quantities(Some(wanted)) => {
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        }
        _ => return Ok(()),
    };
    Err(review.forbidden(Some(pod), message))
}

fn select_nodes(review: &Review, pod: &mut Value, wanted: Option<&BTreeMap<String, String>>) -> Result<(), Status> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return Ok(()) };
    let own = pod.pointer("/spec/nodeSelector").and_then(Value::as_object);
    let conflict = wanted.iter().find_map(|(key, value)| {
        let own = own?.get(key)?.as_str()?;
        (own != value).then(|| {
            format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {own}"
            )
        })
    });
    if let Some(conflict) = conflict {
        return Err(review.forbidden(Some(pod), conflict));
    }
    let mut selector: Map<String, Value> = own.cloned().unwrap_or_default();
    selector.extend(wanted.iter().map(|(key, value)| (key.clone(), value.clone().into())));
    object::map_mut(pod, "spec").insert("nodeSelector".to_owned(), selector.into());
    Ok(())
}
