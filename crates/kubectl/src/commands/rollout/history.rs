//! The revisions of a Deployment are its ReplicaSets; going back is taking an old one's template.

use clap::ArgMatches;
use serde_json::{Value, json};

use crate::api::{JSON_PATCH, Query};
use crate::commands::pods::pod_selector;
use crate::commands::report::Report;
use crate::context::Context;
use crate::describe;
use crate::error::{Error, Result};
use crate::flags::{DryRun, Flags};
use crate::printers::{Format, Print, tabs::align};
use crate::selection::{self, Item};
use crate::value::{self, at, text};

const REVISION: &str = "deployment.kubernetes.io/revision";
const CAUSE: &str = "kubernetes.io/change-cause";
const HASH: &str = "pod-template-hash";

/// The revisions of a Deployment, oldest first.
async fn revisions(context: &Context, item: &Item, what: &str) -> Result<Vec<(i64, Value)>> {
    if value::kind(&item.object) != "Deployment" {
        return Err(Error::message(format!(
            "no {what} has been implemented for \"{}.{}\"",
            value::kind(&item.object),
            item.resource.group
        )));
    }
    let sets = context.discovery().await?.find("replicasets.apps")?;
    let selector = pod_selector(&item.object)?;
    let query = Query::new(sets.collection(item.namespace.as_deref())).add("labelSelector", selector.to_string());
    let (sets, _) = selection::read_list(context, query).await?;
    let uid = text(&item.object, "metadata.uid");
    let own =
        sets.into_iter().filter(|set| machinery::meta::controller(set).is_some_and(|owner| text(owner, "uid") == uid));
    let mut found: Vec<(i64, Value)> =
        own.filter_map(|set| Some((at(&set, "metadata.annotations")[REVISION].as_str()?.parse().ok()?, set))).collect();
    found.sort_by_key(|(revision, _)| *revision);
    Ok(found)
}

pub async fn history(context: &Context, matches: &ArgMatches, item: &Item) -> Result<()> {
    let revisions = revisions(context, item, "history viewer").await?;
    let wanted = matches.number("revision")?.unwrap_or(0);
    let format = Format::of(matches)?;
    if wanted > 0 {
        let Some((_, set)) = revisions.iter().find(|(revision, _)| *revision == wanted) else {
            return Err(Error::message("unable to find the specified revision"));
        };
        if !format.is_human() {
            context.console.text(&format.print(set, Print::default())?);
            return Ok(());
        }
        context.console.line(&format!("{} with revision #{wanted}", item.label()));
        context.console.text(&describe::pod_template(at(set, "spec.template")));
        return Ok(());
    }
    if !format.is_human() {
        let sets = revisions.into_iter().map(|(_, set)| set).collect();
        context.console.text(&format.print(&crate::printers::list_of(sets), Print::default())?);
        return Ok(());
    }
    let mut table = "REVISION\tCHANGE-CAUSE\n".to_owned();
    for (revision, set) in &revisions {
        let cause = at(set, "metadata.annotations")[CAUSE].as_str().unwrap_or("<none>");
        table.push_str(&format!("{revision}\t{}\n", crate::console::harmless(cause)));
    }
    context.console.line(&format!("{} ", item.label()));
    context.console.line(&align(&table, 0, 2));
    Ok(())
}

pub async fn undo(context: &Context, matches: &ArgMatches, item: &Item) -> Result<()> {
    let revisions = revisions(context, item, "rollbacker").await?;
    let (resource, name) = (item.resource.short_kind(), &item.name);
    if value::flag(&item.object, "spec.paused") {
        return Err(Error::message(format!(
            "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume {resource}/{name}' and try again"
        )));
    }
    let current =
        at(&item.object, "metadata.annotations")[REVISION].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    let target = match matches.number("to-revision")?.unwrap_or(0) {
        0 => revisions.iter().rev().find(|(revision, _)| *revision < current || current == 0),
        wanted => match revisions.iter().find(|(revision, _)| *revision == wanted) {
            Some(found) => Some(found),
            None => return Err(Error::message(format!("unable to find specified revision {wanted} in history"))),
        },
    };
    let Some((_, set)) = target else {
        return Err(Error::message(format!("no rollout history found for deployment \"{name}\"")));
    };
    let report = Report::new(context, matches, "kubectl-rollout")?;
    let mut template = at(set, "spec.template").clone();
    value::remove(&mut template, &["metadata", "labels", HASH]);
    if template == *at(&item.object, "spec.template") {
        return report.done_as(
            &item.object,
            &item.label(),
            &format!("skipped rollback (current template already matches revision {current})"),
        );
    }
    if report.dry_run == DryRun::Client {
        return report.done_as(&item.object, &item.label(), "rolled back");
    }
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
    let after = context
        .api()
        .await?
        .patch(&report.query(item.path()).done(), JSON_PATCH, patch.to_string().into_bytes())
        .await?;
    report.done_as(&after, &item.label(), "rolled back")
}
