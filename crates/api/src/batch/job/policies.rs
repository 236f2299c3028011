//! The rules of a Job on which failures of pods matter and on when it has succeeded.

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
    SuccessPolicyRule,
};
use machinery::field::{Error, ErrorList, Path};
use machinery::go_text;

use super::super::indexes;
use super::INDEXED;
use crate::{checks, internal};

const RULES_MAX: usize = 20;
const PATTERNS_MAX: usize = 20;
const VALUES_MAX: usize = 255;
const INDEXES_BYTES_MAX: usize = 64 * 1024;
const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];

pub fn failure(spec: &JobSpec, path: &Path) -> ErrorList {
    let Some(policy) = &spec.pod_failure_policy else { return ErrorList::new() };
    let rules = path.child("rules");
    let mut errors = too_many(policy.rules.len(), RULES_MAX, &rules);
    for (i, rule) in policy.rules.iter().enumerate() {
        errors.extend(failure_rule(spec, rule, &rules.index(i)));
    }
    errors
}

fn too_many(actual: usize, max: usize, path: &Path) -> ErrorList {
    (actual > max).then(|| Error::too_many(path, actual, max)).into_iter().collect()
}

fn failure_rule(spec: &JobSpec, rule: &PodFailurePolicyRule, path: &Path) -> ErrorList {
    let mut errors: ErrorList = listed(&rule.action, ACTIONS, &path.child("action")).into_iter().collect();
    if rule.action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
        let detail = "requires the backoffLimitPerIndex to be set";
        errors.push(Error::invalid(&path.child("action"), &rule.action, detail));
    }
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or(&[]);
    if let Some(codes) = &rule.on_exit_codes {
        errors.extend(exit_codes(spec, codes, &path.child("onExitCodes")));
    }
    errors.extend(conditions(patterns, &path.child("onPodConditions")));
    let detail = match (rule.on_exit_codes.is_some(), !patterns.is_empty()) {
        (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return errors,
    };
    errors.push(Error::invalid_unshown(path, detail));
    errors
}

/// One of a few, which are listed also when there is none.
fn listed(value: &str, supported: &[&str], path: &Path) -> Option<Error> {
    match value {
        "" => {
            Some(Error::required(path, format!("valid values: [{}]", go_text::quote_all(supported).replace(", ", " "))))
        }
        value if supported.contains(&value) => None,
        value => Some(Error::not_supported(path, value, supported)),
    }
}

fn exit_codes(spec: &JobSpec, codes: &PodFailurePolicyOnExitCodesRequirement, path: &Path) -> ErrorList {
    let mut errors: ErrorList = listed(&codes.operator, OPERATORS, &path.child("operator")).into_iter().collect();
    if let Some(name) = &codes.container_name {
        let pod = spec.template.spec.as_ref();
        let mut names = pod
            .into_iter()
            .flat_map(|pod| pod.containers.iter().chain(pod.init_containers.iter().flatten()))
            .map(|container| &container.name);
        if !names.any(|own| own == name) {
            let detail = "must be one of the container or initContainer names in the pod template";
            errors.push(Error::invalid(&path.child("containerName"), name, detail));
        }
    }
    let at = path.child("values");
    if codes.values.is_empty() {
        errors.push(Error::invalid(&at, &codes.values, "at least one value is required"));
    }
    errors.extend(too_many(codes.values.len(), VALUES_MAX, &at));
    for (i, code) in codes.values.iter().take(VALUES_MAX).enumerate() {
        if *code == 0 && codes.operator == "In" {
            errors.push(Error::invalid(&at.index(i), code, "must not be 0 for the In operator"));
        }
        if codes.values[..i].contains(code) {
            errors.push(Error::duplicate(&at.index(i), code));
        }
    }
    if !codes.values.is_sorted() {
        errors.push(Error::invalid(&at, &codes.values, "must be ordered"));
    }
    errors
}

fn conditions(patterns: &[PodFailurePolicyOnPodConditionsPattern], path: &Path) -> ErrorList {
    let mut errors = too_many(patterns.len(), PATTERNS_MAX, path);
    for (i, pattern) in patterns.iter().enumerate() {
        let at = path.index(i);
        errors.extend(checks::qualified_name(&pattern.type_, &at.child("type")));
        errors.extend(listed(pattern.status.as_deref().unwrap_or(""), STATUSES, &at.child("status")));
    }
    errors
}

pub fn success(spec: &JobSpec, path: &Path) -> ErrorList {
    let Some(policy) = &spec.success_policy else { return ErrorList::new() };
    if spec.completion_mode.as_deref() != Some(INDEXED) {
        let shown = internal::shown("io.k8s.api.batch.v1.SuccessPolicy", policy);
        return vec![Error::invalid(path, shown, "requires indexed completion mode")];
    }
    let rules = path.child("rules");
    let mut errors = too_many(policy.rules.len(), RULES_MAX, &rules);
    if policy.rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        errors.push(Error::required(&rules, detail));
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        errors.extend(success_rule(rule, spec.completions.unwrap_or(0), &rules.index(i)));
    }
    errors
}

fn success_rule(rule: &SuccessPolicyRule, completions: i32, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(Error::required(path, detail));
    }
    let mut named = None;
    if let Some(text) = &rule.succeeded_indexes {
        let at = path.child("succeededIndexes");
        if text.len() > INDEXES_BYTES_MAX {
            errors.push(Error::too_long(&at, text, INDEXES_BYTES_MAX));
        }
        let counted = indexes::count(text, completions);
        named = Some(*counted.as_ref().unwrap_or(&0));
        if let Err(fault) = counted {
            errors.push(Error::invalid(&at, text, format!("error parsing succeededIndexes: {fault}")));
        }
    }
    if let Some(count) = rule.succeeded_count {
        let at = path.child("succeededCount");
        errors.extend(checks::non_negative(count.into(), &at));
        let limits = [
            (Some(completions), "the number of specified completions"),
            (named, "the number of indexes in the specified succeededIndexes field"),
        ];
        for (max, what) in limits {
            if let Some(max) = max.filter(|max| count > *max) {
                errors.push(Error::invalid(&at, count, format!("must be less than or equal to {max} ({what})")));
            }
        }
    }
    errors
}
