//! `kubectl rollout`: the life of a workload's template: status, history, undo, restart, pause, resume.

mod history;
mod status;

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::report::Report;
use crate::api::{MERGE_PATCH, STRATEGIC_PATCH};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, flag, option, words};
use crate::selection::{self, Item};
use crate::value::{self, flag as flag_at};

const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

pub fn command() -> Command {
    let leaf = |name: &'static str, about: &'static str| {
        flags::with_selector(flags::with_files(Command::new(name).about(about).arg(words("TYPE/NAME or TYPE NAME"))))
    };
    let writing = |name, about| flags::with_writing(flags::with_output(leaf(name, about)));
    Command::new("rollout").about("Manage the rollout of workloads").subcommand_required(true).subcommands([
        flags::with_output(leaf("history", "Show the revisions"))
            .arg(option("revision", "Show this revision's template")),
        writing("pause", "Stop rolling out changes"),
        writing("restart", "Replace all pods"),
        writing("resume", "Go on rolling out changes"),
        leaf("status", "Wait until the rollout is complete").args([
            flag("watch", "Wait (default)").short('w'),
            option("timeout", "How long to wait; 0 is for ever"),
            option("revision", "Only this revision"),
        ]),
        writing("undo", "Go back to an earlier revision")
            .arg(option("to-revision", "The revision; 0 is the last one before")),
    ])
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let Some((verb, matches)) = matches.subcommand() else { return Ok(()) };
    let words = matches.words();
    if words.is_empty() && matches.split("filename").is_empty() {
        return Err(Error::message("required resource not specified"));
    }
    let items = selection::objects(context, matches, &words).await?;
    let mut errors = Vec::new();
    for item in items {
        let result = match verb {
            "status" => status::status(context, matches, &item).await,
            "history" => history::history(context, matches, &item).await,
            "undo" => history::undo(context, matches, &item).await,
            "restart" => restart(context, matches, &item).await,
            "pause" => pause(context, matches, &item, true).await,
            _ => pause(context, matches, &item, false).await,
        };
        errors.extend(result.err());
    }
    Error::collect(errors)
}

async fn restart(context: &Context, matches: &ArgMatches, item: &Item) -> Result<()> {
    let kind = value::kind(&item.object);
    if !["Deployment", "DaemonSet", "StatefulSet"].contains(&kind) {
        return Err(Error::message(format!(
            "{} \"{}\" restarting is not supported",
            item.resource.group_resource(),
            item.name
        )));
    }
    if flag_at(&item.object, "spec.paused") {
        return Err(Error::message(format!(
            "{0} \"{1}\" can't restart paused deployment (run rollout resume first)",
            item.resource.group_resource(),
            item.name
        )));
    }
    let now = machinery::time::format_rfc3339_seconds(jiff::Timestamp::now());
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED: now}}}}});
    write(context, matches, item, STRATEGIC_PATCH, &patch, "restarted").await
}

async fn pause(context: &Context, matches: &ArgMatches, item: &Item, paused: bool) -> Result<()> {
    let (resource, name) = (item.resource.group_resource(), &item.name);
    let doing = if paused { "pausing" } else { "resuming" };
    if value::kind(&item.object) != "Deployment" {
        return Err(Error::message(format!("{resource} \"{name}\" {doing} is not supported")));
    }
    if flag_at(&item.object, "spec.paused") == paused {
        let already = if paused { "is already paused" } else { "is not paused" };
        return Err(Error::message(format!("{resource} \"{name}\" {already}")));
    }
    let patch = json!({"spec": {"paused": if paused { json!(true) } else { Value::Null }}});
    write(context, matches, item, MERGE_PATCH, &patch, if paused { "paused" } else { "resumed" }).await
}

async fn write(
    context: &Context,
    matches: &ArgMatches,
    item: &Item,
    kind: &str,
    patch: &Value,
    what: &str,
) -> Result<()> {
    let report = Report::new(context, matches, "kubectl-rollout")?;
    let after = if report.dry_run == DryRun::Client {
        item.object.clone()
    } else {
        context.api().await?.patch(&report.query(item.path()).done(), kind, patch.to_string().into_bytes()).await?
    };
    report.done_as(&after, &item.label(), what)
}
