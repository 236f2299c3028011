//! Pod: containers that run together on one node. Its spec is also the template of every workload, so defaults,
//! checks and warnings of a spec are shared with them ([`default`], [`validate`], [`warnings`]).

pub mod affinity;
mod claims;
mod columns;
mod containers;
pub mod default;
mod env;
mod ephemeral;
mod handlers;
mod mounts;
mod projected;
mod resize;
pub mod resources;
mod security;
mod status;
mod update;
pub mod validate;
pub mod volumes;
pub mod warnings;

pub use affinity::{node_selector, taint_effect};
pub use resources::is_extended as is_extended_resource;
pub use status::qos_class;

use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Affinity, Pod, PodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::kind::{FieldSelectorStyle, IndexedField, Kind, SelectableField, Subresource, Verb, Version};
use crate::value::{boolean, list, text};
use crate::{erase, names};

/// "" where it has no node yet.
fn node_name(stored: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Stored<'p> {
        #[serde(borrow)]
        spec: Spec<'p>,
    }
    #[derive(Deserialize)]
    struct Spec<'p> {
        #[serde(borrow, rename = "nodeName", default)]
        node_name: Cow<'p, str>,
    }
    serde_json::from_slice(stored).ok().map(|pod: Stored<'_>| pod.spec.node_name)
}

/// Seconds between asking a container to end and killing it, where the pod does not say.
const GRACE_PERIOD_SECONDS: i64 = 30;

pub static KIND: Kind = Kind {
    kind: "Pod",
    list_kind: "PodList",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.Pod")],
    status: true,
    generation: true,
    subresources: &[
        Subresource::new("attach", "PodAttachOptions", Verb::CREATE_GET),
        Subresource::new("binding", "Binding", Verb::CREATE),
        ephemeral::SUBRESOURCE,
        Subresource { group: "policy", version: "v1", ..Subresource::new("eviction", "Eviction", Verb::CREATE) },
        Subresource::new("exec", "PodExecOptions", Verb::CREATE_GET),
        Subresource::new("log", "Pod", &[Verb::Get]),
        Subresource::new("portforward", "PodPortForwardOptions", Verb::CREATE_GET),
        Subresource::new("proxy", "PodProxyOptions", Verb::PROXY),
        resize::SUBRESOURCE,
    ],
    // Each node asks for its own.
    indexed_field: Some(IndexedField { label: "spec.nodeName", value: node_name }),
    selectable_fields: &[
        SelectableField { label: "spec.nodeName", value: |v| text(v, "/spec/nodeName").to_string() },
        SelectableField { label: "spec.restartPolicy", value: |v| text(v, "/spec/restartPolicy").to_string() },
        SelectableField { label: "spec.schedulerName", value: |v| text(v, "/spec/schedulerName").to_string() },
        SelectableField {
            label: "spec.serviceAccountName",
            value: |v| text(v, "/spec/serviceAccountName").to_string(),
        },
        SelectableField { label: "spec.hostNetwork", value: |v| boolean(v, "/spec/hostNetwork").to_string() },
        SelectableField { label: "status.phase", value: |v| text(v, "/status/phase").to_string() },
        SelectableField { label: "status.podIP", value: |v| text(v, "/status/podIP").to_string() },
        SelectableField { label: "status.podIPs", value: |v| text(v, "/status/podIP").to_string() },
        SelectableField {
            label: "status.nominatedNodeName",
            value: |v| text(v, "/status/nominatedNodeName").to_string(),
        },
    ],
    field_selector_style: FieldSelectorStyle::NotSupported,
    columns: columns::COLUMNS,
    cells: columns::cells,
    row_conditions: Some(columns::conditions),
    grace_period_seconds: Some(grace_period_seconds),
    hooks: hooks!(
        Pod,
        true,
        names::subdomain,
        full {
            default: default,
            prepare_create: prepare_create,
            prepare_update: update::prepare,
            prepare_status_update: status::prepare,
            validate: validate::create,
            validate_update: update::update,
            validate_status_update: status::update,
            warnings: warnings::pod,
        }
    ),
    ..Kind::BASE
};

fn default(pod: &mut Pod) {
    default::pod(pod);
    if let Some(status) = &mut pod.status {
        status::default(status);
    }
}

