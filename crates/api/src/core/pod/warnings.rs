//! What is accepted in a pod but should not be there: answered with `Warning` headers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, PodTemplateSpec, Volume, VolumeProjection};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::field::Path;
use machinery::names;

use crate::checks;

pub fn pod(pod: &Pod, old: Option<&Pod>) -> Vec<String> {
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let (path, metadata) = (Path::new("spec"), Path::new("metadata"));
    let mut warnings = Vec::new();
    if old.is_none() {
        warnings.extend(hostname(&pod.metadata, spec, &metadata));
    }
    warnings.extend(of_spec(spec, &pod.metadata, &path, &metadata));
    warnings
}

/// A workload's template, unless the update left it alone.
pub fn template(new: &PodTemplateSpec, old: Option<&PodTemplateSpec>, path: &Path) -> Vec<String> {
    if old.is_some_and(|old| old == new) {
        return Vec::new();
    }
    let (spec, metadata) = (PodSpec::default(), ObjectMeta::default());
    let (at, meta_at) = (path.child("spec"), path.child("metadata"));
    of_spec(new.spec.as_ref().unwrap_or(&spec), new.metadata.as_ref().unwrap_or(&metadata), &at, &meta_at)
}

fn hostname(metadata: &ObjectMeta, spec: &PodSpec, path: &Path) -> Option<String> {
    if spec.hostname.as_deref().is_some_and(|h| !h.is_empty()) {
        return None;
    }
    let faults = names::is_dns1123_label(metadata.name.as_deref().unwrap_or(""));
    (!faults.is_empty()).then(|| {
        let at = path.child("name");
        let shown = faults.join(" ");
        format!("{at}: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{shown}]")
    })
}

fn of_spec(spec: &PodSpec, metadata: &ObjectMeta, path: &Path, metadata_path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    old_labels(spec.node_selector.iter().flatten().map(|(key, _)| key), &path.child("nodeSelector"), &mut warnings);
    affinity_labels(spec, path, &mut warnings);
    for (i, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let list = path.child("topologySpreadConstraints");
        let at = list.index(i);
        if let Some(word) = old_label(&constraint.topology_key) {
            warnings.push(format!("{}: {word}", at.child("topologyKey")));
        }
        if constraint.label_selector.is_none() {
            warnings.push(format!("{}: a null labelSelector results in matching no pod", at.child("labelSelector")));
        }
    }
    annotations(spec, metadata, metadata_path, &mut warnings);
    host_aliases(spec, path, &mut warnings);
    let list = path.child("volumes");
    for (i, volume) in spec.volumes.iter().flatten().enumerate() {
        old_volume(volume, &list.index(i), &mut warnings);
    }
    warnings.extend(empty_projections(spec));
    pull_secrets(spec, path, &mut warnings);
    for (name, amount) in spec.overhead.iter().flatten() {
        let overhead = path.child("overhead");
        fractional(name, amount, &overhead.key(name), &mut warnings);
    }
    let lists = [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())];
    for (field, containers) in lists {
        let list = path.child(field);
        for (i, container) in containers.into_iter().flatten().enumerate() {
            of_container(container, &list.index(i), &mut warnings);
        }
    }
    duplicate_ports(spec, path, &mut warnings);
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        let at = path.child("terminationGracePeriodSeconds");
        warnings.push(format!("{at}: must be >= 0; negative values are invalid and will be treated as 1"));
    }
    warnings
}

/// Labels of nodes that were renamed.
pub fn old_label(key: &str) -> Option<&'static str> {
    Some(match key {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        _ => return None,
    })
}

fn old_labels<'a>(keys: impl Iterator<Item = &'a String>, path: &Path, warnings: &mut Vec<String>) {
    for key in keys {
        if let Some(word) = old_label(key) {
            warnings.push(format!("{}: {word}", path.key(key)));
        }
    }
}

