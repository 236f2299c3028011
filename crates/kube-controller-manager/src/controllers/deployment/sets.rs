//! A Deployment with its ReplicaSets while a pass works on them: as they were, as they shall be, and what to tell.

use std::cmp::Ordering;
use std::sync::Arc;

use client::{EventType, Intent, Note, Object, Plan};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::replaced;
use crate::common::scaled;

/// The label by which the pods of one version are told from those of another.
pub const HASH_LABEL: &str = "pod-template-hash";
/// How many replicas the Deployment wanted when the set was last scaled.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// How many it could have had with its surge.
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// One ReplicaSet in work.
#[derive(Clone)]
pub struct Set {
    before: Option<Arc<ReplicaSet>>,
    /// As it shall be.
    pub now: ReplicaSet,
    deleted: bool,
}

impl Set {
    /// Wanted replicas.
    pub fn replicas(&self) -> i32 {
        self.now.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    /// A count of its status.
    pub fn counted(&self, count: impl Fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> Option<i32>) -> i32 {
        self.now.status.as_ref().and_then(count).unwrap_or(0)
    }

    /// Pods that are there.
    pub fn actual(&self) -> i32 {
        self.counted(|status| Some(status.replicas))
    }

    /// Pods that are available.
    pub fn available(&self) -> i32 {
        self.counted(|status| status.available_replicas)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.now.metadata.name.as_deref().unwrap_or_default()
    }

    /// An annotation read as a number.
    pub fn number(&self, annotation: &str) -> Option<i64> {
        self.now.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
    }

    /// Sets an annotation.
    pub fn annotate(&mut self, annotation: &str, value: impl Into<String>) {
        self.now.metadata.annotations.get_or_insert_default().insert(annotation.to_owned(), value.into());
    }

    /// What to tell about its change of size, if it has one.
    fn scaling_note(&self, deployment: &Deployment) -> Option<Note> {
        let before =
            self.before.as_ref().map_or(0, |before| before.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1));
        let direction = match self.replicas().cmp(&before) {
            Ordering::Greater => "up",
            Ordering::Less => "down",
            Ordering::Equal => return None,
        };
        let message = format!("Scaled {direction} replica set {} from {before} to {}", self.name(), self.replicas());
        Some(Note::about(deployment, EventType::Normal, "ScalingReplicaSet", message))
    }

    /// By age, then by name.
    pub fn age_order(&self) -> (Option<jiff::Timestamp>, &str) {
        (self.now.metadata.creation_timestamp.as_ref().map(|time| time.0), self.name())
    }
}

/// The Deployment and its sets.
pub struct Sets {
    deployment: Arc<Deployment>,
    /// The status as it shall be.
    pub status: DeploymentStatus,
    /// Its revision annotation, if it is to be set.
    pub revision: Option<String>,
    /// The set of the current template.
    pub new: Option<Set>,
    /// The others, oldest first.
    pub old: Vec<Set>,
}

