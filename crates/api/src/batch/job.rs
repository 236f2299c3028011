//! Job: pods that run until enough of them have succeeded.
//!
//! `spec` checks what is asked for, `policies` the rules on failures and success in it, `status` what controllers report,
//! `update` what may still change.

mod policies;
mod spec;
mod status;
mod update;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use machinery::field::{Error, ErrorList, Path};
use machinery::names as text_names;
use serde_json::{Map, Value, json};

pub(super) use spec::validate as validate_spec;

use crate::core::pod;
use crate::kind::{Column, FieldSelectorStyle, Hooks, Kind, SelectableField, Version};
use crate::value::{boolean, integer, text};
use crate::{cells, checks, erase, names, strategy, workload};

/// Labels by which a Job finds its pods; those without a domain came first.
const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
const OLD_UID_LABEL: &str = "controller-uid";
const OLD_NAME_LABEL: &str = "job-name";
const INDEXED: &str = "Indexed";
/// From here on so many indexes can fail that their list grows too long.
const COMPLETIONS_SOFT_MAX: i32 = 100_000;
const PARALLELISM_SOFT_MAX: i32 = 10_000;

pub(super) const SELECTOR_COLUMN: Column = Column::new(
    "Selector",
    "string",
    1,
    "A label query over pods that should match the pod count. Normally, the system sets this field for you. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
);

pub static KIND: Kind = Kind {
    group: "batch",
    kind: "Job",
    list_kind: "JobList",
    plural: "jobs",
    singular: "job",
    categories: &["all"],
    versions: &[Version::stored("v1", "io.k8s.api.batch.v1.Job")],
    status: true,
    generation: true,
    orphan_by_default: true,
    delete_warning: Some(
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
    ),
    selectable_fields: &[SelectableField {
        label: "status.successful",
        value: |v| integer(v, "/status/succeeded").to_string(),
    }],
    field_selector_style: FieldSelectorStyle::NotSupportedFor,
    columns: &[
        Column::NAME,
        Column::new("Status", "string", 0, "Status of the job."),
        Column::new(
            "Completions",
            "string",
            0,
            "The number of pods which reached phase Succeeded. The value increases monotonically for a given spec. However, it may decrease in reaction to scale down of elastic indexed jobs.",
        ),
        Column::new("Duration", "string", 0, "Time required to complete the job."),
        Column::AGE,
        Column::new("Containers", "string", 1, "Names of each container in the template."),
        Column::new("Images", "string", 1, "Images referenced by each container in the template."),
        SELECTOR_COLUMN,
    ],
    cells: |v, now| {
        vec![
            cells::name(v),
            status::word(v).into(),
            completions(v).into(),
            status::duration(v, now).into(),
            cells::age(v, now),
            cells::container_names(v),
            cells::container_images(v),
            cells::label_selector(v.pointer("/spec/selector")),
        ]
    },
    hooks: Hooks {
        validate: |v| {
            let mut errors = match v.pointer("/spec/template/metadata/labels") {
                // The generated labels come to the Job from its template, and are checked there.
                Some(labels) if labels.get(UID_LABEL).is_some() && v["metadata"]["labels"] == *labels => {
                    let mut unlabelled = json!({"metadata": v["metadata"]});
                    unlabelled["metadata"]["labels"] = Value::Null;
                    erase::metadata(&unlabelled, true, names::subdomain)
                }
                _ => erase::metadata(v, true, names::subdomain),
            };
            errors.extend(erase::check::<Job>(v, |job| validate(job, true)));
            errors
        },
        ..hooks!(
            Job,
            true,
            names::subdomain,
            full {
                default: default,
                prepare_create: |new: &mut Value| {
                    strategy::create_with_status(new);
                    generate_selector(new);
                },
                prepare_update: strategy::update_spec,
                prepare_status_update: strategy::update_status,
                validate_update: |new: &Job, old: &Job| {
                    // Jobs made before the labels with a domain were required go without.
                    let labels =
                        old.spec.as_ref().and_then(|s| s.template.metadata.as_ref()).and_then(|m| m.labels.as_ref());
                    let required = labels.is_some_and(|labels| labels.contains_key(UID_LABEL));
                    let mut errors = validate(new, required);
                    // Upstream looks at the whole spec once more, and says twice what is wrong.
                    errors.extend(validate_whole_spec(new));
                    errors.extend(update::validate(new, old));
                    errors
                },
                validate_status_update: status::validate_update,
                warnings: warnings,
            }
        )
    },
    ..Kind::BASE
};

