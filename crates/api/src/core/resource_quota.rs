//! ResourceQuota: how much of each resource a namespace may use, of all its pods or of those in a scope.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec};
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::pod::resources::{self, Amounts};
use crate::kind::{Column, Kind, Version};
use crate::{cells, names, strategy};

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];
const COMPUTE: &[&str] = &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
const ONLY_EXISTS: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";

pub static KIND: Kind = Kind {
    kind: "ResourceQuota",
    list_kind: "ResourceQuotaList",
    plural: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.ResourceQuota")],
    status: true,
    create_on_update: false,
    columns: COLUMNS,
    cells: |v, now| {
        let (request, limit) = usage(v);
        vec![cells::name(v), request.into(), limit.into(), cells::age(v, now)]
    },
    hooks: hooks!(
        ResourceQuota,
        true,
        names::subdomain,
        part {
            prepare_create: strategy::drop_status,
            prepare_update: strategy::keep_status,
            prepare_status_update: strategy::update_status,
            validate: validate,
            validate_update: validate_update,
            validate_status_update: |new: &ResourceQuota, _old: &ResourceQuota| {
                let mut errors = ErrorList::new();
                let path = Path::new("status");
                if let Some(status) = &new.status {
                    errors.extend(amounts(status.hard.as_ref(), &path.child("hard")));
                    errors.extend(amounts(status.used.as_ref(), &path.child("used")));
                }
                errors
            },
        }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new(
        "Request",
        "string",
        0,
        "Request represents a minimum amount of cpu/memory that a container may consume.",
    ),
    Column::new(
        "Limit",
        "string",
        0,
        "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
    ),
    Column::AGE,
];

/// `pods: 1/2, requests.cpu: 0/1` of requests and of limits.
fn usage(quota: &Value) -> (String, String) {
    let hard = quota.pointer("/status/hard").and_then(Value::as_object);
    let mut resources: Vec<(&String, &str)> =
        hard.into_iter().flatten().map(|(name, amount)| (name, amount.as_str().unwrap_or("0"))).collect();
    resources.sort();
    let used = quota.pointer("/status/used").unwrap_or(&Value::Null);
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (name, hard) in resources {
        let used = used.get(name).and_then(Value::as_str).unwrap_or("0");
        let list = if name.starts_with("limits.") { &mut limits } else { &mut requests };
        list.push(format!("{name}: {used}/{hard}"));
    }
    (requests.join(", "), limits.join(", "))
}

fn validate(quota: &ResourceQuota) -> ErrorList {
    let default = ResourceQuotaSpec::default();
    let spec = quota.spec.as_ref().unwrap_or(&default);
    let path = Path::new("spec");
    let mut errors = amounts(spec.hard.as_ref(), &path.child("hard"));
    errors.extend(scopes(spec, &path.child("scopes")));
    errors.extend(scope_selector(spec, &path.child("scopeSelector")));
    errors
}

fn amounts(hard: Option<&Amounts>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (name, amount) in hard.into_iter().flatten() {
        let at = path.key(name);
        errors.extend(resource_name(name, &at));
        errors.extend(resources::amount(name, amount, &at));
    }
    errors
}

fn resource_name(name: &str, path: &Path) -> ErrorList {
    let mut errors = resources::name(name, path);
    if !name.contains('/') && !is_quota_resource(name) {
        errors.push(Error::invalid(path, name, "must be a standard resource for quota"));
    }
    errors
}

fn is_quota_resource(name: &str) -> bool {
    name != "storage" && resources::is_standard(name)
}

/// Which resources a scope can be counted for.
fn in_scope(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => resource == "pods" || COMPUTE.contains(&resource),
    }
}

fn scopes(spec: &ResourceQuotaSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(scopes) = &spec.scopes else { return errors };
    for scope in scopes {
        if !SCOPES.contains(&scope.as_str()) {
            errors.push(Error::invalid(path, scopes, "unsupported scope"));
        }
        for resource in spec.hard.iter().flatten().map(|(name, _)| name) {
            if SCOPES.contains(&scope.as_str()) && is_quota_resource(resource) && !in_scope(scope, resource) {
                errors.push(Error::invalid(path, scopes, "unsupported scope applied to resource"));
            }
        }
    }
    let has = |scope: &str| scopes.iter().any(|s| s == scope);
    if has("BestEffort") && has("NotBestEffort") || has("Terminating") && has("NotTerminating") {
        errors.push(Error::invalid(path, scopes, "conflicting scopes"));
    }
    errors
}

fn scope_selector(spec: &ResourceQuotaSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = path.child("matchExpressions");
    for requirement in spec.scope_selector.iter().flat_map(|s| s.match_expressions.iter().flatten()) {
        let (scope, operator) = (requirement.scope_name.as_str(), requirement.operator.as_str());
        if !SCOPES.contains(&scope) {
            errors.push(Error::invalid(&at.child("scopeName"), scope, "unsupported scope"));
        }
        for resource in spec.hard.iter().flatten().map(|(name, _)| name) {
            if SCOPES.contains(&scope) && is_quota_resource(resource) && !in_scope(scope, resource) {
                let shown = crate::internal::shown("io.k8s.api.core.v1.ScopeSelector", &spec.scope_selector);
                errors.push(Error::invalid(path, shown, "unsupported scope applied to resource"));
            }
        }
        let only_exists = !matches!(scope, "PriorityClass" | "VolumeAttributesClass") && SCOPES.contains(&scope);
        if only_exists && operator != "Exists" {
            errors.push(Error::invalid(&at.child("operator"), operator, ONLY_EXISTS));
        }
        let values = requirement.values.as_deref().unwrap_or(&[]);
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(Error::required(&at.child("values"), detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errors.push(Error::invalid(&at.child("values"), values, detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(Error::invalid(&at.child("operator"), other, "not a valid selector operator")),
        }
    }
    errors
}

fn validate_update(new: &ResourceQuota, old: &ResourceQuota) -> ErrorList {
    let mut errors = validate(new);
    let scopes = |quota: &ResourceQuota| quota.spec.as_ref().and_then(|s| s.scopes.clone()).unwrap_or_default();
    let (now, was) = (scopes(new), scopes(old));
    if now.iter().collect::<BTreeSet<_>>() != was.iter().collect() {
        let path = Path::new("spec");
        errors.push(Error::invalid(&path.child("scopes"), now, "field is immutable"));
    }
    errors
}
