//! `kubectl replace`.

use clap::{ArgMatches, Command};
use serde_json::json;

use super::delete;
use super::report::Report;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, field_validation, flag, option, optional};
use crate::selection;

pub fn command() -> Command {
    let command = Command::new("replace").about("Replace objects by those of files").args([
        flag("force", "Delete and create again"),
        flag("save-config", "Remember the object for later apply"),
        option("grace-period", "Seconds for the deletion of --force"),
        optional("cascade", "background", "background, orphan or foreground"),
        option("timeout", "How long --force waits for the deletion"),
        flag("wait", "Accepted for compatibility"),
        option("subresource", "The subresource to replace"),
        option("raw", "Path on the server to put the file to"),
    ]);
    flags::with_validation(flags::with_writing(flags::with_output(flags::with_files(command))))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    if matches.split("filename").is_empty() && matches.text("kustomize").is_none() {
        return Err(Error::message("must specify one of -f and -k"));
    }
    let report = Report::new(context, matches, "kubectl-replace")?;
    let validation = field_validation(matches)?;
    let api = context.api().await?;
    let items = selection::items_of_files(context, matches).await?;
    if matches.on("force") {
        for item in &items {
            let seconds = matches.number("grace-period")?.filter(|seconds| *seconds >= 0).unwrap_or(0);
            let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "gracePeriodSeconds": seconds});
            match api.delete(&item.path(), &options).await {
                Ok(_) => context.console.line(&format!("{} \"{}\" deleted", item.resource.short_kind(), item.name)),
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.when("deleting", &item.source)),
            }
            delete::gone(api, item, "", None).await?;
        }
    }
    let mut errors = Vec::new();
    for mut item in items {
        if matches.on("save-config") {
            super::apply::remember(&mut item.object);
        }
        let result = if report.dry_run == DryRun::Client {
            Ok(item.object.clone())
        } else if matches.on("force") {
            api.post(
                &report
                    .query(item.resource.collection(item.namespace.as_deref()))
                    .add("fieldValidation", validation)
                    .done(),
                &item.object,
            )
            .await
        } else {
            let path = match matches.text("subresource") {
                Some(subresource) => format!("{}/{subresource}", item.path()),
                None => item.path(),
            };
            api.put(&report.query(path).add("fieldValidation", validation).done(), &item.object).await
        };
        match result {
            Ok(object) => report.done(&object, "replaced")?,
            Err(error) => errors.push(error.when("replacing", &item.source)),
        }
    }
    Error::collect(errors)
}
