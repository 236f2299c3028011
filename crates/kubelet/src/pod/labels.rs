//! Labels and annotations by which a restarted kubelet knows its pods again. They are upstream's, so that tools that
//! look at the runtime (crictl, log collectors) understand them too.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use sha2::{Digest, Sha256};

use super::PodExt;

/// Pod name label.
pub const POD_NAME: &str = "io.kubernetes.pod.name";
/// Pod namespace label.
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// Pod uid label.
pub const POD_UID: &str = "io.kubernetes.pod.uid";
/// Container name label.
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// Annotation: which definition the container was made from.
pub const HASH: &str = "io.kubernetes.container.hash";
/// Annotation: how often it had been restarted.
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
/// Annotation: where the container writes its last words.
pub const TERMINATION_PATH: &str = "io.kubernetes.container.terminationMessagePath";
/// Annotation: File or FallbackToLogsOnError.
pub const TERMINATION_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Annotation: the pod's grace period, for a pod whose object is gone.
pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";

/// A sandbox's labels.
pub fn sandbox_labels(pod: &Pod) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = pod.metadata.labels.clone().unwrap_or_default().into_iter().collect();
    labels.extend(identity(pod));
    labels
}

/// A sandbox's annotations.
pub fn sandbox_annotations(pod: &Pod, seen: jiff::Timestamp) -> HashMap<String, String> {
    let mut annotations: HashMap<String, String> =
        pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect();
    annotations.insert("kubernetes.io/config.seen".into(), seen.to_string());
    annotations.insert("kubernetes.io/config.source".into(), "api".into());
    annotations
}

/// A container's labels.
pub fn container_labels(pod: &Pod, container: &Container) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = identity(pod).into();
    labels.insert(CONTAINER_NAME.into(), container.name.clone());
    labels
}

/// A container's annotations.
pub fn container_annotations(pod: &Pod, container: &Container, restarts: u32) -> HashMap<String, String> {
    let mut annotations: HashMap<String, String> = [
        (HASH.into(), hash(container)),
        (RESTART_COUNT.into(), restarts.to_string()),
        (TERMINATION_PATH.into(), container.termination_message_path.clone().unwrap_or_default()),
        (TERMINATION_POLICY.into(), container.termination_message_policy.clone().unwrap_or_default()),
    ]
    .into();
    if let Some(grace) = pod.pod_spec().termination_grace_period_seconds {
        annotations.insert(GRACE_PERIOD.into(), grace.to_string());
    }
    if let Some(ports) = container.ports.as_ref().and_then(|ports| serde_json::to_string(ports).ok()) {
        annotations.insert("io.kubernetes.container.ports".into(), ports);
    }
    annotations
}

/// Changes exactly when a running container must be replaced: with its name or its image.
pub fn hash(container: &Container) -> String {
    let digest = Sha256::digest(format!("{}\0{}", container.name, container.image.as_deref().unwrap_or_default()));
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn identity(pod: &Pod) -> [(String, String); 3] {
    [
        (POD_NAME.into(), pod.name().into()),
        (POD_NAMESPACE.into(), pod.namespace().into()),
        (POD_UID.into(), pod.uid().into()),
    ]
}
