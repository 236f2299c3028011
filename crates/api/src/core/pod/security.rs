//! Security contexts of pods and containers.

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext, WindowsSecurityContextOptions,
};
use machinery::field::{Error, ErrorList, Path};

use crate::checks;
use crate::internal;

const SYSCTL_PATTERN: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";

pub fn container(context: &SecurityContext, host_users: Option<bool>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(user) = context.run_as_user {
        errors.extend(checks::user_id(user, &path.child("runAsUser")));
    }
    if let Some(group) = context.run_as_group {
        errors.extend(checks::user_id(group, &path.child("runAsGroup")));
    }
    match context.proc_mount.as_deref() {
        None | Some("Default") => {}
        Some("Unmasked") if host_users == Some(false) => {}
        Some("Unmasked") => {
            let detail = "`hostUsers` must be false to use `Unmasked`";
            errors.push(Error::invalid(&path.child("procMount"), "Unmasked", detail));
        }
        Some(other) => errors.push(Error::not_supported(&path.child("procMount"), other, &["Default", "Unmasked"])),
    }
    errors.extend(seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile")));
    if context.allow_privilege_escalation == Some(false) {
        let shown = || internal::shown("io.k8s.api.core.v1.SecurityContext", context);
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(Error::invalid(path, shown(), detail));
        }
        let added = context.capabilities.iter().flat_map(|c| c.add.iter().flatten());
        for capability in added {
            if capability == "CAP_SYS_ADMIN" || capability == "SYS_ADMIN" {
                let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
                errors.push(Error::invalid(path, shown(), detail));
            }
        }
    }
    errors.extend(windows(context.windows_options.as_ref(), &path.child("windowsOptions")));
    errors.extend(app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile")));
    errors
}

/// spec.securityContext, and the host's namespaces, which upstream's internal form keeps in the same place.
pub fn pod(spec: &PodSpec, path: &Path) -> ErrorList {
    let Some(context) = &spec.security_context else { return ErrorList::new() };
    let mut errors = ErrorList::new();
    for (i, group) in context.supplemental_groups.iter().flatten().enumerate() {
        let list = path.child("supplementalGroups");
        errors.extend(checks::user_id(*group, &list.index(i)));
    }
    for (field, id) in
        [("fsGroup", context.fs_group), ("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)]
    {
        if let Some(id) = id {
            errors.extend(checks::user_id(id, &path.child(field)));
        }
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(Error::invalid(&path.child("shareProcessNamespace"), true, detail));
    }
    errors.extend(sysctls(context, spec, &path.child("sysctls")));
    let known = |value: &Option<String>, supported: &[&str], field| {
        let value = value.as_deref()?;
        (!supported.contains(&value)).then(|| Error::not_supported(&path.child(field), value, supported))
    };
    errors.extend(known(&context.fs_group_change_policy, &["Always", "OnRootMismatch"], "fsGroupChangePolicy"));
    errors.extend(seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile")));
    errors.extend(windows(context.windows_options.as_ref(), &path.child("windowsOptions")));
    errors.extend(app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile")));
    errors.extend(known(&context.supplemental_groups_policy, &["Merge", "Strict"], "supplementalGroupsPolicy"));
    errors.extend(known(&context.se_linux_change_policy, &["MountOption", "Recursive"], "seLinuxChangePolicy"));
    errors
}

fn sysctls(context: &PodSecurityContext, spec: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = context.sysctls.as_deref().unwrap_or(&[]);
    for (i, sysctl) in list.iter().enumerate() {
        let at = path.index(i);
        let name = sysctl.name.as_str();
        if name.is_empty() {
            errors.push(Error::required(&at.child("name"), ""));
        } else if !is_sysctl_name(name) {
            let detail = format!("must have at most 253 characters and match regex {SYSCTL_PATTERN}");
            errors.push(Error::invalid(&at.child("name"), name, detail));
        } else if list[..i].iter().any(|other| other.name == name) {
            errors.push(Error::duplicate(&at.child("name"), name));
        }
        let dotted = dotted(name);
        if spec.host_network == Some(true) && dotted.starts_with("net.") {
            errors.push(Error::invalid(&at.child("name"), name, "may not be specified when 'hostNetwork' is true"));
        }
        let ipc =
            ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| dotted.starts_with(p)) || dotted == "kernel.sem";
        if spec.host_ipc == Some(true) && ipc {
            errors.push(Error::invalid(&at.child("name"), name, "may not be specified when 'hostIPC' is true"));
        }
    }
    errors
}

/// The dotted form of a sysctl, which may be written with slashes.
fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name
            .chars()
            .map(|c| {
                if c == '/' {
                    '.'
                } else if c == '.' {
                    '/'
                } else {
                    c
                }
            })
            .collect(),
        _ => name.to_string(),
    }
}

fn is_sysctl_name(name: &str) -> bool {
    let segment = |part: &str| {
        let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.first().is_some_and(edge)
            && bytes.last().is_some_and(edge)
            && bytes.iter().all(|b| edge(b) || *b == b'-' || *b == b'_')
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

fn seccomp(profile: Option<&SeccompProfile>, path: &Path) -> ErrorList {
    let Some(profile) = profile else { return ErrorList::new() };
    let at = path.child("localhostProfile");
    let mut errors = ErrorList::new();
    if profile.type_ == "Localhost" {
        match profile.localhost_profile.as_deref() {
            None | Some("") => errors.push(Error::required(&at, "must be set when seccomp type is Localhost")),
            Some(file) => errors.extend(super::volumes::local_descending_path(file, &at)),
        }
        return errors;
    }
    if let Some(file) = &profile.localhost_profile {
        errors.push(Error::invalid(&at, file, "can only be set when seccomp type is Localhost"));
    }
    match profile.type_.as_str() {
        "RuntimeDefault" | "Unconfined" => {}
        "" => errors.push(Error::required(&path.child("type"), "type is required when seccompProfile is set")),
        other => {
            let supported = ["Localhost", "RuntimeDefault", "Unconfined"];
            errors.push(Error::not_supported(&path.child("type"), other, &supported));
        }
    }
    errors
}

fn app_armor(profile: Option<&AppArmorProfile>, path: &Path) -> ErrorList {
    let Some(profile) = profile else { return ErrorList::new() };
    let at = path.child("localhostProfile");
    let mut errors = ErrorList::new();
    match profile.type_.as_str() {
        "Localhost" => match profile.localhost_profile.as_deref() {
            None => errors.push(Error::required(&at, "must be set when AppArmor type is Localhost")),
            Some(file) if file.trim() != file => {
                errors.push(Error::invalid(&at, file, "must not be padded with whitespace"));
            }
            Some("") => errors.push(Error::required(&at, "must be set when AppArmor type is Localhost")),
            Some(_) => {}
        },
        kind => {
            if let Some(file) = &profile.localhost_profile {
                errors.push(Error::invalid(&at, file, "can only be set when AppArmor type is Localhost"));
            }
            match kind {
                "RuntimeDefault" | "Unconfined" => {}
                "" => errors.push(Error::required(&path.child("type"), "type is required when appArmorProfile is set")),
                other => {
                    let supported = ["Localhost", "RuntimeDefault", "Unconfined"];
                    errors.push(Error::not_supported(&path.child("type"), other, &supported));
                }
            }
        }
    }
    if let Some(file) = profile.localhost_profile.as_deref().filter(|f| f.len() > 4095) {
        errors.push(Error::too_long(&at, file, 4095));
    }
    errors
}

fn windows(options: Option<&WindowsSecurityContextOptions>, path: &Path) -> ErrorList {
    let Some(options) = options else { return ErrorList::new() };
    let mut errors = ErrorList::new();
    if let Some(name) = &options.gmsa_credential_spec_name {
        errors.extend(checks::dns_subdomain(name, &path.child("gmsaCredentialSpecName")));
    }
    if let Some(spec) = &options.gmsa_credential_spec {
        let at = path.child("gmsaCredentialSpec");
        if spec.is_empty() {
            errors.push(Error::invalid(&at, spec, "gmsaCredentialSpec cannot be an empty string"));
        } else if spec.len() > 64 * 1024 {
            let detail = format!("gmsaCredentialSpec size must be under {} bytes", 64 * 1024);
            errors.push(Error::invalid(&at, spec, detail));
        }
    }
    if let Some(user) = &options.run_as_user_name {
        errors.extend(windows_user(user, &path.child("runAsUserName")));
    }
    errors
}

fn windows_user(user: &str, path: &Path) -> Option<Error> {
    if user.is_empty() {
        return Some(Error::invalid(path, user, "runAsUserName cannot be an empty string"));
    }
    if user.chars().any(char::is_control) {
        return Some(Error::invalid(path, user, "runAsUserName cannot contain control characters"));
    }
    (user.matches('\\').count() > 1)
        .then(|| Error::invalid(path, user, "runAsUserName cannot contain more than one backslash"))
}

/// Refuses what only the other operating system knows.
pub fn for_os(spec: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(os) = &spec.os else { return errors };
    match os.name.as_str() {
        "" => errors.push(Error::required(&path.child("os").child("name"), "")),
        "linux" => errors.extend(linux(spec, path)),
        "windows" => errors.extend(windows_pod(spec, path)),
        other => errors.push(Error::not_supported(&path.child("os"), other, &["linux", "windows"])),
    }
    errors
}

fn linux(spec: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let detail = "windows options cannot be set for a linux pod";
    if spec.security_context.as_ref().is_some_and(|c| c.windows_options.is_some()) {
        errors.push(Error::forbidden(&path.child("securityContext").child("windowsOptions"), detail));
    }
    each_context(spec, path, |context, path| {
        if context.windows_options.is_some() {
            errors.push(Error::forbidden(&path.child("windowsOptions"), detail));
        }
    });
    errors
}

fn windows_pod(spec: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut refuse = |given: bool, path: &Path| {
        if given {
            errors.push(Error::forbidden(path, "cannot be set for a windows pod"));
        }
    };
    refuse(spec.host_pid == Some(true), &path.child("hostPID"));
    refuse(spec.host_ipc == Some(true), &path.child("hostIPC"));
    if let Some(context) = &spec.security_context {
        let at = path.child("securityContext");
        refuse(context.app_armor_profile.is_some(), &at.child("appArmorProfile"));
        refuse(context.se_linux_options.is_some(), &at.child("seLinuxOptions"));
        refuse(spec.host_users.is_some(), &path.child("hostUsers"));
        refuse(context.seccomp_profile.is_some(), &at.child("seccompProfile"));
        refuse(context.fs_group.is_some(), &at.child("fsGroup"));
        refuse(context.fs_group_change_policy.is_some(), &at.child("fsGroupChangePolicy"));
        refuse(context.sysctls.as_ref().is_some_and(|s| !s.is_empty()), &at.child("sysctls"));
        refuse(spec.share_process_namespace.is_some(), &at.child("shareProcessNamespace"));
        refuse(context.run_as_user.is_some(), &at.child("runAsUser"));
        refuse(context.run_as_group.is_some(), &at.child("runAsGroup"));
        refuse(context.supplemental_groups.is_some(), &at.child("supplementalGroups"));
        refuse(context.supplemental_groups_policy.is_some(), &at.child("supplementalGroupsPolicy"));
        refuse(spec.resources.is_some(), &path.child("resources"));
    }
    each_context(spec, path, |context, at| {
        refuse(context.app_armor_profile.is_some(), &at.child("appArmorProfile"));
        refuse(context.se_linux_options.is_some(), &at.child("seLinuxOptions"));
        refuse(context.seccomp_profile.is_some(), &at.child("seccompProfile"));
        refuse(context.capabilities.is_some(), &at.child("capabilities"));
        refuse(context.read_only_root_filesystem.is_some(), &at.child("readOnlyRootFilesystem"));
        refuse(context.privileged.is_some(), &at.child("privileged"));
        refuse(context.allow_privilege_escalation.is_some(), &at.child("allowPrivilegeEscalation"));
        refuse(context.proc_mount.is_some(), &at.child("procMount"));
        refuse(context.run_as_user.is_some(), &at.child("runAsUser"));
        refuse(context.run_as_group.is_some(), &at.child("runAsGroup"));
    });
    errors
}

/// Calls `f` with each container's security context and its path.
fn each_context(spec: &PodSpec, path: &Path, mut f: impl FnMut(&SecurityContext, &Path)) {
    let lists = [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())];
    for (field, containers) in lists {
        let list = path.child(field);
        for (i, container) in containers.into_iter().flatten().enumerate() {
            if let Some(context) = &container.security_context {
                f(context, &list.index(i).child("securityContext"));
            }
        }
    }
    let list = path.child("ephemeralContainers");
    for (i, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        if let Some(context) = &container.security_context {
            f(context, &list.index(i).child("securityContext"));
        }
    }
}

/// Windows host processes: all containers of the pod or none, and on the host's network.
pub fn host_process(spec: &PodSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let of_pod = spec.security_context.as_ref().and_then(|c| c.windows_options.as_ref()).and_then(|o| o.host_process);
    let (mut host, mut other) = (0, 0);
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut mismatch = false;
    for container in containers {
        let own =
            container.security_context.as_ref().and_then(|c| c.windows_options.as_ref()).and_then(|o| o.host_process);
        mismatch |= matches!((of_pod, own), (Some(pod), Some(own)) if pod != own);
        if own.or(of_pod) == Some(true) { host += 1 } else { other += 1 }
    }
    if mismatch {
        let at = path.child("securityContext.windowsOptions.hostProcess");
        let detail = "pod hostProcess value must be identical if both are specified, was true";
        errors.push(Error::invalid(&at, of_pod, detail));
    }
    if host > 0 {
        if other > 0 {
            let detail =
                "If pod contains any hostProcess containers then all containers must be HostProcess containers";
            errors.push(Error::invalid(path, "", detail));
        }
        if spec.host_network != Some(true) {
            let detail = "hostNetwork must be true if pod contains any hostProcess containers";
            errors.push(Error::invalid(&path.child("hostNetwork"), false, detail));
        }
    }
    errors
}

/// A pod in its own user namespace shares nothing else with the host.
pub fn host_users(spec: &PodSpec, path: &Path) -> ErrorList {
    if spec.host_users != Some(false) {
        return ErrorList::new();
    }
    // Upstream names these by their internal fields.
    let shared = [("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)];
    let mut errors = ErrorList::new();
    for (field, _) in shared.iter().filter(|(_, value)| *value == Some(true)) {
        errors.push(Error::forbidden(&path.child(field), "when `hostUsers` is false"));
    }
    if spec.host_network == Some(true) {
        errors.push(Error::forbidden(&path.child("hostNetwork"), "when `hostUsers` is false"));
    }
    errors
}