fn affinity_labels(spec: &PodSpec, path: &Path, warnings: &mut Vec<String>) {
    let Some(node) = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref()) else { return };
    let at = path.child("affinity.nodeAffinity");
    let required = node.required_during_scheduling_ignored_during_execution.iter().flat_map(|s| &s.node_selector_terms);
    let list = at.child("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    for (i, term) in required.enumerate() {
        let term_path = list.index(i);
        let expressions = term_path.child("matchExpressions");
        for (j, requirement) in term.match_expressions.iter().flatten().enumerate() {
            if let Some(word) = old_label(&requirement.key) {
                warnings.push(format!("{}: {} is {word}", expressions.index(j).child("key"), requirement.key));
            }
        }
    }
    let list = at.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (i, term) in node.preferred_during_scheduling_ignored_during_execution.iter().flatten().enumerate() {
        let term_path = list.index(i);
        let expressions = term_path.child("preference.matchExpressions");
        for (j, requirement) in term.preference.match_expressions.iter().flatten().enumerate() {
            if let Some(word) = old_label(&requirement.key) {
                warnings.push(format!("{}: {} is {word}", expressions.index(j).child("key"), requirement.key));
            }
        }
    }
}

fn annotations(spec: &PodSpec, metadata: &ObjectMeta, path: &Path, warnings: &mut Vec<String>) {
    const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
    let at = path.child("annotations");
    let has_field = spec.security_context.as_ref().is_some_and(|c| c.app_armor_profile.is_some());
    for key in metadata.annotations.iter().flatten().map(|(key, _)| key) {
        let word = match key.as_str() {
            "scheduler.alpha.kubernetes.io/critical-pod" => {
                "non-functional in v1.16+; use the \"priorityClassName\" field instead"
            }
            key if key == "seccomp.security.alpha.kubernetes.io/pod"
                || key.starts_with("container.seccomp.security.alpha.kubernetes.io/") =>
            {
                "non-functional in v1.27+; use the \"seccompProfile\" field instead"
            }
            "security.alpha.kubernetes.io/sysctls" | "security.alpha.kubernetes.io/unsafe-sysctls" => {
                "non-functional in v1.11+; use the \"sysctls\" field instead"
            }
            key if key.starts_with(APP_ARMOR) && !has_field => {
                "deprecated since v1.30; use the \"appArmorProfile\" field instead"
            }
            _ => continue,
        };
        warnings.push(format!("{}: {word}", at.key(key)));
    }
}

fn host_aliases(spec: &PodSpec, path: &Path, warnings: &mut Vec<String>) {
    let list = path.child("hostAliases");
    let aliases = spec.host_aliases.as_deref().unwrap_or(&[]);
    for (i, alias) in aliases.iter().enumerate() {
        if aliases[..i].iter().any(|other| other.ip == alias.ip) {
            warnings.push(format!("{}: duplicate ip {:?}", list.index(i).child("ip"), alias.ip));
        }
    }
}

fn old_volume(volume: &Volume, path: &Path, warnings: &mut Vec<String>) {
    let mut warn = |given: bool, field: &str, word: &str| {
        if given {
            warnings.push(format!("{}: {word}", path.child(field)));
        }
    };
    warn(
        volume.photon_persistent_disk.is_some(),
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    );
    warn(volume.git_repo.is_some(), "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+");
    warn(volume.scale_io.is_some(), "scaleIO", "deprecated in v1.16, non-functional in v1.22+");
    warn(volume.flocker.is_some(), "flocker", "deprecated in v1.22, non-functional in v1.25+");
    warn(volume.storageos.is_some(), "storageOS", "deprecated in v1.22, non-functional in v1.25+");
    warn(volume.quobyte.is_some(), "quobyte", "deprecated in v1.22, non-functional in v1.25+");
    warn(volume.glusterfs.is_some(), "glusterfs", "deprecated in v1.25, non-functional in v1.26+");
    warn(volume.cephfs.is_some(), "cephfs", "deprecated in v1.28, non-functional in v1.31+");
    warn(volume.rbd.is_some(), "rbd", "deprecated in v1.28, non-functional in v1.31+");
    let claim = volume.ephemeral.as_ref().and_then(|e| e.volume_claim_template.as_ref());
    if let Some(requests) = claim.and_then(|c| c.spec.resources.as_ref()).and_then(|r| r.requests.as_ref()) {
        let at = path.child("ephemeral.volumeClaimTemplate.spec.resources.requests");
        for (name, amount) in requests {
            fractional(name, amount, &at.key(name), warnings);
        }
    }
}

