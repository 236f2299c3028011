//! pods/binding (and the older bindings collection): the scheduler's decision, written into the pod.

use http::StatusCode;
use machinery::field::{Error, ErrorList, Path};
use machinery::gvk::GroupResource;
use machinery::status::Status;
use serde_json::{Value, json};

use crate::admission::Operation;
use crate::endpoints::body::{self, Expected};
use crate::endpoints::options::Write;
use crate::endpoints::{Scope, as_admit};
use crate::registry::{Part, now, object};
use crate::{Body, Response, body as http_body};

const SCHEMA: &str = "io.k8s.api.core.v1.Binding";

pub async fn serve(scope: &Scope, request: Body) -> Result<Response, Status> {
    let bytes = body::read(scope, request).await?;
    let mut write = Write::parse(scope, "CreateOptions")?;
    let expected = Expected::builtin("Binding", "v1", SCHEMA);
    let mut binding = body::decode(scope, &bytes, &expected, write.field_validation)?;
    body::check_namespace(scope, &mut binding)?;
    let name = object::name(&binding).to_owned();
    if scope.name.is_empty() && name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    if !scope.name.is_empty() && scope.name != name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    let errors = validate(&binding);
    if !errors.is_empty() {
        // Upstream answers these as unexpected errors, not as an invalid object.
        return Err(Status::unexpected(machinery::field::aggregate(&errors)));
    }
    let (pods, _) = api::find("", "v1", "pods").ok_or_else(Status::not_found_path)?;
    let admission = scope.admission("binding", &name, write.options.dry_run);
    as_admit(&admission).mutate(pods, Operation::Create, &mut binding, None).await?;
    as_admit(&admission).validate(pods, Operation::Create, Some(&binding), None).await?;
    // Nobody owns what a binding decides.
    write.options.owner.is_settled = true;
    let part = Part::own(|_, _| Ok(()), |_, _| ErrorList::new());
    let mut change = |pod: &Value| bind(pod, &binding, &name);
    let registry = &scope.server.registry;
    let no_admission = crate::registry::NoAdmission;
    registry.update(pods, &scope.namespace, &name, part, &mut change, &write.options, &no_admission).await?;
    let mut response = http_body::status(&Status::created());
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn validate(binding: &Value) -> ErrorList {
    let target = Path::new("target");
    let mut errors = ErrorList::new();
    let kind = object::text(binding, "/target/kind");
    if !matches!(kind, "" | "Node") {
        errors.push(Error::not_supported(&target.child("kind"), kind, &["Node", "<empty>"]));
    }
    if object::text(binding, "/target/name").is_empty() {
        errors.push(Error::required(&target.child("name"), ""));
    }
    errors
}

/// The pod as the binding leaves it.
fn bind(pod: &Value, binding: &Value, name: &str) -> Result<Value, Status> {
    let conflict = |message: String| Status::conflict(&GroupResource::new("", "pods/binding"), name, message);
    let (uid, version) = (object::uid(binding), object::resource_version(binding));
    if !uid.is_empty() && uid != object::uid(pod) {
        return Err(conflict(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            object::uid(pod)
        )));
    }
    if !version.is_empty() && version != object::resource_version(pod) {
        return Err(Status::optimistic_lock(&GroupResource::new("", "pods/binding"), name));
    }
    if object::is_deleting(pod) {
        return Err(conflict(format!("pod {name} is being deleted, cannot be assigned to a host")));
    }
    let node = object::text(pod, "/spec/nodeName");
    if !node.is_empty() {
        return Err(conflict(format!("pod {name} is already assigned to node {}", machinery::go_text::quote(node))));
    }
    if !object::list(pod, "/spec/schedulingGates").is_empty() {
        return Err(conflict(format!("pod {name} has non-empty .spec.schedulingGates")));
    }
    let mut pod = pod.clone();
    object::map_mut(&mut pod, "spec").insert("nodeName".to_owned(), binding["target"]["name"].clone());
    for (field, set) in [
        ("annotations", machinery::meta::set_annotation as fn(&mut Value, &str, &str)),
        ("labels", machinery::meta::set_label as fn(&mut Value, &str, &str)),
    ] {
        for (key, value) in binding["metadata"][field].as_object().into_iter().flatten() {
            set(&mut pod, key, value.as_str().unwrap_or_default());
        }
    }
    set_scheduled(&mut pod);
    Ok(pod)
}

fn set_scheduled(pod: &mut Value) {
    const TYPE: &str = "PodScheduled";
    let now = object::time(now());
    let conditions = object::map_mut(pod, "status").entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Value::Array(conditions) = conditions else { return };
    let condition = conditions.iter_mut().find(|condition| condition["type"] == TYPE);
    let new = json!({ "type": TYPE, "status": "True", "lastProbeTime": null, "lastTransitionTime": now });
    match condition {
        Some(condition) if condition["status"] == "True" => {}
        Some(condition) => *condition = new,
        None => conditions.push(new),
    }
}
