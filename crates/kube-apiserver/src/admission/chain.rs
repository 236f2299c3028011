//! The admission plugins in the order in which they run.

use super::Plugin;
use super::config::{ConfigError, PluginConfigs};
use super::plugins::{
    always::{AlwaysAdmit, AlwaysDeny},
    always_pull_images::AlwaysPullImages,
    certificate_approval::CertificateApproval,
    certificate_signing::CertificateSigning,
    certificate_subject_restriction::CertificateSubjectRestriction,
    default_ingress_class::DefaultIngressClass,
    default_storage_class::DefaultStorageClass,
    default_toleration_seconds::DefaultTolerationSeconds,
    deny_service_external_ips::DenyServiceExternalIPs,
    event_rate_limit::EventRateLimit,
    extended_resource_toleration::ExtendedResourceToleration,
    image_policy_webhook::ImagePolicyWebhook,
    limit_pod_hard_anti_affinity_topology::LimitPodHardAntiAffinityTopology,
    limit_ranger::LimitRanger,
    namespace_auto_provision::NamespaceAutoProvision,
    namespace_exists::NamespaceExists,
    namespace_lifecycle::NamespaceLifecycle,
    node_restriction::NodeRestriction,
    owner_references_permission_enforcement::OwnerReferencesPermissionEnforcement,
    persistent_volume_claim_resize::PersistentVolumeClaimResize,
    pod_node_selector::PodNodeSelector,
    pod_security::PodSecurity,
    pod_toleration_restriction::PodTolerationRestriction,
    priority::Priority,
    rbac_escalation::RbacEscalation,
    resource_quota::ResourceQuota,
    runtime_class::RuntimeClass,
    service_account::ServiceAccount,
    storage_object_in_use_protection::StorageObjectInUseProtection,
    taint_nodes_by_condition::TaintNodesByCondition,
};
use super::policy::{MutatingAdmissionPolicy, ValidatingAdmissionPolicy};
use super::webhook::{MutatingAdmissionWebhook, ValidatingAdmissionWebhook};
use crate::Config;

/// Plugins that run only where `--enable-admission-plugins` names them.
const OFF_BY_DEFAULT: [&str; 13] = [
    "AlwaysAdmit",
    "NamespaceAutoProvision",
    "NamespaceExists",
    "LimitPodHardAntiAffinityTopology",
    "AlwaysPullImages",
    "ImagePolicyWebhook",
    "PodNodeSelector",
    "PodTolerationRestriction",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "OwnerReferencesPermissionEnforcement",
    "DenyServiceExternalIPs",
    "AlwaysDeny",
];

/// The plugins that are switched on.
pub struct Chain(Vec<Box<dyn Plugin>>);

#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    #[error("{0} plugin {1:?} is unknown")]
    Unknown(&'static str, String),
    #[error("{0:?} in enable-admission-plugins and disable-admission-plugins overlapped")]
    Both(String),
    #[error("admission plugin {0:?} needs its part of admission-control-config-file")]
    NoConfig(&'static str),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Chain {
    /// The plugins that the flags leave on.
    pub fn open(config: &Config) -> Result<Self, ChainError> {
        let configs = PluginConfigs::open(config.admission_control_config_file.as_deref())?;
        let all = Self::all(&configs)?;
        let (enabled, disabled) = (&config.enable_admission_plugins, &config.disable_admission_plugins);
        // What has no name cannot be switched.
        let is_known = |name: &String| !name.is_empty() && all.iter().any(|plugin| plugin.name() == name);
        for (flag, names) in [("enable-admission-plugins", enabled), ("disable-admission-plugins", disabled)] {
            if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
                return Err(ChainError::Unknown(flag, unknown.clone()));
            }
        }
        if let Some(both) = enabled.iter().find(|name| disabled.contains(name)) {
            return Err(ChainError::Both(both.clone()));
        }
        let named = |list: &[String], plugin: &str| list.iter().any(|name| name == plugin);
        let is_on =
            |plugin: &str| (!OFF_BY_DEFAULT.contains(&plugin) || named(enabled, plugin)) && !named(disabled, plugin);
        let on: Vec<Box<dyn Plugin>> = all.into_iter().filter(|plugin| is_on(plugin.name())).collect();
        match on.iter().find(|plugin| plugin.needs_config()) {
            Some(plugin) => Err(ChainError::NoConfig(plugin.name())),
            None => Ok(Self(on)),
        }
    }

    /// One line a plugin; quota comes last of those that do something, because it accounts for what all others let
    /// through.
    fn all(configs: &PluginConfigs) -> Result<Vec<Box<dyn Plugin>>, ConfigError> {
        Ok(vec![
            Box::new(AlwaysAdmit),
            Box::new(NamespaceAutoProvision),
            Box::new(NamespaceLifecycle),
            Box::new(RbacEscalation),
            Box::new(NamespaceExists),
            Box::new(LimitPodHardAntiAffinityTopology),
            Box::new(LimitRanger),
            Box::new(ServiceAccount),
            Box::new(NodeRestriction),
            Box::new(TaintNodesByCondition),
            Box::new(AlwaysPullImages),
            Box::new(ImagePolicyWebhook::open(configs)?),
            Box::new(PodSecurity::open(configs)?),
            Box::new(PodNodeSelector::open(configs)?),
            Box::new(Priority),
            Box::new(DefaultTolerationSeconds),
            Box::new(PodTolerationRestriction::open(configs)?),
            Box::new(EventRateLimit::open(configs)?),
            Box::new(ExtendedResourceToleration),
            Box::new(DefaultStorageClass),
            Box::new(StorageObjectInUseProtection),
            Box::new(OwnerReferencesPermissionEnforcement),
            Box::new(PersistentVolumeClaimResize),
            Box::new(RuntimeClass),
            Box::new(CertificateApproval),
            Box::new(CertificateSigning),
            Box::new(CertificateSubjectRestriction),
            Box::new(DefaultIngressClass),
            Box::new(DenyServiceExternalIPs),
            Box::new(MutatingAdmissionPolicy),
            Box::new(MutatingAdmissionWebhook::open(configs)?),
            Box::new(ValidatingAdmissionPolicy),
            Box::new(ValidatingAdmissionWebhook::open(configs)?),
            Box::new(ResourceQuota),
            Box::new(AlwaysDeny),
        ])
    }

    pub fn plugins(&self) -> impl Iterator<Item = &dyn Plugin> {
        self.0.iter().map(AsRef::as_ref)
    }
}
