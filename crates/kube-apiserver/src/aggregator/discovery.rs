//! Discovery of what other servers serve, beside what is served here: groups by their priority, versions after those here.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};

use super::registrar::group_priority;
use super::{Aggregator, ApiService};
use crate::{Response, Server, body, discovery};

impl Aggregator {
    /// Answers a path of discovery that other servers have a part in.
    pub fn discovery(&self, server: &Server, path: &str, headers: &HeaderMap) -> Option<Response> {
        let remote = self.remote();
        if remote.1.is_empty() {
            return None;
        }
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut services = remote.1.clone();
        // The highest priority comes first.
        services.sort_by_key(|service| std::cmp::Reverse(service.spec.version_priority));
        match parts.as_slice() {
            ["apis"] => self.groups(server, headers, &services),
            ["apis", group] => {
                services.retain(|service| service.spec.group == *group);
                if services.is_empty() {
                    return None;
                }
                let known = base(server, path, headers).map_or(Value::Null, |(_, document)| document);
                let mut fields = json!({ "kind": "APIGroup", "apiVersion": "v1" });
                let merged = with_versions(known, group, &services);
                fields.as_object_mut()?.extend(merged.as_object().cloned().unwrap_or_default());
                Some(body::json_bytes(StatusCode::OK, fields.to_string()))
            }
            _ => None,
        }
    }

    fn groups(&self, server: &Server, headers: &HeaderMap, services: &[Arc<ApiService>]) -> Option<Response> {
        // What is sent is judged by its own tag, so the part is read whole.
        let mut whole = headers.clone();
        whole.remove(header::IF_NONE_MATCH);
        let (answer, mut document) = base(server, "/apis", &whole)?;
        let aggregated = document["kind"] == "APIGroupDiscoveryList";
        let list = document.get_mut(if aggregated { "items" } else { "groups" })?.as_array_mut()?;
        let name_of = |item: &Value| {
            let name = if aggregated { item.pointer("/metadata/name") } else { item.get("name") };
            name.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let mut groups: Vec<&str> = services.iter().map(|service| service.spec.group.as_str()).collect();
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            let own: Vec<Arc<ApiService>> =
                services.iter().filter(|service| service.spec.group == group).cloned().collect();
            let known = list.iter().position(|item| name_of(item) == group);
            let current = known.map_or(Value::Null, |at| list.remove(at));
            let item = if aggregated { self.item(current, group, &own) } else { with_versions(current, group, &own) };
            let priority = own.iter().map(|service| service.spec.group_priority_minimum).max().unwrap_or(0);
            let at = known.unwrap_or_else(|| {
                list.iter().position(|item| group_priority(&name_of(item)) < priority).unwrap_or(list.len())
            });
            list.insert(at, item);
        }
        Some(finish(answer, &document, headers, aggregated))
    }

    /// A group with all its versions and resources.
    fn item(&self, current: Value, group: &str, services: &[Arc<ApiService>]) -> Value {
        let mut item =
            if current.is_null() { json!({ "metadata": { "name": group }, "versions": [] }) } else { current };
        let Some(versions) = item.get_mut("versions").and_then(Value::as_array_mut) else { return item };
        for service in services {
            versions.retain(|version| version["version"] != service.spec.version.as_str());
            let version = &service.spec.version;
            // Who does not answer is not left out: clients would take its resources for gone.
            versions.push(if service.is_available() {
                let resources = resources(service, &self.found(service).resources);
                json!({ "version": version, "resources": resources, "freshness": "Current" })
            } else {
                json!({ "version": version, "freshness": "Stale" })
            });
        }
        item
    }
}

/// What is served here.
fn base(server: &Server, path: &str, headers: &HeaderMap) -> Option<(Response, Value)> {
    let mut response = discovery::serve(server, path, headers)?;
    // The document is there already: nothing is waited for.
    let body = std::mem::replace(response.body_mut(), body::empty());
    let bytes = body.collect().now_or_never()?.ok()?.to_bytes();
    let document = serde_json::from_slice(&bytes).ok()?;
    Some((response, document))
}

/// The document in the answer's place, with its own tag.
fn finish(mut answer: Response, document: &Value, headers: &HeaderMap, aggregated: bool) -> Response {
    let bytes = Bytes::from(document.to_string());
    if !aggregated {
        *answer.body_mut() = body::full(bytes);
        return answer;
    }
    let etag = discovery::etag(&bytes);
    if discovery::unchanged(headers, &etag) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *answer.body_mut() = body::full(bytes);
    }
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        answer.headers_mut().insert(header::ETAG, etag);
    }
    answer
}

/// A group's entry in the plain list, with the versions of other servers.
fn with_versions(current: Value, group: &str, services: &[Arc<ApiService>]) -> Value {
    let version_of = |version: &str| json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    let mut versions = current.get("versions").and_then(Value::as_array).cloned().unwrap_or_default();
    for service in services {
        let own = version_of(&service.spec.version);
        if !versions.contains(&own) {
            versions.push(own);
        }
    }
    let mut fields = Map::new();
    fields.insert("name".to_owned(), group.into());
    let preferred = current.get("preferredVersion").or(versions.first()).cloned();
    fields.insert("versions".to_owned(), versions.into());
    fields.insert("preferredVersion".to_owned(), preferred.unwrap_or_default());
    Value::Object(fields)
}

/// An APIResourceList in the form of the aggregated documents.
fn resources(service: &ApiService, list: &Value) -> Vec<Value> {
    let entries = list.get("resources").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind_of = |entry: &Value| {
        let or = |given: String, own: &str| if given.is_empty() { own.to_owned() } else { given };
        json!({
            "group": or(text(entry, "group"), &service.spec.group),
            "version": or(text(entry, "version"), &service.spec.version),
            "kind": text(entry, "kind"),
        })
    };
    let mut out = Vec::new();
    for entry in entries.iter().filter(|entry| !text(entry, "name").contains('/')) {
        let name = text(entry, "name");
        let namespaced = entry.get("namespaced").and_then(Value::as_bool).unwrap_or(false);
        let mut resource = json!({
            "resource": name,
            "responseKind": kind_of(entry),
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": text(entry, "singularName"),
            "verbs": entry.get("verbs").cloned().unwrap_or_else(|| json!([])),
        });
        for key in ["shortNames", "categories"] {
            if let Some(value) = entry.get(key).filter(|value| value.is_array()) {
                resource[key] = value.clone();
            }
        }
        let prefix = format!("{name}/");
        let parts =
            entries.iter().filter_map(|part| Some((part, text(part, "name").strip_prefix(&prefix)?.to_owned())));
        let parts: Vec<Value> = parts
            .map(|(part, name)| {
                let verbs = part.get("verbs").cloned().unwrap_or_else(|| json!([]));
                json!({ "subresource": name, "responseKind": kind_of(part), "verbs": verbs })
            })
            .collect();
        if !parts.is_empty() {
            resource["subresources"] = parts.into();
        }
        out.push(resource);
    }
    out
}