fn completions(job: &Value) -> String {
    let succeeded = integer(job, "/status/succeeded");
    match (job.pointer("/spec/completions").and_then(Value::as_i64), integer(job, "/spec/parallelism")) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, 2..) => format!("{succeeded}/1 of {}", integer(job, "/spec/parallelism")),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn default(job: &mut Job) {
    let spec = job.spec.get_or_insert_default();
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    spec.backoff_limit.get_or_insert(if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 });
    spec.completion_mode.get_or_insert_with(|| "NonIndexed".to_string());
    spec.suspend.get_or_insert(false);
    spec.manual_selector.get_or_insert(false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    spec.pod_replacement_policy.get_or_insert_with(|| replacement.to_string());
    pod::default::template(&mut spec.template);
    default_conditions(spec);
    let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    if !labels.is_empty() && job.metadata.labels.as_ref().is_none_or(|own| own.is_empty()) {
        job.metadata.labels = Some(labels);
    }
}

/// A rule about a condition that names no status means that it is true.
pub(super) fn default_conditions(spec: &mut JobSpec) {
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules);
    for pattern in rules.flat_map(|rule| rule.on_pod_conditions.iter_mut().flatten()) {
        if pattern.status.as_deref().unwrap_or("").is_empty() {
            pattern.status = Some("True".to_string());
        }
    }
}

/// Labels that no other Job's pods have, and a selector for them, unless the client sees to that itself.
fn generate_selector(job: &mut Value) {
    if boolean(job, "/spec/manualSelector") {
        return;
    }
    let (uid, name) = (text(job, "/metadata/uid").to_string(), text(job, "/metadata/name").to_string());
    let own = [(UID_LABEL, &uid), (NAME_LABEL, &name), (OLD_UID_LABEL, &uid), (OLD_NAME_LABEL, &name)];
    let Some(spec) = job.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let Some(labels) = within(spec, &["template", "metadata", "labels"]) else { return };
    for (label, value) in own {
        labels.entry(label).or_insert_with(|| value.as_str().into());
    }
    let labels = Value::Object(labels.clone());
    if let Some(selected) = within(spec, &["selector", "matchLabels"]) {
        selected.entry(UID_LABEL).or_insert_with(|| uid.into());
    }
    if let Some(metadata) = job.get_mut("metadata").and_then(Value::as_object_mut)
        && within(metadata, &["labels"]).is_some_and(|own| own.is_empty())
    {
        metadata.insert("labels".to_string(), labels);
    }
}

/// The object at a path, made where it lacks.
fn within<'a>(object: &'a mut Map<String, Value>, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let Some((name, rest)) = path.split_first() else { return Some(object) };
    let field = object.entry(*name).or_insert(Value::Null);
    if field.is_null() {
        *field = json!({});
    }
    within(field.as_object_mut()?, rest)
}

/// `labelled`: whether the labels with a domain must be there.
fn validate(job: &Job, labelled: bool) -> ErrorList {
    let default = JobSpec::default();
    let spec = job.spec.as_ref().unwrap_or(&default);
    let mut errors = generated_selector(job, spec, labelled);
    errors.extend(validate_whole_spec(job));
    if spec.completion_mode.as_deref() == Some(INDEXED)
        && let Some(completions) = spec.completions.filter(|completions| *completions > 0)
    {
        let name = job.metadata.name.as_deref().unwrap_or("");
        let hostname = format!("{name}-{}", completions - 1);
        if !text_names::is_dns1123_label(&hostname).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {hostname}");
            errors.push(Error::invalid(&Path::new("metadata").child("name"), name, detail));
        }
    }
    errors
}

