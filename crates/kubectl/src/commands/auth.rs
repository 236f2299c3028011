//! `kubectl auth`: what the user may do, and who the user is.

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, Flags, flag, option, words};
use crate::printers::{Format, Print, tabs::align};
use crate::value::{at, list, text};

const GROUP: &str = "/apis/authorization.k8s.io/v1";

pub fn command() -> Command {
    Command::new("auth").about("Ask about permissions").subcommand_required(true).subcommands([
        Command::new("can-i").about("May the user do something?").args([
            words("VERB and TYPE, TYPE/NAME or a path"),
            flag("all-namespaces", "In all namespaces").short('A'),
            flag("list", "All that the user may do"),
            flag("quiet", "Say it by the exit code only").short('q'),
            flag("no-headers", "No header line"),
            option("subresource", "The subresource, e.g. log"),
        ]),
        flags::with_output(Command::new("whoami").about("Who is the user?")),
    ])
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("can-i", matches)) if matches.on("list") => rules(context, matches).await,
        Some(("can-i", matches)) => can_i(context, matches).await,
        Some((_, matches)) => who_am_i(context, matches).await,
        None => Ok(()),
    }
}

async fn can_i(context: &Context, matches: &ArgMatches) -> Result<()> {
    let words = matches.words();
    let (verb, what, name) = match words.as_slice() {
        [verb, what] => (verb, what, ""),
        [verb, what, name] => (verb, what, name.as_str()),
        _ => {
            return Err(Error::message(
                "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples.",
            ));
        }
    };
    let namespace = if matches.on("all-namespaces") { String::new() } else { context.namespace().await? };
    let spec = if what.starts_with('/') {
        json!({"nonResourceAttributes": {"verb": verb, "path": what}})
    } else {
        let (base, inner) = what.split_once('/').unwrap_or((what, name));
        let (group, version, resource, namespaced) = if base == "*" {
            ("*".to_owned(), "*".to_owned(), "*".to_owned(), true)
        } else {
            match context.discovery().await?.candidates(base).first() {
                Some(found) => (found.group.clone(), String::new(), found.plural.clone(), found.namespaced),
                None => {
                    context.console.error_line(&format!("Warning: the server doesn't have a resource type '{base}'\n"));
                    (String::new(), String::new(), base.to_owned(), true)
                }
            }
        };
        if !namespaced && !matches.on("all-namespaces") && context.globals.namespace.is_none() {
            context.console.error_line(&format!(
                "Warning: resource '{resource}' is not namespace scoped{}\n",
                if group.is_empty() { String::new() } else { format!(" in group '{group}'") }
            ));
        }
        let mut attributes = json!({"namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": matches.text("subresource").unwrap_or(""), "name": inner});
        if !version.is_empty() {
            attributes["version"] = version.into();
        }
        json!({"resourceAttributes": attributes})
    };
    let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec});
    let answer = context.api().await?.post(&format!("{GROUP}/selfsubjectaccessreviews"), &review).await?;
    let allowed = at(&answer, "status.allowed") == true;
    if !matches.on("quiet") {
        let mut line = if allowed { "yes" } else { "no" }.to_owned();
        for (path, words) in [("status.reason", " - "), ("status.evaluationError", " - ")] {
            if !allowed && !text(&answer, path).is_empty() {
                line.push_str(&format!("{words}{}", text(&answer, path)));
            }
        }
        context.console.line(&line);
    }
    if allowed { Ok(()) } else { Err(Error::Exit(1)) }
}

async fn rules(context: &Context, matches: &ArgMatches) -> Result<()> {
    let namespace = context.namespace().await?;
    let review = json!({"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {"namespace": namespace}});
    let answer = context.api().await?.post(&format!("{GROUP}/selfsubjectrulesreviews"), &review).await?;
    let mut table = if matches.on("no-headers") {
        String::new()
    } else {
        "Resources\tNon-Resource URLs\tResource Names\tVerbs\n".to_owned()
    };
    let rules: Vec<Value> =
        list(&answer, "status.resourceRules").iter().chain(list(&answer, "status.nonResourceRules")).cloned().collect();
    for row in crate::rules::rows(&rules) {
        table.push_str(&format!("{row}\n"));
    }
    context.console.text(&align(&table, 6, 3));
    Ok(())
}

async fn who_am_i(context: &Context, matches: &ArgMatches) -> Result<()> {
    let review = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}});
    let answer = context.api().await?.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review).await?;
    let format = Format::of(matches)?;
    if !format.is_human() {
        context.console.text(&format.print(&answer, Print::default())?);
        return Ok(());
    }
    let user = at(&answer, "status.userInfo");
    let mut table = format!("ATTRIBUTE\tVALUE\nUsername\t{}\n", text(user, "username"));
    if !text(user, "uid").is_empty() {
        table.push_str(&format!("UID\t{}\n", text(user, "uid")));
    }
    let strings = |values: &Value| {
        let parts: Vec<&str> = values.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("[{}]", parts.join(" "))
    };
    if !list(user, "groups").is_empty() {
        table.push_str(&format!("Groups\t{}\n", strings(&user["groups"])));
    }
    for (key, values) in user["extra"].as_object().into_iter().flatten() {
        table.push_str(&format!("Extra: {key}\t{}\n", strings(values)));
    }
    context.console.text(&align(&table, 6, 3));
    Ok(())
}
