//! `kubectl run`: one pod, attached to if wanted.

use std::time::Duration;

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::create::post_made;
use super::report::Report;
use super::{attach, delete};
use crate::api::{JSON, Query};
use crate::context::Context;
use crate::discovery::Resource;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, command_words, flag, list, option, optional, words};
use crate::generate::workloads;
use crate::selection::Item;
use crate::value::{self, text};

pub fn command() -> Command {
    let command = Command::new("run").about("Run an image as a pod").args([
        words("NAME and arguments"),
        option("image", "The image"),
        option("restart", "Always, OnFailure or Never"),
        flag("command", "The arguments are the command"),
        list("env", "Environment variable NAME=VALUE"),
        option("port", "Port that the container exposes"),
        option("labels", "Labels of the pod").short('l'),
        list("annotations", "Annotation of the pod"),
        option("image-pull-policy", "Always, Never or IfNotPresent"),
        option("overrides", "JSON to put over the pod"),
        option("override-type", "merge, strategic or json"),
        option("pod-running-timeout", "How long to wait for the pod to run"),
        option("grace-period", "Seconds for the deletion of --rm"),
        flag("stdin", "Pass standard input").short('i'),
        flag("tty", "Give the container a terminal").short('t'),
        flag("attach", "Attach to the container"),
        flag("rm", "Delete the pod afterwards"),
        flag("quiet", "Print the container's output only").short('q'),
        flag("leave-stdin-open", "Keep standard input open after the first session"),
        flag("privileged", "Run the container privileged"),
        flag("expose", "Not supported"),
        flag("save-config", "Remember the object for later apply"),
        flag("wait", "Accepted for compatibility"),
        optional("cascade", "background", "Accepted for compatibility"),
        command_words("Arguments of the container, or its command"),
    ]);
    flags::with_writing(flags::with_output(command))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let Some(image) = matches.text("image") else { return Err(Error::message("required flag(s) \"image\" not set")) };
    let mut words = matches.words();
    if words.is_empty() {
        return Err(Error::usage("run", "NAME is required for run"));
    }
    if image.is_empty() || image.contains(char::is_whitespace) {
        return Err(Error::message(format!(
            "Invalid image name {}: invalid reference format",
            machinery::go_text::quote(image)
        )));
    }
    if matches.on("expose") {
        return Err(Error::message("--expose is not supported; use kubectl expose"));
    }
    let name = words.remove(0);
    words.extend(matches.texts("command-words"));
    let report = Report::new(context, matches, "kubectl-run")?;
    let attached = matches.on_or("attach", matches.on("stdin") || matches.on("tty"));
    if matches.on("tty") && !matches.on("stdin") {
        return Err(Error::message("-i/--stdin is required for containers with -t/--tty=true"));
    }
    if matches.on("rm") && !attached {
        return Err(Error::message("--rm should only be used for attached containers"));
    }
    if attached && report.dry_run != DryRun::None {
        return Err(Error::message(
            "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)",
        ));
    }
    let mut pod = workloads::pod(matches, &name, image, &words)?;
    override_by(matches, &mut pod)?;
    if !attached {
        return post_made(context, matches, &report, pod, "").await;
    }
    let pods = context.discovery().await?.find("pods")?;
    let namespace = context.namespace().await?;
    value::set(&mut pod, &["metadata", "namespace"], namespace.clone().into());
    let created = context.api().await?.post(&report.query(pods.collection(Some(&namespace))).done(), &pod).await?;
    let item = Item::of_object(pods, created);
    let result = session(context, matches, &item).await;
    if matches.on("rm") {
        let seconds = matches.number("grace-period")?.filter(|seconds| *seconds >= 0);
        let manner = delete::Manner { propagation: "Background", grace_period_seconds: seconds, dry_run: DryRun::None };
        context.api().await?.delete(&item.path(), &manner.options()).await?;
        if !matches.on("quiet") {
            context.console.line(&format!("pod \"{}\" deleted from {namespace} namespace", item.name));
        }
    }
    result
}

