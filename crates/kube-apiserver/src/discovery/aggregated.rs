//! The aggregated documents: everything that clients ask for at their start, in one answer.

use serde_json::{Value, json};

use super::model::{self, Group};
use super::plain::verbs;

/// APIGroupDiscoveryList of the core group or of all others.
pub fn list(core: bool, version: &str) -> Value {
    let groups = model::groups().into_iter().filter(|group| group.name.is_empty() == core);
    let items: Vec<Value> = groups.map(|group| item(&group)).collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn item(group: &Group) -> Value {
    let metadata = if group.name.is_empty() { json!({}) } else { json!({ "name": group.name }) };
    let versions = group.versions.iter().map(
        |version| json!({ "version": version, "resources": resources(group.name, version), "freshness": "Current" }),
    );
    json!({ "metadata": metadata, "versions": versions.collect::<Vec<_>>() })
}

fn resources(group: &str, version: &str) -> Vec<Value> {
    let kinds = model::kinds(group, version);
    let resources = kinds.into_iter().map(|(kind, version)| {
        let mut resource = json!({
            "resource": kind.plural,
            "responseKind": { "group": "", "version": "", "kind": kind.kind },
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
        let parts: Vec<Value> = model::parts(kind)
            .into_iter()
            .map(|part| {
                json!({
                    "subresource": part.name,
                    "responseKind": { "group": part.group, "version": part.version, "kind": part.kind },
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
