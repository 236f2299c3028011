//! The labels of a namespace: they must be readable, and who makes them stricter is told which pods fall foul of them.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use machinery::status::Status;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

use super::PodSecurity;
use super::checks::{evaluate, reasons};
use super::policy::{Level, LevelVersion, Policy};
use super::subject::Subject;
use crate::admission::{Operation, Review};
use crate::registry::{group_kind, object};

/// How many pods are looked at, and for how long; the warning says so where that was not enough.
const PODS_MAX: usize = 3000;
const TIME_MAX: Duration = Duration::from_secs(1);

type Labels = BTreeMap<String, String>;

impl PodSecurity {
    pub(super) fn check_namespace(&self, review: &Review, new: &Value) -> Result<(), Status> {
        if !review.subresource.is_empty() {
            return Ok(());
        }
        let name = object::name(new);
        let labels = labels(new);
        let (policy, errors) = Policy::of(&labels, self.0.defaults);
        let old = review.old.filter(|_| review.operation == Operation::Update);
        let old = old.map(|old| Policy::of(&self::labels(old), self.0.defaults));
        // What was wrong before may stay so while something else changes.
        if !errors.is_empty() && old.as_ref().is_none_or(|(_, before)| *before != errors) {
            return Err(Status::invalid(&group_kind(review.kind), name, errors));
        }
        let is_exempt = self.0.exempt.has_namespace(name);
        let stricter = match &old {
            None => is_exempt,
            Some((old, _)) => is_stricter(policy.enforce, old.enforce),
        };
        if !stricter {
            return Ok(());
        }
        if is_exempt {
            if !policy.is_fully_privileged() && !policy.is_equivalent(&self.0.defaults) {
                let (name, asked) = (machinery::go_text::quote(name), policy.asked(&labels));
                let text = "is exempt from Pod Security, and the policy";
                review.ctx.warn(format!("namespace {name} {text} ({asked}) will be ignored"));
            }
            return Ok(());
        }
        for warning in self.existing(review, name, policy.enforce) {
            review.ctx.warn(warning);
        }
        Ok(())
    }

    /// What to say of the pods that are there already.
    fn existing(&self, review: &Review, namespace: &str, enforce: LevelVersion) -> Vec<String> {
        let Some((kind, _)) = api::find("", "v1", "pods") else { return Vec::new() };
        let pods = self.by_importance(review.server.registry.reflected::<Pod>(kind).list_in(namespace));
        let deadline = Instant::now() + TIME_MAX;
        let mut violators: BTreeMap<String, Violators> = BTreeMap::new();
        let mut checked = 0;
        for pod in pods.iter().take(PODS_MAX) {
            checked += 1;
            if let Some(spec) = &pod.spec {
                let violations = evaluate(enforce, &Subject { annotations: pod.metadata.annotations.as_ref(), spec });
                if !violations.is_empty() {
                    let name = pod.metadata.name.as_deref().unwrap_or_default();
                    violators.entry(reasons(&violations)).or_default().add(name);
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        let mut warnings = Vec::new();
        if checked < pods.len() {
            warnings.push(format!(
                "new PodSecurity enforce level only checked against the first {checked} of {} existing pods",
                pods.len()
            ));
        }
        if !violators.is_empty() {
            let namespace = machinery::go_text::quote(namespace);
            warnings.push(format!(
                "existing pods in namespace {namespace} violate the new PodSecurity enforce level \"{enforce}\""
            ));
        }
        let mut lines: Vec<String> = violators.iter().map(|(reasons, pods)| format!("{pods}: {reasons}")).collect();
        lines.sort_unstable();
        warnings.extend(lines);
        warnings
    }

    /// One pod of each controller before its siblings, which say the same again.
    fn by_importance(&self, pods: Vec<Arc<Pod>>) -> Vec<Arc<Pod>> {
        let mut controllers = HashSet::new();
        let (first, siblings): (Vec<_>, Vec<_>) = pods
            .into_iter()
            .filter(|pod| {
                let class = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_ref());
                !self.0.exempt.has_runtime_class(class)
            })
            .partition(|pod| {
                let owners = pod.metadata.owner_references.iter().flatten();
                let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
                controller.is_none_or(|controller| controllers.insert(controller.uid.clone()))
            });
        first.into_iter().chain(siblings).collect()
    }
}

/// A level that forbids more than before, or other checks of a level that forbids something.
fn is_stricter(new: LevelVersion, old: LevelVersion) -> bool {
    new.level != Level::Privileged && (new.version != old.version || new.level > old.level)
}

fn labels(namespace: &Value) -> Labels {
    let labels = namespace.pointer("/metadata/labels").map(Labels::deserialize);
    labels.and_then(Result::ok).unwrap_or_default()
}

/// Pods with the same faults: the first name and how many there are.
#[derive(Default)]
struct Violators {
    first: String,
    count: usize,
}

impl Violators {
    fn add(&mut self, name: &str) {
        if self.count == 0 || name < self.first.as_str() {
            self.first = name.to_owned();
        }
        self.count += 1;
    }
}

impl std::fmt::Display for Violators {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.first)?;
        match self.count {
            0 | 1 => Ok(()),
            2 => f.write_str(" (and 1 other pod)"),
            count => write!(f, " (and {} other pods)", count - 1),
        }
    }
}
