//! `kubectl apply`: make objects be as files say, and take back what earlier files said.
//!
//! The last file's content is kept in an annotation. What a field becomes is settled here, from that content, the file
//! and the server's object, and sent as a patch that touches only what differs.

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::report::Report;
use crate::api::APPLY_PATCH;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, field_validation, flag, option};
use crate::merge::{self, Place};
use crate::selection::{self, Item};
use crate::value::{self, at, sorted};

pub const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub fn command() -> Command {
    let command = Command::new("apply").about("Make objects be as files say").args([
        flag("server-side", "Let the server merge, by fields' owners"),
        flag("force-conflicts", "Take fields of other owners (server-side)"),
        flag("overwrite", "Accepted for compatibility"),
        flag("prune", "Not supported"),
        flag("force", "Replace by deletion where a patch is refused"),
        flag("wait", "Accepted for compatibility"),
        flag("all", "Accepted for compatibility"),
        flag("record", "Accepted for compatibility"),
        flag("openapi-patch", "Accepted for compatibility"),
        option("grace-period", "Seconds for the deletion of --force"),
        option("timeout", "How long --force waits for the deletion"),
    ]);
    flags::with_validation(flags::with_writing(flags::with_output(flags::with_selector(flags::with_files(command)))))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    if matches.split("filename").is_empty() && matches.text("kustomize").is_none() {
        return Err(Error::message("must specify one of -f and -k"));
    }
    if matches.on("prune") {
        return Err(Error::message("--prune is not supported"));
    }
    let report =
        Report::new(context, matches, if matches.on("server-side") { "kubectl" } else { "kubectl-client-side-apply" })?;
    let validation = field_validation(matches)?;
    let selector =
        matches.text("selector").map(machinery::labels::Selector::parse).transpose().map_err(Error::Message)?;
    let mut errors = Vec::new();
    for item in selection::items_of_files(context, matches).await? {
        if selector.as_ref().is_some_and(|selector| !selector.matches_object(&item.object)) {
            continue;
        }
        let source = item.source.clone();
        let result = if matches.on("server-side") {
            server_side(context, matches, &report, validation, item).await
        } else {
            client_side(context, &report, validation, item).await
        };
        if let Err(error) = result {
            errors.push(error.when("applying", &source));
        }
    }
    Error::collect(errors)
}

/// Puts the object's own content into its annotation.
pub fn remember(object: &mut Value) {
    let mut content = object.clone();
    if !at(&content, "metadata.annotations").is_object() {
        value::set(&mut content, &["metadata", "annotations"], json!({}));
    }
    value::remove(&mut content, &["metadata", "annotations", ANNOTATION]);
    let text = format!("{}\n", machinery::go_text::json(&sorted(&content)));
    value::set(object, &["metadata", "annotations", ANNOTATION], text.into());
}

async fn server_side(
    context: &Context,
    matches: &ArgMatches,
    report: &Report<'_>,
    validation: &str,
    item: Item,
) -> Result<()> {
    let force = if matches.on("force-conflicts") { "true" } else { "false" };
    let path = report.query(item.path()).add("fieldValidation", validation).add("force", force).done();
    let body = item.object.to_string().into_bytes();
    let applied = context.api().await?.patch(&path, APPLY_PATCH, body).await?;
    report.done(&applied, "serverside-applied")
}

async fn client_side(context: &Context, report: &Report<'_>, validation: &str, mut item: Item) -> Result<()> {
    let api = context.api().await?;
    if item.name.is_empty() {
        return Err(Error::message("resource name may not be empty"));
    }
    remember(&mut item.object);
    let current = match api.get(&item.path()).await {
        Ok(current) => current,
        Err(error) if error.is_not_found() => {
            let created = if report.dry_run == DryRun::Client {
                item.object
            } else {
                let path = report
                    .query(item.resource.collection(item.namespace.as_deref()))
                    .add("fieldValidation", validation);
                api.post(&path.done(), &item.object).await?
            };
            return report.done(&created, "created");
        }
        Err(error) => return Err(error),
    };
    let last = at(&current, "metadata.annotations")[ANNOTATION].as_str();
    if last.is_none() {
        context.console.error_line(&format!(
            "Warning: resource {}/{} is missing the {ANNOTATION} annotation which is required by kubectl apply. kubectl apply \
             should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The \
             missing annotation will be patched automatically.",
            item.resource.plural, item.name
        ));
    }
    let original: Value = last.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
    let mut wanted = item.object.clone();
    // The server's part is nobody's to apply.
    value::remove(&mut wanted, &["status"]);
    let desired = merge::three_way(&original, &wanted, &current, Place::of(&current));
    let (kind, patch) = merge::patch(&current, &desired);
    if patch.as_object().is_some_and(serde_json::Map::is_empty) {
        return report.done(&current, "unchanged");
    }
    let applied = if report.dry_run == DryRun::Client {
        desired
    } else {
        api.patch(
            &report.query(item.path()).add("fieldValidation", validation).done(),
            kind,
            patch.to_string().into_bytes(),
        )
        .await?
    };
    // A patch that says what the server knew by another name changes nothing.
    let same = report.dry_run != DryRun::Client
        && value::text(&applied, "metadata.resourceVersion") == value::text(&current, "metadata.resourceVersion");
    report.done(&applied, if same && report.dry_run == DryRun::None { "unchanged" } else { "configured" })
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::{Value, json};

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(file.path(), text).expect("can be written");
        file
    }

    #[test]
    fn what_does_not_exist_is_created_with_its_content_remembered() {
        let file = file("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: b\n");
        let path =
            "POST /api/v1/namespaces/default/configmaps?fieldManager=kubectl-client-side-apply&fieldValidation=Strict";
        let made = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        let done = Fake::new().answer(path, 201, made).run(&format!("apply -f {}", file.path().display()));
        assert_eq!(done.out, "configmap/c created\n");
        let body: Value = serde_json::from_str(&done.asked[1].1).expect("is JSON");
        assert_eq!(
            body["metadata"]["annotations"][super::ANNOTATION],
            "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"b\"},\"kind\":\"ConfigMap\",\"metadata\":{\"annotations\":{},\"name\":\"c\",\"namespace\":\"default\"}}\n"
        );
    }

    #[test]
    fn what_the_file_no_longer_says_is_taken_back() {
        let file = file("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: new\n");
        let last = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"b","gone":"x"}}"#;
        let now = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b", "gone": "x", "other": "y"},
            "metadata": {"name": "c", "namespace": "default", "annotations": {super::ANNOTATION: last}, "resourceVersion": "1"}});
        let patched =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "resourceVersion": "2"}});
        let path = "/api/v1/namespaces/default/configmaps/c";
        let fake = Fake::new().answer(&format!("GET {path}"), 200, now).answer(
            &format!("PATCH {path}?fieldManager=kubectl-client-side-apply&fieldValidation=Strict"),
            200,
            patched,
        );
        let done = fake.run(&format!("apply -f {}", file.path().display()));
        assert_eq!(done.out, "configmap/c configured\n");
        let body: Value = serde_json::from_str(&done.asked[1].1).expect("is JSON");
        assert_eq!(body["data"], json!({"a": "new", "gone": null}));
    }
}
