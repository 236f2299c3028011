//! `kubectl undelete`: makes an object again from its last state before it was deleted.

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::history::one;
use super::report::Report;
use crate::api::Query;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, option, words};
use crate::past;
use crate::value::{self, list, text};

/// What belonged to the object that is gone, and what the server fills in.
const NOT_KEPT: [&[&str]; 9] = [
    &["status"],
    &["metadata", "uid"],
    &["metadata", "resourceVersion"],
    &["metadata", "generation"],
    &["metadata", "creationTimestamp"],
    &["metadata", "deletionTimestamp"],
    &["metadata", "deletionGracePeriodSeconds"],
    &["metadata", "selfLink"],
    &["metadata", "managedFields"],
];
/// Finalizers that said how the deletion was to go.
const OF_DELETION: [&str; 2] = ["foregroundDeletion", "orphan"];

pub fn command() -> Command {
    let command = Command::new("undelete").about("Make a deleted object again as it was").args([
        words("TYPE NAME or TYPE/NAME"),
        option("at", "Its state then instead of the last one: a resource version, a time, or a duration such as 10m"),
    ]);
    flags::with_writing(flags::with_output(command))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let item = one(context, matches, "undelete").await?;
    let report = Report::new(context, matches, "kubectl-undelete")?;
    let api = context.api().await?;
    let mut object = match matches.text("at") {
        Some(at) => api.get(&Query::new(item.path()).add("at", past::moment(at)?).done()).await?,
        None => {
            let mut history = past::history(context, &item).await?;
            let last = history["items"].as_array_mut().and_then(Vec::pop).unwrap_or_default();
            if text(&last, "type") != "DELETED" {
                return Err(Error::message(format!("{} is not deleted", item.label())));
            }
            last["object"].clone()
        }
    };
    NOT_KEPT.iter().for_each(|path| value::remove(&mut object, path));
    keep(&mut object, "finalizers", |finalizer| !finalizer.as_str().is_some_and(|name| OF_DELETION.contains(&name)));
    let mut owners = Vec::new();
    for owner in list(&object, "metadata.ownerReferences") {
        if is_there(context, owner, item.namespace.as_deref()).await? {
            owners.push(owner.clone());
        }
    }
    keep(&mut object, "ownerReferences", |owner| owners.contains(owner));
    if report.dry_run != DryRun::Client {
        let path = report.query(item.resource.collection(item.namespace.as_deref())).done();
        object = api.post(&path, &object).await?;
    }
    report.done_as(&object, &item.label(), "restored")
}

/// Leaves in a list of the metadata what is wanted, and no empty list.
fn keep(object: &mut Value, field: &str, mut wanted: impl FnMut(&Value) -> bool) {
    let metadata = &mut object["metadata"];
    if let Some(items) = metadata[field].as_array_mut() {
        items.retain(|item| wanted(item));
    }
    if list(metadata, field).is_empty()
        && let Some(metadata) = metadata.as_object_mut()
    {
        metadata.shift_remove(field);
    }
}

/// Whether an owner still is the one that is meant. What nobody knows any more is gone; it would take the object with it.
async fn is_there(context: &Context, owner: &Value, namespace: Option<&str>) -> Result<bool> {
    let kind = context.discovery().await?.of_kind(text(owner, "apiVersion"), text(owner, "kind"));
    let Some(resource) = kind else { return Ok(false) };
    let namespace = namespace.filter(|_| resource.namespaced);
    match context.api().await?.get(&resource.path(namespace, text(owner, "name"))).await {
        Ok(found) => Ok(text(&found, "metadata.uid") == text(owner, "uid")),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::fake::{Done, Fake};

    const HISTORY: &str = "GET /api/v1/namespaces/default/configmaps/a?history=true";
    const POST: &str = "POST /api/v1/namespaces/default/configmaps?fieldManager=kubectl-undelete";

    fn deleted() -> Value {
        let owner = |name: &str, uid: &str| json!({ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid });
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "k": "1" }, "status": { "x": 1 },
            "metadata": { "name": "a", "namespace": "default", "uid": "u", "resourceVersion": "9", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:01Z",
                "deletionGracePeriodSeconds": 0, "managedFields": [], "labels": { "l": "m" },
                "finalizers": ["foregroundDeletion", "example.com/mine"],
                "ownerReferences": [owner("stays", "1"), owner("gone", "2"), owner("another", "3"),
                    json!({ "apiVersion": "example.com/v1", "kind": "Unknown", "name": "x", "uid": "4" })] } })
    }

    fn history(kind: &str) -> Value {
        json!({ "kind": "ObjectHistory", "items": [{ "type": "ADDED", "object": {} }, { "type": kind, "object": deleted() }] })
    }

    fn fake(kind: &str) -> Fake {
        let pod = |uid: &str| json!({ "metadata": { "uid": uid } });
        Fake::new()
            .answer(HISTORY, 200, history(kind))
            .answer("GET /api/v1/namespaces/default/pods/stays", 200, pod("1"))
            .answer("GET /api/v1/namespaces/default/pods/another", 200, pod("9"))
            .answer(POST, 201, deleted())
    }

    fn posted(done: &Done) -> Value {
        let (_, body) = done.asked.iter().find(|(request, _)| request.starts_with("POST")).expect("it is made");
        serde_json::from_str(body).expect("an object")
    }

    #[test]
    fn what_was_deleted_is_made_again_without_what_belonged_to_the_old_one() {
        let done = fake("DELETED").run("undelete configmap a");
        assert_eq!((done.out.as_str(), done.err.as_str(), done.code), ("configmap/a restored\n", "", 0));
        let wanted = json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "k": "1" },
            "metadata": { "name": "a", "namespace": "default", "labels": { "l": "m" }, "finalizers": ["example.com/mine"],
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "stays", "uid": "1" }] } });
        assert_eq!(posted(&done), wanted);
    }

    #[test]
    fn a_dry_run_makes_nothing() {
        let done = fake("DELETED").run("undelete configmap/a --dry-run=client");
        assert_eq!(done.out, "configmap/a restored (dry run)\n");
        assert!(done.asked.iter().all(|(request, _)| request.starts_with("GET")));
        let server = fake("DELETED").answer(&POST.replace("?", "?dryRun=All&"), 201, deleted());
        assert_eq!(server.run("undelete cm/a --dry-run=server").out, "configmap/a restored (server dry run)\n");
    }

    #[test]
    fn what_is_there_is_not_restored_and_an_older_state_can_be_chosen() {
        let done = fake("MODIFIED").run("undelete cm a");
        assert_eq!((done.err.as_str(), done.code), ("error: configmap/a is not deleted\n", 1));
        let past = "GET /api/v1/namespaces/default/configmaps/a?at=7";
        let done = fake("DELETED").answer(past, 200, deleted()).of_canopus().run("undelete cm a --at 7");
        assert_eq!(done.out, "configmap/a restored\n");
        let done = fake("DELETED").answer(past, 200, deleted()).run("undelete cm a --at 7");
        assert_eq!(done.err, format!("error: {}\n", crate::past::UNKNOWN));
    }
}
