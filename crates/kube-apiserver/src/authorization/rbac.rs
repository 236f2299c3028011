//! RBAC: the four kinds compiled into an index by subject, rebuilt when one of them changed.
//!
//! A question looks up the bindings of the user's name and of each group, cluster-wide and in the namespace asked
//! about, and tries the rules of each bound role. So its cost depends on what the user is bound to, not on the size of
//! the policy.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use parking_lot::Mutex;

use super::{Attributes, Authorize, Decision, rules};
use crate::{UserInfo, user};

/// Where the policy comes from: the registry, or a test.
pub trait PolicySource: Send + Sync {
    /// Changes whenever what `load` returns does.
    fn revision(&self) -> [u64; 4];
    fn load(&self) -> Policy;
}

/// All objects of RBAC, each list ordered by namespace and name.
#[derive(Clone, Default)]
pub struct Policy {
    pub cluster_roles: Vec<Arc<ClusterRole>>,
    pub cluster_role_bindings: Vec<Arc<ClusterRoleBinding>>,
    pub roles: Vec<Arc<Role>>,
    pub role_bindings: Vec<Arc<RoleBinding>>,
}

pub(super) struct Rbac {
    source: Box<dyn PolicySource>,
    index: ArcSwap<Index>,
    rebuild: Mutex<()>,
}

#[derive(Default)]
struct Index {
    revision: Option<[u64; 4]>,
    roles: HashMap<RoleKey, Rules>,
    cluster: Scope,
    namespaces: HashMap<String, Scope>,
}

type Rules = Arc<[PolicyRule]>;

#[derive(PartialEq, Eq, Hash)]
struct RoleKey {
    /// `None` for a ClusterRole.
    namespace: Option<String>,
    name: String,
}

/// The bindings of one namespace, or those of the whole cluster.
#[derive(Default)]
struct Scope {
    grants: Vec<Grant>,
    /// By user name: the grant and the subject of the binding that named it.
    users: HashMap<String, Vec<(usize, Subject)>>,
    groups: HashMap<String, Vec<(usize, Subject)>>,
}

struct Grant {
    /// `ClusterRoleBinding "b" of ClusterRole "r"`
    description: String,
    /// The rules of the role, or the error that it does not exist.
    rules: Result<Rules, String>,
}

impl Rbac {
    pub(super) fn new(source: impl PolicySource + 'static) -> Self {
        Self { source: Box::new(source), index: ArcSwap::default(), rebuild: Mutex::default() }
    }

    pub(super) fn granted(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        let index = self.index();
        let mut seen = Vec::new();
        for (grant, _) in index.grants(user, namespace) {
            // A binding that names the user and one of its groups counts once.
            if seen.contains(&std::ptr::from_ref(grant)) {
                continue;
            }
            seen.push(std::ptr::from_ref(grant));
            match &grant.rules {
                Ok(rules) => all.extend(rules.iter().cloned()),
                Err(error) => errors.push(error.clone()),
            }
        }
        (all, errors)
    }

    pub(super) fn role_rules(&self, namespace: &str, role_kind: &str, name: &str) -> Option<Vec<PolicyRule>> {
        let namespace = (role_kind == "Role").then(|| namespace.to_owned());
        let key = RoleKey { namespace, name: name.to_owned() };
        self.index().roles.get(&key).map(|rules| rules.to_vec())
    }

    fn index(&self) -> Arc<Index> {
        let revision = self.source.revision();
        let index = self.index.load_full();
        if index.revision == Some(revision) {
            return index;
        }
        // One rebuilds, the others wait for it: an answer from an old index could allow what was just taken away.
        let _guard = self.rebuild.lock();
        let index = self.index.load_full();
        let revision = self.source.revision();
        if index.revision == Some(revision) {
            return index;
        }
        let index = Arc::new(Index::new(revision, &self.source.load()));
        self.index.store(index.clone());
        index
    }
}

impl Authorize for Rbac {
    fn decide(&self, attributes: &Attributes) -> Decision {
        if self.index().granting(attributes).is_some() { Decision::Allow } else { Decision::NoOpinion }
    }

    fn authorize(&self, attributes: &Attributes) -> (Decision, String) {
        let index = self.index();
        if let Some((grant, subject)) = index.granting(attributes) {
            let reason = format!("RBAC: allowed by {} to {}", grant.description, describe_subject(subject));
            return (Decision::Allow, reason);
        }
        let errors: Vec<String> = index
            .grants(attributes.user, attributes.namespace)
            .filter_map(|(grant, _)| grant.rules.as_ref().err().cloned())
            .collect();
        let reason = match &errors[..] {
            [] => String::new(),
            [error] => format!("RBAC: {error}"),
            errors => format!("RBAC: [{}]", errors.join(", ")),
        };
        (Decision::NoOpinion, reason)
    }

    fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>, bool) {
        let (rules, errors) = self.granted(user, namespace);
        (rules, errors, false)
    }
}

impl Index {
    fn new(revision: [u64; 4], policy: &Policy) -> Self {
        let mut index = Self { revision: Some(revision), ..Self::default() };
        for role in &policy.cluster_roles {
            index.add_role(None, role.metadata.name.as_deref(), role.rules.as_deref());
        }
        for role in &policy.roles {
            index.add_role(role.metadata.namespace.clone(), role.metadata.name.as_deref(), role.rules.as_deref());
        }
        for binding in &policy.cluster_role_bindings {
            let name = binding.metadata.name.as_deref().unwrap_or_default();
            let grant = index.grant("ClusterRoleBinding", name.to_owned(), "", &binding.role_ref);
            index.cluster.add(grant, binding.subjects.as_deref().unwrap_or_default(), "");
        }
        for binding in &policy.role_bindings {
            let namespace = binding.metadata.namespace.as_deref().unwrap_or_default();
            let name = format!("{}/{namespace}", binding.metadata.name.as_deref().unwrap_or_default());
            let grant = index.grant("RoleBinding", name, namespace, &binding.role_ref);
            let scope = index.namespaces.entry(namespace.to_owned()).or_default();
            scope.add(grant, binding.subjects.as_deref().unwrap_or_default(), namespace);
        }
        index
    }

    fn add_role(&mut self, namespace: Option<String>, name: Option<&str>, rules: Option<&[PolicyRule]>) {
        let key = RoleKey { namespace, name: name.unwrap_or_default().to_owned() };
        self.roles.insert(key, rules.unwrap_or_default().into());
    }

    fn grant(&self, kind: &str, name: String, namespace: &str, role: &RoleRef) -> Grant {
        let in_namespace = (role.kind == "Role").then(|| namespace.to_owned());
        let rules = self.roles.get(&RoleKey { namespace: in_namespace, name: role.name.clone() });
        let quote = machinery::go_text::quote;
        Grant {
            description: format!("{kind} {} of {} {}", quote(&name), role.kind, quote(&role.name)),
            rules: rules.cloned().ok_or_else(|| {
                format!("{}.rbac.authorization.k8s.io {} not found", role.kind.to_lowercase(), quote(&role.name))
            }),
        }
    }

    fn granting<'a>(&'a self, attributes: &Attributes<'a>) -> Option<(&'a Grant, &'a Subject)> {
        self.grants(attributes.user, attributes.namespace).find(|(grant, _)| {
            grant.rules.iter().flat_map(|rules| rules.iter()).any(|rule| rules::allows(rule, attributes))
        })
    }

    /// What the user is bound to: cluster-wide, then in the namespace.
    fn grants<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: &str,
    ) -> impl Iterator<Item = (&'a Grant, &'a Subject)> + use<'a> {
        let namespaced = if namespace.is_empty() { None } else { self.namespaces.get(namespace) };
        [Some(&self.cluster), namespaced].into_iter().flatten().flat_map(move |scope| {
            let users = scope.users.get(&user.name);
            let groups = user.groups.iter().filter_map(|group| scope.groups.get(group));
            users.into_iter().chain(groups).flatten().map(|(grant, subject)| (&scope.grants[*grant], subject))
        })
    }
}

impl Scope {
    fn add(&mut self, grant: Grant, subjects: &[Subject], namespace: &str) {
        let number = self.grants.len();
        self.grants.push(grant);
        for subject in subjects {
            let mut subject = subject.clone();
            let entry = match subject.kind.as_str() {
                "User" => self.users.entry(subject.name.clone()),
                "Group" => self.groups.entry(subject.name.clone()),
                "ServiceAccount" => {
                    // A RoleBinding's ServiceAccount without a namespace is one of the binding's namespace.
                    let own = subject.namespace.take().filter(|own| !own.is_empty());
                    let own = own.unwrap_or_else(|| namespace.to_owned());
                    if own.is_empty() {
                        continue;
                    }
                    let name = user::service_account_name(&own, &subject.name);
                    subject.namespace = Some(own);
                    self.users.entry(name)
                }
                _ => continue,
            };
            entry.or_default().push((number, subject));
        }
    }
}

fn describe_subject(subject: &Subject) -> String {
    let name = match &subject.namespace {
        Some(namespace) if subject.kind == "ServiceAccount" => format!("{}/{namespace}", subject.name),
        _ => subject.name.clone(),
    };
    format!("{} {}", subject.kind, machinery::go_text::quote(&name))
}
