//! `kubectl cordon` and `uncordon`: whether new pods may go to a node.

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::report::Report;
use crate::api::MERGE_PATCH;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, words};
use crate::selection::{self, Item};
use crate::value;

pub fn command() -> Command {
    build("cordon", "Let no new pods go to nodes")
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    change(context, matches, true).await
}

/// The way back.
pub mod uncordon {
    use super::{ArgMatches, Command, Context, Result};

    pub fn command() -> Command {
        super::build("uncordon", "Let new pods go to nodes again")
    }

    pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
        super::change(context, matches, false).await
    }
}

fn build(name: &'static str, about: &'static str) -> Command {
    flags::with_writing(flags::with_selector(Command::new(name).about(about).arg(words("NODE..."))))
}

/// The nodes of a command line.
pub async fn nodes(context: &Context, matches: &ArgMatches, verb: &str) -> Result<Vec<Item>> {
    let words = matches.words();
    let selects = matches.text("selector").is_some_and(|selector| !selector.is_empty());
    match (words.is_empty(), selects) {
        (true, false) => Err(Error::usage(verb, format!("USAGE: {verb} NODE [flags]"))),
        (false, true) => Err(Error::message("cannot specify both a node name and a --selector option")),
        _ => {
            let words: Vec<String> = if words.iter().any(|word| word.contains('/')) {
                words
            } else {
                std::iter::once("nodes".to_owned()).chain(words).collect()
            };
            selection::objects(context, matches, &words).await
        }
    }
}

async fn change(context: &Context, matches: &ArgMatches, closed: bool) -> Result<()> {
    let report = Report::new(context, matches, "kubectl-cordon")?;
    for item in nodes(context, matches, if closed { "cordon" } else { "uncordon" }).await? {
        set(context, &report, &item, closed).await?;
    }
    Ok(())
}

/// Closes or opens a node and says so.
pub async fn set(context: &Context, report: &Report<'_>, item: &Item, closed: bool) -> Result<()> {
    let what = if closed { "cordoned" } else { "uncordoned" };
    if value::flag(&item.object, "spec.unschedulable") == closed {
        return report.done_as(&item.object, &item.label(), &format!("already {what}"));
    }
    if report.dry_run != DryRun::Client {
        let patch = json!({"spec": {"unschedulable": if closed { json!(true) } else { Value::Null }}});
        context
            .api()
            .await?
            .patch(&report.query(item.path()).done(), MERGE_PATCH, patch.to_string().into_bytes())
            .await?;
    }
    report.done_as(&item.object, &item.label(), what)
}
