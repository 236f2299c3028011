//! `kubectl edit`: objects in the user's editor.
//!
//! What was changed goes to the server as a patch. When the server refuses, the editor opens again with the refusal on top,
//! until it is mended or nothing more is changed.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::report::Report;
use crate::context::Context;
use crate::documents;
use crate::error::{Error, Result};
use crate::flags::{self, Flags, field_validation, flag, option, words};
use crate::merge;
use crate::printers::{json, yaml};
use crate::selection::{self, Item};
use crate::value;

const HEADER: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,\n\
# and an empty file will abort the edit. If an error occurs while saving this file will be\n\
# reopened with the relevant failures.\n#\n";

pub fn command() -> Command {
    let command = Command::new("edit").about("Edit objects in an editor").args([
        words("TYPE/NAME or TYPE NAME"),
        flag("output-patch", "Print the patch"),
        flag("windows-line-endings", "Accepted for compatibility"),
        flag("save-config", "Remember the object for later apply"),
        flag("record", "Accepted for compatibility"),
        flag("allow-missing-template-keys", "Accepted for compatibility"),
        option("subresource", "The subresource to edit, e.g. status"),
    ]);
    let command = flags::with_validation(flags::with_output(flags::with_selector(flags::with_files(command))));
    command.arg(option("field-manager", "Name of the manager of the written fields"))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let as_json = match matches.text("output") {
        None | Some("" | "yaml") => false,
        Some("json") => true,
        Some(other) => return Err(Error::message(format!("The flag 'output' must be one of yaml|json, got {other}"))),
    };
    let items = selection::objects(context, matches, &matches.words()).await?;
    if items.is_empty() {
        return Err(Error::message("edit cancelled, no objects found"));
    }
    for item in items {
        edit(context, matches, item, as_json).await?;
    }
    Ok(())
}

async fn edit(context: &Context, matches: &ArgMatches, item: Item, as_json: bool) -> Result<()> {
    let console = &context.console;
    let mut shown = value::sorted(&item.object);
    value::remove(&mut shown, &["metadata", "managedFields"]);
    let original = if as_json { json::print(&shown) } else { yaml::print(&shown) };
    let mut text = original.clone();
    let mut problem: Option<String> = None;
    loop {
        let header = match &problem {
            None => HEADER.to_owned(),
            Some(problem) => {
                let lines: String = problem.lines().map(|line| format!("# {line}\n")).collect();
                format!("{HEADER}{lines}#\n")
            }
        };
        let file = write_file(&item, as_json, &format!("{header}{text}"))?;
        open_editor(&file)?;
        let edited = without_comments(&std::fs::read_to_string(&file)?);
        if edited.trim().is_empty() {
            let _ = std::fs::remove_file(&file);
            console.error_line("Edit cancelled, saved file was empty.");
            return Ok(());
        }
        if edited == text {
            if problem.is_some() {
                console.error_line(&format!("A copy of your changes has been stored to \"{}\"", file.display()));
                return Err(Error::message("Edit cancelled, no valid changes were saved."));
            }
            let _ = std::fs::remove_file(&file);
            console.error_line("Edit cancelled, no changes made.");
            return Ok(());
        }
        let result = save(context, matches, &item, &shown, &edited).await;
        match result {
            Ok(()) => {
                let _ = std::fs::remove_file(&file);
                return Ok(());
            }
            Err(error @ (Error::Refused(_) | Error::Connection(_))) => {
                console.error_line(&format!("A copy of your changes has been stored to \"{}\"", file.display()));
                return Err(error);
            }
            Err(error) => {
                let _ = std::fs::remove_file(&file);
                problem = Some(told(&item, &error));
                console.error_line(&match &error {
                    Error::Status(status) if status.reason == "Invalid" => {
                        format!("error: {} \"{}\" is invalid", item.resource.group_resource(), item.name)
                    }
                    Error::Status(status) => format!(
                        "error: {} \"{}\" could not be patched: {}",
                        item.resource.group_resource(),
                        item.name,
                        status.message
                    ),
                    other => other.text(),
                });
                text = edited;
            }
        }
    }
}

/// The refusal as the file's header tells it.
fn told(item: &Item, error: &Error) -> String {
    let resource = item.resource.group_resource();
    match error {
        Error::Status(status) => {
            let causes = value::list(&status.details, "causes");
            let mut text = format!("{resource} \"{}\" was not valid:\n", item.name);
            if causes.is_empty() {
                text.push_str(&format!("* <nil>: {}\n", status.message));
            }
            for cause in causes {
                text.push_str(&format!("* {}: {}\n", value::text(cause, "field"), value::text(cause, "message")));
            }
            text
        }
        other => format!("The edited file had a syntax error: {other}\n"),
    }
}

async fn save(context: &Context, matches: &ArgMatches, item: &Item, original: &Value, edited: &str) -> Result<()> {
    let mut values = documents::parse(edited.as_bytes()).map_err(Error::Message)?;
    if values.len() != 1 {
        return Err(Error::message("exactly one object must be in the file"));
    }
    let edited = values.remove(0);
    for field in ["apiVersion", "kind"] {
        if edited[field] != original[field] {
            return Err(Error::message("At least one of apiVersion, kind and name was changed"));
        }
    }
    if value::name(&edited) != value::name(original) {
        return Err(Error::message("At least one of apiVersion, kind and name was changed"));
    }
    let report = Report::new(context, matches, "kubectl-edit")?;
    let (kind, patch) = merge::patch(original, &edited);
    if patch.as_object().is_some_and(serde_json::Map::is_empty) {
        context.console.line(&format!("{} skipped", item.label()));
        return Ok(());
    }
    if matches.on("output-patch") {
        context.console.line(&format!("Patch: {patch}"));
    }
    let path = match matches.text("subresource") {
        Some(subresource) => format!("{}/{subresource}", item.path()),
        None => item.path(),
    };
    let path = report.query(path).add("fieldValidation", field_validation(matches)?).done();
    context.api().await?.patch(&path, kind, patch.to_string().into_bytes()).await?;
    context.console.line(&format!("{} edited", item.label()));
    Ok(())
}

fn write_file(item: &Item, as_json: bool, text: &str) -> Result<PathBuf> {
    let extension = if as_json { "json" } else { "yaml" };
    let name = format!("kubectl-edit-{:08x}{:08x}.{extension}", rand::random::<u32>(), rand::random::<u32>());
    let path = std::env::temp_dir().join(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    // A Secret may be in it.
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options
        .open(&path)
        .map_err(|error| Error::message(format!("failed to make a file for {}: {error}", item.label())))?;
    file.write_all(text.as_bytes())?;
    Ok(path)
}

/// Runs the user's editor; its value may hold arguments, so a shell takes it apart.
fn open_editor(file: &std::path::Path) -> Result<()> {
    let editor = ["KUBE_EDITOR", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.trim().is_empty()));
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    let status = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(file)
        .stdin(Stdio::inherit())
        .status()
        .map_err(|error| Error::message(format!("unable to launch the editor \"{editor}\": {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Error::message(format!("there was a problem with the editor \"{editor}\"")))
}

fn without_comments(text: &str) -> String {
    // Only the header and the lines that the user put there begin so: the values' own lines are indented.
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_left_out() {
        assert_eq!(without_comments("# a\nb: 1\n  # c\n"), "b: 1\n  # c\n");
    }
}