fn prepare_create(pod: &mut Value) {
    drop_disabled(pod);
    // Only the few pods with such keys pay for the typed form here.
    if uses_match_label_keys(pod) {
        let _ = erase::mutate::<Pod>(pod, merge_match_label_keys);
    }
    let grace = pod.pointer_mut("/spec/terminationGracePeriodSeconds");
    if let Some(seconds) = grace.filter(|seconds| seconds.as_i64().is_some_and(|s| s < 0)) {
        *seconds = 1.into();
    }
    app_armor_from_annotations(pod);
    status::begin(pod);
}

/// Only the few pods that use such features pay for the typed form here.
fn drop_disabled(pod: &mut Value) {
    if default::uses_disabled(pod) {
        let _ = erase::mutate::<Pod>(pod, |pod| default::drop_disabled(pod.spec.get_or_insert_default()));
    }
}

/// Profiles were annotations before they were fields; kubelets read the fields.
fn app_armor_from_annotations(pod: &mut Value) {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    let profiles: Vec<(String, Value)> = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, profile)| {
            Some((key.strip_prefix(PREFIX)?.to_string(), app_armor_profile(profile.as_str()?)?))
        })
        .collect();
    if profiles.is_empty() || pod.pointer("/spec/securityContext/appArmorProfile").is_some() {
        return;
    }
    for list in ["containers", "initContainers"] {
        let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = container.get("name").and_then(Value::as_str).unwrap_or("");
            let Some((_, profile)) = profiles.iter().find(|(of, _)| of == name) else { continue };
            let context = container.entry("securityContext").or_insert_with(|| json!({}));
            if let Some(context) = context.as_object_mut() {
                context.entry("appArmorProfile").or_insert_with(|| profile.clone());
            }
        }
    }
}

fn app_armor_profile(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        other => {
            let file = other.strip_prefix("localhost/").filter(|file| !file.is_empty())?;
            Some(json!({"type": "Localhost", "localhostProfile": file}))
        }
    }
}

/// A pod that no node runs, or that has ended, goes at once; otherwise its own time applies unless another is asked for.
fn grace_period_seconds(pod: &Value, requested: Option<i64>) -> i64 {
    let own = pod.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
    let seconds = requested.or(own).unwrap_or(GRACE_PERIOD_SECONDS);
    let ended = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    if text(pod, "/spec/nodeName").is_empty() || ended {
        return 0;
    }
    // Negative means the shortest time there is.
    if seconds < 0 { 1 } else { seconds }
}

fn uses_match_label_keys(pod: &Value) -> bool {
    let spread = list(pod, "/spec/topologySpreadConstraints").iter();
    pod.pointer("/spec/affinity").is_some() || spread.map(|c| list(c, "/matchLabelKeys").len()).sum::<usize>() > 0
}

/// Keys whose values this pod shares (or does not share) with the pods it looks at become part of the selectors, so
/// that the scheduler sees selectors only.
fn merge_match_label_keys(pod: &mut Pod) {
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let requirement = |key: &String, operator: &str| {
        let value = labels.get(key)?;
        Some(LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.into(),
            values: Some(vec![value.clone()]),
        })
    };
    let merge = |selector: &mut Option<LabelSelector>, keys: &Option<Vec<String>>, operator: &str| {
        let Some(selector) = selector else { return };
        let more: Vec<_> = keys.iter().flatten().filter_map(|key| requirement(key, operator)).collect();
        if !more.is_empty() {
            selector.match_expressions.get_or_insert_default().extend(more);
        }
    };
    let Some(spec) = &mut pod.spec else { return };
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        merge(&mut constraint.label_selector, &constraint.match_label_keys, "In");
    }
    let Some(affinity) = &mut spec.affinity else { return };
    for term in pod_affinity_terms(affinity) {
        merge(&mut term.label_selector, &term.match_label_keys, "In");
        merge(&mut term.label_selector, &term.mismatch_label_keys, "NotIn");
    }
}

fn pod_affinity_terms(affinity: &mut Affinity) -> Vec<&mut PodAffinityTerm> {
    let mut terms = Vec::new();
    if let Some(near) = &mut affinity.pod_affinity {
        terms.extend(near.required_during_scheduling_ignored_during_execution.iter_mut().flatten());
        let preferred = near.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        terms.extend(preferred.map(|weighted| &mut weighted.pod_affinity_term));
    }
    if let Some(far) = &mut affinity.pod_anti_affinity {
        terms.extend(far.required_during_scheduling_ignored_during_execution.iter_mut().flatten());
        let preferred = far.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        terms.extend(preferred.map(|weighted| &mut weighted.pod_affinity_term));
    }
    terms
}
