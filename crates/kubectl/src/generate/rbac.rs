//! Roles and bindings.

use std::collections::BTreeMap;

use clap::{Arg, Command};
use serde_json::{Map, Value, json};

use super::{Generator, Input, object, required};
use crate::error::{Error, Result};
use crate::flags::{Flags, list, option};

const VERSION: &str = "rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";

fn rule_flags() -> [Arg; 3] {
    [
        list("verb", "Allowed verbs"),
        list("resource", "Resources, e.g. pods, deployments.apps, pods/log"),
        list("resource-name", "Names of the objects that are allowed"),
    ]
}

fn subject_flags() -> [Arg; 3] {
    [
        list("user", "User to bind"),
        list("group", "Group to bind"),
        list("serviceaccount", "Service account to bind, NAMESPACE:NAME"),
    ]
}

pub const ROLE: Generator = Generator {
    path: &["role"],
    command: || Command::new("role").about("Create a role with one rule").args(rule_flags()),
    build: |input| Ok(object(VERSION, "Role", input.name, json!({"rules": rules(input)?}))),
    needs_discovery: true,
};

pub const CLUSTER_ROLE: Generator = Generator {
    path: &["clusterrole"],
    command: || {
        Command::new("clusterrole").about("Create a cluster role").args(rule_flags()).args([
            list("non-resource-url", "Paths that are no resources"),
            list("aggregation-rule", "Labels of the cluster roles to take together"),
        ])
    },
    build: |input| {
        let matches = input.matches;
        let urls = matches.split("non-resource-url");
        if let [label, ..] = matches.split("aggregation-rule").as_slice() {
            let Some((key, value)) = label.split_once('=') else {
                return Err(Error::message(format!("invalid aggregation rule {label}, expected key=value")));
            };
            let rule = json!({"clusterRoleSelectors": [{"matchLabels": {key: value}}]});
            return Ok(object(VERSION, "ClusterRole", input.name, json!({"rules": null, "aggregationRule": rule})));
        }
        let mut found =
            if matches.split("resource").is_empty() && !urls.is_empty() { Vec::new() } else { rules(input)? };
        if !urls.is_empty() {
            found.push(json!({"verbs": required(matches.split("verb"), "verb")?, "nonResourceURLs": urls}));
        }
        Ok(object(VERSION, "ClusterRole", input.name, json!({"rules": found})))
    },
    needs_discovery: true,
};

pub const ROLE_BINDING: Generator = Generator {
    path: &["rolebinding"],
    command: || {
        Command::new("rolebinding")
            .about("Bind a role or cluster role in a namespace")
            .args(subject_flags())
            .args([option("clusterrole", "Cluster role to bind"), option("role", "Role to bind")])
    },
    build: |input| {
        let (kind, name) = match (input.matches.text("clusterrole"), input.matches.text("role")) {
            (Some(name), None) => ("ClusterRole", name),
            (None, Some(name)) => ("Role", name),
            _ => return Err(Error::message("exactly one of clusterrole or role must be specified")),
        };
        binding(input, "RoleBinding", kind, name)
    },
    needs_discovery: false,
};

pub const CLUSTER_ROLE_BINDING: Generator = Generator {
    path: &["clusterrolebinding"],
    command: || {
        Command::new("clusterrolebinding")
            .about("Bind a cluster role in the whole cluster")
            .args(subject_flags())
            .arg(option("clusterrole", "Cluster role to bind"))
    },
    build: |input| match input.matches.text("clusterrole") {
        Some(role) => binding(input, "ClusterRoleBinding", "ClusterRole", role),
        None => Err(Error::message("required flag(s) \"clusterrole\" not set")),
    },
    needs_discovery: false,
};

fn binding(input: &Input<'_>, kind: &str, role_kind: &str, role: &str) -> Result<Value> {
    let mut subjects = Vec::new();
    for (flag, kind) in [("user", "User"), ("group", "Group")] {
        for name in input.matches.split(flag) {
            subjects.push(json!({"kind": kind, "apiGroup": GROUP, "name": name}));
        }
    }
    for account in input.matches.split("serviceaccount") {
        let Some((namespace, name)) =
            account.split_once(':').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
        else {
            return Err(Error::message("serviceaccount must be <namespace>:<name>"));
        };
        subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
    }
    let mut rest = Map::new();
    if !subjects.is_empty() {
        rest.insert("subjects".into(), subjects.into());
    }
    rest.insert("roleRef".into(), json!({"apiGroup": GROUP, "kind": role_kind, "name": role}));
    Ok(object(VERSION, kind, input.name, Value::Object(rest)))
}

/// One rule for each API group that the resources are of.
fn rules(input: &Input<'_>) -> Result<Vec<Value>> {
    let matches = input.matches;
    let mut verbs =
        required(matches.split("verb"), "verb").map_err(|_| Error::message("at least one verb must be specified"))?;
    if verbs.iter().any(|verb| verb == "*") {
        verbs = vec!["*".to_owned()];
    }
    let resources = matches.split("resource");
    if resources.is_empty() {
        return Err(Error::message("at least one resource must be specified"));
    }
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for word in resources {
        let (base, subresource) = word.split_once('/').map_or((word.as_str(), None), |(base, sub)| (base, Some(sub)));
        let (group, plural) = if base == "*" {
            (String::new(), "*".to_owned())
        } else {
            let Some(found) = input.discovery.and_then(|discovery| discovery.candidates(base).first().copied()) else {
                return Err(Error::Plain(format!("the server doesn't have a resource type \"{base}\"")));
            };
            (found.group.clone(), found.plural.clone())
        };
        let name = subresource.map_or_else(|| plural.clone(), |subresource| format!("{plural}/{subresource}"));
        groups.entry(group).or_default().push(name);
    }
    let names = matches.split("resource-name");
    Ok(groups
        .into_iter()
        .map(|(group, resources)| {
            let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources});
            if !names.is_empty() {
                rule["resourceNames"] = json!(names);
            }
            rule
        })
        .collect())
}
