//! The server's resources, and which of them a word on the command line means.
//!
//! Aggregated discovery (two requests) is asked for first; an old server answers with plain lists, whose groups are then read
//! one by one. Words are matched as plural, singular, short name or kind, alone (`deploy`) or with their group
//! (`deployments.apps`) or version and group (`deployments.v1.apps`); the first group in the server's order wins.

use std::sync::Arc;

use serde_json::Value;

use crate::api::{Api, JSON, encode};
use crate::error::{Error, Result};
use crate::value::{list, text};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub subresources: Vec<String>,
}

impl Resource {
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`, `pods`.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `deployment.apps`, `pod`: how messages name an object's type.
    pub fn short_kind(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() { kind } else { format!("{kind}.{}", self.group) }
    }

    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == verb)
    }

    /// The path of the collection, in all namespaces when none is given.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        match namespace {
            Some(namespace) if self.namespaced => {
                format!("{root}/{}/namespaces/{}/{}", self.version, encode(namespace), self.plural)
            }
            _ => format!("{root}/{}/{}", self.version, self.plural),
        }
    }

    pub fn path(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{}", self.collection(namespace), encode(name))
    }

    fn is_called(&self, word: &str) -> bool {
        self.plural == word || self.singular == word || self.kind.eq_ignore_ascii_case(word)
    }
}

pub struct Discovery {
    /// In the server's order: group by group, the preferred version of each first.
    pub resources: Vec<Arc<Resource>>,
    /// Every served group and version, in the same order.
    pub versions: Vec<(String, String)>,
    /// Groups and versions that could not be read, and why.
    pub failed: Vec<(String, String)>,
}

impl Discovery {
    pub async fn load(api: &Api) -> Result<Self> {
        let mut found = Discovery { resources: Vec::new(), versions: Vec::new(), failed: Vec::new() };
        for path in ["/api", "/apis"] {
            let answer = match api.get_as(path, AGGREGATED).await {
                Ok(answer) => answer,
                // A server without the core or without named groups has no such path.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            if answer["kind"] == "APIGroupDiscoveryList" {
                found.add_aggregated(&answer);
            } else if path == "/api" {
                for version in list(&answer, "versions").iter().filter_map(Value::as_str) {
                    found.add_plain(api, "", version).await;
                }
            } else {
                for group in list(&answer, "groups") {
                    let preferred = text(group, "preferredVersion.version");
                    let versions = list(group, "versions").iter().map(|version| text(version, "version"));
                    let others = versions.filter(|version| *version != preferred);
                    for version in std::iter::once(preferred).chain(others) {
                        found.add_plain(api, text(group, "name"), version).await;
                    }
                }
            }
        }
        Ok(found)
    }

    fn add_aggregated(&mut self, answer: &Value) {
        for group in list(answer, "items") {
            let group_name = text(group, "metadata.name");
            for version in list(group, "versions") {
                let version_name = text(version, "version");
                self.versions.push((group_name.to_owned(), version_name.to_owned()));
                if text(version, "freshness") == "Stale" {
                    let name = if group_name.is_empty() {
                        version_name.to_owned()
                    } else {
                        format!("{group_name}/{version_name}")
                    };
                    self.failed.push((name.clone(), format!("stale GroupVersion discovery: {name}")));
                }
                for resource in list(version, "resources") {
                    let own = |path: &str| text(resource, path).to_owned();
                    let strings = |key: &str| -> Vec<String> {
                        list(resource, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
                    };
                    // A resource may be of another group than it is served in only as a subresource.
                    self.resources.push(Arc::new(Resource {
                        group: group_name.to_owned(),
                        version: version_name.to_owned(),
                        plural: own("resource"),
                        singular: own("singularResource"),
                        kind: own("responseKind.kind"),
                        namespaced: text(resource, "scope") == "Namespaced",
                        verbs: strings("verbs"),
                        short_names: strings("shortNames"),
                        categories: strings("categories"),
                        subresources: list(resource, "subresources")
                            .iter()
                            .map(|sub| text(sub, "subresource").to_owned())
                            .collect(),
                    }));
                }
            }
        }
    }

    async fn add_plain(&mut self, api: &Api, group: &str, version: &str) {
        let (path, name) = if group.is_empty() {
            (format!("/api/{version}"), version.to_owned())
        } else {
            (format!("/apis/{group}/{version}"), format!("{group}/{version}"))
        };
        self.versions.push((group.to_owned(), version.to_owned()));
        match api.get_as(&path, JSON).await {
            Ok(answer) => self.resources.extend(plain_resources(group, version, &answer)),
            Err(error) => self.failed.push((name, error.to_string())),
        }
    }

    /// All resources that a word means, most wanted first.
    pub fn candidates<'d>(&'d self, word: &str) -> Vec<&'d Arc<Resource>> {
        let word = word.to_lowercase();
        let matching = |name: &str, fits: &dyn Fn(&Resource) -> bool| -> Vec<&'d Arc<Resource>> {
            let called: Vec<_> = self.resources.iter().filter(|r| fits(r) && r.is_called(name)).collect();
            if !called.is_empty() {
                return called;
            }
            self.resources.iter().filter(|r| fits(r) && r.short_names.iter().any(|short| short == name)).collect()
        };
        if let Some((name, rest)) = word.split_once('.') {
            // deployments.v1.apps, deployments.v1. (core), then deployments.apps
            let (version, group) = rest.split_once('.').unwrap_or((rest, ""));
            let exact = matching(name, &|r| r.version == version && r.group == group);
            if !exact.is_empty() {
                return exact;
            }
            let in_group = matching(name, &|r| r.group == rest);
            if !in_group.is_empty() {
                return in_group;
            }
            // A group may be shortened: deployments.a is not, but ingresses.networking is.
            return matching(name, &|r| r.group.starts_with(&format!("{rest}.")));
        }
        matching(&word, &|_| true)
    }

    /// The resource that a word means.
    pub fn find(&self, word: &str) -> Result<Arc<Resource>> {
        self.candidates(word)
            .first()
            .map(|resource| (*resource).clone())
            .ok_or_else(|| Error::message(format!("the server doesn't have a resource type \"{word}\"")))
    }

    /// The resource that serves a kind.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.resources
            .iter()
            .find(|r| r.group == group && r.version == version && r.kind == kind && r.can_be_made())
            .or_else(|| self.resources.iter().find(|r| r.group == group && r.version == version && r.kind == kind))
            .cloned()
    }

    /// The resources of a category such as `all`; one that two groups serve counts once.
    pub fn category(&self, name: &str) -> Vec<Arc<Resource>> {
        let mut found: Vec<Arc<Resource>> = Vec::new();
        for resource in &self.resources {
            let fits = resource.categories.iter().any(|category| category == name);
            if fits && !found.iter().any(|other| other.plural == resource.plural && other.kind == resource.kind) {
                found.push(resource.clone());
            }
        }
        found
    }
}

impl Resource {
    fn can_be_made(&self) -> bool {
        self.can("create") || self.can("get")
    }
}

fn plain_resources(group: &str, version: &str, answer: &Value) -> Vec<Arc<Resource>> {
    let strings = |resource: &Value, key: &str| -> Vec<String> {
        list(resource, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let all = list(answer, "resources");
    let own = all.iter().filter(|resource| !text(resource, "name").contains('/'));
    own.map(|resource| {
        let plural = text(resource, "name");
        let subresources = all.iter().filter_map(|other| text(other, "name").strip_prefix(plural)?.strip_prefix('/'));
        let singular = match text(resource, "singularName") {
            "" => text(resource, "kind").to_lowercase(),
            singular => singular.to_owned(),
        };
        Arc::new(Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            singular,
            kind: text(resource, "kind").to_owned(),
            namespaced: resource["namespaced"] == true,
            verbs: strings(resource, "verbs"),
            short_names: strings(resource, "shortNames"),
            categories: strings(resource, "categories"),
            subresources: subresources.map(str::to_owned).collect(),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn discovery() -> Discovery {
        let item = |group: &str, version: &str, resource: &str, kind: &str, short: &str| {
            json!({"metadata": {"name": group}, "versions": [{"version": version, "resources": [
                {"resource": resource, "responseKind": {"kind": kind}, "scope": "Namespaced", "singularResource": kind.to_lowercase(),
                 "shortNames": [short], "verbs": ["get"], "categories": ["all"]}]}]})
        };
        let mut found = Discovery { resources: Vec::new(), versions: Vec::new(), failed: Vec::new() };
        found.add_aggregated(&json!({"items": [item("", "v1", "pods", "Pod", "po"), item("apps", "v1", "deployments", "Deployment", "deploy"),
            item("extensions", "v1beta1", "deployments", "Deployment", "deploy")]}));
        found
    }

    #[test]
    fn words_mean_resources() {
        let discovery = discovery();
        for word in [
            "deployments",
            "deployment",
            "deploy",
            "Deployment",
            "deployments.apps",
            "deployment.v1.apps",
            "deploy.apps",
        ] {
            let found = discovery.find(word).expect(word);
            assert_eq!((found.group.as_str(), found.plural.as_str()), ("apps", "deployments"), "{word}");
        }
        assert_eq!(discovery.find("deployments.extensions").expect("is served").version, "v1beta1");
        assert_eq!(discovery.find("deployments.v1beta1.extensions").expect("is served").version, "v1beta1");
        assert_eq!(
            discovery.find("x").expect_err("is not served").text(),
            "error: the server doesn't have a resource type \"x\""
        );
    }

    #[test]
    fn a_category_holds_each_resource_once() {
        let all = discovery().category("all");
        assert_eq!(all.iter().map(|r| r.group_resource()).collect::<Vec<_>>(), ["pods", "deployments.apps"]);
    }

    #[test]
    fn paths_are_the_apis() {
        let discovery = discovery();
        assert_eq!(discovery.find("po").expect("is served").path(Some("ns"), "a"), "/api/v1/namespaces/ns/pods/a");
        assert_eq!(discovery.find("deploy").expect("is served").collection(None), "/apis/apps/v1/deployments");
    }
}