impl Sets {
    /// Sorts a Deployment's sets.
    pub fn of(deployment: &Arc<Deployment>, owned: Vec<Arc<ReplicaSet>>) -> Self {
        let mut all: Vec<Set> = owned
            .into_iter()
            .map(|set| Set { now: ReplicaSet::clone(&set), before: Some(set), deleted: false })
            .collect();
        all.sort_by(|a, b| a.age_order().cmp(&b.age_order()));
        let template = deployment.spec.as_ref().map(|spec| &spec.template);
        // Among several of the same template the oldest is the one, so that all passes agree.
        let current = all.iter().position(|set| {
            template.is_some_and(|template| {
                set.now
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.template.as_ref())
                    .is_some_and(|own| same_template(own, template))
            })
        });
        let new = current.map(|position| all.remove(position));
        let status = deployment.status.clone().unwrap_or_default();
        Self { deployment: deployment.clone(), status, revision: None, new, old: all }
    }

    /// The Deployment as it was.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Its spec; the defaults if it has none, which validation excludes.
    pub fn spec(&self) -> DeploymentSpec {
        self.deployment.spec.clone().unwrap_or_default()
    }

    /// Wanted replicas.
    pub fn wanted(&self) -> i32 {
        self.deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    /// Whether it is paused.
    pub fn paused(&self) -> bool {
        self.deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false)
    }

    /// Whether its strategy is Recreate.
    pub fn recreates(&self) -> bool {
        self.strategy() == Some("Recreate")
    }

    fn strategy(&self) -> Option<&str> {
        self.deployment.spec.as_ref()?.strategy.as_ref()?.type_.as_deref()
    }

    fn rolling(&self) -> Option<RollingUpdateDeployment> {
        if self.recreates() {
            return None;
        }
        self.deployment.spec.as_ref()?.strategy.as_ref()?.rolling_update.clone()
    }

    /// How many pods there may be beyond the wanted ones.
    pub fn max_surge(&self) -> i32 {
        self.rolling().map_or(0, |rolling| scaled(rolling.max_surge.as_ref(), self.wanted(), true))
    }

    /// How many of the wanted pods may be missing.
    pub fn max_unavailable(&self) -> i32 {
        let Some(rolling) = self.rolling().filter(|_| self.wanted() > 0) else { return 0 };
        let unavailable = scaled(rolling.max_unavailable.as_ref(), self.wanted(), false);
        // With neither surge nor loss allowed nothing could ever move.
        let unavailable = if unavailable == 0 && self.max_surge() == 0 { 1 } else { unavailable };
        unavailable.min(self.wanted())
    }

    /// All sets, old ones first.
    pub fn all(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(self.new.iter())
    }

    /// Sum of all wanted replicas.
    pub fn total(&self) -> i32 {
        self.all().map(Set::replicas).sum()
    }

    /// Whether the Deployment's size differs from what an active set was last scaled for.
    pub fn size_changed(&self) -> bool {
        let wanted = i64::from(self.wanted());
        self.all()
            .filter(|set| set.replicas() > 0)
            .any(|set| set.number(DESIRED).is_some_and(|desired| desired != wanted))
    }

    /// Scales one set (by its place; none is the new one), noting what it was scaled for. True if its size changes.
    pub fn scale(&mut self, old: Option<usize>, replicas: i32) -> bool {
        let (wanted, max) = (self.wanted(), self.wanted().saturating_add(self.max_surge()));
        let set = match old {
            Some(place) => self.old.get_mut(place),
            None => self.new.as_mut(),
        };
        let Some(set) = set else { return false };
        let from = set.replicas();
        set.annotate(DESIRED, wanted.to_string());
        set.annotate(MAX, max.to_string());
        if from == replicas {
            return false;
        }
        set.now.spec.get_or_insert_default().replicas = Some(replicas);
        true
    }

    /// Takes in a set that is to be created.
    pub fn create(&mut self, set: ReplicaSet) {
        self.new = Some(Set { before: None, now: set, deleted: false });
    }

    /// Marks an old set for deletion.
    pub fn delete(&mut self, place: usize) {
        if let Some(set) = self.old.get_mut(place) {
            set.deleted = true;
        }
    }

    /// The differences, as writes: sets first, the Deployment's status last.
    pub fn into_plan(self, mut plan: Plan) -> Plan {
        let status = status_update(&self.deployment, self.status, self.revision);
        // A refused set must not keep the status from telling of it.
        let (mut first, mut last) = (None, status);
        if self.new.as_ref().is_some_and(|set| set.before.is_none()) && last.as_ref().is_some_and(|(_, tells)| *tells) {
            (first, last) = (last, None);
        }
        plan.writes.extend(first.map(|(write, _)| write));
        for set in self.new.into_iter().chain(self.old) {
            let note = set.scaling_note(&self.deployment);
            let Set { before, now, deleted } = set;
            let write = match &before {
                None => Some(Intent::create(&now)),
                Some(before) if deleted => {
                    Some(Intent::delete(&**before).at_version(before.meta_ref().resource_version))
                }
                Some(before) => replaced(before, &now),
            };
            let Some(mut write) = write else { continue };
            write.on_success = note;
            if before.is_none() {
                let message = format!(
                    "Failed to create new replica set \"{}\": {{}}",
                    now.metadata.name.as_deref().unwrap_or_default()
                );
                write.on_failure =
                    Some(Note::about(&*self.deployment, EventType::Warning, "ReplicaSetCreateError", message));
            }
            plan.writes.push(write);
        }
        plan.writes.extend(last.map(|(write, _)| write));
        plan
    }
}

/// The status write, and whether it tells of a failed create.
fn status_update(
    deployment: &Deployment,
    status: DeploymentStatus,
    revision: Option<String>,
) -> Option<(Intent, bool)> {
    let mut updated = deployment.clone();
    let tells = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.reason.as_deref() == Some("ReplicaSetCreateError"));
    updated.status = Some(status);
    if let Some(revision) = revision {
        updated.metadata.annotations.get_or_insert_default().insert(super::revisions::REVISION.to_owned(), revision);
    }
    (updated != *deployment).then(|| (Intent::update_status(&updated), tells))
}

/// Whether two templates are the same but for the version label.
fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let plain = |template: &PodTemplateSpec| {
        let mut plain = template.clone();
        if let Some(labels) = plain.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
            labels.remove(HASH_LABEL);
        }
        plain
    };
    plain(a) == plain(b)
}
