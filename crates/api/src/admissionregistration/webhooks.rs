//! What mutating and validating webhooks have in common: their defaults, and what is wrong with them.
//!
//! Rules that came after v1beta1 do not bind an object that already broke them when it is updated, nor one that comes in
//! that version: [`Strictness`] says which of them hold.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, MutatingWebhook, ValidatingWebhook};
use k8s_openapi::api::admissionregistration::v1::{RuleWithOperations, WebhookClientConfig};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use serde_json::{Value, json};

use super::expressions::Compiler;
use super::match_resources::MATCH_POLICIES;
use super::{FAILURE_POLICIES, REINVOCATION_POLICIES, client_config, conditions, rules};
use crate::checks;

/// Kinds of AdmissionReview that are spoken here.
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];
const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const TIMEOUT_SECONDS_MAX: i32 = 30;

/// A webhook of either kind.
pub struct Hook<'a> {
    name: &'a str,
    client: &'a WebhookClientConfig,
    rules: &'a [RuleWithOperations],
    failure_policy: Option<&'a str>,
    match_policy: Option<&'a str>,
    side_effects: &'a str,
    timeout_seconds: Option<i32>,
    namespace_selector: Option<&'a LabelSelector>,
    object_selector: Option<&'a LabelSelector>,
    reinvocation_policy: Option<&'a str>,
    review_versions: &'a [String],
    conditions: &'a [MatchCondition],
}

macro_rules! hook_of {
    ($type:ty, $hook:ident, $reinvocation:expr) => {
        impl<'a> From<&'a $type> for Hook<'a> {
            fn from($hook: &'a $type) -> Self {
                Hook {
                    name: &$hook.name,
                    client: &$hook.client_config,
                    rules: $hook.rules.as_deref().unwrap_or(&[]),
                    failure_policy: $hook.failure_policy.as_deref(),
                    match_policy: $hook.match_policy.as_deref(),
                    side_effects: &$hook.side_effects,
                    timeout_seconds: $hook.timeout_seconds,
                    namespace_selector: $hook.namespace_selector.as_ref(),
                    object_selector: $hook.object_selector.as_ref(),
                    reinvocation_policy: $reinvocation,
                    review_versions: &$hook.admission_review_versions,
                    conditions: $hook.match_conditions.as_deref().unwrap_or(&[]),
                }
            }
        }
    };
}

hook_of!(MutatingWebhook, hook, hook.reinvocation_policy.as_deref());
hook_of!(ValidatingWebhook, hook, None);

/// The defaults of one webhook, the same for both kinds.
macro_rules! default_hook {
    ($hook:expr) => {{
        let hook = $hook;
        hook.failure_policy.get_or_insert_with(|| "Fail".to_string());
        hook.match_policy.get_or_insert_with(|| "Equivalent".to_string());
        hook.namespace_selector.get_or_insert_default();
        hook.object_selector.get_or_insert_default();
        hook.timeout_seconds.get_or_insert(10);
        for rule in hook.rules.iter_mut().flatten() {
            rule.scope.get_or_insert_with(|| "*".to_string());
        }
        if let Some(service) = hook.client_config.service.as_mut() {
            service.port.get_or_insert(443);
        }
    }};
}
pub(super) use default_hook;

/// What v1beta1 leaves out means something else than in v1.
pub fn default_v1beta1(object: &mut Value) {
    for hook in object.get_mut("webhooks").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(hook) = hook.as_object_mut() else { continue };
        let defaults = [
            ("failurePolicy", json!("Ignore")),
            ("matchPolicy", json!("Exact")),
            ("sideEffects", json!("Unknown")),
            ("timeoutSeconds", json!(30)),
            ("admissionReviewVersions", json!(["v1beta1"])),
        ];
        for (field, value) in defaults {
            let given = hook.get(field);
            if given.is_none_or(|given| given.is_null() || given.as_array().is_some_and(Vec::is_empty)) {
                hook.insert(field.to_string(), value);
            }
        }
    }
}

/// Which of the later rules hold.
#[derive(Clone, Copy)]
pub struct Strictness {
    no_side_effects: bool,
    known_review_version: bool,
    unique_names: bool,
}

impl Strictness {
    pub const V1: Strictness = Strictness { no_side_effects: true, known_review_version: true, unique_names: true };
    pub const V1BETA1: Strictness =
        Strictness { no_side_effects: false, known_review_version: false, unique_names: false };

    /// An update keeps to the rules that the object kept to.
    fn of(old: &[Hook], otherwise: Strictness) -> Strictness {
        let mut names = BTreeSet::new();
        let is_known = |hook: &Hook| hook.review_versions.is_empty() || knows_a_version(hook);
        Strictness {
            no_side_effects: otherwise.no_side_effects
                && old.iter().all(|hook| NO_SIDE_EFFECTS.contains(&hook.side_effects)),
            known_review_version: otherwise.known_review_version && old.iter().all(is_known),
            unique_names: otherwise.unique_names && old.iter().all(|hook| names.insert(hook.name)),
        }
    }
}

