//! The checks of the profile `baseline`: known ways out of a container.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{LifecycleHandler, Probe, SELinuxOptions};

use super::checks::{Check, Violation, containers, plural, quoted, setters};
use super::subject::{Container, Subject};

/// By id, which is the order of messages.
pub static CHECKS: &[Check] = &[
    check("appArmorProfile", &[(0, app_armor)]),
    check("capabilities_baseline", &[(0, capabilities)]),
    check("hostNamespaces", &[(0, host_namespaces)]),
    check("hostPathVolumes", &[(0, host_path_volumes)]),
    check("hostPorts", &[(0, host_ports)]),
    check("hostProbesAndHostLifecycle", &[(34, probe_hosts)]),
    check("privileged", &[(0, privileged)]),
    check("procMount", &[(0, proc_mount), (35, |pod| outside_user_namespaces(pod, proc_mount))]),
    check(
        "seLinuxOptions",
        &[
            (0, |pod| se_linux(pod, &["", "container_t", "container_init_t", "container_kvm_t"])),
            (31, |pod| {
                se_linux(pod, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
            }),
        ],
    ),
    check("seccompProfile_baseline", &[(0, super::seccomp::annotations), (19, super::seccomp::unconfined)]),
    check(
        "sysctls",
        &[
            (0, |pod| sysctls(pod, 5)),
            (27, |pod| sysctls(pod, 6)),
            (29, |pod| sysctls(pod, 10)),
            (32, |pod| sysctls(pod, 12)),
        ],
    ),
    check("windowsHostProcess", &[(0, windows_host_process)]),
];

const fn check(id: &'static str, revisions: &'static [(u32, super::checks::CheckPod)]) -> Check {
    Check { id, revisions, replaces: None }
}

const APP_ARMOR_PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What a runtime gives a container that says nothing.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Sysctls that stay within the pod, in the order in which versions came to know them.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// A check that does not matter where root is nobody outside of the pod.
pub fn outside_user_namespaces(pod: &Subject, check: super::checks::CheckPod) -> Option<Violation> {
    if pod.has_user_namespace() { None } else { check(pod) }
}

fn app_armor(pod: &Subject) -> Option<Violation> {
    let allowed = |kind: &str| matches!(kind, "RuntimeDefault" | "Localhost");
    let mut bad = BTreeSet::new();
    let of_pod = pod.security().and_then(|security| security.app_armor_profile.as_ref());
    let pod_sets = of_pod.is_some_and(|profile| !allowed(&profile.type_));
    bad.extend(of_pod.filter(|_| pod_sets).map(|profile| profile.type_.clone()));
    let names = pod.names_of(|container| {
        let profile = container.security.and_then(|security| security.app_armor_profile.as_ref());
        let kind = profile.map(|profile| &profile.type_).filter(|kind| !allowed(kind));
        bad.extend(kind.cloned());
        kind.is_some()
    });
    let annotations: Vec<String> = pod
        .annotations
        .into_iter()
        .flatten()
        .filter(|(key, value)| {
            let good = value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/");
            key.starts_with(APP_ARMOR_PREFIX) && !good
        })
        .map(|(key, value)| format!("{key}={}", machinery::go_text::quote(value)))
        .collect();
    let mut who: Vec<String> = setters(pod_sets, &names).into_iter().collect();
    if !annotations.is_empty() {
        who.push(plural(annotations.len(), "annotation", "annotations").to_owned());
    }
    let values: Vec<String> = bad.into_iter().chain(annotations).collect();
    (!who.is_empty()).then(|| Violation {
        reason: plural(values.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles"),
        detail: format!("{} must not set AppArmor profile type to {}", who.join(" and "), quoted(&values)),
    })
}

fn capabilities(pod: &Subject) -> Option<Violation> {
    let mut bad = BTreeSet::new();
    let names = pod.names_of(|container| {
        let added = container.security.and_then(|security| security.capabilities.as_ref()).and_then(|c| c.add.as_ref());
        let before = added.into_iter().flatten().filter(|c| !DEFAULT_CAPABILITIES.contains(&c.as_str()));
        before.map(|capability| bad.insert(capability.clone())).count() > 0
    });
    (!names.is_empty()).then(|| Violation {
        reason: "non-default capabilities",
        detail: format!("{} must not include {} in securityContext.capabilities.add", containers(&names), quoted(&bad)),
    })
}

fn host_namespaces(pod: &Subject) -> Option<Violation> {
    let shared = [
        (pod.spec.host_network, "hostNetwork=true"),
        (pod.spec.host_pid, "hostPID=true"),
        (pod.spec.host_ipc, "hostIPC=true"),
    ];
    let shared: Vec<&str> = shared.into_iter().filter(|(set, _)| *set == Some(true)).map(|(_, text)| text).collect();
    (!shared.is_empty()).then(|| Violation { reason: "host namespaces", detail: shared.join(", ") })
}

fn host_path_volumes(pod: &Subject) -> Option<Violation> {
    let volumes = pod.spec.volumes.iter().flatten().filter(|volume| volume.host_path.is_some());
    let names: Vec<&str> = volumes.map(|volume| volume.name.as_str()).collect();
    (!names.is_empty()).then(|| Violation {
        reason: "hostPath volumes",
        detail: format!("{} {}", plural(names.len(), "volume", "volumes"), quoted(&names)),
    })
}

fn host_ports(pod: &Subject) -> Option<Violation> {
    // Sorted as text, as upstream shows them.
    let mut ports = BTreeSet::new();
    let names = pod.names_of(|container| {
        let used = container.ports.iter().filter_map(|port| port.host_port.filter(|port| *port != 0));
        used.map(|port| ports.insert(port.to_string())).count() > 0
    });
    (!names.is_empty()).then(|| Violation {
        reason: "hostPort",
        detail: format!(
            "{} {} {} {}",
            containers(&names),
            plural(names.len(), "uses", "use"),
            plural(ports.len(), "hostPort", "hostPorts"),
            ports.into_iter().collect::<Vec<_>>().join(", ")
        ),
    })
}

/// Probes and lifecycle handlers run on the node: a host of its own choice lets a pod reach what only the node can.
fn probe_hosts(pod: &Subject) -> Option<Violation> {
    let mut hosts = BTreeSet::new();
    let names: BTreeSet<&str> = pod
        .names_of(|container| {
            let before = hosts_of(container);
            let any = !before.is_empty();
            hosts.extend(before);
            any
        })
        .into_iter()
        .collect();
    let names: Vec<&str> = names.into_iter().collect();
    (!names.is_empty()).then(|| Violation {
        reason: "probe or lifecycle host",
        detail: format!(
            "{} {} {} {}",
            containers(&names),
            plural(names.len(), "uses", "use"),
            plural(hosts.len(), "probe or lifecycle host", "probe or lifecycle hosts"),
            quoted(&hosts)
        ),
    })
}

fn hosts_of(container: &Container) -> Vec<String> {
    let of_probe = |probe: &Probe| {
        let http = probe.http_get.as_ref().and_then(|action| action.host.clone());
        [http, probe.tcp_socket.as_ref().and_then(|action| action.host.clone())]
    };
    let of_handler = |handler: &LifecycleHandler| {
        let http = handler.http_get.as_ref().and_then(|action| action.host.clone());
        [http, handler.tcp_socket.as_ref().and_then(|action| action.host.clone())]
    };
    let handlers = container.lifecycle.map(|lifecycle| [lifecycle.post_start.as_ref(), lifecycle.pre_stop.as_ref()]);
    let probes = container.probes.into_iter().flatten().flat_map(of_probe);
    let handlers = handlers.into_iter().flatten().flatten().flat_map(of_handler);
    probes.chain(handlers).flatten().filter(|host| !host.is_empty()).collect()
}

fn privileged(pod: &Subject) -> Option<Violation> {
    let names = pod.names_of(|container| container.security.and_then(|security| security.privileged) == Some(true));
    (!names.is_empty()).then(|| Violation {
        reason: "privileged",
        detail: format!("{} must not set securityContext.privileged=true", containers(&names)),
    })
}

pub fn proc_mount(pod: &Subject) -> Option<Violation> {
    let mut kinds = BTreeSet::new();
    let names = pod.names_of(|container| {
        let kind = container.security.and_then(|security| security.proc_mount.as_ref());
        let bad = kind.filter(|kind| *kind != "Default");
        kinds.extend(bad.cloned());
        bad.is_some()
    });
    (!names.is_empty()).then(|| Violation {
        reason: "procMount",
        detail: format!("{} must not set securityContext.procMount to {}", containers(&names), quoted(&kinds)),
    })
}

fn se_linux(pod: &Subject, allowed: &[&str]) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut is_bad = |options: &SELinuxOptions| {
        let kind = options.type_.as_deref().unwrap_or_default();
        let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let bad_type = !allowed.contains(&kind);
        if bad_type {
            types.insert(kind.to_owned());
        }
        (user, role) = (user || set(&options.user), role || set(&options.role));
        bad_type || set(&options.user) || set(&options.role)
    };
    let of_pod = pod.security().and_then(|security| security.se_linux_options.as_ref()).is_some_and(&mut is_bad);
    let names = pod.names_of(|container| {
        container.security.and_then(|security| security.se_linux_options.as_ref()).is_some_and(&mut is_bad)
    });
    let who = setters(of_pod, &names)?;
    let mut what = Vec::new();
    if !types.is_empty() {
        what.push(format!("{} {}", plural(types.len(), "type", "types"), quoted(&types)));
    }
    what.extend(user.then(|| "user may not be set".to_owned()));
    what.extend(role.then(|| "role may not be set".to_owned()));
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; "));
    Some(Violation { reason: "seLinuxOptions", detail })
}

fn sysctls(pod: &Subject, known: usize) -> Option<Violation> {
    let set = pod.security().and_then(|security| security.sysctls.as_ref()).into_iter().flatten();
    let bad: Vec<&str> =
        set.map(|sysctl| sysctl.name.as_str()).filter(|name| !SAFE_SYSCTLS[..known].contains(name)).collect();
    (!bad.is_empty()).then(|| Violation { reason: "forbidden sysctls", detail: bad.join(", ") })
}

fn windows_host_process(pod: &Subject) -> Option<Violation> {
    let of_pod = pod.security().and_then(|security| security.windows_options.as_ref()?.host_process) == Some(true);
    let names = pod.names_of(|container| {
        container.security.and_then(|security| security.windows_options.as_ref()?.host_process) == Some(true)
    });
    let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters(of_pod, &names)?);
    Some(Violation { reason: "hostProcess", detail })
}
