//! Groups, versions and resources in the order in which they are listed.

use api::{Kind, Verb, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::apiextensions::KindSet;
use crate::endpoints;

/// Clients that look for a short name take the first group that has it.
const GROUP_ORDER: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

pub struct Group {
    pub name: &'static str,
    /// The preferred one first.
    pub versions: Vec<&'static str>,
}

/// All groups, those that upstream has in its order, old ones last.
pub fn groups(kinds: &KindSet) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (kind, version) in kinds.served() {
        let name = version.group_of(kind);
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) if group.versions.contains(&version.name) => {}
            Some(group) => group.versions.push(version.name),
            None => groups.push(Group { name, versions: vec![version.name] }),
        }
    }
    for group in &mut groups {
        group.versions.sort_unstable();
        group.versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
    }
    // Then those of custom kinds by name, then the old ones.
    groups.sort_by_key(|group| match GROUP_ORDER.iter().position(|name| *name == group.name) {
        Some(position) => (position, ""),
        None if api::ALL
            .iter()
            .any(|kind| kind.versions.iter().any(|version| version.group_of(kind) == group.name)) =>
        {
            (usize::MAX, "")
        }
        None => (GROUP_ORDER.len(), group.name),
    });
    groups
}

/// v2 before v1 before v1beta2 before v1beta1 before v1alpha1; names of another form come last.
fn priority(version: &str) -> Option<(u32, u32, u32)> {
    let digits = |text: &str| text.parse::<u32>().ok();
    let rest = version.strip_prefix('v')?;
    for (word, stage) in [("beta", 1), ("alpha", 0)] {
        if let Some((major, minor)) = rest.split_once(word) {
            return Some((stage, digits(major)?, digits(minor)?));
        }
    }
    Some((2, digits(rest)?, 0))
}

/// The kinds of one version of a group, ordered by resource.
pub fn kinds(all: &KindSet, group: &str, version: &str) -> Vec<(&'static Kind, &'static Version)> {
    let mut kinds: Vec<_> =
        all.served().filter(|(kind, own)| own.group_of(kind) == group && own.name == version).collect();
    kinds.sort_by_key(|(kind, _)| kind.plural);
    kinds
}

/// A subresource as it is listed.
pub struct Part {
    pub name: &'static str,
    pub kind: &'static str,
    /// Set when the body is of another group.
    pub group: &'static str,
    pub version: &'static str,
    pub verbs: &'static [Verb],
}

/// The subresources of a kind that are served, ordered by name.
pub fn parts(kind: &Kind, version: &Version) -> Vec<Part> {
    let mut parts = Vec::new();
    if version.has_status(kind) {
        parts.push(Part { name: "status", kind: kind.kind, group: "", version: "", verbs: endpoints::PART_VERBS });
    }
    if version.scale(kind).is_some() {
        let verbs = endpoints::PART_VERBS;
        parts.push(Part { name: "scale", kind: "Scale", group: "autoscaling", version: "v1", verbs });
    }
    for sub in kind.subresources.iter().filter(|sub| endpoints::is_served(kind, sub)) {
        parts.push(Part { name: sub.name, kind: sub.kind, group: sub.group, version: sub.version, verbs: sub.verbs });
    }
    if kind.custom.is_none() {
        parts.sort_by_key(|part| part.name);
    }
    parts
}

/// What tells clients that the stored form has changed.
pub fn storage_version_hash(kind: &Kind) -> Option<String> {
    if kind.is_virtual || kind.is_computed {
        return None;
    }
    let name = format!("{}/{}/{}", kind.group, kind.storage_version().name, kind.kind);
    Some(STANDARD.encode(&Sha256::digest(name)[..8]))
}