fn empty_projections(spec: &PodSpec) -> Vec<String> {
    let mut warnings = Vec::new();
    for volume in spec.volumes.iter().flatten() {
        let Some(projected) = &volume.projected else { continue };
        let sources = projected.sources.as_deref().unwrap_or(&[]);
        if sources.is_empty() || sources.contains(&VolumeProjection::default()) {
            warnings.push(format!("volume {:?} (Projected) has no sources provided", volume.name));
        }
    }
    warnings
}

fn pull_secrets(spec: &PodSpec, path: &Path, warnings: &mut Vec<String>) {
    let list = path.child("imagePullSecrets");
    let secrets = spec.image_pull_secrets.as_deref().unwrap_or(&[]);
    for (i, secret) in secrets.iter().enumerate() {
        let at = list.index(i);
        if secret.name.is_empty() {
            warnings.push(format!("{}: invalid empty name \"\"", at.child("name")));
        } else if secrets[..i].iter().any(|other| other.name == secret.name) {
            warnings.push(format!("{}: duplicate name {:?}", at.child("name"), secret.name));
        }
    }
}

/// Bytes come whole.
fn fractional(name: &str, amount: &Text, path: &Path, warnings: &mut Vec<String>) {
    if !matches!(name, "memory" | "ephemeral-storage" | "storage") && !super::resources::is_hugepages(name) {
        return;
    }
    let Some(quantity) = checks::quantity(amount) else { return };
    if quantity.milli_value() % 1000 != 0 {
        let shown = quantity.to_string();
        warnings.push(format!("{path}: fractional byte value {shown:?} is invalid, must be an integer"));
    }
}

fn of_container(container: &Container, path: &Path, warnings: &mut Vec<String>) {
    let none = BTreeMap::new();
    if let Some(resources) = &container.resources {
        let at = path.child("resources");
        for (field, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            let at = at.child(field);
            for (name, amount) in amounts.as_ref().unwrap_or(&none) {
                fractional(name, amount, &at.key(name), warnings);
            }
        }
    }
    let variables = container.env.as_deref().unwrap_or(&[]);
    let list = path.child("env");
    for (i, variable) in variables.iter().enumerate() {
        let hides = variables[..i].iter().any(|other| other.name == variable.name);
        // A value that uses the one before it is a known idiom.
        let uses = variable.value.as_deref().is_some_and(|v| v.contains(&format!("$({})", variable.name)));
        if hides && !uses {
            let word =
                format!("hides previous definition of {:?}, which may be dropped when using apply", variable.name);
            warnings.push(format!("{}: {word}", list.index(i)));
        }
    }
    let list = path.child("ports");
    for (i, port) in container.ports.iter().flatten().enumerate() {
        let host_ip = port.host_ip.as_deref().unwrap_or("");
        if !host_ip.is_empty() && port.host_port.unwrap_or(0) == 0 {
            warnings.push(format!(
                "{}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{host_ip}}}",
                list.index(i),
                port.name.as_deref().unwrap_or(""),
                port.container_port,
                port.protocol.as_deref().unwrap_or(""),
            ));
        }
    }
}

/// Two ports of a pod with one number and protocol: one of them is never reached.
fn duplicate_ports(spec: &PodSpec, path: &Path, warnings: &mut Vec<String>) {
    let mut seen: Vec<(i32, i32, String, String, String)> = Vec::new();
    let containers = path.child("containers");
    for (i, container) in spec.containers.iter().enumerate() {
        let at = containers.index(i);
        let list = at.child("ports");
        for (j, port) in container.ports.iter().flatten().enumerate() {
            let here = list.index(j).to_string();
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let (protocol, host_ip) = (text(&port.protocol), text(&port.host_ip));
            let host_port = port.host_port.unwrap_or(0);
            let same = |other: &&(i32, i32, String, String, String)| {
                other.0 == port.container_port && other.2 == protocol && other.1 == host_port && other.3 == host_ip
            };
            if let Some(first) = seen.iter().find(same) {
                warnings.push(format!("{here}: duplicate port definition with {}", first.4));
            } else {
                seen.push((port.container_port, host_port, protocol, host_ip, here));
            }
        }
    }
}
