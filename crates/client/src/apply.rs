//! Applies a plan's writes in order, with their preconditions, and tells what came of them.

use futures::future::join_all;
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Key;
use crate::events::EventRecorder;
use crate::plan::{Action, Intent, Note, Propagation, Target};
use crate::request::{self, ApiError};
use crate::view::Failure;

/// How many deletes go out side by side.
const DELETES_MAX: usize = 32;

/// A write that the server accepted.
#[derive(Clone, Debug)]
pub struct Written {
    /// Path of the collection over all namespaces.
    pub collection: String,
    /// The object's key.
    pub key: Key,
    /// The object's uid.
    pub uid: String,
    /// The resource version that the write made; 0 if the answer had none.
    pub revision: u64,
    /// Whether it was a creation.
    pub created: bool,
    /// Whether it was a deletion.
    pub deleted: bool,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Accepted writes.
    pub written: Vec<Written>,
    /// The first refusal; the writes after it were not tried.
    pub failure: Option<Failure>,
}

/// Writes with a controller's own identity.
pub struct Applier {
    client: kube::Client,
    recorder: EventRecorder,
}

impl Applier {
    /// Writes through this client and records events with this recorder.
    pub fn new(client: kube::Client, recorder: EventRecorder) -> Self {
        Self { client, recorder }
    }

    /// Applies writes in order until one fails. Updates of one object build on one another: the first has the revision
    /// of the view as its precondition, each after it the one that came of the last.
    pub async fn apply(&self, writes: &[Intent]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut rest = writes;
        while let Some(first) = rest.first() {
            let run = rest.iter().take_while(|intent| same_group(first, intent)).count().max(1);
            let (group, after) = rest.split_at(run);
            self.apply_group(group, &mut outcome).await;
            if outcome.failure.is_some() {
                break;
            }
            rest = after;
        }
        outcome
    }

    /// Creates start slowly: while they succeed the batches double; a failure ends it after its batch.
    async fn apply_group(&self, group: &[Intent], outcome: &mut Outcome) {
        let slow_start = matches!(group.first().map(|intent| &intent.action), Some(Action::Create { .. }));
        let mut size = if slow_start { 1 } else { DELETES_MAX };
        let mut rest = group;
        while !rest.is_empty() && outcome.failure.is_none() {
            let (batch, after) = rest.split_at(size.min(rest.len()));
            let results = join_all(batch.iter().map(|intent| self.apply_one(intent, &outcome.written))).await;
            for result in results {
                match result {
                    Ok(written) => outcome.written.extend(written),
                    Err(failure) => outcome.failure = outcome.failure.take().or(Some(failure)),
                }
            }
            rest = after;
            size = if slow_start { size.saturating_mul(2) } else { size };
        }
    }

    async fn apply_one(&self, intent: &Intent, before: &[Written]) -> Result<Option<Written>, Failure> {
        if let Action::Event(note) = &intent.action {
            self.recorder.record(note.clone());
            return Ok(None);
        }
        let (verb, plural) = describe(&intent.action);
        match self.send(&intent.action, before).await {
            Ok(written) => {
                if let Some(note) = &intent.on_success {
                    let name = written.as_ref().map_or("", |written| &*written.key.name);
                    self.recorder.record(filled(note, name));
                }
                Ok(written)
            }
            // Gone already: a deletion has what it wanted, and a change has nothing left to change.
            Err(error) if error.is_not_found() && verb != "create" => Ok(None),
            // Nothing can be made in a namespace that is going away, and nobody needs to be told.
            Err(error) if error.is_namespace_terminating() => Ok(None),
            Err(error) => {
                if let (Some(note), false) =
                    (&intent.on_failure, error.is_conflict() || error.reason() == "AlreadyExists")
                {
                    self.recorder.record(filled(note, &error.to_string()));
                }
                Err(Failure { verb, resource: plural.to_owned(), error })
            }
        }
    }

