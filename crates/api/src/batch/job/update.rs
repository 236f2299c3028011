//! What may still change once a Job is made: its size, and while it waits, where its pods will run and what they get.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Affinity, PodSpec, PodTemplateSpec};
use machinery::field::{Error, ErrorList, Path};
use serde::Serialize;
use serde_json::Value;

use super::{INDEXED, status};
use crate::value::semantically_equal;
use crate::{checks, internal};

pub fn validate(new: &Job, old: &Job) -> ErrorList {
    let default = JobSpec::default();
    let (spec, old_spec) = (new.spec.as_ref().unwrap_or(&default), old.spec.as_ref().unwrap_or(&default));
    let path = Path::new("spec");
    let mut errors: ErrorList = completions(spec, old_spec, &path).into_iter().collect();
    errors.extend(checks::immutable(&spec.selector, &old_spec.selector, &path.child("selector")));
    errors.extend(template(spec, old_spec, old, &path.child("template")));
    errors.extend(checks::immutable(&spec.completion_mode, &old_spec.completion_mode, &path.child("completionMode")));
    let frozen = |field: &str, ty: &str, new: &dyn Fn() -> (Value, Value)| {
        let (new, old) = new();
        let shown = if new.is_null() { Value::Null } else { internal::shown(ty, &new) };
        (!semantically_equal(Some(&new), Some(&old)))
            .then(|| Error::invalid(&path.child(field), shown, "field is immutable"))
    };
    errors.extend(frozen("podFailurePolicy", "io.k8s.api.batch.v1.PodFailurePolicy", &|| {
        (value(&spec.pod_failure_policy), value(&old_spec.pod_failure_policy))
    }));
    let limit = path.child("backoffLimitPerIndex");
    errors.extend(checks::immutable(&spec.backoff_limit_per_index, &old_spec.backoff_limit_per_index, &limit));
    errors.extend(checks::immutable(&spec.managed_by, &old_spec.managed_by, &path.child("managedBy")));
    errors.extend(frozen("successPolicy", "io.k8s.api.batch.v1.SuccessPolicy", &|| {
        (value(&spec.success_policy), value(&old_spec.success_policy))
    }));
    errors
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// An indexed Job grows and shrinks, as long as all its indexes may run at once.
fn completions(new: &JobSpec, old: &JobSpec, path: &Path) -> Option<Error> {
    let at = path.child("completions");
    if new.completion_mode.as_deref() != Some(INDEXED) {
        return checks::immutable(&new.completions, &old.completions, &at);
    }
    // An indexed Job without completions has been reported.
    let completions = new.completions.filter(|_| new.completions != old.completions)?;
    (new.parallelism != Some(completions)).then(|| {
        let with = path.child("parallelism");
        Error::invalid(&at, completions, format!("can only be modified in tandem with {with}"))
    })
}

fn template(new: &JobSpec, old: &JobSpec, job: &Job, path: &Path) -> Option<Error> {
    let mut allowed = old.template.clone();
    if old.suspend == Some(true) && status::has_no_pods(job) {
        take_over(&mut allowed, &new.template);
    }
    let of_spec = |template: &PodTemplateSpec| value(&template.spec);
    let (new_value, old_value) = (value(&new.template), value(&allowed));
    if semantically_equal(Some(&new_value), Some(&old_value)) {
        return None;
    }
    let spec = of_spec(&new.template);
    if !semantically_equal(Some(&spec), Some(&of_spec(&allowed))) {
        let shown = internal::shown("io.k8s.api.core.v1.PodSpec", &spec);
        return Some(Error::invalid(&path.child("spec"), shown, "field is immutable"));
    }
    let shown = internal::shown("io.k8s.api.core.v1.PodTemplateSpec", &new_value);
    Some(Error::invalid(path, shown, "field is immutable"))
}

/// Queues decide where a waiting Job's pods will run (KEP-2926) and what they get (KEP-5440).
fn take_over(allowed: &mut PodTemplateSpec, new: &PodTemplateSpec) {
    let (default, metadata) = (PodSpec::default(), new.metadata.clone().unwrap_or_default());
    let spec = new.spec.as_ref().unwrap_or(&default);
    let own = allowed.metadata.get_or_insert_default();
    own.labels = metadata.labels;
    own.annotations = metadata.annotations;
    let own = allowed.spec.get_or_insert_default();
    own.node_selector = spec.node_selector.clone();
    own.tolerations = spec.tolerations.clone();
    own.scheduling_gates = spec.scheduling_gates.clone();
    let affinity = Affinity {
        node_affinity: spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone()),
        ..own.affinity.take().unwrap_or_default()
    };
    own.affinity = (affinity != Affinity::default() || spec.affinity.is_some()).then_some(affinity);
    let init = own.init_containers.iter_mut().flatten().zip(spec.init_containers.iter().flatten());
    for (container, new) in own.containers.iter_mut().zip(&spec.containers).chain(init) {
        container.resources = new.resources.clone();
    }
}
