//! Where an object lies in the store: laid out as upstream lays out its etcd keys, so that both can read one store.
//!
//! `/registry/<resource>/<namespace>/<name>`; a few resources keep the names that they had before they got their
//! present ones, and kinds of groups that are not built in lie below `/registry/<group>/<resource>`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use api::{IndexedField, Kind};

/// The folder names that differ from the resource's own.
const RENAMED: &[(&str, &str, &str)] = &[
    ("", "nodes", "minions"),
    ("", "services", "services/specs"),
    ("", "endpoints", "services/endpoints"),
    ("", "replicationcontrollers", "controllers"),
    ("networking.k8s.io", "ingresses", "ingress"),
];

/// The built-in groups whose resources carry the group: one has a resource of another group's name, the others are
/// the groups of the servers that stood beside the first one.
const GROUPED: &[&str] = &["events.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io"];

/// Everything lies below it.
pub const ROOT: &str = "/registry/";

/// Keys that servers keep to tell that they are there; each is an Endpoints.
pub const MASTER_LEASES: &str = "/registry/masterleases/";

/// The prefix of all objects of a kind, with a slash at the end.
pub fn prefix(kind: &Kind) -> String {
    if kind.custom.is_some() {
        // Whatever they are called: no definition reaches the objects of a built-in kind.
        return format!("{ROOT}{}/{}/", kind.group, kind.plural);
    }
    let folder = RENAMED
        .iter()
        .find(|(group, plural, _)| *group == kind.group && *plural == kind.plural)
        .map_or(kind.plural, |(_, _, folder)| folder);
    // A name that ends in k8s.io does not make a group built in: anyone may define kinds in such a group.
    let built_in = api::ALL.iter().any(|other| other.group == kind.group);
    if !built_in || GROUPED.contains(&kind.group) {
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

/// The built-in kind whose objects lie where this key does.
pub fn built_in(key: &str) -> Option<&'static Kind> {
    static BUILT_IN: LazyLock<HashMap<String, &Kind>> = LazyLock::new(|| {
        let leases = (MASTER_LEASES.to_owned(), &api::core::endpoints::KIND);
        api::ALL.iter().map(|kind| (prefix(kind), *kind)).chain([leases]).collect()
    });
    // Prefixes have one or two components below the root.
    let rest = key.strip_prefix(ROOT)?;
    let mut ends = rest.match_indices('/').map(|(at, _)| ROOT.len() + at + 1);
    let found = [ends.next(), ends.next()].into_iter().flatten().find_map(|end| BUILT_IN.get(&key[..end]));
    found.copied()
}

/// The value of the field that objects of the key's kind are found by (see [`api::IndexedField`]).
pub fn indexed(key: &str, stored: &[u8]) -> Option<Arc<str>> {
    static INDEXED: LazyLock<Vec<(String, &IndexedField)>> = LazyLock::new(|| {
        api::ALL.iter().filter_map(|kind| Some((prefix(kind), kind.indexed_field.as_ref()?))).collect()
    });
    let (_, field) = INDEXED.iter().find(|(prefix, _)| key.starts_with(prefix))?;
    (field.value)(stored).map(Arc::from)
}

/// The group and the resource of a key, also of a kind that nobody has declared yet.
pub fn resource(key: &str) -> Option<(String, String)> {
    if let Some(kind) = built_in(key) {
        return Some((kind.group.to_owned(), kind.plural.to_owned()));
    }
    let mut parts = key.strip_prefix(ROOT)?.split('/');
    let group = parts.next().filter(|group| group.contains('.'))?;
    Some((group.to_owned(), parts.next()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_foreign_groups_carry_their_group() {
        for group in ["example.com", "policy.networking.k8s.io", "apiextensions.k8s.io"] {
            let kind = Kind { group, plural: "networkpolicies", ..Kind::BASE };
            let key = object(&kind, "ns", "a");
            assert_eq!(key, format!("/registry/{group}/networkpolicies/ns/a"));
            assert_eq!(parse(&kind, &key), Some(("ns", "a")));
        }
        let built_in = Kind { group: "apps", plural: "deployments", ..Kind::BASE };
        assert_eq!(object(&built_in, "ns", "a"), "/registry/deployments/ns/a");
        let twin = Kind { group: "events.k8s.io", plural: "events", ..Kind::BASE };
        assert_eq!(prefix(&twin), "/registry/events.k8s.io/events/");
    }

    #[test]
    fn keys_tell_their_resource() {
        for (key, wanted) in [
            ("/registry/secrets/ns/a", Some(("", "secrets"))),
            ("/registry/minions/a", Some(("", "nodes"))),
            ("/registry/services/endpoints/ns/a", Some(("", "endpoints"))),
            ("/registry/deployments/ns/a", Some(("apps", "deployments"))),
            ("/registry/example.com/widgets/ns/a", Some(("example.com", "widgets"))),
            ("/registry/ranges/x", None),
            ("/elsewhere", None),
        ] {
            let wanted = wanted.map(|(group, resource)| (group.to_owned(), resource.to_owned()));
            assert_eq!(resource(key), wanted, "{key}");
        }
    }
}
