//! Nodes with special hardware are tainted with its name: a pod that asks for the hardware tolerates the taint.

use std::collections::BTreeSet;

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::{Value, json};

use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

pub struct ExtendedResourceToleration;

#[async_trait]
impl Plugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if !review.is("", "pods") || !matches!(review.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let containers = ["containers", "initContainers"].into_iter();
        let containers = containers.flat_map(|list| object::list(object, &format!("/spec/{list}")));
        let asked = containers.filter_map(|container| container.pointer("/resources/requests")?.as_object());
        let resources: BTreeSet<String> =
            asked.flat_map(|requests| requests.keys()).filter(|name| is_extended(name)).cloned().collect();
        if resources.is_empty() {
            return Ok(());
        }
        let mut tolerations = object::list(object, "/spec/tolerations").to_vec();
        for resource in resources {
            let wanted = json!({ "key": resource, "operator": "Exists", "effect": "NoSchedule" });
            let is_same = |own: &Value| {
                ["key", "operator", "effect"].iter().all(|field| own.get(*field) == wanted.get(*field))
                    && object::text(own, "/value").is_empty()
            };
            match tolerations.iter_mut().find(|own| is_same(own)) {
                Some(own) => *own = wanted,
                None => tolerations.push(wanted),
            }
        }
        object::map_mut(object, "spec").insert("tolerations".to_owned(), tolerations.into());
        Ok(())
    }
}

/// Named by a vendor's domain: `example.com/gpu`.
fn is_extended(resource: &str) -> bool {
    resource.contains('/')
        && !resource.contains("kubernetes.io/")
        && !resource.starts_with("requests.")
        && machinery::names::qualified_name(&format!("requests.{resource}")).is_empty()
}
