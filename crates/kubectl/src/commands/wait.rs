//! `kubectl wait`: until a condition holds, a field has a value, or an object is there or gone.

use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::delete;
use super::report::Report;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, Flags, flag, option, words};
use crate::selection::{self, Item, Selection};
use crate::value::{self, list, text};
use machinery::jsonpath::{Template, relaxed};

pub fn command() -> Command {
    let command = Command::new("wait").about("Wait for a condition").args([
        words("TYPE NAME or TYPE/NAME"),
        option("for", "condition=NAME[=VALUE], jsonpath=PATH[=VALUE], delete or create"),
        option("timeout", "How long to wait; 0 checks once, negative is a week"),
        option("field-selector", "Field selector"),
        flag("all", "All objects of the type"),
        flag("all-namespaces", "In all namespaces").short('A'),
        flag("local", "Accepted for compatibility"),
    ]);
    flags::with_output(flags::with_selector(flags::with_files(command)))
}

/// What is waited for.
enum Goal {
    Gone,
    There,
    Condition(String, String),
    Path(Box<Template>, Option<String>),
}

impl Goal {
    fn parse(text: &str) -> Result<Self> {
        if text.eq_ignore_ascii_case("delete") {
            return Ok(Goal::Gone);
        }
        if text.eq_ignore_ascii_case("create") {
            return Ok(Goal::There);
        }
        if let Some(rest) = text.strip_prefix("condition=") {
            let (name, value) = rest.split_once('=').unwrap_or((rest, "true"));
            return Ok(Goal::Condition(name.to_owned(), value.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let end = rest.find('}').map_or_else(|| rest.find('=').unwrap_or(rest.len()), |brace| brace + 1);
            let (path, value) = rest.split_at(end);
            let template =
                relaxed(path.trim_matches('\'')).and_then(|path| Template::parse(&path)).map_err(Error::Message)?;
            let value = value.strip_prefix('=').map(|value| value.trim_matches(['"', '\'']).to_owned());
            return Ok(Goal::Path(Box::new(template), value));
        }
        Err(Error::message(format!("unrecognized condition: {}", machinery::go_text::quote(text))))
    }

    fn holds(&self, object: &Value) -> bool {
        match self {
            Goal::Gone => false,
            Goal::There => true,
            Goal::Condition(name, wanted) => list(object, "status.conditions").iter().any(|condition| {
                let seen = condition["observedGeneration"].as_i64();
                // A condition that was seen before the last change says nothing about it.
                let fresh = seen.is_none_or(|seen| seen >= value::int(object, "metadata.generation"));
                fresh
                    && text(condition, "type").eq_ignore_ascii_case(name)
                    && text(condition, "status").eq_ignore_ascii_case(wanted)
            }),
            Goal::Path(template, wanted) => {
                let values = template.values(object).unwrap_or_default();
                match wanted {
                    None => !values.is_empty(),
                    Some(wanted) => values.len() == 1 && value::show(&values[0]) == *wanted,
                }
            }
        }
    }
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let Some(wanted) = matches.text("for").filter(|wanted| !wanted.is_empty()) else {
        return Err(Error::message("unrecognized condition: []"));
    };
    let goal = Goal::parse(wanted)?;
    let timeout = match matches.text("timeout") {
        None => Duration::from_secs(30),
        Some(text) if text.starts_with('-') => Duration::from_secs(7 * 24 * 3600),
        Some(text) => flags::duration(text)?,
    };
    let deadline = Instant::now() + timeout;
    let report = Report::new(context, matches, "kubectl-wait")?;
    let selection = selection::select(context, matches, &matches.words()).await?;
    let narrowed = matches.on("all") || ["selector", "field-selector"].iter().any(|flag| matches.text(flag).is_some());
    let items = match selection {
        Selection::Items(items) => items,
        Selection::Collections(_) if !narrowed => {
            return Err(Error::message("resource(s) were provided, but no name was specified"));
        }
        collections => {
            let items = selection::objects_of(context, matches, collections).await?;
            if items.is_empty() && !matches!(goal, Goal::Gone) {
                return Err(Error::message("no matching resources found"));
            }
            items
        }
    };
    let mut errors = Vec::new();
    for item in items {
        if let Err(error) = wait_one(context, &report, &goal, &item, deadline).await {
            errors.push(error);
        }
    }
    Error::collect(errors)
}

async fn wait_one(context: &Context, report: &Report<'_>, goal: &Goal, item: &Item, deadline: Instant) -> Result<()> {
    let api = context.api().await?;
    if matches!(goal, Goal::Gone) {
        // What is not there is not waited for, and nothing is said of it.
        match api.get(&item.path()).await {
            Err(error) if error.is_not_found() => return Ok(()),
            first => drop(first?),
        }
        delete::gone(api, item, text(&item.object, "metadata.uid"), Some(deadline)).await?;
        return report.done_as(&item.object, &item.label(), "condition met");
    }
    let timed_out =
        || Error::message(format!("timed out waiting for the condition on {}/{}", item.resource.plural, item.name));
    if matches!(goal, Goal::There) {
        loop {
            match api.get(&item.path()).await {
                Ok(object) => return report.done_as(&object, &item.label(), "condition met"),
                Err(error) if error.is_not_found() && Instant::now() < deadline => {}
                Err(error) if error.is_not_found() => return Err(timed_out()),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let first = api.get(&item.path()).await?;
    let object = if goal.holds(&first) {
        first
    } else {
        let waiting = super::run::until(context, &item.resource, item, |object| goal.holds(object));
        tokio::time::timeout(left, waiting).await.map_err(|_| timed_out())??
    };
    report.done_as(&object, &item.label(), "condition met")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn goals_are_read_and_hold() {
        let pod = json!({"metadata": {"generation": 2}, "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1}]}});
        let holds = |text: &str| Goal::parse(text).expect(text).holds(&pod);
        assert!(holds("condition=Ready") && holds("condition=ready=True") && !holds("condition=Ready=false"));
        assert!(!holds("condition=Old"), "the condition is older than the object");
        assert!(holds("jsonpath={.status.phase}=Running") && !holds("jsonpath={.status.phase}=Failed"));
        assert!(holds("jsonpath={.status.phase}") && !holds("jsonpath={.status.x}"));
        assert!(Goal::parse("x").is_err());
    }
}
