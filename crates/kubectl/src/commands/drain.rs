//! `kubectl drain`: close a node and evict its pods.

use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use serde_json::{Value, json};

use super::report::Report;
use super::{cordon, delete};
use crate::api::Query;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::{self, DryRun, Flags, flag, option, words};
use crate::selection::{self, Item};
use crate::value::{self, at, list, text};

pub fn command() -> Command {
    let command = Command::new("drain").about("Move all pods away from a node").args([
        words("NODE"),
        flag("force", "Delete pods that nothing would make again"),
        flag("ignore-daemonsets", "Leave pods of DaemonSets"),
        flag("delete-emptydir-data", "Evict pods with emptyDir volumes"),
        flag("disable-eviction", "Delete instead of evicting"),
        option("grace-period", "Seconds that pods get; -1 is their own"),
        option("timeout", "How long to wait; 0 is for ever"),
        option("pod-selector", "Only pods with these labels"),
        option("skip-wait-for-delete-timeout", "Accepted for compatibility"),
        option("chunk-size", "Accepted for compatibility"),
    ]);
    flags::with_writing(flags::with_selector(command))
}

pub async fn run(context: &Context, matches: &ArgMatches) -> Result<()> {
    let report = Report::new(context, matches, "kubectl-drain")?;
    for node in cordon::nodes(context, matches, "drain").await? {
        cordon::set(context, &report, &node, true).await?;
        drain(context, matches, &report, &node).await?;
        report.done_as(&node.object, &node.label(), "drained")?;
    }
    Ok(())
}

async fn drain(context: &Context, matches: &ArgMatches, report: &Report<'_>, node: &Item) -> Result<()> {
    let resource = context.discovery().await?.find("pods")?;
    let query = Query::new(resource.collection(None))
        .add("fieldSelector", format!("spec.nodeName={}", node.name))
        .maybe("labelSelector", matches.text("pod-selector"));
    let (pods, _) = selection::read_list(context, query).await?;
    let (mut leaving, mut refused, mut warnings) =
        (Vec::new(), Vec::<(&str, String)>::new(), Vec::<(&str, String)>::new());
    for pod in pods {
        let name = format!("{}/{}", value::namespace(&pod), value::name(&pod));
        match verdict(&pod, matches) {
            Verdict::Stay => {}
            Verdict::StayWarned(why) => warnings.push((why, name)),
            Verdict::Go(why) => {
                warnings.extend(why.map(|why| (why, name)));
                leaving.push(pod);
            }
            Verdict::Refused(why) => refused.push((why, name)),
        }
    }
    let grouped = |entries: &[(&str, String)]| {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for (why, name) in entries {
            match groups.iter_mut().find(|(known, _)| known == why) {
                Some((_, names)) => names.push(name.clone()),
                None => groups.push(((*why).to_owned(), vec![name.clone()])),
            }
        }
        groups.iter().map(|(why, names)| format!("{why}: {}", names.join(", "))).collect::<Vec<_>>()
    };
    if !refused.is_empty() {
        return Err(Error::message(format!(
            "unable to drain node \"{}\" due to error: [{}], continuing command...\nThere are pending nodes to be drained:\n {}",
            node.name,
            grouped(&refused).join(", "),
            node.name
        )));
    }
    if !warnings.is_empty() {
        context.console.error_line(&format!("Warning: {}", grouped(&warnings).join("; ")));
    }
    let timeout = matches.text("timeout").map(flags::duration).transpose()?.filter(|timeout| *timeout > Duration::ZERO);
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let mut evicted = Vec::new();
    for pod in leaving {
        let item = Item::of_object(resource.clone(), pod);
        let name = format!("{}/{}", item.namespace.as_deref().unwrap_or(""), item.name);
        let evicts = !matches.on("disable-eviction");
        let doing = if evicts { "evicting" } else { "deleting" };
        context.console.line(&format!("{doing} pod {name}{}", report.dry_run.suffix()));
        if report.dry_run != DryRun::None {
            continue;
        }
        if remove(context, matches, &item, evicts, deadline).await? {
            evicted.push(item);
        }
    }
    for item in evicted {
        let uid = text(&item.object, "metadata.uid").to_owned();
        delete::gone(context.api().await?, &item, &uid, deadline).await?;
        context.console.line(&format!("pod/{} evicted", item.name));
    }
    Ok(())
}

