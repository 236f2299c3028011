//! Containers, init containers and ephemeral containers.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerResizePolicy, ContainerRestartRule, EphemeralContainer, Volume,
};
use machinery::field::{Error, ErrorList, Path};
use machinery::names;

use super::{env, handlers, mounts, resources, security};
use crate::checks;

/// What a container's check needs to know of its pod.
pub struct Scope<'a> {
    pub volumes: &'a [&'a Volume],
    pub claims: &'a [&'a str],
    pub grace_period_seconds: Option<i64>,
    pub restart_policy: &'a str,
    pub host_users: Option<bool>,
    pub host_network: bool,
    pub os: Option<&'a str>,
}

const MAX_RESTART_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;

/// spec.containers. A pod has at least one.
pub fn regular(containers: &[Container], scope: &Scope, path: &Path) -> ErrorList {
    if containers.is_empty() {
        return vec![Error::required(path, "")];
    }
    let mut errors = ErrorList::new();
    for (i, container) in containers.iter().enumerate() {
        let path = path.index(i);
        errors.extend(common(container, scope, &path));
        if containers[..i].iter().any(|other| other.name == container.name) {
            errors.push(Error::duplicate(&path.child("name"), &container.name));
        }
        errors.extend(handlers::lifecycle(container.lifecycle.as_ref(), scope, &path.child("lifecycle")));
        errors.extend(handlers::liveness(container.liveness_probe.as_ref(), scope, &path.child("livenessProbe")));
        errors.extend(handlers::readiness(container.readiness_probe.as_ref(), scope, &path.child("readinessProbe")));
        errors.extend(handlers::startup(container.startup_probe.as_ref(), scope, &path.child("startupProbe")));
        errors.extend(restart_policy(container, &path));
    }
    errors.extend(host_port_conflicts(containers, path));
    errors
}

/// spec.initContainers. Those that restart always (sidecars) may be probed like regular ones.
pub fn init(containers: &[Container], regular: &[Container], scope: &Scope, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, container) in containers.iter().enumerate() {
        let path = path.index(i);
        errors.extend(common(container, scope, &path));
        let taken = regular.iter().chain(&containers[..i]).any(|other| other.name == container.name);
        if !container.name.is_empty() && taken {
            errors.push(Error::duplicate(&path.child("name"), &container.name));
        }
        errors.extend(host_port_conflicts(std::slice::from_ref(container), &path));
        if container.restart_policy.as_deref() == Some("Always") {
            errors.extend(handlers::lifecycle(container.lifecycle.as_ref(), scope, &path.child("lifecycle")));
            errors.extend(handlers::liveness(container.liveness_probe.as_ref(), scope, &path.child("livenessProbe")));
            errors.extend(handlers::readiness(
                container.readiness_probe.as_ref(),
                scope,
                &path.child("readinessProbe"),
            ));
            errors.extend(handlers::startup(container.startup_probe.as_ref(), scope, &path.child("startupProbe")));
        } else {
            let given = [
                ("lifecycle", container.lifecycle.is_some()),
                ("livenessProbe", container.liveness_probe.is_some()),
                ("readinessProbe", container.readiness_probe.is_some()),
                ("startupProbe", container.startup_probe.is_some()),
            ];
            for (field, _) in given.iter().filter(|(_, given)| *given) {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.push(Error::forbidden(&path.child(field), detail));
            }
        }
        errors.extend(restart_policy(container, &path));
    }
    errors
}

