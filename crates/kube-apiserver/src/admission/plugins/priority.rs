//! A pod's priority comes from its class, never from the pod itself. At most one class is the default of all pods.

use async_trait::async_trait;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use machinery::status::Status;
use serde_json::Value;
use std::sync::Arc;

use crate::admission::{Operation, Plugin, Review};
use crate::registry::{Reflected, object};

const PREEMPT_LOWER: &str = "PreemptLowerPriority";

pub struct Priority;

#[async_trait]
impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if !review.is("", "pods") {
            return Ok(());
        }
        if let Some(old) = review.old {
            keep(object, old);
        }
        if review.operation != Operation::Create {
            return Ok(());
        }
        let Some(classes) = classes(review) else { return Ok(()) };
        let name = object::text(object, "/spec/priorityClassName").to_owned();
        let class = if name.is_empty() {
            default_class(&classes)
        } else {
            let class = classes.get("", &name);
            Some(class.ok_or_else(|| {
                review.forbidden(Some(object), format!("no PriorityClass with name {name} was found"))
            })?)
        };
        let value = class.as_ref().and_then(|class| class.value).unwrap_or(0);
        let given = object::number(object, "/spec/priority");
        if let Some(given) = given.filter(|given| *given != i64::from(value)) {
            let message = format!(
                "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
            );
            return Err(review.forbidden(Some(object), message));
        }
        let policy = class
            .as_ref()
            .and_then(|class| class.preemption_policy.clone())
            .unwrap_or_else(|| PREEMPT_LOWER.to_owned());
        let own = object::text(object, "/spec/preemptionPolicy").to_owned();
        if !own.is_empty() && own != policy {
            let message = format!(
                "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
            );
            return Err(review.forbidden(Some(object), message));
        }
        let spec = object::map_mut(object, "spec");
        if let (true, Some(class)) = (name.is_empty(), &class) {
            let name = class.metadata.name.clone().unwrap_or_default();
            spec.insert("priorityClassName".to_owned(), name.into());
        }
        spec.insert("priority".to_owned(), value.into());
        spec.insert("preemptionPolicy".to_owned(), policy.into());
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(object) = object.filter(|_| review.is("scheduling.k8s.io", "priorityclasses")) else { return Ok(()) };
        if object.get("globalDefault").and_then(Value::as_bool) != Some(true) {
            return Ok(());
        }
        let other =
            classes(review).and_then(|classes| default_class(&classes)).and_then(|class| class.metadata.name.clone());
        match other.filter(|other| other != object::name(object)) {
            Some(other) => Err(review.forbidden(
                Some(object),
                format!("PriorityClass {other} is already marked as default. Only one default can exist"),
            )),
            None => Ok(()),
        }
    }
}

/// An update that leaves the computed values out leaves them as they are.
fn keep(pod: &mut Value, old: &Value) {
    let spec = object::map_mut(pod, "spec");
    for field in ["priority", "preemptionPolicy"] {
        if let (true, Some(value)) = (spec.get(field).is_none_or(Value::is_null), old["spec"].get(field)) {
            spec.insert(field.to_owned(), value.clone());
        }
    }
}

fn classes(review: &Review<'_>) -> Option<Arc<Reflected<PriorityClass>>> {
    let (kind, _) = api::find("scheduling.k8s.io", "v1", "priorityclasses")?;
    Some(review.server.registry.reflected(kind))
}

/// The default class with the lowest value, should there be several.
fn default_class(classes: &Reflected<PriorityClass>) -> Option<Arc<PriorityClass>> {
    let list = classes.list();
    list.iter().filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value.unwrap_or(0)).cloned()
}
