//! Is a rollout complete? Said in upstream's words until it is.

use std::time::Duration;

use clap::ArgMatches;
use serde_json::Value;

use crate::api::{JSON, Query};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, Flags};
use crate::selection::Item;
use crate::value::{self, int, list, text};

pub async fn status(context: &Context, matches: &ArgMatches, item: &Item) -> Result<()> {
    let timeout = matches.text("timeout").map(flags::duration).transpose()?.filter(|timeout| *timeout > Duration::ZERO);
    let watching = watch(context, matches, item);
    match timeout {
        None => watching.await,
        Some(timeout) => tokio::time::timeout(timeout, watching)
            .await
            .map_err(|_| Error::message("timed out waiting for the condition"))?,
    }
}

async fn watch(context: &Context, matches: &ArgMatches, item: &Item) -> Result<()> {
    let wanted = matches.number("revision")?.unwrap_or(0);
    let mut last = String::new();
    let mut say = |object: &Value| -> Result<bool> {
        let (words, done) = describe(object, wanted)?;
        if words != last {
            context.console.line(&words);
            last = words;
        }
        Ok(done || !matches.on_or("watch", true))
    };
    let mut object = item.object.clone();
    loop {
        if say(&object)? {
            return Ok(());
        }
        let path = Query::new(item.resource.collection(item.namespace.as_deref()))
            .add("fieldSelector", format!("metadata.name={}", item.name))
            .add("watch", "true")
            .add("resourceVersion", text(&object, "metadata.resourceVersion"))
            .done();
        let mut watch = context.api().await?.watch(&path, JSON).await?;
        while let Some((event, changed)) = watch.next().await? {
            if event == "DELETED" {
                return Err(Error::message("object has been deleted"));
            }
            if event != "BOOKMARK" && say(&changed)? {
                return Ok(());
            }
        }
        object = context.api().await?.get(&item.path()).await?;
    }
}

/// What is to be said, and whether it is the last word.
fn describe(object: &Value, revision: i64) -> Result<(String, bool)> {
    let name = value::name(object);
    let generation = int(object, "metadata.generation");
    let seen = int(object, "status.observedGeneration") >= generation;
    let number = |path: &str| int(object, path);
    match value::kind(object) {
        "Deployment" => {
            let own: i64 = value::at(object, "metadata.annotations")["deployment.kubernetes.io/revision"]
                .as_str()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            if revision > 0 && revision != own {
                return Err(Error::message(format!(
                    "desired revision ({revision}) is different from the running revision ({own})"
                )));
            }
            if !seen {
                return Ok(("Waiting for deployment spec update to be observed...".into(), false));
            }
            let progressing =
                list(object, "status.conditions").iter().find(|condition| condition["type"] == "Progressing");
            if progressing.is_some_and(|condition| text(condition, "reason") == "ProgressDeadlineExceeded") {
                return Err(Error::message(format!("deployment \"{name}\" exceeded its progress deadline")));
            }
            let wanted = value::at(object, "spec.replicas").as_i64().unwrap_or(1);
            let (all, updated, available) =
                (number("status.replicas"), number("status.updatedReplicas"), number("status.availableReplicas"));
            let waiting = format!("Waiting for deployment \"{name}\" rollout to finish: ");
            if updated < wanted {
                return Ok((format!("{waiting}{updated} out of {wanted} new replicas have been updated..."), false));
            }
            if all > updated {
                return Ok((format!("{waiting}{} old replicas are pending termination...", all - updated), false));
            }
            if available < updated {
                return Ok((format!("{waiting}{available} of {updated} updated replicas are available..."), false));
            }
            Ok((format!("deployment \"{name}\" successfully rolled out"), true))
        }
        "DaemonSet" => {
            if !seen {
                return Ok(("Waiting for daemon set spec update to be observed...".into(), false));
            }
            let (wanted, updated, available) = (
                number("status.desiredNumberScheduled"),
                number("status.updatedNumberScheduled"),
                number("status.numberAvailable"),
            );
            let waiting = format!("Waiting for daemon set \"{name}\" rollout to finish: ");
            if updated < wanted {
                return Ok((format!("{waiting}{updated} out of {wanted} new pods have been updated..."), false));
            }
            if available < wanted {
                return Ok((format!("{waiting}{available} of {wanted} updated pods are available..."), false));
            }
            Ok((format!("daemon set \"{name}\" successfully rolled out"), true))
        }
        "StatefulSet" => {
            if !seen {
                return Ok(("Waiting for statefulset spec update to be observed...".into(), false));
            }
            let wanted = value::at(object, "spec.replicas").as_i64().unwrap_or(1);
            let (ready, updated) = (number("status.readyReplicas"), number("status.updatedReplicas"));
            if ready < wanted {
                return Ok((format!("Waiting for {} pods to be ready...", wanted - ready), false));
            }
            if text(object, "status.updateRevision") != text(object, "status.currentRevision") {
                let words = format!(
                    "waiting for statefulset rolling update to complete {updated} pods at revision {}...",
                    text(object, "status.updateRevision")
                );
                return Ok((words, false));
            }
            let words = format!(
                "statefulset rolling update complete {} pods at revision {}...",
                number("status.currentReplicas"),
                text(object, "status.currentRevision")
            );
            Ok((words, true))
        }
        kind => Err(Error::message(format!("no status viewer has been implemented for {kind}.{}", group(object)))),
    }
}

/// The API group of an object.
fn group(object: &Value) -> &str {
    text(object, "apiVersion").split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(status: Value) -> String {
        let object = json!({"kind": "Deployment", "metadata": {"name": "a", "generation": 2}, "spec": {"replicas": 3}, "status": status});
        describe(&object, 0).map_or_else(|error| error.text(), |(words, done)| format!("{words} {done}"))
    }

    #[test]
    fn each_step_has_its_words() {
        assert_eq!(
            said(json!({"observedGeneration": 1})),
            "Waiting for deployment spec update to be observed... false"
        );
        let at = |all, updated, available| {
            said(
                json!({"observedGeneration": 2, "replicas": all, "updatedReplicas": updated, "availableReplicas": available}),
            )
        };
        let head = "Waiting for deployment \"a\" rollout to finish: ";
        assert_eq!(at(3, 1, 0), format!("{head}1 out of 3 new replicas have been updated... false"));
        assert_eq!(at(4, 3, 0), format!("{head}1 old replicas are pending termination... false"));
        assert_eq!(at(3, 3, 2), format!("{head}2 of 3 updated replicas are available... false"));
        assert_eq!(at(3, 3, 3), "deployment \"a\" successfully rolled out true");
    }
}
