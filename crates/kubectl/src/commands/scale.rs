//! `kubectl scale`.

use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use serde_json::json;

use super::report::Report;
use crate::api::MERGE_PATCH;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, flag, option, words};
use crate::selection;
use crate::value::{self, int, text};

pub fn command() -> Command {
    let command = Command::new("scale").about("Set how many pods a workload has").args([
        words("TYPE NAME or TYPE/NAME"),
        option("replicas", "How many pods"),
        option("current-replicas", "Only when there are so many now"),
        option("resource-version", "Only when the object has this version"),
        option("timeout", "How long to wait until it is so; 0 is not at all"),
        flag("all", "All objects of the type"),
        flag("record", "Accepted for compatibility"),
    ]);
    flags::with_writing(flags::with_output(flags::with_selector(flags::with_files(command))))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let Some(replicas) = matches.number("replicas")? else {
        return Err(Error::message("required flag(s) \"replicas\" not set"));
    };
    if replicas < 0 {
        return Err(Error::message(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
        ));
    }
    let expected = matches.number("current-replicas")?.filter(|count| *count >= 0);
    let report = Report::new(context, matches, "kubectl-scale")?;
    let items = selection::objects(context, matches, &matches.words()).await?;
    if items.is_empty() {
        return Err(Error::message("no objects passed to scale"));
    }
    let api = context.api().await?;
    let timeout = matches.text("timeout").map(flags::duration).transpose()?.filter(|timeout| *timeout > Duration::ZERO);
    for item in &items {
        if report.dry_run == DryRun::Client {
            report.done_as(&item.object, &item.label(), "scaled")?;
            continue;
        }
        let path = format!("{}/scale", item.path());
        let mut scaled = if expected.is_some() || matches.text("resource-version").is_some() {
            let mut scale = api.get(&path).await?;
            let now = int(&scale, "spec.replicas");
            if let Some(expected) = expected.filter(|expected| *expected != now) {
                return Err(Error::message(format!("Expected replicas to be {expected}, was {now}")));
            }
            let version = text(&scale, "metadata.resourceVersion").to_owned();
            if let Some(wanted) = matches.text("resource-version").filter(|wanted| *wanted != version) {
                return Err(Error::message(format!("Expected resource version to be {wanted}, was {version}")));
            }
            value::set(&mut scale, &["spec", "replicas"], replicas.into());
            api.put(&report.query(path.as_str()).done(), &scale).await?
        } else {
            let patch = json!({"spec": {"replicas": replicas}}).to_string().into_bytes();
            api.patch(&report.query(path.as_str()).done(), MERGE_PATCH, patch).await?
        };
        if let Some(timeout) = timeout {
            let deadline = Instant::now() + timeout;
            while int(&scaled, "status.replicas") != replicas {
                if Instant::now() > deadline {
                    return Err(Error::message("timed out waiting for the condition"));
                }
                tokio::time::sleep(Duration::from_millis(250)).await;
                scaled = api.get(&path).await?;
            }
        }
        if report.says_nothing_itself() && matches.text("output") != Some("name") {
            report.done(&api.get(&item.path()).await?, "scaled")?;
        } else {
            report.done_as(&scaled, &item.label(), "scaled")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::fake::Fake;
    use serde_json::json;

    fn fake() -> Fake {
        let path = "/apis/apps/v1/namespaces/default/replicasets/nginx";
        let scale = json!({"kind": "Scale", "spec": {"replicas": 2}});
        Fake::new()
            .answer(
                &format!("GET {path}"),
                200,
                json!({"kind": "ReplicaSet", "apiVersion": "apps/v1", "metadata": {"name": "nginx"}}),
            )
            .answer(&format!("GET {path}/scale"), 200, scale.clone())
            .answer(&format!("PATCH {path}/scale?fieldManager=kubectl-scale"), 200, scale.clone())
    }

    #[test]
    fn replicas_are_patched_through_scale() {
        let done = fake().run("scale rs nginx --replicas=5");
        assert_eq!(done.out, "replicaset.apps/nginx scaled\n");
        assert_eq!(done.asked[1].1, r#"{"spec":{"replicas":5}}"#);
        assert_eq!(
            fake().run("scale rs nginx --replicas=5 --current-replicas=3").err,
            "error: Expected replicas to be 3, was 2\n"
        );
        assert_eq!(fake().run("scale rs nginx").err, "error: required flag(s) \"replicas\" not set\n");
    }
}
