//! What the server serves: resources in their preferred versions, with their verbs.

use client::{ApiError, Resource, request};
use serde::Deserialize;
use tracing::warn;

/// All resources.
#[derive(Debug, Default)]
pub struct Discovered {
    /// In the server's order of groups.
    pub resources: Vec<Served>,
    /// Whether every group answered.
    pub complete: bool,
}

/// One resource.
#[derive(Debug, Clone)]
pub struct Served {
    /// Its name.
    pub resource: Resource,
    /// Whether it lives in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

impl Served {
    /// Whether a verb is served.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// Events have no dependents and are too many to follow.
    pub fn is_monitored(&self) -> bool {
        self.resource.plural != "events" && ["delete", "list", "watch"].iter().all(|verb| self.can(verb))
    }
}

impl Discovered {
    /// The resource of an owner reference's apiVersion and kind. Any served version of the group does.
    pub fn find(&self, api_version: &str, kind: &str) -> Option<&Served> {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        self.resources.iter().find(|served| served.resource.group == group && served.resource.kind == kind)
    }
}

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    preferred_version: Option<Version>,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Deserialize, Clone)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<ResourceEntry>,
}

#[derive(Deserialize)]
struct ResourceEntry {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

/// Asks the server for all groups and their resources. A group that does not answer is left out and makes the result
/// incomplete.
pub async fn discover(client: &kube::Client) -> Result<Discovered, ApiError> {
    let mut discovered = Discovered { resources: Vec::new(), complete: true };
    discovered.resources.extend(version(client, "", "v1").await?);
    let Groups { groups } = request::get(client, "/apis").await?;
    for group in groups {
        let mut versions: Vec<Version> = group.preferred_version.into_iter().collect();
        versions.extend(group.versions);
        let mut seen: Vec<String> = Vec::new();
        for Version { version: name } in versions {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name.clone());
            match version(client, &group.name, &name).await {
                // The preferred version comes first; a later one adds only what that lacks.
                Ok(resources) => {
                    for served in resources {
                        let known = |other: &Served| {
                            other.resource.group == served.resource.group
                                && other.resource.plural == served.resource.plural
                        };
                        if !discovered.resources.iter().any(known) {
                            discovered.resources.push(served);
                        }
                    }
                }
                Err(error) => {
                    warn!(group = group.name, version = name, %error, "failed to read the resources of a group");
                    discovered.complete = false;
                }
            }
        }
    }
    let old_homes = |served: &Served| OLD_HOMES.contains(&&*served.resource.group);
    discovered.resources.retain(|served| !old_homes(served));
    Ok(discovered)
}

/// Groups whose resources are others' under their old names: the same objects, to be seen once.
const OLD_HOMES: [&str; 1] = ["extensions"];

async fn version(client: &kube::Client, group: &str, version: &str) -> Result<Vec<Served>, ApiError> {
    let path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let Resources { resources } = request::get(client, &path).await?;
    let served = resources.into_iter().filter(|entry| !entry.name.contains('/')).map(|entry| Served {
        resource: Resource {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            plural: entry.name.into(),
            kind: entry.kind.into(),
        },
        namespaced: entry.namespaced,
        verbs: entry.verbs,
    });
    Ok(served.collect())
}
