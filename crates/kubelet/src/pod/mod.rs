//! Pods as the node reads them: small pure views over the API object, and what the runtime is told about it.

pub mod container_config;
pub mod dns;
pub mod env;
pub mod fields;
pub mod hosts;
pub mod labels;
pub mod qos;
pub mod sandbox_config;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

/// What sort of container a name in a pod belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ContainerKind {
    /// Runs before the main ones; with restartPolicy Always it is a sidecar and stays.
    Init,
    /// A main container.
    Main,
    /// Added to a running pod for looking into it.
    Ephemeral,
}

/// Reading a pod without repeating its many options.
pub trait PodExt {
    /// metadata.name, empty if absent.
    fn name(&self) -> &str;
    /// metadata.namespace.
    fn namespace(&self) -> &str;
    /// metadata.uid.
    fn uid(&self) -> &str;
    /// `name_namespace(uid)`, as messages name a pod.
    fn full_name(&self) -> String;
    /// Whether it runs in the host's network.
    fn host_network(&self) -> bool;
    /// Whether deletion was asked for.
    fn deleting(&self) -> bool;
    /// The grace period that holds now, in seconds.
    fn grace_period_seconds(&self) -> i64;
    /// spec.restartPolicy with its default.
    fn restart_policy(&self) -> &str;
    /// The spec; an empty one if absent.
    fn pod_spec(&self) -> &PodSpec;
    /// Init containers.
    fn init_containers(&self) -> &[Container];
    /// Main containers.
    fn main_containers(&self) -> &[Container];
    /// Ephemeral containers in the shape of usual ones, with their target.
    fn ephemeral_containers(&self) -> Vec<(Container, Option<String>)>;
    /// One container of any kind.
    fn find_container(&self, name: &str) -> Option<(ContainerKind, Container)>;
    /// status.phase.
    fn phase(&self) -> &str;
}

static EMPTY_SPEC: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);

impl PodExt for Pod {
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }
    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
    fn full_name(&self) -> String {
        format!("{}_{}({})", self.name(), self.namespace(), self.uid())
    }
    fn host_network(&self) -> bool {
        self.pod_spec().host_network.unwrap_or(false)
    }
    fn deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
    fn grace_period_seconds(&self) -> i64 {
        let spec = self.pod_spec().termination_grace_period_seconds.unwrap_or(30);
        let deletion = self.deleting().then_some(self.metadata.deletion_grace_period_seconds).flatten();
        deletion.unwrap_or(spec).max(1)
    }
    fn restart_policy(&self) -> &str {
        self.pod_spec().restart_policy.as_deref().unwrap_or("Always")
    }
    fn pod_spec(&self) -> &PodSpec {
        self.spec.as_ref().unwrap_or(&EMPTY_SPEC)
    }
    fn init_containers(&self) -> &[Container] {
        self.pod_spec().init_containers.as_deref().unwrap_or_default()
    }
    fn main_containers(&self) -> &[Container] {
        &self.pod_spec().containers
    }
    fn ephemeral_containers(&self) -> Vec<(Container, Option<String>)> {
        let ephemeral = self.pod_spec().ephemeral_containers.as_deref().unwrap_or_default();
        // Every field of an ephemeral container but its target is a usual container's field of the same name.
        let as_container = |value| serde_json::from_value::<Container>(value).ok();
        ephemeral
            .iter()
            .filter_map(|e| {
                Some((serde_json::to_value(e).ok().and_then(as_container)?, e.target_container_name.clone()))
            })
            .collect()
    }
    fn find_container(&self, name: &str) -> Option<(ContainerKind, Container)> {
        let among = |list: &[Container]| list.iter().find(|c| c.name == name).cloned();
        among(self.main_containers())
            .map(|c| (ContainerKind::Main, c))
            .or_else(|| among(self.init_containers()).map(|c| (ContainerKind::Init, c)))
            .or_else(|| {
                let found = self.ephemeral_containers().into_iter().find(|(c, _)| c.name == name);
                found.map(|(c, _)| (ContainerKind::Ephemeral, c))
            })
    }
    fn phase(&self) -> &str {
        self.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
    }
}

/// An init container that stays for the life of the pod.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The path of a container in its pod, as events name it: `spec.containers{web}`.
pub fn field_path(kind: ContainerKind, name: &str) -> String {
    let list = match kind {
        ContainerKind::Init => "initContainers",
        ContainerKind::Main => "containers",
        ContainerKind::Ephemeral => "ephemeralContainers",
    };
    format!("spec.{list}{{{name}}}")
}
