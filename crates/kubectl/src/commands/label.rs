//! `kubectl label`; `annotate` works alike.

use clap::{ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::report::Report;
use crate::api::MERGE_PATCH;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, flag, option, words};
use crate::selection::{self, Item};
use crate::value::{self, at};

/// What tells labels and annotations apart.
pub struct Kind {
    pub command: &'static str,
    pub field: &'static str,
    pub noun: &'static str,
    pub manager: &'static str,
    pub check: fn(&str) -> Vec<String>,
}

const LABELS: Kind = Kind {
    command: "label",
    field: "labels",
    noun: "label",
    manager: "kubectl-label",
    check: machinery::names::label_value,
};

pub fn command() -> Command {
    build(&LABELS, "Change labels of objects")
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    change(context, matches, &LABELS).await
}

pub fn build(kind: &Kind, about: &'static str) -> Command {
    let command = Command::new(kind.command).about(about).args([
        words("TYPE NAME KEY=VALUE... KEY-..."),
        flag("overwrite", "Change values that are there"),
        flag("list", "Show what is there"),
        flag("all", "All objects of the type"),
        flag("all-namespaces", "In all namespaces").short('A'),
        flag("local", "Change the files' objects only, not the server's"),
        flag("record", "Accepted for compatibility"),
        option("field-selector", "Field selector"),
        option("resource-version", "Only when the object has this version"),
    ]);
    flags::with_writing(flags::with_output(flags::with_selector(flags::with_files(command))))
}

struct Changes {
    set: Vec<(String, String)>,
    remove: Vec<String>,
}

