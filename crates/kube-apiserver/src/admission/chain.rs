//! The admission plugins in the order in which they run.

use super::Plugin;
use super::plugins::{
    certificate_approval::CertificateApproval, certificate_signing::CertificateSigning,
    certificate_subject_restriction::CertificateSubjectRestriction,
    default_toleration_seconds::DefaultTolerationSeconds, limit_ranger::LimitRanger,
    namespace_lifecycle::NamespaceLifecycle, node_restriction::NodeRestriction,
    owner_references_permission_enforcement::OwnerReferencesPermissionEnforcement, priority::Priority,
    rbac_escalation::RbacEscalation, resource_quota::ResourceQuota, service_account::ServiceAccount,
    taint_nodes_by_condition::TaintNodesByCondition,
};
use crate::Server;

/// Plugins that run only where `--enable-admission-plugins` names them.
const OFF_BY_DEFAULT: [&str; 1] = ["OwnerReferencesPermissionEnforcement"];

/// The plugins that are switched on.
pub struct Chain(Vec<Box<dyn Plugin>>);

impl Chain {
    /// One line a plugin; quota is last because it accounts for what all others let through.
    pub fn new(server: &Server) -> Self {
        let all: Vec<Box<dyn Plugin>> = vec![
            Box::new(NamespaceLifecycle),
            Box::new(RbacEscalation),
            Box::new(LimitRanger),
            Box::new(ServiceAccount),
            Box::new(NodeRestriction),
            Box::new(TaintNodesByCondition),
            Box::new(Priority),
            Box::new(DefaultTolerationSeconds),
            Box::new(CertificateApproval),
            Box::new(CertificateSigning),
            Box::new(CertificateSubjectRestriction),
            Box::new(OwnerReferencesPermissionEnforcement),
            Box::new(ResourceQuota),
        ];
        let config = &server.config;
        let named = |list: &[String], plugin: &str| list.iter().any(|name| name == plugin);
        let is_on = |plugin: &str| {
            let wanted = !OFF_BY_DEFAULT.contains(&plugin) || named(&config.enable_admission_plugins, plugin);
            wanted && !named(&config.disable_admission_plugins, plugin)
        };
        Self(all.into_iter().filter(|plugin| is_on(plugin.name())).collect())
    }

    pub fn plugins(&self) -> impl Iterator<Item = &dyn Plugin> {
        self.0.iter().map(AsRef::as_ref)
    }
}