/// Attaches when the pod runs, or prints the logs of one that has ended; a pod that runs once gives its exit code.
async fn session(context: &Context, matches: &ArgMatches, item: &Item) -> Result<()> {
    let limit =
        matches.text("pod-running-timeout").map(flags::duration).transpose()?.unwrap_or(Duration::from_secs(60));
    let began = |pod: &Value| text(pod, "status.phase") != "Pending" && !text(pod, "status.phase").is_empty();
    let Ok(pod) = tokio::time::timeout(limit, until(context, &item.resource, item, began)).await else {
        return Err(Error::message("timed out waiting for the condition"));
    };
    let pod = pod?;
    let container = text(&value::list(&pod, "spec.containers")[0], "name").to_owned();
    if text(&pod, "status.phase") == "Running" {
        let streams = super::exec::streams(context, matches, matches.on("quiet"));
        // The container may have said all and ended before the session begins; then its logs tell.
        match attach::attach(context, &pod, &container, streams).await {
            Ok(true) => {}
            Ok(false) => logs(context, item, &container).await?,
            Err(error @ Error::Exit(_)) => return Err(error),
            Err(error) => logs(context, item, &container).await.map_err(|_| error)?,
        }
    } else {
        logs(context, item, &container).await?;
    }
    if matches.text("restart") != Some("Never") {
        return Ok(());
    }
    let ended = |pod: &Value| matches!(text(pod, "status.phase"), "Succeeded" | "Failed");
    let pod = until(context, &item.resource, item, ended).await?;
    if text(&pod, "status.phase") == "Succeeded" {
        return Ok(());
    }
    let status = value::list(&pod, "status.containerStatuses").iter().find(|status| text(status, "name") == container);
    let terminated = status.map_or(&Value::Null, |status| value::at(status, "state.terminated"));
    context.console.error_line(&format!(
        "pod {}/{} terminated ({})",
        value::namespace(&pod),
        item.name,
        if text(terminated, "reason").is_empty() { "Error" } else { text(terminated, "reason") }
    ));
    Err(Error::Exit(u8::try_from(value::int(terminated, "exitCode")).ok().filter(|code| *code != 0).unwrap_or(1)))
}

async fn logs(context: &Context, item: &Item, container: &str) -> Result<()> {
    let path = Query::new(format!("{}/log", item.path())).add("container", container).done();
    let bytes = context.api().await?.bytes(http::Method::GET, &path, "*/*", None).await?;
    context.console.bytes(&bytes);
    Ok(())
}

/// Watches one object until something holds.
pub async fn until(
    context: &Context,
    resource: &Resource,
    item: &Item,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let api = context.api().await?;
    loop {
        let object = api.get(&item.path()).await?;
        if holds(&object) {
            return Ok(object);
        }
        let path = Query::new(resource.collection(item.namespace.as_deref()))
            .add("fieldSelector", format!("metadata.name={}", item.name))
            .add("watch", "true")
            .add("resourceVersion", text(&object, "metadata.resourceVersion"))
            .done();
        let mut watch = api.watch(&path, JSON).await?;
        while let Some((event, object)) = watch.next().await? {
            if event == "DELETED" {
                return Err(Error::message(format!("{} was deleted", item.label())));
            }
            if event != "BOOKMARK" && holds(&object) {
                return Ok(object);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Puts `--overrides` over an object.
pub fn override_by(matches: &ArgMatches, object: &mut Value) -> Result<()> {
    let Some(text) = matches.text("overrides").filter(|text| !text.is_empty()) else { return Ok(()) };
    let fail = |error: String| Error::message(format!("Invalid override: {error}"));
    let patch: Value = serde_json::from_str(text).map_err(|error| fail(error.to_string()))?;
    match matches.text("override-type").unwrap_or("merge") {
        "merge" => machinery::patch::merge::apply_value(object, patch).map_err(|error| fail(error.to_string())),
        "strategic" => {
            let types = machinery::schema::builtin();
            match types.by_kind("", "v1", value::kind(object)) {
                Some(id) => machinery::patch::strategic::apply(types, id, object, patch)
                    .map_err(|error| fail(error.to_string())),
                None => Err(fail("the kind has no schema".to_owned())),
            }
        }
        "json" => machinery::patch::json::apply(object, text.as_bytes()).map_err(|error| fail(error.to_string())),
        other => Err(Error::message(format!("invalid --override-type {other}, must be one of json, merge, strategic"))),
    }
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;

    #[test]
    fn a_pod_is_made_as_upstream_makes_it() {
        let done = Fake::new().run(
            "run x --image=nginx --port=80 --env=A=1 --restart=Never --dry-run=client -o yaml --command -- sh -c ls",
        );
        let want = "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    run: x\n  name: x\nspec:\n  containers:\n  - command:\n    - sh\n    - -c\n    - ls\n    env:\n    - name: A\n      value: \"1\"\n    image: nginx\n    name: x\n    ports:\n    - containerPort: 80\n    resources: {}\n  dnsPolicy: ClusterFirst\n  restartPolicy: Never\nstatus: {}\n";
        assert_eq!(done.out, want);
        let done = Fake::new().run(r#"run x --image=nginx --overrides={"spec":{"hostNetwork":true}} --dry-run=client -o jsonpath={.spec.hostNetwork}"#);
        assert_eq!(done.out, "true");
        assert_eq!(Fake::new().run("run x").err, "error: required flag(s) \"image\" not set\n");
    }
}
