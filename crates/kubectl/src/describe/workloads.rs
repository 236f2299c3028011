//! Deployments, ReplicaSets, ReplicationControllers.

use machinery::labels::Selector;
use serde_json::Value;

use super::Related;
use super::pods::template;
use super::text::{Text, time};
use crate::commands::pod_selector;
use crate::value::{self, at, int, list, show, text};

const REVISION: &str = "deployment.kubernetes.io/revision";

pub fn deployment(out: &mut Text, deployment: &Value, related: &Related) {
    out.head(deployment, true);
    out.field(0, "CreationTimestamp", time(text(deployment, "metadata.creationTimestamp")));
    out.labels(0, deployment);
    out.annotations(0, deployment);
    out.field(0, "Selector", selector(deployment));
    out.field(
        0,
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            int(deployment, "spec.replicas"),
            int(deployment, "status.updatedReplicas"),
            int(deployment, "status.replicas"),
            int(deployment, "status.availableReplicas"),
            int(deployment, "status.unavailableReplicas")
        ),
    );
    out.field(0, "StrategyType", text(deployment, "spec.strategy.type"));
    out.field(0, "MinReadySeconds", int(deployment, "spec.minReadySeconds").to_string());
    let rolling = at(deployment, "spec.strategy.rollingUpdate");
    if rolling.is_object() {
        out.field(
            0,
            "RollingUpdateStrategy",
            format!("{} max unavailable, {} max surge", show(&rolling["maxUnavailable"]), show(&rolling["maxSurge"])),
        );
    }
    template(out, at(deployment, "spec.template"));
    out.conditions(deployment, &[("Type", "type"), ("Status", "status"), ("Reason", "reason")], "");
    let revision = |object: &Value| at(object, "metadata.annotations")[REVISION].as_str().unwrap_or("").to_owned();
    let current = revision(deployment);
    let (new, old): (Vec<&Value>, Vec<&Value>) =
        related.others.iter().partition(|set| revision(set) == current && !current.is_empty());
    let shown = |sets: &[&Value]| {
        let lines: Vec<String> = sets
            .iter()
            .map(|set| {
                format!(
                    "{} ({}/{} replicas created)",
                    value::name(set),
                    int(set, "status.replicas"),
                    int(set, "spec.replicas")
                )
            })
            .collect();
        if lines.is_empty() { "<none>".to_owned() } else { lines.join(", ") }
    };
    out.field(0, "OldReplicaSets", shown(&old));
    out.field(0, "NewReplicaSet", shown(&new));
}

pub fn replica_set(out: &mut Text, set: &Value, related: &Related) {
    out.head(set, true);
    out.field(0, "Selector", selector(set));
    out.labels(0, set);
    out.annotations(0, set);
    if let Some(owner) = machinery::meta::controller(set) {
        out.field(0, "Controlled By", format!("{}/{}", text(owner, "kind"), text(owner, "name")));
    }
    out.field(
        0,
        "Replicas",
        format!("{} current / {} desired", int(set, "status.replicas"), int(set, "spec.replicas")),
    );
    let count = |phase: &str| related.pods.iter().filter(|pod| text(pod, "status.phase") == phase).count();
    out.field(
        0,
        "Pods Status",
        format!(
            "{} Running / {} Waiting / {} Succeeded / {} Failed",
            count("Running"),
            count("Pending"),
            count("Succeeded"),
            count("Failed")
        ),
    );
    template(out, at(set, "spec.template"));
    if !list(set, "status.conditions").is_empty() {
        out.conditions(set, &[("Type", "type"), ("Status", "status"), ("Reason", "reason")], "");
    }
}

fn selector(object: &Value) -> String {
    pod_selector(object).as_ref().map(Selector::to_string).unwrap_or_else(|_| "<none>".to_owned())
}
