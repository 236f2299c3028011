//! Revisions: the number that `kubectl rollout history` shows, the set for the current template, and forgetting old ones.

use std::sync::Arc;

use client::View;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::report;
use super::sets::{DESIRED, HASH_LABEL, MAX, Set, Sets};
use super::{hash, rollout};
use crate::common::controller_reference;

/// The revision of a Deployment or of a set.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";

/// Finds a ReplicaSet of any owner by name.
pub type ByName<'a> = &'a dyn Fn(&str) -> Option<Arc<ReplicaSet>>;

/// Gives the current template's set its revision and annotations; makes the set if there is none and `create` allows.
pub fn sync(sets: &mut Sets, create: Option<ByName<'_>>, view: &View, now: Timestamp) {
    let last = sets.old.iter().filter_map(|set| set.number(REVISION)).max().unwrap_or(0);
    let revision = last + 1;
    let inherited = inherited_annotations(sets);
    let min_ready_seconds = sets.spec().min_ready_seconds;
    let has_progressing = report::has(sets, "Progressing");
    if let Some(set) = sets.new.as_mut() {
        for (key, value) in inherited {
            set.annotate(&key, value);
        }
        raise_revision(set, revision);
        set.now.spec.get_or_insert_default().min_ready_seconds = min_ready_seconds;
        let (name, revision) = (set.name().to_owned(), set.number(REVISION));
        note_revision(sets, revision);
        if !has_progressing && report::deadline(sets).is_some() {
            report::set(
                sets,
                "Progressing",
                "True",
                "FoundNewReplicaSet",
                format!("Found new replica set \"{name}\""),
                now,
            );
        }
        return;
    }
    let Some(by_name) = create else { return };
    let collisions = sets.status.collision_count.unwrap_or(0);
    let spec = sets.spec();
    let hash = hash::of(&spec.template, collisions);
    let name = format!("{}-{hash}", sets.deployment().metadata.name.as_deref().unwrap_or_default());
    if by_name(&name).is_some() {
        // Another template or another owner has the name: count the collision, and the next pass takes another one.
        sets.status.collision_count = Some(collisions.saturating_add(1));
        return;
    }
    if let Some(failure) =
        view.failure().filter(|failure| failure.verb == "create" && failure.resource == "replicasets")
    {
        let message = format!("Failed to create new replica set \"{name}\": {}", failure.error);
        report::set(sets, "Progressing", "False", "ReplicaSetCreateError", message, now);
    } else if report::deadline(sets).is_some() {
        report::set(
            sets,
            "Progressing",
            "True",
            "NewReplicaSetCreated",
            format!("Created new replica set \"{name}\""),
            now,
        );
    }
    let mut set = new_set(sets, name, &hash);
    set.metadata.annotations.get_or_insert_default().extend(inherited);
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(REVISION.to_owned(), revision.to_string());
    annotations.insert(DESIRED.to_owned(), sets.wanted().to_string());
    annotations.insert(MAX.to_owned(), sets.wanted().saturating_add(sets.max_surge()).to_string());
    sets.create(set);
    note_revision(sets, Some(revision));
}

fn new_set(sets: &Sets, name: String, hash: &str) -> ReplicaSet {
    let spec = sets.spec();
    let mut template = spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.to_owned());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: sets.deployment().metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(sets.deployment())]),
            ..Default::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(rollout::new_size(sets, 0)),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

/// The Deployment's annotations that its sets carry too.
fn inherited_annotations(sets: &Sets) -> Vec<(String, String)> {
    let own = [LAST_APPLIED, REVISION, HISTORY, DESIRED, MAX, ROLLBACK_TO];
    let annotations = sets.deployment().metadata.annotations.iter().flatten();
    annotations
        .filter(|(key, _)| !own.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A set that becomes current again gets a new revision and remembers the old ones.
fn raise_revision(set: &mut Set, revision: i64) {
    let old = set.number(REVISION);
    if old.is_some_and(|old| old >= revision) {
        return;
    }
    if let Some(old) = old.filter(|old| *old > 0) {
        let history = set.now.metadata.annotations.as_ref().and_then(|annotations| annotations.get(HISTORY)).cloned();
        let history = match history.filter(|history| !history.is_empty()) {
            Some(history) => format!("{history},{old}"),
            None => old.to_string(),
        };
        set.annotate(HISTORY, history);
    }
    set.annotate(REVISION, revision.to_string());
}

fn note_revision(sets: &mut Sets, revision: Option<i64>) {
    let Some(revision) = revision.map(|revision| revision.to_string()) else { return };
    let known = sets.deployment().metadata.annotations.as_ref().and_then(|annotations| annotations.get(REVISION));
    if known != Some(&revision) {
        sets.revision = Some(revision);
    }
}

/// Deletes the oldest of the sets without pods beyond the history limit.
pub fn clean_up(sets: &mut Sets) {
    let Some(limit) = sets.spec().revision_history_limit else { return };
    let mut alive: Vec<(i64, usize)> = Vec::new();
    for (place, set) in sets.old.iter().enumerate() {
        if set.now.metadata.deletion_timestamp.is_none() {
            alive.push((set.number(REVISION).unwrap_or(0), place));
        }
    }
    alive.sort_unstable();
    let excess = alive.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    for (_, place) in alive.into_iter().take(excess) {
        let set = &sets.old[place];
        let observed = set.now.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
        let settled = set.now.metadata.generation.unwrap_or(0) <= observed;
        if set.replicas() == 0 && set.actual() == 0 && settled {
            sets.delete(place);
        }
    }
}
