//! A pod as streams see it: which container is meant, and on which node it runs.

use machinery::status::Status;
use serde_json::Value;

use crate::registry::Registry;

/// The pod of a request.
pub fn get(registry: &Registry, namespace: &str, name: &str) -> Result<Value, Status> {
    let (kind, _) = api::find("", "v1", "pods").ok_or_else(Status::not_found_path)?;
    registry.get(kind, namespace, name)
}

/// The container that is meant: the one named, or the only one.
pub fn container(pod: &Value, wanted: &str) -> Result<String, Status> {
    let name = text(pod, "/metadata/name");
    let regular = names(pod, "containers");
    let init = names(pod, "initContainers");
    let ephemeral = names(pod, "ephemeralContainers");
    if !wanted.is_empty() {
        let known = regular.iter().chain(&init).chain(&ephemeral).any(|container| *container == wanted);
        if known {
            return Ok(wanted.to_owned());
        }
        return Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}")));
    }
    match regular[..] {
        [only] => Ok(only.to_owned()),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {name}"))),
        _ => {
            let list = |names: &[&str]| format!("[{}]", names.join(" "));
            let mut message =
                format!("a container name must be specified for pod {name}, choose one of: {}", list(&regular));
            if !init.is_empty() {
                message += &format!(" or one of the init containers: {}", list(&init));
            }
            if !ephemeral.is_empty() {
                message += &format!(" or one of the ephemeral containers: {}", list(&ephemeral));
            }
            Err(Status::bad_request(message))
        }
    }
}

/// The node that the pod is bound to; "" for none.
pub fn node(pod: &Value) -> &str {
    text(pod, "/spec/nodeName")
}

pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn names<'a>(pod: &'a Value, field: &str) -> Vec<&'a str> {
    let containers = pod.get("spec").and_then(|spec| spec.get(field)).and_then(Value::as_array);
    containers.into_iter().flatten().map(|container| text(container, "/name")).collect()
}
