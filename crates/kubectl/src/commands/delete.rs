//! `kubectl delete`: by name, by selector, by file; by default it waits until the objects are gone.

use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use crate::api::{Api, JSON, Query};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, flag, option, optional, words};
use crate::selection::{self, Item, Selection};
use crate::value::text;

pub fn command() -> Command {
    let command = Command::new("delete").about("Delete objects").args([
        words("TYPE NAME... or TYPE/NAME..."),
        flag("all", "All objects of the type"),
        flag("all-namespaces", "In all namespaces").short('A'),
        option("field-selector", "Field selector"),
        optional("cascade", "background", "background, orphan or foreground"),
        option("grace-period", "Seconds that objects get to end by themselves; -1 is their own"),
        flag("now", "Stop at once, in one second"),
        flag("force", "Do not wait for the node's word"),
        flag("wait", "Wait until the objects are gone (default)"),
        flag("ignore-not-found", "A missing object is no error"),
        flag("interactive", "Ask first").short('i'),
        option("timeout", "How long to wait; 0 is for ever"),
        option("output", "-o name prints names only").short('o'),
        optional("dry-run", "client", "none, client or server"),
        option("raw", "Path on the server to delete"),
    ]);
    flags::with_selector(flags::with_files(command))
}

/// How objects are deleted.
#[derive(Clone, Copy)]
pub struct Manner {
    pub propagation: &'static str,
    pub grace_period_seconds: Option<i64>,
    pub dry_run: DryRun,
}

impl Manner {
    pub fn options(self) -> Value {
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": self.propagation});
        if let Some(seconds) = self.grace_period_seconds {
            options["gracePeriodSeconds"] = seconds.into();
        }
        if self.dry_run == DryRun::Server {
            options["dryRun"] = json!(["All"]);
        }
        options
    }
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    if let Some(path) = matches.text("raw") {
        let body = context.api().await?.bytes(http::Method::DELETE, path, JSON, None).await?;
        context.console.bytes(&body);
        return Ok(());
    }
    let manner = manner(context, matches)?;
    let name_only = match matches.text("output") {
        None | Some("") => false,
        Some("name") => true,
        Some(other) => {
            return Err(Error::message(format!("unexpected -o output mode: {other}. We only support '-o name'")));
        }
    };
    let ignore = matches.on("ignore-not-found") || matches.on("all");
    let items = items(context, matches).await?;
    if matches.on("interactive") && !confirmed(context, &items)? {
        context.console.line("deletion is cancelled");
        return Ok(());
    }
    let api = context.api().await?;
    let mut errors = Vec::new();
    let mut waiting: Vec<(Item, String)> = Vec::new();
    let mut found = 0;
    for item in items {
        if item.name.is_empty() {
            return Err(Error::message("resource name may not be empty"));
        }
        let answer = if manner.dry_run == DryRun::Client {
            Ok(item.object.clone())
        } else {
            api.delete(&item.path(), &manner.options()).await
        };
        match answer {
            Ok(answer) => {
                found += 1;
                context.console.line(&if name_only { item.label() } else { said(&item, matches, manner.dry_run) });
                let uid = [text(&answer, "details.uid"), text(&answer, "metadata.uid")]
                    .into_iter()
                    .find(|uid| !uid.is_empty());
                waiting.push((item.clone(), uid.unwrap_or("").to_owned()));
            }
            Err(error) if ignore && error.is_not_found() => {}
            Err(error) => {
                errors.push(if item.source.is_empty() { error } else { error.when("deleting", &item.source) })
            }
        }
    }
    if found == 0 && errors.is_empty() && !matches.on("ignore-not-found") {
        context.console.line("No resources found");
    }
    let waits = matches.on_or("wait", !matches.on("force")) && manner.dry_run == DryRun::None;
    if waits {
        let timeout =
            matches.text("timeout").map(flags::duration).transpose()?.filter(|timeout| *timeout > Duration::ZERO);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        for (item, uid) in waiting {
            if let Err(error) = gone(api, &item, &uid, deadline).await {
                // Who may delete may not always look.
                if !error.is_reason("Forbidden") && !error.is_reason("MethodNotAllowed") {
                    errors.push(error);
                }
            }
        }
    }
    Error::collect(errors)
}

fn manner(context: &Context, matches: &ArgMatches) -> Result<Manner> {
    let propagation = match matches.text("cascade") {
        None | Some("background" | "true") => "Background",
        Some("foreground") => "Foreground",
        Some("orphan" | "false") => "Orphan",
        Some(other) => {
            return Err(Error::message(format!(
                "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
            )));
        }
    };
    let mut grace = matches.number("grace-period")?.filter(|seconds| *seconds >= 0);
    if matches.on("now") {
        if grace.is_some() {
            return Err(Error::message("--now and --grace-period cannot be specified together"));
        }
        grace = Some(1);
    }
    let force = matches.on("force");
    match grace {
        // Without --force an object is never taken away before its node knows.
        Some(0) if !force => grace = Some(1),
        None if force => grace = Some(0),
        Some(seconds) if force && seconds > 0 => {
            return Err(Error::message("--force and --grace-period greater than 0 cannot be specified together"));
        }
        _ => {}
    }
    if force {
        context.console.error_line(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The \
             resource may continue to run on the cluster indefinitely.",
        );
    }
    Ok(Manner { propagation, grace_period_seconds: grace, dry_run: DryRun::of(matches)? })
}

