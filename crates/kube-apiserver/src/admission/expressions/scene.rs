//! What expressions see of a request.

use api::Version;
use api::admissionregistration::expressions::REQUEST_RESOURCE;
use cel::{Activation, ResourceCheck};
use machinery::status::Status;
use serde_json::{Map, Value};

use super::Checks;
use crate::admission::Review;
use crate::admission::attributes::Gvr;
use crate::registry::object;

/// The request in one version: made once for all expressions that want to see it so.
pub struct Shown {
    pub version: &'static Version,
    /// Null where there is none.
    pub object: Value,
    pub old: Value,
    request: Value,
    resource: ResourceCheck,
}

impl Shown {
    pub fn new(review: &Review<'_>, version: &'static Version, object: Option<&Value>) -> Self {
        let shown = object.map(|object| review.object_in(version, object));
        let resource = Gvr::of(review.kind, review.version());
        Self {
            version,
            request: review.request(version, shown.as_ref()).into(),
            resource: ResourceCheck {
                group: resource.group.to_owned(),
                resource: resource.resource.to_owned(),
                subresource: review.subresource.to_owned(),
                namespace: review.namespace_name(object).to_owned(),
                name: review.object_name(object).to_owned(),
                ..ResourceCheck::default()
            },
            object: shown.unwrap_or_default(),
            old: review.old.map(|old| review.object_in(version, old)).unwrap_or_default(),
        }
    }
}

/// All that expressions may see.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    pub shown: &'a Shown,
    pub checks: &'a Checks<'a>,
    /// The Namespace that the object is in; null where it is in none.
    pub namespace: &'a Value,
    pub params: Option<&'a Value>,
}

impl<'a> Scene<'a> {
    /// The values of all variables but those of a policy.
    pub fn activation(&self) -> Activation<'a> {
        let mut variables = self.without_authorizer();
        variables.set("authorizer", cel::Value::authorizer(self.checks));
        let resource = cel::Value::request_resource(self.checks, self.shown.resource.clone());
        variables.set(REQUEST_RESOURCE, resource);
        variables
    }

    pub fn without_authorizer(&self) -> Activation<'a> {
        let mut variables = Activation::new();
        variables.set_dynamic("object", &self.shown.object);
        variables.set_dynamic("oldObject", &self.shown.old);
        variables.set_dynamic("request", &self.shown.request);
        variables.set_dynamic("namespaceObject", self.namespace);
        variables.set_dynamic("params", self.params.unwrap_or(&Value::Null));
        variables
    }
}

/// The parts of a Namespace's metadata that expressions see.
const NAMESPACE_METADATA: [&str; 12] = [
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "finalizers",
];

/// The value of `namespaceObject`.
pub fn namespace(review: &Review<'_>) -> Result<Value, Status> {
    if review.namespace.is_empty() || review.is_namespace() {
        return Ok(Value::Null);
    }
    let (kind, _) = api::find("", "v1", "namespaces").ok_or_else(Status::not_found_path)?;
    let mut namespace = review.server.registry.get(kind, "", review.namespace)?;
    object::metadata_mut(&mut namespace).retain(|key, _| NAMESPACE_METADATA.contains(&key.as_str()));
    let parts = ["metadata", "spec", "status"].map(|part| (part.to_owned(), namespace[part].take()));
    Ok(parts.into_iter().filter(|(_, part)| !part.is_null()).collect::<Map<_, _>>().into())
}
