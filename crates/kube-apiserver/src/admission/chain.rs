//! The admission plugins in the order in which they run.

use super::Plugin;
use super::plugins::{
    default_toleration_seconds::DefaultTolerationSeconds, limit_ranger::LimitRanger,
    namespace_lifecycle::NamespaceLifecycle, priority::Priority, rbac_escalation::RbacEscalation,
    resource_quota::ResourceQuota, service_account::ServiceAccount, taint_nodes_by_condition::TaintNodesByCondition,
};
use crate::Server;

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
            Box::new(TaintNodesByCondition),
            Box::new(Priority),
            Box::new(DefaultTolerationSeconds),
            Box::new(ResourceQuota),
        ];
        let disabled = &server.config.disable_admission_plugins;
        Self(all.into_iter().filter(|plugin| !disabled.iter().any(|name| name == plugin.name())).collect())
    }

    pub fn plugins(&self) -> impl Iterator<Item = &dyn Plugin> {
        self.0.iter().map(AsRef::as_ref)
    }
}