/// The spec with its selector.
fn validate_whole_spec(job: &Job) -> ErrorList {
    let default = JobSpec::default();
    let (spec, path) = (job.spec.as_ref().unwrap_or(&default), Path::new("spec"));
    let mut errors = spec::validate(spec, &path);
    match &spec.selector {
        Some(selector) => errors.extend(checks::label_selector(selector, &path.child("selector"))),
        None => errors.push(Error::required(&path.child("selector"), "")),
    }
    // A selector that cannot be read has been reported; none at all finds nothing.
    if let (_, Some(selector)) = workload::selector(spec.selector.as_ref(), "", &path) {
        errors.extend(workload::unmatched_labels(&spec.template, &selector, &path.child("template")));
    }
    errors
}

/// The labels and the selector are those that were generated for this very Job.
fn generated_selector(job: &Job, spec: &JobSpec, labelled: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(selector) = spec.selector.as_ref().filter(|_| spec.manual_selector != Some(true)) else { return errors };
    let uid = job.metadata.uid.as_deref().unwrap_or("");
    let name = job.metadata.name.as_deref().unwrap_or("");
    if uid.is_empty() {
        errors.push(Error::required(&Path::new("metadata").child("uid"), ""));
    }
    let (spec_path, labels) = (Path::new("spec"), spec.template.metadata.as_ref().and_then(|m| m.labels.as_ref()));
    let (template, required) = (spec_path.child("template"), [(OLD_UID_LABEL, uid), (OLD_NAME_LABEL, name)]);
    let (metadata, with_domain) = (template.child("metadata"), [(UID_LABEL, uid), (NAME_LABEL, name)]);
    let at = metadata.child("labels");
    for (label, expected) in required.into_iter().chain(with_domain.into_iter().filter(|_| labelled)) {
        let detail = format!("must be '{expected}'");
        match labels.and_then(|labels| labels.get(label)) {
            None => errors.push(Error::required(&at.key(label), detail)),
            Some(value) if value != expected => errors.push(Error::invalid(&at.key(label), labels, detail)),
            Some(_) => {}
        }
    }
    let generated = |key: &str| required.iter().chain(&with_domain).find(|(label, _)| *label == key);
    let (_, parsed) = workload::selector(Some(selector), "", &spec_path);
    if parsed.is_some_and(|parsed| !parsed.matches(|key: &str| generated(key).map(|(_, value)| (*value).to_string()))) {
        errors.push(Error::invalid(&spec_path.child("selector"), selector, "`selector` not auto-generated"));
    }
    errors
}

fn warnings(new: &Job, old: Option<&Job>) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none() {
        warnings.extend(name_warning(new.metadata.name.as_deref().unwrap_or("")));
    }
    let spec = |job: &Job| job.spec.clone().unwrap_or_default();
    warnings.extend(spec_warnings(&spec(new), old.map(spec).as_ref(), &Path::new("spec")));
    warnings
}

pub(super) fn name_warning(name: &str) -> Option<String> {
    let faults = text_names::is_dns1123_label(name).join(" ");
    (!faults.is_empty()).then(|| {
        format!("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{faults}]")
    })
}

pub(super) fn spec_warnings(new: &JobSpec, old: Option<&JobSpec>, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    if new.completion_mode.as_deref() == Some(INDEXED)
        && new.completions.unwrap_or(0) > COMPLETIONS_SOFT_MAX
        && new.parallelism.unwrap_or(0) > PARALLELISM_SOFT_MAX
    {
        warnings.push("In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail".to_string());
    }
    warnings.extend(pod::warnings::template(&new.template, old.map(|old| &old.template), &path.child("template")));
    warnings
}

#[cfg(test)]
mod tests;
