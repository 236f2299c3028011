//! Defaults of v1.36: those of any pod spec, and those of a pod itself.

use k8s_openapi::api::core::v1::{
    Container, EphemeralContainer, HTTPGetAction, LifecycleHandler, Pod, PodSpec, PodTemplateSpec, Probe, Volume,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use machinery::quantity::Quantity;
use serde_json::Value;

use super::containers::as_container;
use super::resources;
use crate::checks;
use crate::value::list;

const FILE_MODE: i32 = 0o644;
const TOKEN_SECONDS: i64 = 3600;

/// A pod: the spec's defaults and what only running pods have.
pub fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        limits_become_requests(container);
    }
    self::spec(spec);
    spec.enable_service_links.get_or_insert(true);
    pod_level_requests(spec);
}

/// A template in a workload.
pub fn template(template: &mut PodTemplateSpec) {
    let own = template.spec.get_or_insert_default();
    spec(own);
    drop_disabled(own);
}

/// Takes away what belongs to features that are off: upstream's for signals is off by default. What that leaves empty goes too.
/// Whoever wrote it into a pod owns it for all that, so of pods it is taken when owners have been noted.
pub fn drop_disabled(spec: &mut PodSpec) {
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let signal = container.lifecycle.as_mut().and_then(|lifecycle| lifecycle.stop_signal.take());
        if signal.is_some() && container.lifecycle.as_ref().is_some_and(|left| *left == Default::default()) {
            container.lifecycle = None;
        }
    }
}

/// Whether a pod has something of such features.
pub fn uses_disabled(pod: &Value) -> bool {
    let has_signal = |container: &Value| container.pointer("/lifecycle/stopSignal").is_some();
    ["/spec/containers", "/spec/initContainers"].iter().any(|at| list(pod, at).iter().any(has_signal))
}

/// What is given as a limit only is requested as well.
fn limits_become_requests(container: &mut Container) {
    let Some(resources) = &mut container.resources else { return };
    let Some(limits) = resources.limits.clone().filter(|limits| !limits.is_empty()) else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, amount) in limits {
        requests.entry(name).or_insert(amount);
    }
}

/// Requests of the pod as a whole come from its containers, else from its limits.
fn pod_level_requests(spec: &mut PodSpec) {
    if spec.resources.is_none() {
        return;
    }
    let (requests, limits) = resources::aggregate(spec);
    let Some(of_pod) = &mut spec.resources else { return };
    let supported = |name: &str| matches!(name, "cpu" | "memory") || resources::is_hugepages(name);
    let pod_limits = of_pod.limits.clone().unwrap_or_default();
    let mine = of_pod.requests.get_or_insert_default();
    for (name, amount) in requests {
        if supported(&name) && !resources::is_hugepages(&name) {
            mine.entry(name).or_insert_with(|| Text(amount.to_string()));
        }
    }
    for (name, amount) in &pod_limits {
        if supported(name) {
            mine.entry(name.clone()).or_insert_with(|| amount.clone());
        }
    }
    let of_limits = of_pod.limits.get_or_insert_default();
    for (name, amount) in limits {
        if resources::is_hugepages(&name) {
            of_limits.entry(name).or_insert_with(|| Text(amount.to_string()));
        }
    }
    if of_limits.is_empty() {
        of_pod.limits = None;
    }
}

/// Any pod spec.
pub fn spec(spec: &mut PodSpec) {
    rounded_up(spec.overhead.as_mut());
    set(&mut spec.dns_policy, "ClusterFirst");
    set(&mut spec.restart_policy, "Always");
    set(&mut spec.scheduler_name, "default-scheduler");
    spec.security_context.get_or_insert_default();
    spec.termination_grace_period_seconds.get_or_insert(30);
    // The older of the two names follows the newer one.
    let account = spec.service_account_name.take().filter(|n| !n.is_empty());
    let account = account.or_else(|| spec.service_account.take().filter(|n| !n.is_empty()));
    spec.service_account_name.clone_from(&account);
    spec.service_account = account;
    if spec.host_network == Some(true) {
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            for port in container.ports.iter_mut().flatten() {
                if port.host_port.unwrap_or(0) == 0 {
                    port.host_port = Some(port.container_port);
                }
            }
        }
    }
    spec.volumes.iter_mut().flatten().for_each(volume);
    spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(container);
    spec.ephemeral_containers.iter_mut().flatten().for_each(ephemeral);
}

/// Nothing is counted finer than thousandths.
fn rounded_up(amounts: Option<&mut resources::Amounts>) {
    for amount in amounts.into_iter().flatten().map(|(_, amount)| amount) {
        let Some(quantity) = checks::quantity(amount) else { continue };
        let milli = Quantity::parse(&format!("{}m", quantity.milli_value()));
        if let Ok(milli) = milli
            && milli.cmp(&quantity) != std::cmp::Ordering::Equal
        {
            *amount = Text(milli.to_string());
        }
    }
}

fn set(field: &mut Option<String>, value: &str) {
    if field.as_deref().unwrap_or("").is_empty() {
        *field = Some(value.to_string());
    }
}

fn container(container: &mut Container) {
    set(&mut container.termination_message_path, "/dev/termination-log");
    set(&mut container.termination_message_policy, "File");
    let policy = pull_policy(container.image.as_deref().unwrap_or(""));
    set(&mut container.image_pull_policy, policy);
    let resources = container.resources.get_or_insert_default();
    rounded_up(resources.limits.as_mut());
    rounded_up(resources.requests.as_mut());
    for port in container.ports.iter_mut().flatten() {
        set(&mut port.protocol, "TCP");
    }
    for variable in container.env.iter_mut().flatten() {
        let Some(source) = &mut variable.value_from else { continue };
        if let Some(field) = &mut source.field_ref {
            set(&mut field.api_version, "v1");
        }
        if let Some(file) = &mut source.file_key_ref {
            file.optional.get_or_insert(false);
        }
    }
    for found in [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe] {
        found.iter_mut().for_each(probe);
    }
    if let Some(lifecycle) = &mut container.lifecycle {
        lifecycle.post_start.iter_mut().chain(&mut lifecycle.pre_stop).for_each(hook);
    }
}

