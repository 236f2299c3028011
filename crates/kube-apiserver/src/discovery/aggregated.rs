//! The aggregated documents: everything that clients ask for at their start, in one answer.

use api::{Kind, Version};
use serde_json::{Value, json};

use super::model::{self, Group};
use super::plain::verbs;
use crate::apiextensions::KindSet;

/// APIGroupDiscoveryList of the core group or of all others.
pub fn list(kinds: &KindSet, core: bool) -> Value {
    let groups = model::groups(kinds).into_iter().filter(|group| group.name.is_empty() == core);
    let items: Vec<Value> = groups.map(|group| item(kinds, &group)).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    })
}

fn item(kinds: &KindSet, group: &Group) -> Value {
    let metadata = if group.name.is_empty() { json!({}) } else { json!({ "name": group.name }) };
    let versions = group.versions.iter().map(
        |version| json!({ "version": version, "resources": resources(kinds, group.name, version), "freshness": "Current" }),
    );
    json!({ "metadata": metadata, "versions": versions.collect::<Vec<_>>() })
}

fn resources(kinds: &KindSet, group: &str, version: &str) -> Vec<Value> {
    let resources = model::kinds(kinds, group, version).into_iter().map(|(kind, version)| {
        let mut resource = json!({
            "resource": kind.plural,
            "responseKind": response_kind(kind, version),
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": kind.singular,
            "verbs": verbs(kind.verbs),
        });
        if !kind.short_names.is_empty() && !version.hidden {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() && !version.hidden {
            resource["categories"] = json!(kind.categories);
        }
        let parts: Vec<Value> = model::parts(kind, version)
            .into_iter()
            .map(|part| {
                json!({
                    "subresource": part.name,
                    "responseKind": if part.group.is_empty() && kind.custom.is_some() {
                        response_kind(kind, version)
                    } else {
                        json!({ "group": part.group, "version": part.version, "kind": part.kind })
                    },
                    "verbs": verbs(part.verbs),
                })
            })
            .collect();
        if !parts.is_empty() {
            resource["subresources"] = parts.into();
        }
        resource
    });
    resources.collect()
}

/// Where nothing is said the group and version around it are meant; upstream says them for custom kinds.
fn response_kind(kind: &Kind, version: &Version) -> Value {
    let (group, version) = if kind.custom.is_some() { (kind.group, version.name) } else { ("", "") };
    json!({ "group": group, "version": version, "kind": kind.kind })
}