/// spec.ephemeralContainers: for debugging, so nothing that the pod's life depends on may be set.
pub fn ephemeral(
    ephemeral: &[EphemeralContainer],
    regular: &[Container],
    init: &[Container],
    scope: &Scope,
    path: &Path,
) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, container) in ephemeral.iter().enumerate() {
        let path = path.index(i);
        errors.extend(common(&as_container(container), scope, &path));
        let name = &container.name;
        let taken = regular.iter().chain(init).any(|other| other.name == *name)
            || ephemeral[..i].iter().any(|other| other.name == *name);
        if taken {
            errors.push(Error::duplicate(&path.child("name"), name));
        }
        if let Some(target) = container.target_container_name.as_deref().filter(|t| !t.is_empty())
            && !regular.iter().chain(init).any(|other| other.name == target)
        {
            errors.push(Error::not_found(&path.child("targetContainerName"), target));
        }
        let filled = |resources: &k8s_openapi::api::core::v1::ResourceRequirements| *resources != Default::default();
        let forbidden = [
            ("ports", container.ports.as_ref().is_some_and(|p| !p.is_empty())),
            ("resources", container.resources.as_ref().is_some_and(filled)),
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
            ("lifecycle", container.lifecycle.is_some()),
            ("resizePolicy", container.resize_policy.as_ref().is_some_and(|p| !p.is_empty())),
            ("restartPolicy", container.restart_policy.is_some()),
        ];
        for (field, _) in forbidden.iter().filter(|(_, given)| *given) {
            errors.push(Error::forbidden(&path.child(field), "cannot be set for an Ephemeral Container"));
        }
        for (j, mount) in container.volume_mounts.iter().flatten().enumerate() {
            let mounts = path.child("volumeMounts");
            let at = mounts.index(j);
            if mount.sub_path.as_deref().is_some_and(|p| !p.is_empty()) {
                errors.push(Error::forbidden(&at.child("subPath"), "cannot be set for an Ephemeral Container"));
            }
            if mount.sub_path_expr.as_deref().is_some_and(|p| !p.is_empty()) {
                errors.push(Error::forbidden(&at.child("subPathExpr"), "cannot be set for an Ephemeral Container"));
            }
        }
    }
    errors
}

/// The part of an ephemeral container that it has in common with the others.
pub fn as_container(container: &EphemeralContainer) -> Container {
    let c = container.clone();
    Container {
        args: c.args,
        command: c.command,
        env: c.env,
        env_from: c.env_from,
        image: c.image,
        image_pull_policy: c.image_pull_policy,
        name: c.name,
        security_context: c.security_context,
        stdin: c.stdin,
        stdin_once: c.stdin_once,
        termination_message_path: c.termination_message_path,
        termination_message_policy: c.termination_message_policy,
        tty: c.tty,
        volume_devices: c.volume_devices,
        volume_mounts: c.volume_mounts,
        working_dir: c.working_dir,
        ..Container::default()
    }
}

fn common(container: &Container, scope: &Scope, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if container.name.is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    } else {
        errors.extend(checks::dns_label(&container.name, &path.child("name")));
    }
    errors.extend(image(container.image.as_deref().unwrap_or(""), &path.child("image")));
    errors.extend(checks::one_of(
        container.termination_message_policy.as_deref(),
        &["File", "FallbackToLogsOnError"],
        &path.child("terminationMessagePolicy"),
    ));
    let ports = container.ports.as_deref().unwrap_or(&[]);
    errors.extend(self::ports(ports, &path.child("ports")));
    if scope.host_network {
        errors.extend(host_network_ports(ports, &path.child("ports")));
    }
    errors.extend(env::validate(container.env.as_deref().unwrap_or(&[]), &path.child("env")));
    errors.extend(env::validate_from(container.env_from.as_deref().unwrap_or(&[]), &path.child("envFrom")));
    errors.extend(mounts::mounts(container, scope, &path.child("volumeMounts")));
    errors.extend(mounts::devices(container, scope, &path.child("volumeDevices")));
    errors.extend(checks::one_of(
        container.image_pull_policy.as_deref(),
        &["Always", "IfNotPresent", "Never"],
        &path.child("imagePullPolicy"),
    ));
    if let Some(wanted) = &container.resources {
        errors.extend(resources::container(wanted, scope.claims, &path.child("resources")));
    }
    let resize = container.resize_policy.as_deref().unwrap_or(&[]);
    errors.extend(resize_policy(resize, scope.restart_policy, &path.child("resizePolicy")));
    if let Some(context) = &container.security_context {
        errors.extend(security::container(context, scope.host_users, &path.child("securityContext")));
    }
    errors
}

/// An image's name: given, without blanks around it.
pub fn image(image: &str, path: &Path) -> Option<Error> {
    if image.is_empty() {
        return Some(Error::required(path, ""));
    }
    (image.trim() != image).then(|| Error::invalid(path, image, "must not have leading or trailing whitespace"))
}

