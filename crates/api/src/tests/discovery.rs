//! What discovery says of each kind: names, scope, verbs, short names, categories and subresources, against the
//! recorded discovery of a real v1.36.

use serde_json::{Value, json};

use super::oracle::{self, Tally, text};
use crate::{ALL, Kind, Subresource, Verb, Version};

/// Equal answers known so far: a change may raise them only.
const FLOOR: usize = 68;

#[test]
fn kinds_are_as_discovery_shows_them() {
    let Some(folder) = oracle::folder() else { return };
    let folder = folder.join("../documents/discovery");
    let read = |file: &str| -> Value {
        let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    };
    let documents = [read("api-aggregated.json"), read("apis-aggregated.json")];
    let mut tally = Tally::default();
    for kind in ALL {
        for version in kind.versions.iter().filter(|version| !version.hidden) {
            let wanted = documents.iter().find_map(|document| recorded(document, kind, version));
            let got = declared(kind);
            tally.count(wanted.as_ref() == Some(&got), || {
                format!("{}\n   got    {got}\n   wanted {}", version.schema, wanted.unwrap_or_default())
            });
        }
    }
    tally.report("discovered", FLOOR);
}

fn recorded(document: &Value, kind: &Kind, version: &Version) -> Option<Value> {
    let groups = document["items"].as_array()?;
    let group = groups.iter().find(|g| text(&g["metadata"], "name") == version.group_of(kind))?;
    let served = group["versions"].as_array()?.iter().find(|v| text(v, "version") == version.name)?;
    let resource = served["resources"].as_array()?.iter().find(|r| text(r, "resource") == kind.plural)?;
    let mut resource = resource.clone();
    resource.as_object_mut()?.shift_remove("storageVersionHash");
    let subresources = resource.get_mut("subresources").and_then(Value::as_array_mut);
    for subresource in subresources.into_iter().flatten() {
        subresource.as_object_mut()?.shift_remove("responseKind");
    }
    Some(resource)
}

fn declared(kind: &Kind) -> Value {
    let words = |verbs: &[Verb]| verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>();
    let mut resource = json!({
        "resource": kind.plural,
        // The group and version are left out when they are those of the list.
        "responseKind": {"group": "", "version": "", "kind": kind.kind},
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": words(kind.verbs),
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = kind.short_names.into();
    }
    if !kind.categories.is_empty() {
        resource["categories"] = kind.categories.into();
    }
    let status = Subresource::new("status", kind.kind, Verb::GET_PATCH_UPDATE);
    let scale = Subresource::new("scale", "Scale", Verb::GET_PATCH_UPDATE);
    let mut parts: Vec<&Subresource> = kind.subresources.iter().collect();
    parts.extend(kind.status.then_some(&status));
    parts.extend(kind.scale.as_ref().map(|_| &scale));
    parts.sort_by_key(|part| part.name);
    if !parts.is_empty() {
        resource["subresources"] =
            parts.iter().map(|part| json!({"subresource": part.name, "verbs": words(part.verbs)})).collect();
    }
    resource
}
