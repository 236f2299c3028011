//! pods/eviction: a delete that first asks the disruption budget of the pod whether it may.
//!
//! Pods that nobody counts on (not yet running, ended, going already) are deleted without asking. For the others the
//! budget gives one of its disruptions away, unless the pod is unhealthy and the budget lets such pods go; then the pod
//! must still be as it was looked at, so that none that has become healthy meanwhile goes without being counted.

mod budget;

use http::StatusCode;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::Operation;
use crate::endpoints::body::{self, Expected};
use crate::endpoints::options::{self, Write};
use crate::endpoints::{Scope, as_admit};
use crate::registry::object::{self, Condition};
use crate::registry::{self, DeleteOptions, NoAdmission, Owner, Part, WriteOptions};
use crate::{Body, Response, body as http_body};
use budget::Verdict;

const OLD_VERSION: &str = "policy/v1beta1";
/// How often a pod is looked at again when it changes between the look and the delete.
const TRIES: usize = 20;

pub async fn serve(scope: &Scope, request: Body) -> Result<Response, Status> {
    let bytes = body::read(scope, request).await?;
    let write = Write::parse(scope, "CreateOptions")?;
    let old = body::claimed_version(scope, &bytes).as_deref() == Some(OLD_VERSION);
    let api_version = if old { OLD_VERSION } else { "policy/v1" }.to_owned();
    let expected = Expected::builtin("Eviction", api_version, "io.k8s.api.policy.v1.Eviction");
    let mut eviction = body::decode(scope, &bytes, &expected, write.field_validation)?;
    body::check_namespace(scope, &mut eviction)?;
    if object::name(&eviction) != scope.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let dry_run = write.options.dry_run;
    let admission = scope.admission("eviction", &scope.name, dry_run);
    as_admit(&admission).mutate(scope.kind, Operation::Create, &mut eviction, None).await?;
    as_admit(&admission).validate(scope.kind, Operation::Create, Some(&eviction), None).await?;
    let given = eviction.get("deleteOptions").filter(|given| given.is_object()).cloned();
    let given = given.unwrap_or_else(|| serde_json::json!({}));
    let mut delete = options::delete(&scope.query, &given)?;
    delete.dry_run |= dry_run;
    evict(scope, &delete).await?;
    let mut response = http_body::status(&Status::created());
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

async fn evict(scope: &Scope, options: &DeleteOptions) -> Result<(), Status> {
    let mut refused = None;
    for _ in 0..TRIES {
        let pod = scope.server.registry.get(scope.kind, &scope.namespace, &scope.name)?;
        if !goes_unasked(&pod) {
            return ask_and_remove(scope, &pod, options).await;
        }
        let mut delete = options.clone();
        let may_become_healthy = !has_ended(&pod);
        if may_become_healthy && options.resource_version.is_none() {
            delete.resource_version = Some(object::resource_version(&pod).to_owned());
        }
        match remove(scope, delete).await {
            Err(status) if status.is_conflict() && options.resource_version.is_none() && is_meant(&pod, options) => {
                refused = Some(status);
            }
            done => return done,
        }
    }
    Err(refused.unwrap_or_else(|| Status::timeout("the pod kept changing", 1)))
}

async fn ask_and_remove(scope: &Scope, pod: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let Some(budget) = budget::of(&scope.server.registry, pod)? else { return remove(scope, options.clone()).await };
    if budget::ask(&scope.server.registry, &budget, pod, options.dry_run).await? == Verdict::Given {
        return remove(scope, options.clone()).await;
    }
    let mut delete = options.clone();
    delete.resource_version = Some(object::resource_version(pod).to_owned());
    match remove(scope, delete).await {
        Err(status) if status.is_conflict() && options.resource_version.is_none() => {
            Err(budget::ask_later(object::name(&budget)))
        }
        done => done,
    }
}

/// Says in the pod why it goes, and deletes it. Whoever may evict need not be let delete.
async fn remove(scope: &Scope, mut options: DeleteOptions) -> Result<(), Status> {
    let (registry, kind) = (&scope.server.registry, scope.kind);
    if !options.dry_run {
        let mut change = |pod: &Value| {
            registry::check_preconditions(kind, &scope.name, pod, &options)?;
            Ok(marked(pod))
        };
        // Nobody owns what an eviction says.
        let write = WriteOptions { owner: Owner { is_settled: true, ..Owner::default() }, ..WriteOptions::default() };
        let (namespace, name) = (&scope.namespace, &scope.name);
        let written = registry.update(kind, namespace, name, Part::STATUS, &mut change, &write, &NoAdmission).await?;
        if options.resource_version.is_some() {
            let pod = registry::encode::decode(&written.bytes)?;
            options.resource_version = Some(object::resource_version(&pod).to_owned());
        }
    }
    registry.delete(kind, &scope.namespace, &scope.name, &options, &NoAdmission).await.map(drop)
}

fn marked(pod: &Value) -> Value {
    let mut pod = pod.clone();
    let observed_generation = object::number(&pod, "/metadata/generation");
    object::set_condition(
        &mut pod,
        &Condition {
            kind: "DisruptionTarget",
            status: "True",
            reason: "EvictionByEvictionAPI",
            message: "Eviction API: evicting",
            observed_generation,
        },
    );
    pod
}

fn goes_unasked(pod: &Value) -> bool {
    has_ended(pod) || object::text(pod, "/status/phase") == "Pending"
}

/// Ended, or about to whatever happens.
fn has_ended(pod: &Value) -> bool {
    matches!(object::text(pod, "/status/phase"), "Succeeded" | "Failed") || object::is_deleting(pod)
}

/// Whether this is the pod of the uid that the request names, if it names one.
fn is_meant(pod: &Value, options: &DeleteOptions) -> bool {
    options.uid.as_deref().is_none_or(|uid| uid == object::uid(pod))
}
