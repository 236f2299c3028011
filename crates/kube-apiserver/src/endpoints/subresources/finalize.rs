//! namespaces/finalize: changes spec.finalizers and nothing else. When the last one goes from a namespace that is being
//! deleted, so does the namespace.

use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use machinery::status::Status;
use serde_json::Value;

use crate::endpoints::{Scope, update};
use crate::registry::{Part, object};
use crate::{Body, Response};

/// The finalizer that every namespace has.
const STANDARD: &str = "kubernetes";

pub async fn serve(scope: &Scope, body: Body) -> Result<Response, Status> {
    update::serve_part(scope, body, "finalize", Part::own(prepare, validate)).await
}

fn prepare(new: &mut Value, old: &Value) -> Result<(), Status> {
    let finalizers = new.pointer("/spec/finalizers").cloned();
    let version = new.pointer("/metadata/resourceVersion").cloned();
    *new = old.clone();
    object::set_metadata(new, "resourceVersion", version);
    let spec = object::map_mut(new, "spec");
    match finalizers.filter(|finalizers| finalizers.as_array().is_some_and(|list| !list.is_empty())) {
        Some(finalizers) => {
            spec.insert("finalizers".to_owned(), finalizers);
        }
        None => {
            spec.shift_remove("finalizers");
        }
    }
    Ok(())
}

fn validate(new: &Value, _: &Value) -> ErrorList {
    let spec = Path::new("spec");
    let list = spec.child("finalizers");
    let mut errors = ErrorList::new();
    for (index, name) in object::texts(new, "/spec/finalizers").enumerate() {
        let path = list.index(index);
        let problems = names::qualified_name(name);
        if !problems.is_empty() {
            errors.extend(problems.into_iter().map(|problem| Error::invalid(&path, name, problem)));
        } else if name != STANDARD && !name.contains('/') {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(Error::invalid(&path, name, detail));
        }
    }
    errors
}
