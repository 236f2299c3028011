//! What may change in a pod once it exists: images, a deadline that comes nearer, more tolerations, fewer gates. The two
//! subresources that change more are in [`super::ephemeral`] and [`super::resize`].

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, NodeSelector, Pod, PodSchedulingGate, PodSpec, Toleration};
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::{containers, validate};
use crate::internal::{self, diff};
use crate::strategy;
use crate::value::semantically_equal;

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A changed spec moves the generation; the status stays.
pub fn prepare(new: &mut Value, old: &Value) {
    super::drop_disabled(new);
    strategy::update_spec(new, old);
}

pub fn update(new: &Pod, old: &Pod) -> ErrorList {
    let mut errors = validate::whole(new);
    let (none, path) = (PodSpec::default(), Path::new("spec"));
    let (new_spec, old_spec) = (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    errors.extend(mirror_annotation(new, old));
    let (regular, stop) = images(&new_spec.containers, &old_spec.containers, &path.child("containers"));
    errors.extend(regular);
    if stop {
        return errors;
    }
    let lists =
        (new_spec.init_containers.as_deref().unwrap_or(&[]), old_spec.init_containers.as_deref().unwrap_or(&[]));
    let (init, stop) = images(lists.0, lists.1, &path.child("initContainers"));
    errors.extend(init);
    if stop {
        return errors;
    }
    let deadline = deadline(new_spec.active_deadline_seconds, old_spec.active_deadline_seconds, &path);
    if !deadline.is_empty() {
        errors.extend(deadline);
        return errors;
    }
    let gates =
        (new_spec.scheduling_gates.as_deref().unwrap_or(&[]), old_spec.scheduling_gates.as_deref().unwrap_or(&[]));
    errors.extend(only_fewer_gates(gates.0, gates.1, &path.child("schedulingGates")));
    let tolerations = (new_spec.tolerations.as_deref().unwrap_or(&[]), old_spec.tolerations.as_deref().unwrap_or(&[]));
    errors.extend(only_more_tolerations(tolerations.0, tolerations.1, &path.child("tolerations")));

    let mut munged = munged(new_spec, old_spec);
    if !gates.1.is_empty() {
        errors.extend(gated_placement(&mut munged, old_spec, &path));
    }
    errors.extend(unchanged(&munged, old_spec, &path));
    errors
}

/// Puts back all that may change, so that what still differs may not.
fn munged(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut munged = new.clone();
    put_images_back(&mut munged.containers, &old.containers);
    if let (Some(new), Some(old)) = (&mut munged.init_containers, &old.init_containers) {
        put_images_back(new, old);
    }
    munged.active_deadline_seconds = old.active_deadline_seconds;
    munged.tolerations.clone_from(&old.tolerations);
    munged.scheduling_gates.clone_from(&old.scheduling_gates);
    if old.termination_grace_period_seconds.is_some_and(|s| s < 0) && new.termination_grace_period_seconds == Some(1) {
        munged.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    munged
}

fn put_images_back(new: &mut [Container], old: &[Container]) {
    for (new, old) in new.iter_mut().zip(old) {
        new.image.clone_from(&old.image);
    }
}

fn unchanged(munged: &PodSpec, old: &PodSpec, path: &Path) -> Option<Error> {
    let values = (serde_json::to_value(munged).ok()?, serde_json::to_value(old).ok()?);
    if semantically_equal(Some(&values.0), Some(&values.1)) {
        return None;
    }
    const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";
    let texts = (internal::shown(POD_SPEC, old), internal::shown(POD_SPEC, munged));
    let difference = diff::unified(&internal::pretty(&texts.0), &internal::pretty(&texts.1));
    Some(Error::forbidden(path, format!("pod updates may not change fields other than {UPDATABLE}\n{difference}")))
}

/// Whether the update removes or adds the mark of a mirror pod.
fn mirror_annotation(new: &Pod, old: &Pod) -> Option<Error> {
    let mark = |pod: &Pod| pod.metadata.annotations.as_ref().and_then(|a| a.get(validate::MIRROR_ANNOTATION)).cloned();
    if mark(new) == mark(old) {
        return None;
    }
    let (metadata, at);
    metadata = Path::new("metadata");
    at = metadata.child("annotations");
    let verb = if mark(new).is_some() { "may not be added" } else { "may not be removed" };
    Some(Error::forbidden(&at.key(validate::MIRROR_ANNOTATION), verb))
}

/// Containers stay; their images may change to something. True when the lists cannot be compared.
fn images(new: &[Container], old: &[Container], path: &Path) -> (ErrorList, bool) {
    if new.len() != old.len() {
        return (vec![Error::forbidden(path, "pod updates may not add or remove containers")], true);
    }
    let mut errors = ErrorList::new();
    for (i, container) in new.iter().enumerate() {
        let image = container.image.as_deref().unwrap_or("");
        errors.extend(containers::image(image, &path.index(i).child("image")));
    }
    (errors, false)
}

fn deadline(new: Option<i64>, old: Option<i64>, path: &Path) -> ErrorList {
    let at = path.child("activeDeadlineSeconds");
    match (new, old) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            vec![Error::invalid(&at, new, "must be between 0 and 2147483647, inclusive")]
        }
        (Some(new), Some(old)) if old < new => {
            vec![Error::invalid(&at, new, "must be less than or equal to previous value")]
        }
        (None, Some(_)) => vec![Error::invalid(&at, new, "must not update from a positive integer to nil value")],
        _ => ErrorList::new(),
    }
}