pub async fn change(context: &Context, matches: &ArgMatches, kind: &Kind) -> Result<()> {
    let words = matches.words();
    // The first word that changes something ends the resources.
    let is_change = |word: &String| word.contains('=') || (word.ends_with('-') && word.len() > 1);
    let split = words.iter().position(is_change).unwrap_or(words.len());
    let (resources, changes) = words.split_at(split);
    if resources.is_empty() && matches.split("filename").is_empty() {
        return Err(Error::message(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    let changes = parse(changes, kind)?;
    let lists = matches.on("list");
    if !lists && changes.set.is_empty() && changes.remove.is_empty() {
        return Err(Error::message(format!("at least one {} update is required", kind.noun)));
    }
    let report = Report::new(context, matches, kind.manager)?;
    let items = if matches.on("local") {
        selection::items_of_files(context, matches).await?
    } else {
        objects(context, matches, resources).await?
    };
    let mut errors = Vec::new();
    for item in &items {
        if let Err(error) = change_one(context, matches, kind, &report, item, &changes).await {
            errors.push(error);
            continue;
        }
        if lists {
            if items.len() > 1 {
                context.console.line(&format!(
                    "Listing {} for {}.{}/{}:",
                    kind.field, item.resource.kind, item.resource.group, item.name
                ));
            }
            let mut lines: Vec<String> =
                at(&item.object, &format!("metadata.{}", kind.field)).as_object().map_or_else(Vec::new, |map| {
                    map.iter().map(|(key, value)| format!("{key}={}", value::show(value))).collect()
                });
            lines.sort();
            lines.iter().for_each(|line| {
                context
                    .console
                    .line(&crate::console::harmless(&format!("{}{line}", if items.len() > 1 { " " } else { "" })))
            });
        }
    }
    Error::collect(errors)
}

async fn objects(context: &Context, matches: &ArgMatches, words: &[String]) -> Result<Vec<Item>> {
    let selection = selection::select(context, matches, words).await?;
    let narrowed = matches.on("all") || ["selector", "field-selector"].iter().any(|flag| matches.text(flag).is_some());
    if matches!(selection, selection::Selection::Collections(_)) && !narrowed {
        return Err(Error::message("resource(s) were provided, but no name was specified"));
    }
    selection::objects_of(context, matches, selection).await
}

fn parse(words: &[String], kind: &Kind) -> Result<Changes> {
    let mut changes = Changes { set: Vec::new(), remove: Vec::new() };
    for word in words {
        if let Some((key, text)) = word.split_once('=') {
            let problems = (kind.check)(text);
            if !problems.is_empty() {
                return Err(Error::message(format!("invalid {} value: \"{word}\": {}", kind.noun, problems.join(";"))));
            }
            changes.set.push((key.to_owned(), text.to_owned()));
        } else if let Some(key) = word.strip_suffix('-').filter(|key| !key.is_empty()) {
            changes.remove.push(key.to_owned());
        } else {
            return Err(Error::message(format!("unknown {} spec: {word}", kind.noun)));
        }
    }
    if changes.set.iter().any(|(key, _)| changes.remove.contains(key)) {
        return Err(Error::message(format!("can not both modify and remove {} in the same command", article(kind))));
    }
    Ok(changes)
}

fn article(kind: &Kind) -> String {
    let an = if kind.noun.starts_with('a') { "an" } else { "a" };
    format!("{an} {}", kind.noun)
}

async fn change_one(
    context: &Context,
    matches: &ArgMatches,
    kind: &Kind,
    report: &Report<'_>,
    item: &Item,
    changes: &Changes,
) -> Result<()> {
    let field = at(&item.object, &format!("metadata.{}", kind.field));
    let has = |key: &str| field.get(key).and_then(Value::as_str);
    if !matches.on("overwrite") {
        for (key, text) in &changes.set {
            if let Some(old) = has(key).filter(|old| old != text) {
                let problem = format!("'{key}' already has a value ({old}), and --overwrite is false");
                return Err(Error::message(match kind.noun {
                    "label" => problem,
                    _ => format!("--overwrite is false but found the following declared annotation(s): {problem}"),
                }));
            }
        }
    }
    let mut patch = Map::new();
    for key in &changes.remove {
        match has(key) {
            Some(_) => drop(patch.insert(key.clone(), Value::Null)),
            None if kind.noun == "label" => context.console.line(&format!("label \"{key}\" not found.")),
            None => {}
        }
    }
    let removed = patch.len();
    for (key, text) in &changes.set {
        if has(key) != Some(text) {
            patch.insert(key.clone(), text.as_str().into());
        }
    }
    if matches.on("list") && patch.is_empty() {
        return Ok(());
    }
    let what = match kind.noun {
        "label" if patch.is_empty() => "not labeled",
        "label" if removed == patch.len() => "unlabeled",
        "label" => "labeled",
        _ => "annotated",
    };
    let mut body = json!({"metadata": {kind.field: patch}});
    if let Some(version) = matches.text("resource-version") {
        body["metadata"]["resourceVersion"] = version.into();
    }
    let object = if report.dry_run == DryRun::Client || matches.on("local") || patch.is_empty() {
        let mut object = item.object.clone();
        for (key, value) in &patch {
            match value {
                Value::Null => value::remove(&mut object, &["metadata", kind.field, key]),
                value => value::set(&mut object, &["metadata", kind.field, key], value.clone()),
            }
        }
        object
    } else {
        context
            .api()
            .await?
            .patch(&report.query(item.path()).done(), MERGE_PATCH, body.to_string().into_bytes())
            .await?
    };
    report.done_as(&object, &item.label(), what)
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::json;

    fn fake() -> Fake {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "nginx"}}});
        let path = "/api/v1/namespaces/default/pods/p";
        Fake::new().answer(&format!("GET {path}"), 200, pod.clone()).answer(
            &format!("PATCH {path}?fieldManager=kubectl-label"),
            200,
            pod,
        )
    }

    #[test]
    fn labels_are_added_changed_and_removed() {
        let done = fake().run("label pod p a=b");
        assert_eq!(done.out, "pod/p labeled\n");
        assert_eq!(done.asked[1].1, r#"{"metadata":{"labels":{"a":"b"}}}"#);
        assert_eq!(fake().run("label pod p app-").out, "pod/p unlabeled\n");
        assert_eq!(fake().run("label pod p app=nginx").out, "pod/p not labeled\n");
        assert_eq!(fake().run("label pod/p app=x --overwrite").out, "pod/p labeled\n");
    }

    #[test]
    fn a_value_is_kept_unless_overwritten() {
        let done = fake().run("label pod p app=x");
        assert_eq!(done.err, "error: 'app' already has a value (nginx), and --overwrite is false\n");
        assert_eq!(done.code, 1);
    }

    #[test]
    fn labels_are_listed() {
        assert_eq!(fake().run("label pod p --list").out, "app=nginx\n");
    }
}