async fn items(context: &Context, matches: &ArgMatches) -> Result<Vec<Item>> {
    let words = matches.words();
    let selects =
        ["selector", "field-selector"].iter().any(|flag| matches.text(flag).is_some_and(|text| !text.is_empty()));
    if selects && matches.on("all") {
        return Err(Error::message("cannot set --all and --selector at the same time"));
    }
    let selection = selection::select(context, matches, &words).await?;
    match selection {
        Selection::Collections(_) if !selects && !matches.on("all") => {
            Err(Error::message("resource(s) were provided, but no name was specified"))
        }
        Selection::Items(items) => Ok(items),
        collections => selection::objects_of(context, matches, collections).await,
    }
}

fn confirmed(context: &Context, items: &[Item]) -> Result<bool> {
    context.console.line("You are about to delete the following resource(s):");
    items.iter().for_each(|item| context.console.line(&item.label()));
    context.console.text("Do you want to continue? (y/N): ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// `pod "a" deleted from default namespace`
fn said(item: &Item, matches: &ArgMatches, dry_run: DryRun) -> String {
    let what = if matches.on("force") { "force deleted" } else { "deleted" };
    let from = item.namespace.as_ref().map(|namespace| format!(" from {namespace} namespace")).unwrap_or_default();
    format!("{} \"{}\" {what}{from}{}", item.resource.short_kind(), item.name, dry_run.suffix())
}

/// Waits until the object is gone or another has its name.
pub async fn gone(api: &Api, item: &Item, uid: &str, deadline: Option<Instant>) -> Result<()> {
    let timed_out = || {
        let label = format!("{}/{}", item.resource.plural, item.name);
        Error::message(format!("timed out waiting for the condition on {label}"))
    };
    let is_gone = |object: &Value| !uid.is_empty() && text(object, "metadata.uid") != uid;
    loop {
        let object = match api.get(&item.path()).await {
            Ok(object) if is_gone(&object) => return Ok(()),
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let left = match deadline {
            None => None,
            Some(deadline) => Some(deadline.checked_duration_since(Instant::now()).ok_or_else(timed_out)?),
        };
        let path = Query::new(item.resource.collection(item.namespace.as_deref()))
            .add("fieldSelector", format!("metadata.name={}", item.name))
            .add("watch", "true")
            .add("resourceVersion", text(&object, "metadata.resourceVersion"))
            .done();
        let watching = async {
            let mut watch = match api.watch(&path, JSON).await {
                Ok(watch) => watch,
                Err(error) if error.is_reason("Expired") || error.is_reason("Gone") => return Ok(()),
                Err(error) => return Err(error),
            };
            while let Ok(Some((event, object))) = watch.next().await {
                if event == "DELETED" || is_gone(&object) {
                    break;
                }
            }
            Ok(())
        };
        let started = Instant::now();
        match left {
            None => watching.await?,
            Some(left) => tokio::time::timeout(left, watching).await.map_err(|_| timed_out())??,
        }
        // A server that ends watches at once must not be asked without pause.
        if started.elapsed() < Duration::from_millis(100) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::{Value, json};

    #[test]
    fn deletion_is_said_with_its_namespace() {
        let path = "DELETE /api/v1/namespaces/default/pods/nginx";
        let fake = Fake::new().answer(path, 200, json!({"kind": "Pod", "metadata": {"uid": "u"}}));
        let done = fake.run("delete pod nginx");
        assert_eq!((done.out.as_str(), done.code), ("pod \"nginx\" deleted from default namespace\n", 0));
        let body: Value = serde_json::from_str(&done.asked[0].1).expect("is JSON");
        assert_eq!(body["propagationPolicy"], "Background");
        assert!(done.asked[1].0.starts_with("GET "), "it looks whether the pod is gone");
        let fake =
            Fake::new().answer("DELETE /api/v1/namespaces/n", 200, json!({"kind": "Status", "status": "Success"}));
        assert_eq!(fake.run("delete ns n --wait=false").out, "namespace \"n\" deleted\n");
    }

    #[test]
    fn mistakes_are_told() {
        assert_eq!(Fake::new().run("delete pods").err, "error: resource(s) were provided, but no name was specified\n");
        let done = Fake::new().run("delete pod x");
        assert_eq!((done.err.as_str(), done.code), ("Error from server (NotFound): pods \"x\" not found\n", 1));
        assert_eq!(Fake::new().run("delete pod x --ignore-not-found").code, 0);
    }

    #[test]
    fn a_forced_deletion_warns_and_does_not_wait() {
        let path = "DELETE /api/v1/namespaces/default/pods/a";
        let done = Fake::new().answer(path, 200, json!({"kind": "Pod"})).run("delete pod a --force");
        assert_eq!(done.out, "pod \"a\" force deleted from default namespace\n");
        assert!(done.err.starts_with("Warning: Immediate deletion"));
        let body: Value = serde_json::from_str(&done.asked[0].1).expect("is JSON");
        assert_eq!((body["gracePeriodSeconds"].as_i64(), done.asked.len()), (Some(0), 1));
    }
}