/// Evicts or deletes a pod; false when it has gone already. A disruption budget that says no is asked again.
async fn remove(
    context: &Context,
    matches: &ArgMatches,
    item: &Item,
    evicts: bool,
    deadline: Option<Instant>,
) -> Result<bool> {
    let api = context.api().await?;
    let mut options = json!({});
    if let Some(seconds) = matches.number("grace-period")?.filter(|seconds| *seconds >= 0) {
        options["gracePeriodSeconds"] = seconds.into();
    }
    loop {
        let answer = if evicts {
            let path = format!("{}/eviction", item.path());
            let eviction = json!({"kind": "Eviction", "apiVersion": "policy/v1",
                "metadata": {"name": item.name, "namespace": item.namespace}, "deleteOptions": options});
            api.post(&path, &eviction).await
        } else {
            api.delete(&item.path(), &options).await
        };
        match answer {
            Ok(_) => return Ok(true),
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) if evicts && error.is_reason("TooManyRequests") => {
                context.console.error_line(&format!(
                    "error when evicting pods/\"{}\" -n \"{}\" (will retry after 5s): {error}",
                    item.name,
                    item.namespace.as_deref().unwrap_or("")
                ));
                if deadline.is_some_and(|deadline| Instant::now() + Duration::from_secs(5) > deadline) {
                    return Err(Error::message("global timeout reached while draining"));
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

enum Verdict {
    Stay,
    StayWarned(&'static str),
    Go(Option<&'static str>),
    Refused(&'static str),
}

fn verdict(pod: &Value, matches: &ArgMatches) -> Verdict {
    if at(pod, "metadata.annotations").get("kubernetes.io/config.mirror").is_some() {
        return Verdict::Stay;
    }
    let ended = matches!(text(pod, "status.phase"), "Succeeded" | "Failed");
    let owner = machinery::meta::controller(pod);
    if owner.is_some_and(|owner| owner["kind"] == "DaemonSet") {
        return if matches.on("ignore-daemonsets") {
            Verdict::StayWarned("ignoring DaemonSet-managed Pods")
        } else {
            Verdict::Refused("cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)")
        };
    }
    let local = list(pod, "spec.volumes").iter().any(|volume| volume.get("emptyDir").is_some());
    if local && !ended && !matches.on("delete-emptydir-data") {
        return Verdict::Refused("cannot delete Pods with local storage (use --delete-emptydir-data to override)");
    }
    if owner.is_none() && !ended {
        return if matches.on("force") {
            Verdict::Go(Some("deleting Pods that declare no controller"))
        } else {
            Verdict::Refused("cannot delete Pods that declare no controller (use --force to override)")
        };
    }
    Verdict::Go(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_without_an_owner_stay_unless_forced() {
        let parse = |line: &str| command().try_get_matches_from(line.split(' ')).expect("parses");
        let bare = json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}});
        assert!(matches!(verdict(&bare, &parse("drain n")), Verdict::Refused(_)));
        assert!(matches!(verdict(&bare, &parse("drain n --force")), Verdict::Go(Some(_))));
        let daemon = json!({"metadata": {"ownerReferences": [{"kind": "DaemonSet", "controller": true}]}});
        assert!(matches!(verdict(&daemon, &parse("drain n")), Verdict::Refused(_)));
        assert!(matches!(verdict(&daemon, &parse("drain n --ignore-daemonsets")), Verdict::StayWarned(_)));
    }
}
