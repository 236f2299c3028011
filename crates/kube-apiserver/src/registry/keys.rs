//! Where an object lies in the store: laid out as upstream lays out its etcd keys, so that both can read one store.
//!
//! `/registry/<resource>/<namespace>/<name>`; a few resources keep the names that they had before they got their
//! present ones, and kinds of groups that are not built in lie below `/registry/<group>/<resource>`.

use api::Kind;

/// The folder names that differ from the resource's own.
const RENAMED: &[(&str, &str, &str)] = &[
    ("", "nodes", "minions"),
    ("", "services", "services/specs"),
    ("", "endpoints", "services/endpoints"),
    ("", "replicationcontrollers", "controllers"),
    ("networking.k8s.io", "ingresses", "ingress"),
];

/// Everything lies below it.
pub const ROOT: &str = "/registry/";

/// The prefix of all objects of a kind, with a slash at the end.
pub fn prefix(kind: &Kind) -> String {
    let folder = RENAMED
        .iter()
        .find(|(group, plural, _)| *group == kind.group && *plural == kind.plural)
        .map_or(kind.plural, |(_, _, folder)| folder);
    // Two groups have a resource of the same name: the second carries its group.
    if kind.group == "events.k8s.io" || (kind.group.contains('.') && !kind.group.ends_with(".k8s.io")) {
        return format!("{ROOT}{}/{folder}/", kind.group);
    }
    format!("{ROOT}{folder}/")
}

/// The prefix of a kind's objects in one namespace; the prefix of all when the namespace is empty.
pub fn namespace_prefix(kind: &Kind, namespace: &str) -> String {
    let mut key = prefix(kind);
    if kind.namespaced && !namespace.is_empty() {
        key.push_str(namespace);
        key.push('/');
    }
    key
}

/// The key of one object.
pub fn object(kind: &Kind, namespace: &str, name: &str) -> String {
    let mut key = namespace_prefix(kind, namespace);
    key.push_str(name);
    key
}

/// The namespace and the name in a key of this kind.
pub fn parse<'k>(kind: &Kind, key: &'k str) -> Option<(&'k str, &'k str)> {
    let rest = key.strip_prefix(prefix(kind).as_str())?;
    if kind.namespaced { rest.split_once('/') } else { Some(("", rest)) }
}
