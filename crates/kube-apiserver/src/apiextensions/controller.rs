//! Accepts the names of definitions, establishes their kinds, and removes what belongs to definitions that are deleted.
//!
//! State is looked at as a whole after each change: who has which names depends on all definitions of a group.

use std::sync::Arc;
use std::time::Duration;

use machinery::status::Status;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{cleanup, conditions, definitions};
use crate::Server;
use crate::registry::{NoAdmission, Owner, Part, Registry, WriteOptions, object};

/// How soon again when something could not be done.
const RETRY: Duration = Duration::from_millis(500);

/// Works until the server ends.
pub async fn run(server: Arc<Server>, shutdown: CancellationToken) {
    let work = async {
        loop {
            let revision = server.registry.store().revision();
            if reconcile(&server.registry).await {
                server.registry.change_since(&[definitions()], revision).await;
            } else {
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

/// Brings all definitions up to date; says whether nothing is left to wait for. What fails with one of them holds up no
/// other.
async fn reconcile(registry: &Registry) -> bool {
    let mut all = registry.list(definitions(), "");
    // Who came first keeps a name.
    all.sort_by_cached_key(|definition| object::text(definition, "/metadata/creationTimestamp").to_owned());
    let mut done = true;
    for index in 0..all.len() {
        if object::is_deleting(&all[index]) {
            done &= told(&all[index], cleanup::remove_objects(registry, &all[index]).await).unwrap_or(false);
            continue;
        }
        let mut new = all[index].clone();
        let group = object::text(&new, "/spec/group").to_owned();
        let others = all.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, other)| other);
        let others = others.filter(|other| object::text(other, "/spec/group") == group);
        if conditions::update(&mut new, others) {
            done &= told(&new, write_status(registry, new.clone()).await).is_some();
            all[index] = new;
        }
    }
    done
}

/// What came out, or a line in the log.
fn told<T>(definition: &Value, result: Result<T, Status>) -> Option<T> {
    let failed = |status: &Status| {
        let name = object::name(definition);
        tracing::warn!(name, error = %status, "failed to bring a custom resource definition up to date");
    };
    result.inspect_err(failed).ok()
}

/// Writes the status, unless the definition is gone or changed meanwhile: then there is another look to come.
pub async fn write_status(registry: &Registry, new: Value) -> Result<(), Status> {
    let name = object::name(&new).to_owned();
    let options = WriteOptions {
        owner: Owner { subresource: "status".to_owned(), ..Owner::default() },
        ..WriteOptions::default()
    };
    let mut change = |_: &Value| Ok(new.clone());
    match registry.update(definitions(), "", &name, Part::STATUS, &mut change, &options, &NoAdmission).await {
        Err(status) if !status.is_conflict() && !status.is_not_found() => Err(status),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
