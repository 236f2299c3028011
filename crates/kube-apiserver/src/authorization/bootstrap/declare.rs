//! The words in which the policy is written: lists are words separated by spaces, and `core` is the group without a
//! name.

use serde_json::{Map, Value, json};

pub(super) const READ: &str = "get list watch";
pub(super) const WRITE: &str = "create delete deletecollection patch update";
pub(super) const ALL: &str = "create delete deletecollection get list patch update watch";
/// What every component that reports events may do.
pub(super) const EVENTS: Rule = rule("core events.k8s.io", "events", "create patch update");

const AGGREGATE_TO: &str = "rbac.authorization.k8s.io/aggregate-to-";

#[derive(Clone, Copy)]
pub(in crate::authorization) struct Rule {
    groups: &'static str,
    resources: &'static str,
    names: &'static str,
    urls: &'static str,
    verbs: &'static str,
}

/// Verbs on resources.
pub(super) const fn rule(groups: &'static str, resources: &'static str, verbs: &'static str) -> Rule {
    Rule { groups, resources, names: "", urls: "", verbs }
}

/// Verbs on objects of certain names.
pub(super) const fn named(
    groups: &'static str,
    resources: &'static str,
    names: &'static str,
    verbs: &'static str,
) -> Rule {
    Rule { groups, resources, names, urls: "", verbs }
}

/// Verbs on paths that are no resources.
pub(super) const fn urls(urls: &'static str, verbs: &'static str) -> Rule {
    Rule { groups: "", resources: "", names: "", urls, verbs }
}

/// A Role or ClusterRole.
#[derive(Clone, Copy)]
pub(in crate::authorization) struct Role {
    pub(super) name: &'static str,
    pub(super) rules: &'static [Rule],
    /// Gathers the rules of all ClusterRoles labelled as parts of this.
    aggregate: Option<&'static str>,
    /// The aggregate that gathers this role's rules.
    part_of: Option<&'static str>,
}

impl Role {
    pub(super) const fn new(name: &'static str, rules: &'static [Rule]) -> Self {
        Self { name, rules, aggregate: None, part_of: None }
    }

    pub(super) const fn aggregated(name: &'static str, aggregate: &'static str) -> Self {
        Self { name, rules: &[], aggregate: Some(aggregate), part_of: None }
    }

    pub(super) const fn part_of(mut self, aggregate: &'static str) -> Self {
        self.part_of = Some(aggregate);
        self
    }

    pub(in crate::authorization) fn rules_value(&self) -> Value {
        Value::Array(self.rules.iter().map(|rule| rule.to_value()).collect())
    }

    /// The API object. `prefix` goes before the name; no namespace makes it a ClusterRole.
    pub(super) fn to_value(self, prefix: &str, namespace: Option<&str>) -> Value {
        let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
        let mut object = object(kind, &format!("{prefix}{}", self.name), namespace);
        if let Some(aggregate) = self.part_of {
            object["metadata"]["labels"][format!("{AGGREGATE_TO}{aggregate}")] = "true".into();
        }
        if let Some(aggregate) = self.aggregate {
            let label = format!("{AGGREGATE_TO}{aggregate}");
            object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
        }
        object["rules"] = self.rules_value();
        object
    }
}

impl Rule {
    fn to_value(self) -> Value {
        let mut rule = Map::new();
        let lists = [
            ("verbs", self.verbs),
            ("apiGroups", self.groups),
            ("resources", self.resources),
            ("resourceNames", self.names),
            ("nonResourceURLs", self.urls),
        ];
        for (field, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            let core_is_empty = |word| if field == "apiGroups" && word == "core" { "" } else { word };
            rule.insert(field.to_owned(), list.split(' ').map(core_is_empty).collect());
        }
        Value::Object(rule)
    }
}

/// Who is bound.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    User(&'static str),
    Group(&'static str),
    /// In `kube-system`.
    ServiceAccount(&'static str),
}

impl Subject {
    fn to_value(self) -> Value {
        let group = "rbac.authorization.k8s.io";
        match self {
            Self::User(name) => json!({"kind": "User", "apiGroup": group, "name": name}),
            Self::Group(name) => json!({"kind": "Group", "apiGroup": group, "name": name}),
            Self::ServiceAccount(name) => json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}),
        }
    }
}

/// A binding of the role of the same name, unless another is given.
#[derive(Clone, Copy)]
pub(super) struct Binding {
    pub(super) name: &'static str,
    pub(super) role: &'static str,
    pub(super) subjects: &'static [Subject],
}

impl Binding {
    pub(super) const fn new(name: &'static str, subjects: &'static [Subject]) -> Self {
        Self { name, role: name, subjects }
    }

    pub(super) const fn of(mut self, role: &'static str) -> Self {
        self.role = role;
        self
    }

    pub(super) fn to_value(self, namespace: Option<&str>) -> Value {
        binding(self.name, self.role, namespace, self.subjects)
    }
}

pub(super) fn binding(name: &str, role: &str, namespace: Option<&str>, subjects: &[Subject]) -> Value {
    let (kind, role_kind) =
        if namespace.is_some() { ("RoleBinding", "Role") } else { ("ClusterRoleBinding", "ClusterRole") };
    let mut object = object(kind, name, namespace);
    if !subjects.is_empty() {
        object["subjects"] = subjects.iter().map(|subject| subject.to_value()).collect();
    }
    object["roleRef"] = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role});
    object
}

/// What all objects of the policy have: the label, and the annotation by which the server keeps them up to date.
fn object(kind: &str, name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), name.into());
    if let Some(namespace) = namespace {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    metadata.insert("labels".to_owned(), json!({"kubernetes.io/bootstrapping": "rbac-defaults"}));
    metadata.insert("annotations".to_owned(), json!({super::AUTOUPDATE: "true"}));
    json!({"kind": kind, "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata})
}
