//! The plain documents: APIVersions, APIGroupList, APIGroup, APIResourceList, and the list of paths at the root.

use api::Verb;
use serde_json::{Map, Value, json};

use super::model::{self, Group};
use crate::apiextensions::KindSet;

pub fn versions(kinds: &KindSet, address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": model::groups(kinds).into_iter().find(|group| group.name.is_empty()).map(|group| group.versions).unwrap_or_default(),
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

pub fn groups(kinds: &KindSet) -> Value {
    let groups = model::groups(kinds).into_iter().filter(|group| !group.name.is_empty());
    let groups: Vec<Value> = groups.map(|group| Value::Object(group_fields(&group))).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

pub fn group(kinds: &KindSet, name: &str) -> Option<Value> {
    let group = model::groups(kinds).into_iter().find(|group| !name.is_empty() && group.name == name)?;
    let mut value = json!({ "kind": "APIGroup", "apiVersion": "v1" });
    value.as_object_mut()?.extend(group_fields(&group));
    Some(value)
}

fn group_fields(group: &Group) -> Map<String, Value> {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| json!({ "groupVersion": format!("{}/{version}", group.name), "version": version }))
        .collect();
    let mut fields = Map::new();
    fields.insert("name".to_owned(), group.name.into());
    fields.insert("preferredVersion".to_owned(), versions.first().cloned().unwrap_or_default());
    fields.insert("versions".to_owned(), versions.into());
    // The preferred version is written last.
    if let Some(preferred) = fields.shift_remove("preferredVersion") {
        fields.insert("preferredVersion".to_owned(), preferred);
    }
    fields
}

pub fn resources(kinds: &KindSet, group: &str, version: &str) -> Option<Value> {
    let kinds = model::kinds(kinds, group, version);
    if kinds.is_empty() {
        return None;
    }
    let mut resources = Vec::new();
    for (kind, version) in kinds {
        // An old home answers only to its full name: the short ones mean the current one.
        let mut resource = json!({
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": verbs(kind.verbs),
        });
        if !kind.short_names.is_empty() && !version.hidden {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() && !version.hidden {
            resource["categories"] = json!(kind.categories);
        }
        if let Some(hash) = model::storage_version_hash(kind) {
            resource["storageVersionHash"] = hash.into();
        }
        resources.push(resource);
        for part in model::parts(kind, version) {
            let mut resource = json!({
                "name": format!("{}/{}", kind.plural, part.name),
                "singularName": "",
                "namespaced": kind.namespaced,
            });
            if !part.group.is_empty() {
                resource["group"] = part.group.into();
                resource["version"] = part.version.into();
            }
            resource["kind"] = part.kind.into();
            resource["verbs"] = verbs(part.verbs);
            resources.push(resource);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = json!({ "kind": "APIResourceList" });
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    list["groupVersion"] = group_version.into();
    list["resources"] = resources.into();
    Some(list)
}

pub fn verbs(verbs: &[Verb]) -> Value {
    verbs.iter().map(|verb| verb.as_str()).collect()
}

/// The paths that there are.
pub fn root(kinds: &KindSet) -> Value {
    const OTHERS: &[&str] = &[
        "/.well-known/openid-configuration",
        "/api",
        "/apis",
        "/apis/",
        "/flagz",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/",
        "/openid/v1/jwks",
        "/readyz",
        "/statusz",
        "/version",
    ];
    let mut paths: Vec<String> = OTHERS.iter().map(|path| (*path).to_owned()).collect();
    for group in model::groups(kinds) {
        let base = if group.name.is_empty() { "/api".to_owned() } else { format!("/apis/{}", group.name) };
        paths.extend(group.versions.iter().map(|version| format!("{base}/{version}")));
        if !group.name.is_empty() {
            paths.push(base);
        }
    }
    paths.sort_unstable();
    json!({ "paths": paths })
}
