//! `kubectl taint`.

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::report::Report;
use crate::api::MERGE_PATCH;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, flag, words};
use crate::selection;
use crate::value::{list, text};

pub fn command() -> Command {
    let command = Command::new("taint").about("Change taints of nodes").args([
        words("NODE NAME KEY=VALUE:EFFECT... KEY[:EFFECT]-..."),
        flag("overwrite", "Change values that are there"),
        flag("all", "All nodes"),
    ]);
    flags::with_writing(flags::with_validation(flags::with_output(flags::with_selector(command))))
}

/// One change: the taint, or without a value its end.
struct Change {
    key: String,
    value: String,
    effect: String,
    remove: bool,
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let words = matches.words();
    let is_change = |word: &String| word.contains('=') || word.ends_with('-') || word.contains(':');
    let split = words.iter().position(is_change).unwrap_or(words.len());
    let (resources, changes) = words.split_at(split);
    if resources.is_empty() {
        return Err(Error::message("one or more resources must be specified as <resource> <name>"));
    }
    if changes.is_empty() {
        return Err(Error::message("at least one taint update is required"));
    }
    let changes: Vec<Change> = changes.iter().map(|word| parse(word)).collect::<Result<_>>()?;
    let report = Report::new(context, matches, "kubectl-taint")?;
    let mut errors = Vec::new();
    for item in selection::objects(context, matches, resources).await? {
        let mut taints: Vec<Value> = list(&item.object, "spec.taints").to_vec();
        let (mut added, mut removed) = (0, 0);
        let mut problem = None;
        for change in &changes {
            let fits = |taint: &Value| {
                text(taint, "key") == change.key && (change.effect.is_empty() || text(taint, "effect") == change.effect)
            };
            if change.remove {
                let before = taints.len();
                taints.retain(|taint| !fits(taint));
                if taints.len() == before {
                    let shown = if change.effect.is_empty() {
                        change.key.clone()
                    } else {
                        format!("{}:{}", change.key, change.effect)
                    };
                    problem = Some(format!("taint \"{shown}\" not found"));
                }
                removed += before - taints.len();
                continue;
            }
            if let Some(at) = taints.iter().position(&fits) {
                if !matches.on("overwrite") {
                    problem = Some(format!(
                        "node {} already has {} taint(s) with same effect(s) and --overwrite is false",
                        item.name, change.key
                    ));
                    break;
                }
                taints.remove(at);
            }
            let mut taint = json!({"key": change.key, "effect": change.effect});
            if !change.value.is_empty() {
                taint["value"] = change.value.as_str().into();
            }
            taints.push(taint);
            added += 1;
        }
        if let Some(problem) = problem {
            errors.push(Error::message(problem));
            continue;
        }
        let after = if report.dry_run == DryRun::Client {
            item.object.clone()
        } else {
            let patch = json!({"spec": {"taints": if taints.is_empty() { Value::Null } else { json!(taints) }}});
            context
                .api()
                .await?
                .patch(&report.query(item.path()).done(), MERGE_PATCH, patch.to_string().into_bytes())
                .await?
        };
        let what = match (added, removed) {
            (0, _) => "untainted",
            (_, 0) => "tainted",
            _ => "modified",
        };
        report.done_as(&after, &item.label(), what)?;
    }
    Error::collect(errors)
}

fn parse(word: &str) -> Result<Change> {
    let (spec, remove) = word.strip_suffix('-').map_or((word, false), |spec| (spec, true));
    let (pair, effect) = spec.split_once(':').unwrap_or((spec, ""));
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if key.is_empty() || (!remove && effect.is_empty()) {
        return Err(Error::message(format!("unknown taint spec: {word}")));
    }
    if !effect.is_empty() && !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        return Err(Error::message(format!("invalid taint effect: {effect}, unsupported taint effect")));
    }
    Ok(Change { key: key.to_owned(), value: value.to_owned(), effect: effect.to_owned(), remove })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn taints_are_read() {
        let change = parse("a=b:NoSchedule").expect("is valid");
        assert_eq!(
            (change.key.as_str(), change.value.as_str(), change.effect.as_str(), change.remove),
            ("a", "b", "NoSchedule", false)
        );
        assert!(parse("a:NoExecute-").is_ok_and(|change| change.remove));
        assert!(parse("a=b").is_err() && parse("a=b:Never").is_err());
    }
}