fn ports(ports: &[ContainerPort], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut seen: Vec<&str> = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let path = path.index(i);
        if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            let faults = names::port_name(name);
            if !faults.is_empty() {
                errors.extend(checks::each(&path.child("name"), name, faults));
            } else if seen.contains(&name) {
                errors.push(Error::duplicate(&path.child("name"), name));
            } else {
                seen.push(name);
            }
        }
        match port.container_port {
            0 => errors.push(Error::required(&path.child("containerPort"), "")),
            number => errors.extend(checks::port_number(number.into(), &path.child("containerPort"))),
        }
        if let Some(number) = port.host_port.filter(|n| *n != 0) {
            errors.extend(checks::port_number(number.into(), &path.child("hostPort")));
        }
        errors.extend(checks::one_of(port.protocol.as_deref(), &["SCTP", "TCP", "UDP"], &path.child("protocol")));
    }
    errors
}

fn host_network_ports(ports: &[ContainerPort], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, port) in ports.iter().enumerate() {
        let host_port = port.host_port.unwrap_or(0);
        if host_port != port.container_port {
            let detail = "must match `containerPort` when `hostNetwork` is true";
            errors.push(Error::invalid(&path.index(i).child("hostPort"), host_port, detail));
        }
    }
    errors
}

fn host_port_conflicts(containers: &[Container], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut taken: Vec<String> = Vec::new();
    for (i, container) in containers.iter().enumerate() {
        for (j, port) in container.ports.iter().flatten().enumerate() {
            let Some(host_port) = port.host_port.filter(|n| *n != 0) else { continue };
            let (protocol, ip) = (port.protocol.as_deref().unwrap_or(""), port.host_ip.as_deref().unwrap_or(""));
            let key = format!("{protocol}/{ip}/{host_port}");
            if taken.contains(&key) {
                let (at, ports);
                at = path.index(i);
                ports = at.child("ports");
                errors.push(Error::duplicate(&ports.index(j).child("hostPort"), &key));
            } else {
                taken.push(key);
            }
        }
    }
    errors
}

fn resize_policy(policies: &[ContainerResizePolicy], pod_restart_policy: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, policy) in policies.iter().enumerate() {
        let (resource, restart) = (policy.resource_name.as_str(), policy.restart_policy.as_str());
        if policies[..i].iter().any(|other| other.resource_name == resource) {
            errors.push(Error::duplicate(&path.index(i), resource));
        }
        if !matches!(resource, "cpu" | "memory") {
            errors.push(match resource {
                "" => Error::required(path, ""),
                other => Error::not_supported(path, other, &["cpu", "memory"]),
            });
        }
        if !matches!(restart, "NotRequired" | "RestartContainer") {
            errors.push(match restart {
                "" => Error::required(path, ""),
                other => Error::not_supported(path, other, &["NotRequired", "RestartContainer"]),
            });
        }
        if pod_restart_policy == "Never" && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.push(Error::invalid(path, restart, detail));
        }
    }
    errors
}

fn restart_policy(container: &Container, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let rules: &[ContainerRestartRule] = container.restart_policy_rules.as_deref().unwrap_or(&[]);
    let at = path.child("restartPolicy");
    match container.restart_policy.as_deref() {
        None if !rules.is_empty() => {
            errors.push(Error::required(&at, "must specify restartPolicy when restart rules are used"));
        }
        None | Some("Always" | "Never" | "OnFailure") => {}
        Some(other) => errors.push(Error::not_supported(&at, other, &["Always", "Never", "OnFailure"])),
    }
    let list = path.child("restartPolicyRules");
    if rules.len() > MAX_RESTART_RULES {
        errors.push(Error::too_many(&list, rules.len(), MAX_RESTART_RULES));
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = list.index(i);
        if !matches!(rule.action.as_str(), "Restart" | "RestartAllContainers") {
            let actions = ["Restart", "RestartAllContainers"];
            errors.push(Error::not_supported(&path.child("action"), &rule.action, &actions));
        }
        let at = path.child("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            errors.push(Error::required(&at, "must be specified"));
            continue;
        };
        if !matches!(codes.operator.as_str(), "In" | "NotIn") {
            errors.push(Error::not_supported(&at.child("operator"), &codes.operator, &["In", "NotIn"]));
        }
        let count = codes.values.as_ref().map_or(0, Vec::len);
        if count > MAX_EXIT_CODES {
            errors.push(Error::too_many(&at.child("values"), count, MAX_EXIT_CODES));
        }
    }
    errors
}
