//! `kubectl patch`.

use clap::{ArgMatches, Command};

use super::report::Report;
use crate::api::{JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH};
use crate::context::Context;
use crate::documents;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, flag, option, words};
use crate::selection::{self, Selection};
use crate::value::text;

pub fn command() -> Command {
    let command = Command::new("patch").about("Change fields of objects").args([
        words("TYPE/NAME or TYPE NAME"),
        option("patch", "The patch, in JSON or YAML").short('p'),
        option("patch-file", "File with the patch"),
        option("type", "strategic, merge or json"),
        option("subresource", "The subresource to patch, e.g. status or scale"),
        flag("record", "Accepted for compatibility"),
    ]);
    flags::with_writing(flags::with_output(flags::with_files(command)))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let kind = match matches.text("type") {
        None | Some("strategic") => STRATEGIC_PATCH,
        Some("merge") => MERGE_PATCH,
        Some("json") => JSON_PATCH,
        Some(other) => {
            return Err(Error::message(format!("--type must be one of [json merge strategic], not \"{other}\"")));
        }
    };
    let body = match (matches.text("patch"), matches.text("patch-file")) {
        (Some(patch), None) => patch.to_owned(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| Error::message(format!("unable to read patch file: {error}")))?,
        _ => return Err(Error::message("must specify --patch or --patch-file containing the contents of the patch")),
    };
    let mut values = documents::parse(body.as_bytes())
        .map_err(|error| Error::message(format!("unable to parse \"{body}\": {error}")))?;
    if values.len() != 1 {
        return Err(Error::message(format!("unable to parse \"{body}\": expected one document")));
    }
    let patch = values.remove(0);
    let report = Report::new(context, matches, "kubectl-patch")?;
    let Selection::Items(items) = selection::select(context, matches, &matches.words()).await? else {
        return Err(Error::message("resource(s) were provided, but no name was specified"));
    };
    let api = context.api().await?;
    for item in items {
        let path = match matches.text("subresource") {
            Some(subresource) => format!("{}/{subresource}", item.path()),
            None => item.path(),
        };
        let before = api.get(&path).await?;
        if report.dry_run == DryRun::Client {
            report.done_as(&before, &item.label(), "patched")?;
            continue;
        }
        let after = api.patch(&report.query(path).done(), kind, patch.to_string().into_bytes()).await?;
        let same = text(&before, "metadata.resourceVersion") == text(&after, "metadata.resourceVersion");
        report.done_as(
            &after,
            &item.label(),
            if same && report.dry_run == DryRun::None { "patched (no change)" } else { "patched" },
        )?;
    }
    Ok(())
}