/// A create when there is no old list, else an update.
pub fn validate(hooks: &[Hook], old: Option<&[Hook]>, version: Strictness) -> ErrorList {
    let strictness = old.map_or(version, |old| Strictness::of(old, version));
    let same_conditions = old.is_some_and(|old| {
        old.len() == hooks.len() && old.iter().zip(hooks).all(|(old, new)| old.conditions == new.conditions)
    });
    let compiler = Compiler::new(false);
    let list = Path::new("webhooks");
    let mut names = BTreeSet::new();
    let mut errors = ErrorList::new();
    for (i, hook) in hooks.iter().enumerate() {
        let path = list.index(i);
        errors.extend(validate_hook(hook, strictness, &path));
        if !same_conditions {
            errors.extend(conditions::validate(hook.conditions, &compiler, &path.child("matchConditions")));
        }
        errors.extend(review_versions(hook, strictness, &path.child("admissionReviewVersions")));
        if strictness.unique_names && !hook.name.is_empty() && !names.insert(hook.name) {
            errors.push(Error::duplicate(&path.child("name"), hook.name));
        }
    }
    errors
}

fn validate_hook(hook: &Hook, strictness: Strictness, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    errors.extend(qualified(hook.name, &path.child("name")));
    let list = path.child("rules");
    for (i, rule) in hook.rules.iter().enumerate() {
        errors.extend(rules::validate(&rule.into(), &list.index(i)));
    }
    let unsupported = |value: Option<&str>, supported: &[&str], field| {
        let value = value.filter(|value| !supported.contains(value))?;
        Some(Error::not_supported(&path.child(field), value, supported))
    };
    errors.extend(unsupported(hook.failure_policy, FAILURE_POLICIES, "failurePolicy"));
    errors.extend(unsupported(hook.match_policy, MATCH_POLICIES, "matchPolicy"));
    let allowed = if strictness.no_side_effects { NO_SIDE_EFFECTS } else { SIDE_EFFECTS };
    if hook.side_effects.is_empty() {
        let detail = format!("must specify one of {}", allowed.join(", "));
        errors.push(Error::required(&path.child("sideEffects"), detail));
    } else {
        errors.extend(unsupported(Some(hook.side_effects), allowed, "sideEffects"));
    }
    if let Some(seconds) = hook.timeout_seconds.filter(|seconds| !(1..=TIMEOUT_SECONDS_MAX).contains(seconds)) {
        let at = path.child("timeoutSeconds");
        errors.push(Error::invalid(&at, seconds, "the timeout value must be between 1 and 30 seconds"));
    }
    for (selector, field) in [(hook.namespace_selector, "namespaceSelector"), (hook.object_selector, "objectSelector")]
    {
        errors.extend(selector.map(|s| checks::label_selector(s, &path.child(field))).unwrap_or_default());
    }
    errors.extend(unsupported(hook.reinvocation_policy, REINVOCATION_POLICIES, "reinvocationPolicy"));
    errors.extend(client_config::validate(hook.client, &path.child("clientConfig")));
    errors
}

/// A webhook's name is a domain of at least three labels.
fn qualified(name: &str, path: &Path) -> Option<Error> {
    if name.is_empty() {
        return Some(Error::required(path, ""));
    }
    let faults = names::is_dns1123_subdomain(name);
    if !faults.is_empty() {
        return Some(Error::invalid(path, name, faults.join(",")));
    }
    let detail = "should be a domain with at least three segments separated by dots";
    (name.split('.').count() < 3).then(|| Error::invalid(path, name, detail))
}

fn knows_a_version(hook: &Hook) -> bool {
    hook.review_versions.iter().any(|version| REVIEW_VERSIONS.contains(&version.as_str()))
}

fn review_versions(hook: &Hook, strictness: Strictness, path: &Path) -> ErrorList {
    let known = REVIEW_VERSIONS.join(", ");
    if hook.review_versions.is_empty() {
        return vec![Error::required(path, format!("must specify one of {known}"))];
    }
    let mut errors = ErrorList::new();
    let mut seen = BTreeSet::new();
    for (i, version) in hook.review_versions.iter().enumerate() {
        let at = path.index(i);
        if seen.insert(version) {
            errors.extend(checks::each(&at, version, names::is_dns1035_label(version)));
        } else {
            errors.push(Error::invalid(&at, version, "duplicate version"));
        }
    }
    if strictness.known_review_version && !knows_a_version(hook) {
        errors.push(Error::invalid(path, hook.review_versions, format!("must include at least one of {known}")));
    }
    errors
}
