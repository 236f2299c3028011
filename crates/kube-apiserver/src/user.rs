//! Who asks: the identity that authentication found and that authorization, admission and audit judge.

use std::collections::BTreeMap;

pub const ANONYMOUS: &str = "system:anonymous";
pub const UNAUTHENTICATED_GROUP: &str = "system:unauthenticated";
pub const AUTHENTICATED_GROUP: &str = "system:authenticated";
pub const MASTERS_GROUP: &str = "system:masters";
pub const NODES_GROUP: &str = "system:nodes";
pub const SERVICE_ACCOUNTS_GROUP: &str = "system:serviceaccounts";
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// An identity: `groups` holds `system:authenticated` or `system:unauthenticated` once the chain has seen it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    pub name: String,
    pub uid: Option<String>,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    pub fn new<G: Into<String>>(name: impl Into<String>, groups: impl IntoIterator<Item = G>) -> Self {
        let groups = groups.into_iter().map(Into::into).collect();
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// The identity of a request without credentials.
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, [UNAUTHENTICATED_GROUP])
    }

    /// The identity of a ServiceAccount, with the groups that every one of them has.
    pub fn service_account(namespace: &str, name: &str, uid: Option<String>) -> Self {
        let mut user = Self::new(
            service_account_name(namespace, name),
            [SERVICE_ACCOUNTS_GROUP.to_owned(), service_account_group(namespace)],
        );
        user.uid = uid;
        user
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The namespace and name when this is a ServiceAccount.
    pub fn as_service_account(&self) -> Option<(&str, &str)> {
        split_service_account(&self.name)
    }

    /// The node's name when this is a kubelet: `system:node:NAME` in the group of nodes.
    pub fn as_node(&self) -> Option<&str> {
        let name = self.name.strip_prefix("system:node:")?;
        (!name.is_empty() && self.in_group(NODES_GROUP)).then_some(name)
    }

    /// Appends `system:authenticated`, unless the identity is the anonymous one or has the group.
    pub fn with_authenticated_group(mut self) -> Self {
        let known = [AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP];
        if self.name != ANONYMOUS && !self.groups.iter().any(|group| known.contains(&group.as_str())) {
            self.groups.push(AUTHENTICATED_GROUP.to_owned());
        }
        self
    }
}

/// `system:serviceaccount:NAMESPACE:NAME`
pub fn service_account_name(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// The group of all ServiceAccounts of a namespace.
pub fn service_account_group(namespace: &str) -> String {
    format!("{SERVICE_ACCOUNTS_GROUP}:{namespace}")
}

/// The reverse of [`service_account_name`], for names that can be names of ServiceAccounts.
pub fn split_service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    let valid = machinery::names::is_dns1123_label(namespace).is_empty()
        && machinery::names::is_dns1123_subdomain(name).is_empty();
    valid.then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_account_names_split_only_when_well_formed() {
        assert_eq!(split_service_account("system:serviceaccount:ns:sa.x"), Some(("ns", "sa.x")));
        for bad in ["system:serviceaccount:ns", "system:serviceaccount::x", "system:serviceaccount:a:b:c", "bob"] {
            assert_eq!(split_service_account(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_node_needs_name_and_group() {
        assert_eq!(UserInfo::new("system:node:n1", [NODES_GROUP]).as_node(), Some("n1"));
        assert_eq!(UserInfo::new("system:node:n1", ["other"]).as_node(), None);
        assert_eq!(UserInfo::new("system:node:", [NODES_GROUP]).as_node(), None);
    }

    #[test]
    fn authenticated_group_is_appended_once_and_never_to_anonymous() {
        let bob = UserInfo::new("bob", ["dev"]).with_authenticated_group().with_authenticated_group();
        assert_eq!(bob.groups, ["dev", AUTHENTICATED_GROUP]);
        assert_eq!(UserInfo::anonymous().with_authenticated_group(), UserInfo::anonymous());
    }
}
