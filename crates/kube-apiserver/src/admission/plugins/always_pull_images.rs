//! Every image is asked for at its registry each time, so that nobody runs an image that another pod had the rights for.

use async_trait::async_trait;
use machinery::field::{self, Error, ErrorList, Path};
use machinery::status::Status;
use serde_json::{Value, json};

use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
const ALWAYS: &str = "Always";

pub struct AlwaysPullImages;

#[async_trait]
impl Plugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if !applies(review, object) {
            return Ok(());
        }
        for list in LISTS {
            let containers = object.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
                container.insert("imagePullPolicy".to_owned(), json!(ALWAYS));
            }
        }
        let volumes = object.pointer_mut("/spec/volumes").and_then(Value::as_array_mut);
        for volume in volumes.into_iter().flatten() {
            if let Some(image) = volume.get_mut("image").and_then(Value::as_object_mut) {
                image.insert("pullPolicy".to_owned(), json!(ALWAYS));
            }
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(pod) = object.filter(|pod| applies(review, pod)) else { return Ok(()) };
        let mut errors = ErrorList::new();
        let spec = Path::new("spec");
        for list in LISTS {
            let path = spec.child(list);
            for (at, container) in object::list(pod, &format!("/spec/{list}")).iter().enumerate() {
                let policy = object::text(container, "/imagePullPolicy");
                if policy != ALWAYS {
                    errors.push(Error::not_supported(&path.index(at).child("imagePullPolicy"), policy, &[ALWAYS]));
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(review.forbidden(object, field::aggregate(&errors))) }
    }
}

/// New pods, updates that bring new images, and containers that come in later.
fn applies(review: &Review, pod: &Value) -> bool {
    let is_pod = (review.kind.group, review.kind.plural) == ("", "pods");
    match (review.subresource, review.operation) {
        _ if !is_pod => false,
        ("", Operation::Create) => true,
        ("" | "ephemeralcontainers", Operation::Update) => {
            let before: Vec<&str> = review.old.into_iter().flat_map(images).collect();
            images(pod).any(|image| !before.contains(&image))
        }
        _ => false,
    }
}

fn images(pod: &Value) -> impl Iterator<Item = &str> {
    let containers = LISTS.into_iter().flat_map(|list| object::list(pod, &format!("/spec/{list}")));
    let volumes = object::list(pod, "/spec/volumes").iter();
    let of_volumes = volumes.filter_map(|volume| volume.pointer("/image/reference")?.as_str());
    containers.map(|container| object::text(container, "/image")).chain(of_volumes)
}
