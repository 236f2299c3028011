//! What is checked: a pod's annotations and spec, its containers of all three lists seen alike.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerPort, Lifecycle, PodSecurityContext, PodSpec, Probe, SecurityContext};

pub struct Subject<'a> {
    pub annotations: Option<&'a BTreeMap<String, String>>,
    pub spec: &'a PodSpec,
}

/// What the checks look at of a container.
pub struct Container<'a> {
    pub name: &'a str,
    pub security: Option<&'a SecurityContext>,
    pub ports: &'a [ContainerPort],
    pub probes: [Option<&'a Probe>; 3],
    pub lifecycle: Option<&'a Lifecycle>,
}

impl<'a> Subject<'a> {
    /// Init containers, containers, ephemeral containers: the order in which messages name them.
    pub fn containers(&self) -> impl Iterator<Item = Container<'a>> + use<'a> {
        let spec = self.spec;
        let regular = spec.init_containers.iter().flatten().chain(&spec.containers).map(|c| Container {
            name: &c.name,
            security: c.security_context.as_ref(),
            ports: c.ports.as_deref().unwrap_or_default(),
            probes: [c.liveness_probe.as_ref(), c.readiness_probe.as_ref(), c.startup_probe.as_ref()],
            lifecycle: c.lifecycle.as_ref(),
        });
        let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| Container {
            name: &c.name,
            security: c.security_context.as_ref(),
            ports: c.ports.as_deref().unwrap_or_default(),
            probes: [c.liveness_probe.as_ref(), c.readiness_probe.as_ref(), c.startup_probe.as_ref()],
            lifecycle: c.lifecycle.as_ref(),
        });
        regular.chain(ephemeral)
    }

    /// The names of the containers that are `bad`.
    pub fn names_of(&self, mut bad: impl FnMut(&Container<'a>) -> bool) -> Vec<&'a str> {
        self.containers().filter(|container| bad(container)).map(|container| container.name).collect()
    }

    pub fn security(&self) -> Option<&'a PodSecurityContext> {
        self.spec.security_context.as_ref()
    }

    pub fn annotation(&self, key: &str) -> Option<&'a str> {
        self.annotations?.get(key).map(String::as_str)
    }

    pub fn is_windows(&self) -> bool {
        self.spec.os.as_ref().is_some_and(|os| os.name == "windows")
    }

    /// Root in a user namespace of its own is nobody outside of it.
    pub fn has_user_namespace(&self) -> bool {
        self.spec.host_users == Some(false)
    }
}