fn only_fewer_gates(new: &[PodSchedulingGate], old: &[PodSchedulingGate], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, gate) in new.iter().enumerate().filter(|(_, gate)| !old.contains(gate)) {
        let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
        errors.push(Error::forbidden(&path.index(i), detail));
    }
    errors
}

fn only_more_tolerations(new: &[Toleration], old: &[Toleration], path: &Path) -> Option<Error> {
    // Only how long something is tolerated may change.
    let bare = |t: &Toleration| Toleration { toleration_seconds: None, ..t.clone() };
    let kept = old.iter().all(|old| new.iter().any(|new| bare(new) == bare(old)));
    (!kept).then(|| Error::forbidden(path, "existing toleration can not be modified except its tolerationSeconds"))
}

/// A gated pod's placement may become narrower.
fn gated_placement(munged: &mut PodSpec, old: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if munged.node_selector != old.node_selector {
        let at = path.child("nodeSelector");
        let none = BTreeMap::new();
        let new = munged.node_selector.as_ref().unwrap_or(&none);
        let narrower = old.node_selector.iter().flatten().all(|(key, value)| new.get(key) == Some(value));
        if !narrower {
            errors.push(Error::invalid(&at, new, "only additions are allowed (no mutations or deletions)"));
        }
        munged.node_selector.clone_from(&old.node_selector);
    }
    let node = |spec: &PodSpec| spec.affinity.as_ref().and_then(|a| a.node_affinity.clone());
    let (new_node, old_node) = (node(munged), node(old));
    if new_node != old_node {
        if let Some(old_required) =
            old_node.as_ref().and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref())
        {
            let new_required =
                new_node.as_ref().and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref());
            let parent = path.child("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution");
            errors.extend(narrower_terms(new_required, old_required, &parent.child("nodeSelectorTerms")));
        }
        match (&mut munged.affinity, &old.affinity) {
            (Some(affinity), Some(old)) => affinity.node_affinity.clone_from(&old.node_affinity),
            (Some(affinity), None) => {
                affinity.node_affinity = None;
                if *affinity == Default::default() {
                    munged.affinity = None;
                }
            }
            (None, _) => munged.affinity.clone_from(&old.affinity),
        }
    }
    errors
}

fn narrower_terms(new: Option<&NodeSelector>, old: &NodeSelector, path: &Path) -> ErrorList {
    let terms = new.map_or(&[][..], |new| &new.node_selector_terms);
    if terms.len() != old.node_selector_terms.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return vec![Error::invalid(path, terms, detail)];
    }
    let mut errors = ErrorList::new();
    for (i, (new, old)) in terms.iter().zip(&old.node_selector_terms).enumerate() {
        let starts = |new: &Option<Vec<_>>, old: &Option<Vec<_>>| {
            new.as_deref().unwrap_or(&[]).starts_with(old.as_deref().unwrap_or(&[]))
        };
        let is_empty = |list: &Option<Vec<_>>| list.as_ref().is_none_or(Vec::is_empty);
        let was_empty = is_empty(&old.match_expressions) && is_empty(&old.match_fields);
        if was_empty && new != old
            || !starts(&new.match_expressions, &old.match_expressions)
            || !starts(&new.match_fields, &old.match_fields)
        {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.push(Error::invalid(&path.index(i), new, detail));
        }
    }
    errors
}
