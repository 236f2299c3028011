//! What may be asked of a Job, also by the template of a CronJob.

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::PodSpec;
use machinery::field::{Error, ErrorList, Path};
use machinery::names::domain_prefixed_path;

use super::{COMPLETIONS_SOFT_MAX, INDEXED, PARALLELISM_SOFT_MAX, policies};
use crate::checks;
use crate::core::pod;

const MANAGED_BY_MAX: usize = 63;
const INDEXED_PARALLELISM_MAX: i32 = 100_000;
const FAILED_INDEXES_MAX: i32 = 100_000;
const FAILED_INDEXES_SOFT_MAX: i32 = 10_000;

pub fn validate(spec: &JobSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let counts = [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ];
    for (name, count) in counts {
        errors.extend(count.and_then(|count| checks::non_negative(count, &path.child(name))));
    }
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.push(Error::required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
    if let Some(manager) = &spec.managed_by {
        let at = path.child("managedBy");
        errors.extend(domain_prefixed_path(&at, manager));
        if manager.len() > MANAGED_BY_MAX {
            errors.push(Error::too_long(&at, manager, MANAGED_BY_MAX));
        }
    }
    match spec.completion_mode.as_deref() {
        Some(INDEXED) => errors.extend(indexed(spec, path)),
        None | Some("NonIndexed") => {
            let needing =
                [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)];
            for (name, limit) in needing {
                errors.extend(
                    limit.map(|limit| Error::invalid(&path.child(name), limit, "requires indexed completion mode")),
                );
            }
        }
        Some(mode) => {
            errors.push(Error::not_supported(&path.child("completionMode"), mode, &["NonIndexed", INDEXED]));
        }
    }
    errors.extend(policies::failure(spec, &path.child("podFailurePolicy")));
    errors.extend(policies::success(spec, &path.child("successPolicy")));
    errors.extend(replacement(spec, &path.child("podReplacementPolicy")));
    let template = path.child("template");
    errors.extend(pod::validate::template(&spec.template, &template));
    errors.extend(restart_policy(spec, &template.child("spec").child("restartPolicy")));
    errors
}

fn indexed(spec: &JobSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let (parallelism, failed) = (path.child("parallelism"), path.child("maxFailedIndexes"));
    let mut at_most = |path: &Path, value: Option<i32>, max: i32, behind: &str| {
        if let Some(value) = value.filter(|value| *value > max) {
            errors.push(Error::invalid(path, value, format!("must be less than or equal to {behind}")));
        }
    };
    at_most(
        &parallelism,
        spec.parallelism,
        INDEXED_PARALLELISM_MAX,
        &format!("{INDEXED_PARALLELISM_MAX} when completion mode is {INDEXED}"),
    );
    if let Some(completions) = spec.completions {
        at_most(&failed, spec.max_failed_indexes, completions, "completions");
    }
    at_most(&failed, spec.max_failed_indexes, FAILED_INDEXES_MAX, &FAILED_INDEXES_MAX.to_string());
    let many = spec.completions.is_some_and(|completions| completions > COMPLETIONS_SOFT_MAX);
    if many && spec.backoff_limit_per_index.is_some() {
        let when = |max: i32| {
            format!("{max} when completions are above {COMPLETIONS_SOFT_MAX} and used with backoff limit per index")
        };
        at_most(&parallelism, spec.parallelism, PARALLELISM_SOFT_MAX, &when(PARALLELISM_SOFT_MAX));
        at_most(&failed, spec.max_failed_indexes, FAILED_INDEXES_SOFT_MAX, &when(FAILED_INDEXES_SOFT_MAX));
        if spec.max_failed_indexes.is_none() {
            let detail = format!("must be specified when completions is above {COMPLETIONS_SOFT_MAX}");
            errors.push(Error::required(&failed, detail));
        }
    }
    if spec.completions.is_none() {
        errors.push(Error::required(&path.child("completions"), format!("when completion mode is {INDEXED}")));
    }
    errors
}

fn replacement(spec: &JobSpec, path: &Path) -> Option<Error> {
    // A failure is known for sure only once the pod has ended.
    let supported: &[&str] =
        if spec.pod_failure_policy.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    let policy = spec.pod_replacement_policy.as_deref().filter(|policy| !supported.contains(policy))?;
    Some(Error::not_supported(path, policy, supported))
}

fn restart_policy(spec: &JobSpec, path: &Path) -> Option<Error> {
    let default = PodSpec::default();
    let pod = spec.template.spec.as_ref().unwrap_or(&default);
    match pod.restart_policy.as_deref().unwrap_or("") {
        // Always is what a pod that says nothing gets.
        "" | "Always" => Some(Error::required(path, "valid values: \"OnFailure\", \"Never\"")),
        "Never" => None,
        "OnFailure" if spec.pod_failure_policy.is_none() => None,
        "OnFailure" => {
            Some(Error::invalid(path, "OnFailure", "only \"Never\" is supported when podFailurePolicy is specified"))
        }
        other => Some(Error::not_supported(path, other, &["OnFailure", "Never"])),
    }
}