fn ephemeral(ephemeral: &mut EphemeralContainer) {
    let mut common = as_container(ephemeral);
    container(&mut common);
    ephemeral.termination_message_path = common.termination_message_path;
    ephemeral.termination_message_policy = common.termination_message_policy;
    ephemeral.image_pull_policy = common.image_pull_policy;
    ephemeral.env = common.env;
    ephemeral.resources.get_or_insert_default();
    for port in ephemeral.ports.iter_mut().flatten() {
        set(&mut port.protocol, "TCP");
    }
    for found in [&mut ephemeral.liveness_probe, &mut ephemeral.readiness_probe, &mut ephemeral.startup_probe] {
        found.iter_mut().for_each(probe);
    }
}

/// A moving tag is pulled always, a fixed one once.
pub fn pull_policy(image: &str) -> &'static str {
    // What follows the last slash may hold a digest and a tag.
    let name = image.rsplit('/').next().unwrap_or("");
    let (name, digest) = match name.split_once('@') {
        Some((name, _)) => (name, true),
        None => (name, false),
    };
    match name.split_once(':') {
        Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
        None if digest => "IfNotPresent",
        None => "Always",
    }
}

fn probe(probe: &mut Probe) {
    let number = |field: &mut Option<i32>, value| {
        if field.unwrap_or(0) == 0 {
            *field = Some(value);
        }
    };
    number(&mut probe.timeout_seconds, 1);
    number(&mut probe.period_seconds, 10);
    number(&mut probe.success_threshold, 1);
    number(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        grpc.service.get_or_insert_default();
    }
}

fn hook(hook: &mut LifecycleHandler) {
    hook.http_get.iter_mut().for_each(http_get);
}

fn http_get(get: &mut HTTPGetAction) {
    set(&mut get.path, "/");
    set(&mut get.scheme, "HTTP");
}

fn volume(volume: &mut Volume) {
    let bare = Volume { name: volume.name.clone(), ..Volume::default() };
    if *volume == bare {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(host) = &mut volume.host_path {
        host.type_.get_or_insert_default();
    }
    if let Some(secret) = &mut volume.secret {
        secret.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(map) = &mut volume.config_map {
        map.default_mode.get_or_insert(FILE_MODE);
    }
    if let Some(downward) = &mut volume.downward_api {
        downward.default_mode.get_or_insert(FILE_MODE);
        for field in downward.items.iter_mut().flatten().filter_map(|item| item.field_ref.as_mut()) {
            set(&mut field.api_version, "v1");
        }
    }
    if let Some(projected) = &mut volume.projected {
        projected.default_mode.get_or_insert(FILE_MODE);
        projected.sources.iter_mut().flatten().for_each(projection);
    }
    if let Some(image) = &mut volume.image {
        let policy = pull_policy(image.reference.as_deref().unwrap_or(""));
        set(&mut image.pull_policy, policy);
    }
    if let Some(template) = volume.ephemeral.as_mut().and_then(|e| e.volume_claim_template.as_mut()) {
        set(&mut template.spec.volume_mode, "Filesystem");
    }
    legacy(volume);
}

fn projection(source: &mut VolumeProjection) {
    if let Some(token) = &mut source.service_account_token {
        token.expiration_seconds.get_or_insert(TOKEN_SECONDS);
    }
    let files = source.downward_api.iter_mut().flat_map(|d| d.items.iter_mut().flatten());
    for field in files.filter_map(|file| file.field_ref.as_mut()) {
        set(&mut field.api_version, "v1");
    }
    // Upstream's features for these are off by default, and drop the fields.
    source.cluster_trust_bundle = None;
    source.pod_certificate = None;
}

/// Volume sources of old, whose drivers are gone or moved to CSI.
fn legacy(volume: &mut Volume) {
    if let Some(disk) = &mut volume.iscsi {
        set(&mut disk.iscsi_interface, "default");
    }
    if let Some(disk) = &mut volume.rbd {
        set(&mut disk.pool, "rbd");
        set(&mut disk.user, "admin");
        set(&mut disk.keyring, "/etc/ceph/keyring");
    }
    if let Some(disk) = &mut volume.azure_disk {
        disk.caching_mode.get_or_insert_with(|| "ReadWrite".to_string());
        disk.kind.get_or_insert_with(|| "Shared".to_string());
        disk.fs_type.get_or_insert_with(|| "ext4".to_string());
        disk.read_only.get_or_insert(false);
    }
    if let Some(disk) = &mut volume.scale_io {
        set(&mut disk.storage_mode, "ThinProvisioned");
        set(&mut disk.fs_type, "xfs");
    }
}

#[cfg(test)]
mod tests {
    use super::pull_policy;

    #[test]
    fn only_moving_tags_are_pulled_always() {
        for image in ["nginx", "nginx:latest", "registry:5000/nginx", "a/b:latest@sha256:00"] {
            assert_eq!(pull_policy(image), "Always", "{image}");
        }
        for image in ["nginx:1", "registry:5000/a/b:1.2", "nginx@sha256:00", "nginx:1@sha256:00"] {
            assert_eq!(pull_policy(image), "IfNotPresent", "{image}");
        }
    }
}