    async fn send(&self, action: &Action, before: &[Written]) -> Result<Option<Written>, ApiError> {
        let (method, path, body) = match action {
            Action::Create { target, body } => {
                let path = target.resource.path(&target.namespace);
                (Method::POST, path, Some(("application/json", body.clone())))
            }
            Action::Update { target, subresource, body } => {
                let mut body = body.clone();
                if let Some(last) = before.iter().rfind(|written| written.uid == target.uid && written.revision > 0) {
                    body["metadata"]["resourceVersion"] = json!(last.revision.to_string());
                }
                (Method::PUT, with_subresource(target, *subresource), Some(("application/json", body)))
            }
            Action::Patch { target, subresource, patch } => {
                let path = with_subresource(target, *subresource);
                (Method::PATCH, path, Some(("application/merge-patch+json", patch.clone())))
            }
            Action::Apply { target, subresource, manager, body } => {
                let path = with_subresource(target, *subresource);
                let path = format!("{path}?fieldManager={}&force=true", request::query_escape(manager));
                (Method::PATCH, path, Some(("application/apply-patch+yaml", body.clone())))
            }
            Action::Delete { target, resource_version, grace_period_seconds, propagation } => {
                let options = delete_options(&target.uid, *resource_version, *grace_period_seconds, *propagation);
                (Method::DELETE, target.path(), Some(("application/json", options)))
            }
            Action::DeleteCollection { resource, namespace } => {
                let options = delete_options("", None, None, Some(Propagation::Background));
                (Method::DELETE, resource.path(namespace), Some(("application/json", options)))
            }
            Action::Event(_) => return Ok(None),
        };
        let body = match body {
            Some((kind, value)) => {
                Some((kind, serde_json::to_vec(&value).map_err(|error| ApiError::Malformed(error.to_string()))?))
            }
            None => None,
        };
        let answer = request::call(&self.client, request::build(method, &path, "application/json", body)?).await?;
        Ok(written(action, &answer))
    }
}

/// Whether two writes may go out together: creates of one resource, or deletes of one resource.
fn same_group(first: &Intent, other: &Intent) -> bool {
    match (&first.action, &other.action) {
        (Action::Create { target: a, .. }, Action::Create { target: b, .. })
        | (Action::Delete { target: a, .. }, Action::Delete { target: b, .. }) => a.resource == b.resource,
        (Action::DeleteCollection { .. }, Action::DeleteCollection { .. }) => true,
        _ => false,
    }
}

fn describe(action: &Action) -> (&'static str, &str) {
    match action {
        Action::Create { target, .. } => ("create", &target.resource.plural),
        Action::Update { target, .. } => ("update", &target.resource.plural),
        Action::Patch { target, .. } | Action::Apply { target, .. } => ("patch", &target.resource.plural),
        Action::Delete { target, .. } => ("delete", &target.resource.plural),
        Action::DeleteCollection { resource, .. } => ("deletecollection", &resource.plural),
        Action::Event(_) => ("event", "events"),
    }
}

fn with_subresource(target: &Target, subresource: Option<&str>) -> String {
    match subresource {
        Some(subresource) => format!("{}/{subresource}", target.path()),
        None => target.path(),
    }
}

fn delete_options(uid: &str, version: Option<u64>, grace: Option<i64>, propagation: Option<Propagation>) -> Value {
    let mut options =
        Map::from_iter([("apiVersion".to_owned(), json!("v1")), ("kind".to_owned(), json!("DeleteOptions"))]);
    if let Some(grace) = grace {
        options.insert("gracePeriodSeconds".to_owned(), json!(grace));
    }
    let mut preconditions = Map::new();
    if !uid.is_empty() {
        preconditions.insert("uid".to_owned(), json!(uid));
    }
    if let Some(version) = version {
        preconditions.insert("resourceVersion".to_owned(), json!(version.to_string()));
    }
    if !preconditions.is_empty() {
        options.insert("preconditions".to_owned(), Value::Object(preconditions));
    }
    let policy = propagation.map(|policy| match policy {
        Propagation::Background => "Background",
        Propagation::Foreground => "Foreground",
        Propagation::Orphan => "Orphan",
    });
    if let Some(policy) = policy {
        options.insert("propagationPolicy".to_owned(), json!(policy));
    }
    Value::Object(options)
}

#[derive(Default, Deserialize)]
struct Answer {
    #[serde(default)]
    metadata: AnswerMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnswerMeta {
    name: String,
    uid: String,
    resource_version: String,
}

fn written(action: &Action, answer: &[u8]) -> Option<Written> {
    let (target, deleted) = match action {
        Action::Create { target, .. }
        | Action::Update { target, .. }
        | Action::Patch { target, .. }
        | Action::Apply { target, .. } => (target, false),
        Action::Delete { target, .. } => (target, true),
        Action::DeleteCollection { .. } | Action::Event(_) => return None,
    };
    let Answer { metadata } = serde_json::from_slice(answer).unwrap_or_default();
    let name = if metadata.name.is_empty() || deleted { &target.name } else { &metadata.name };
    Some(Written {
        collection: target.resource.path(""),
        key: Key::new(&target.namespace, name),
        uid: if deleted { target.uid.clone() } else { metadata.uid },
        revision: metadata.resource_version.parse().unwrap_or(0),
        created: matches!(action, Action::Create { .. }),
        deleted,
    })
}

fn filled(note: &Note, with: &str) -> Note {
    Note { message: note.message.replace("{}", with), ..note.clone() }
}
