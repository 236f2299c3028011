//! The checks that the profile `restricted` adds: pods are hardened, and say so.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;

use super::baseline::{outside_user_namespaces, proc_mount};
use super::checks::{Check, CheckPod, Violation, containers, plural, quoted, setters};
use super::subject::Subject;

/// By id, which is the order of messages.
pub static CHECKS: &[Check] = &[
    Check {
        id: "allowPrivilegeEscalation",
        revisions: &[(8, privilege_escalation), (25, |pod| but_windows(pod, privilege_escalation))],
        replaces: None,
    },
    Check {
        id: "capabilities_restricted",
        revisions: &[(22, capabilities), (25, |pod| but_windows(pod, capabilities))],
        replaces: Some("capabilities_baseline"),
    },
    Check { id: "procMount_restricted", revisions: &[(35, proc_mount)], replaces: Some("procMount") },
    Check { id: "restrictedVolumes", revisions: &[(0, volumes)], replaces: Some("hostPathVolumes") },
    Check {
        id: "runAsNonRoot",
        revisions: &[(0, run_as_non_root), (35, |pod| outside_user_namespaces(pod, run_as_non_root))],
        replaces: None,
    },
    Check {
        id: "runAsUser",
        revisions: &[(23, run_as_user), (35, |pod| outside_user_namespaces(pod, run_as_user))],
        replaces: None,
    },
    Check {
        id: "seccompProfile_restricted",
        revisions: &[(19, super::seccomp::required), (25, |pod| but_windows(pod, super::seccomp::required))],
        replaces: Some("seccompProfile_baseline"),
    },
];

/// Windows knows none of these; validation of the pod keeps the fields off.
fn but_windows(pod: &Subject, check: CheckPod) -> Option<Violation> {
    if pod.is_windows() { None } else { check(pod) }
}

fn privilege_escalation(pod: &Subject) -> Option<Violation> {
    let names = pod.names_of(|container| {
        container.security.and_then(|security| security.allow_privilege_escalation) != Some(false)
    });
    (!names.is_empty()).then(|| Violation {
        reason: "allowPrivilegeEscalation != false",
        detail: format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names)),
    })
}

fn capabilities(pod: &Subject) -> Option<Violation> {
    let keeping = pod.names_of(|container| {
        let capabilities = container.security.and_then(|security| security.capabilities.as_ref());
        !capabilities.and_then(|c| c.drop.as_ref()).is_some_and(|dropped| dropped.iter().any(|one| one == "ALL"))
    });
    let mut forbidden = BTreeSet::new();
    let adding = pod.names_of(|container| {
        let added = container.security.and_then(|security| security.capabilities.as_ref()).and_then(|c| c.add.as_ref());
        let bad = added.into_iter().flatten().filter(|one| *one != "NET_BIND_SERVICE");
        bad.map(|one| forbidden.insert(one.clone())).count() > 0
    });
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !adding.is_empty() {
        let forbidden = quoted(&forbidden);
        details
            .push(format!("{} must not include {forbidden} in securityContext.capabilities.add", containers(&adding)));
    }
    (!details.is_empty()).then(|| Violation { reason: "unrestricted capabilities", detail: details.join("; ") })
}

fn volumes(pod: &Subject) -> Option<Violation> {
    let mut kinds = BTreeSet::new();
    let mut names = Vec::new();
    for volume in pod.spec.volumes.iter().flatten().filter(|volume| !is_restricted(volume)) {
        names.push(volume.name.as_str());
        kinds.insert(volume_kind(volume));
    }
    (!names.is_empty()).then(|| Violation {
        reason: "restricted volume types",
        detail: format!(
            "{} {} {} {} {}",
            plural(names.len(), "volume", "volumes"),
            quoted(&names),
            plural(names.len(), "uses", "use"),
            plural(kinds.len(), "restricted volume type", "restricted volume types"),
            quoted(&kinds)
        ),
    })
}

/// Volumes that bring nothing of the node's or the network's own into the pod.
fn is_restricted(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some()
}

/// The source's field name.
fn volume_kind(volume: &Volume) -> &'static str {
    let kinds = [
        (volume.host_path.is_some(), "hostPath"),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk"),
        (volume.aws_elastic_block_store.is_some(), "awsElasticBlockStore"),
        (volume.git_repo.is_some(), "gitRepo"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
        (volume.glusterfs.is_some(), "glusterfs"),
        (volume.rbd.is_some(), "rbd"),
        (volume.flex_volume.is_some(), "flexVolume"),
        (volume.cinder.is_some(), "cinder"),
        (volume.cephfs.is_some(), "cephfs"),
        (volume.flocker.is_some(), "flocker"),
        (volume.fc.is_some(), "fc"),
        (volume.azure_file.is_some(), "azureFile"),
        (volume.vsphere_volume.is_some(), "vsphereVolume"),
        (volume.quobyte.is_some(), "quobyte"),
        (volume.azure_disk.is_some(), "azureDisk"),
        (volume.photon_persistent_disk.is_some(), "photonPersistentDisk"),
        (volume.portworx_volume.is_some(), "portworxVolume"),
        (volume.scale_io.is_some(), "scaleIO"),
        (volume.storageos.is_some(), "storageos"),
    ];
    kinds.into_iter().find(|(is, _)| *is).map_or("unknown", |(_, name)| name)
}

fn run_as_non_root(pod: &Subject) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    let of_pod = pod.security().and_then(|security| security.run_as_non_root);
    let of = |security: Option<&k8s_openapi::api::core::v1::SecurityContext>| security.and_then(|s| s.run_as_non_root);
    let as_root = pod.names_of(|container| of(container.security) == Some(false));
    if let Some(who) = setters(of_pod == Some(false), &as_root) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Some(Violation { reason: REASON, detail });
    }
    let silent = pod.names_of(|container| of(container.security).is_none() && of_pod != Some(true));
    (!silent.is_empty()).then(|| Violation {
        reason: REASON,
        detail: format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent)),
    })
}

fn run_as_user(pod: &Subject) -> Option<Violation> {
    let of_pod = pod.security().and_then(|security| security.run_as_user) == Some(0);
    let names = pod.names_of(|container| container.security.and_then(|security| security.run_as_user) == Some(0));
    let detail = format!("{} must not set runAsUser=0", setters(of_pod, &names)?);
    Some(Violation { reason: "runAsUser=0", detail })
}
