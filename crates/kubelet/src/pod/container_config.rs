//! What the runtime is told about one container.

use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile};

use super::{ContainerKind, PodExt, env, labels, sandbox_config};
use crate::cri::v1;

/// Kernel interfaces hidden from containers unless procMount says otherwise.
const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a container's configuration needs besides pod and container.
#[derive(Debug, Clone)]
pub struct Inputs<'a> {
    /// Main, init or ephemeral.
    pub kind: ContainerKind,
    /// How often it was restarted.
    pub restarts: u32,
    /// The image as the runtime knows it.
    pub image_ref: String,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Its mounts.
    pub mounts: Vec<v1::Mount>,
    /// Its resources.
    pub resources: v1::LinuxContainerResources,
    /// The container whose processes an ephemeral one sees.
    pub target_id: Option<String>,
    /// Where Localhost seccomp profiles lie.
    pub seccomp_dir: &'a Path,
    /// Whether RuntimeDefault holds where nothing is said.
    pub seccomp_default: bool,
}

/// The container's configuration.
pub fn build(pod: &Pod, container: &Container, inputs: Inputs<'_>) -> v1::ContainerConfig {
    let lookup = |name: &str| inputs.env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let expand_all = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|word| env::expand(word, lookup)).collect()
    };
    let command = expand_all(&container.command);
    let args = expand_all(&container.args);
    let security = security_context(pod, container, &inputs);
    let envs = inputs.env.into_iter().map(|(key, value)| v1::KeyValue { key, value }).collect();
    let named = container.image.clone().unwrap_or_default();
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: container.name.clone(), attempt: inputs.restarts }),
        image: Some(v1::ImageSpec { image: inputs.image_ref, user_specified_image: named, ..Default::default() }),
        command,
        args,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs,
        mounts: inputs.mounts,
        labels: labels::container_labels(pod, container),
        annotations: labels::container_annotations(pod, container, inputs.restarts),
        log_path: log_path(&container.name, inputs.restarts),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(v1::LinuxContainerConfig { resources: Some(inputs.resources), security_context: Some(security) }),
        ..Default::default()
    }
}

/// A container's log below its pod's log directory.
pub fn log_path(container: &str, restarts: u32) -> String {
    format!("{container}/{restarts}.log")
}

fn security_context(pod: &Pod, container: &Container, inputs: &Inputs<'_>) -> v1::LinuxContainerSecurityContext {
    let own = container.security_context.clone().unwrap_or_default();
    let shared = pod.pod_spec().security_context.clone().unwrap_or_default();
    let int = |value: i64| v1::Int64Value { value };
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| if unmasked { Vec::new() } else { list.iter().map(|p| (*p).to_owned()).collect() };
    let mut groups = shared.supplemental_groups.clone().unwrap_or_default();
    groups.extend(shared.fs_group);
    let mut namespaces = sandbox_config::namespaces(pod);
    if let (ContainerKind::Ephemeral, Some(target)) = (inputs.kind, &inputs.target_id) {
        namespaces.pid = v1::NamespaceMode::Target.into();
        namespaces.target_id = target.clone();
    }
    let privileged = own.privileged.unwrap_or(false);
    let seccomp = own.seccomp_profile.as_ref().or(shared.seccomp_profile.as_ref());
    v1::LinuxContainerSecurityContext {
        capabilities: own.capabilities.map(|c| v1::Capability {
            add_capabilities: c.add.unwrap_or_default(),
            drop_capabilities: c.drop.unwrap_or_default(),
            ..Default::default()
        }),
        privileged,
        namespace_options: Some(namespaces),
        selinux_options: own.se_linux_options.or(shared.se_linux_options).map(|s| v1::SeLinuxOption {
            user: s.user.unwrap_or_default(),
            role: s.role.unwrap_or_default(),
            r#type: s.type_.unwrap_or_default(),
            level: s.level.unwrap_or_default(),
        }),
        run_as_user: own.run_as_user.or(shared.run_as_user).map(int),
        run_as_group: own.run_as_group.or(shared.run_as_group).map(int),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: groups,
        supplemental_groups_policy: match shared.supplemental_groups_policy.as_deref() {
            Some("Strict") => v1::SupplementalGroupsPolicy::Strict,
            _ => v1::SupplementalGroupsPolicy::Merge,
        }
        .into(),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED_PATHS),
        readonly_paths: paths(&READONLY_PATHS),
        seccomp: Some(seccomp_profile(seccomp, privileged, inputs)),
        ..Default::default()
    }
}

fn seccomp_profile(profile: Option<&SeccompProfile>, privileged: bool, inputs: &Inputs<'_>) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    let (kind, path) = match profile.map(|p| (p.type_.as_str(), p.localhost_profile.as_deref())) {
        Some(("RuntimeDefault", _)) => (ProfileType::RuntimeDefault, None),
        Some(("Localhost", path)) => (ProfileType::Localhost, path),
        None if inputs.seccomp_default && !privileged => (ProfileType::RuntimeDefault, None),
        _ => (ProfileType::Unconfined, None),
    };
    let localhost_ref = path.map(|p| inputs.seccomp_dir.join(p).display().to_string()).unwrap_or_default();
    v1::SecurityProfile { profile_type: kind.into(), localhost_ref }
}

/// Refuses to run as root what promised not to: the text of CreateContainerConfigError.
pub fn verify_non_root(pod: &Pod, container: &Container, image: Option<&v1::Image>) -> Result<(), String> {
    let own = container.security_context.as_ref();
    let shared = pod.pod_spec().security_context.as_ref();
    let non_root = own.and_then(|c| c.run_as_non_root).or(shared.and_then(|c| c.run_as_non_root));
    if non_root != Some(true) {
        return Ok(());
    }
    let named = format!("(pod: \"{}\", container: {})", pod.full_name(), container.name);
    let user = own.and_then(|c| c.run_as_user).or(shared.and_then(|c| c.run_as_user));
    match user {
        Some(0) => return Err(format!("container's runAsUser breaks non-root policy {named}")),
        Some(_) => return Ok(()),
        None => {}
    }
    let Some(image) = image else { return Ok(()) };
    match (&image.uid, image.username.as_str()) {
        (Some(uid), _) if uid.value != 0 => Ok(()),
        (None, name) if !name.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {named}"
        )),
        _ => Err(format!("container has runAsNonRoot and image will run as root {named}")),
    }
}
