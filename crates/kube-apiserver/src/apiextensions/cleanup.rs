//! The end of a definition: first its objects go, then it.

use api::apiextensions::custom_resource_definition::CLEANUP_FINALIZER;
use machinery::status::Status;
use serde_json::Value;

use super::{conditions, controller, definitions};
use crate::registry::{DeleteOptions, NoAdmission, Owner, Part, Registry, WriteOptions, keys, object};

/// Deletes the objects of a definition that is being deleted, then lets it go. `false` while some are left.
pub async fn remove_objects(registry: &Registry, definition: &Value) -> Result<bool, Status> {
    if !object::texts(definition, "/metadata/finalizers").any(|finalizer| finalizer == CLEANUP_FINALIZER) {
        return Ok(true);
    }
    let (group, plural) = (object::text(definition, "/spec/group"), object::text(definition, "/spec/names/plural"));
    let kinds = registry.kinds();
    if let Some(kind) = kinds.custom().find(|kind| kind.group == group && kind.plural == plural) {
        let mut left = false;
        let snapshot = registry.store().snapshot();
        let all: Vec<String> = snapshot.range(&keys::prefix(kind), None).map(|entry| entry.key.to_string()).collect();
        for key in all {
            let Some((namespace, name)) = keys::parse(kind, &key) else { continue };
            match registry.delete(kind, namespace, name, &DeleteOptions::default(), &NoAdmission).await {
                Ok(deleted) => left |= !deleted.gone,
                Err(status) if status.is_not_found() => {}
                Err(status) => return Err(status),
            }
        }
        if left {
            let mut waiting = definition.clone();
            let message = "CustomResource deletion is in progress";
            conditions::set(&mut waiting, "Terminating", "True", "InstanceDeletionInProgress", message);
            if waiting != *definition {
                controller::write_status(registry, waiting).await?;
            }
            return Ok(false);
        }
    }
    release(registry, definition).await?;
    Ok(true)
}

/// Takes the finalizer away.
async fn release(registry: &Registry, definition: &Value) -> Result<(), Status> {
    let mut change = |current: &Value| {
        let mut new = current.clone();
        let rest: Vec<Value> = object::texts(current, "/metadata/finalizers")
            .filter(|finalizer| *finalizer != CLEANUP_FINALIZER)
            .map(Value::from)
            .collect();
        object::set_metadata(&mut new, "finalizers", (!rest.is_empty()).then(|| rest.into()));
        conditions::set(&mut new, "Terminating", "False", "InstanceDeletionCompleted", "removed all instances");
        Ok(new)
    };
    let options = WriteOptions {
        owner: Owner { subresource: "status".to_owned(), ..Owner::default() },
        ..WriteOptions::default()
    };
    let name = object::name(definition);
    match registry.update(definitions(), "", name, Part::STATUS, &mut change, &options, &NoAdmission).await {
        Err(status) if !status.is_not_found() => Err(status),
        _ => Ok(()),
    }
}
