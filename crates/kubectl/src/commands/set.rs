//! `kubectl set image`: new images for containers of workloads.

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::report::Report;
use crate::api::STRATEGIC_PATCH;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, flag, words};
use crate::selection;
use crate::value::{self, list, text};

pub fn command() -> Command {
    let image = Command::new("image").about("Set images of containers").args([
        words("TYPE/NAME CONTAINER=IMAGE... (* is every container)"),
        flag("all", "All objects of the type"),
        flag("record", "Accepted for compatibility"),
    ]);
    let image = flags::with_writing(flags::with_output(flags::with_selector(flags::with_files(image))));
    Command::new("set").about("Set a feature of objects").subcommand_required(true).subcommand(image)
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let Some((_, matches)) = matches.subcommand() else { return Ok(()) };
    let words = matches.words();
    let (changes, resources): (Vec<String>, Vec<String>) = words.into_iter().partition(|word| word.contains('='));
    let changes: Vec<(&str, &str)> = changes.iter().filter_map(|change| change.split_once('=')).collect();
    if resources.is_empty() && matches.split("filename").is_empty() {
        return Err(Error::message(selection::NOTHING));
    }
    if changes.is_empty() {
        return Err(Error::message("at least one image update is required"));
    }
    let report = Report::new(context, matches, "kubectl-set")?;
    let mut errors = Vec::new();
    for item in selection::objects(context, matches, &resources).await? {
        let path: &[&str] = match value::kind(&item.object) {
            "Pod" => &["spec"],
            "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
            _ => &["spec", "template", "spec"],
        };
        let spec = value::at(&item.object, &path.join("."));
        let mut patch = json!({});
        let mut missing: Vec<&str> = changes.iter().map(|(name, _)| *name).filter(|name| *name != "*").collect();
        for field in ["initContainers", "containers"] {
            let mut changed: Vec<Value> = Vec::new();
            for container in list(spec, field) {
                let name = text(container, "name");
                for (wanted, image) in &changes {
                    if *wanted == name || *wanted == "*" {
                        missing.retain(|other| other != wanted);
                        if text(container, "image") != *image {
                            changed.push(json!({"name": name, "image": image}));
                        }
                    }
                }
            }
            if !changed.is_empty() {
                let place: Vec<&str> = path.iter().copied().chain([field]).collect();
                value::set(&mut patch, &place, changed.into());
            }
        }
        if let Some(name) = missing.first() {
            errors.push(Error::message(format!("unable to find container named {}", machinery::go_text::quote(name))));
            continue;
        }
        if patch == json!({}) {
            continue;
        }
        let after = if report.dry_run == DryRun::Client {
            item.object.clone()
        } else {
            context
                .api()
                .await?
                .patch(&report.query(item.path()).done(), STRATEGIC_PATCH, patch.to_string().into_bytes())
                .await?
        };
        report.done_as(&after, &item.label(), "image updated")?;
    }
    Error::collect(errors)
}
