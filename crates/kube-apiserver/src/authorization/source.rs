//! The policy as it is in the registry, always current.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};

use super::GROUP;
use super::rbac::{Policy, PolicySource};
use crate::registry::{Reflected, Registry};

/// The four kinds of RBAC.
pub struct RegistryPolicy {
    cluster_roles: Arc<Reflected<ClusterRole>>,
    cluster_role_bindings: Arc<Reflected<ClusterRoleBinding>>,
    roles: Arc<Reflected<Role>>,
    role_bindings: Arc<Reflected<RoleBinding>>,
}

impl RegistryPolicy {
    /// `None` when the API has no RBAC.
    pub fn new(registry: &Registry) -> Option<Self> {
        let kind = |plural| api::find(GROUP, "v1", plural).map(|(kind, _)| kind);
        Some(Self {
            cluster_roles: registry.reflected(kind("clusterroles")?),
            cluster_role_bindings: registry.reflected(kind("clusterrolebindings")?),
            roles: registry.reflected(kind("roles")?),
            role_bindings: registry.reflected(kind("rolebindings")?),
        })
    }
}

impl PolicySource for RegistryPolicy {
    fn revision(&self) -> [u64; 4] {
        [
            self.cluster_roles.revision(),
            self.cluster_role_bindings.revision(),
            self.roles.revision(),
            self.role_bindings.revision(),
        ]
    }

    fn load(&self) -> Policy {
        Policy {
            cluster_roles: self.cluster_roles.list().to_vec(),
            cluster_role_bindings: self.cluster_role_bindings.list().to_vec(),
            roles: self.roles.list().to_vec(),
            role_bindings: self.role_bindings.list().to_vec(),
        }
    }
}
