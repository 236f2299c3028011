//! Statuses of a pod's containers.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::generate::Inputs;
use crate::{
    actions,
    cri::v1::ContainerState as RuntimeState,
    pod::{ContainerKind, PodExt, is_sidecar},
    runtime_state::ContainerInfo,
};

/// The status of one container.
pub fn status(inputs: &Inputs<'_>, kind: ContainerKind, container: &Container) -> ContainerStatus {
    let name = container.name.as_str();
    let info = inputs.runtime.latest(name);
    let old = old_status(inputs, kind, name);
    let mut out = ContainerStatus {
        name: name.into(),
        image: container.image.clone().unwrap_or_default(),
        last_state: Some(ContainerState::default()),
        started: Some(false),
        ..Default::default()
    };
    match info {
        Some(info) => known(inputs, kind, container, info, &mut out),
        None => unknown(inputs, old, &mut out),
    }
    // Said of what the runtime knows, also where nothing is asked for.
    let actuated = info.filter(|info| info.running()).and_then(|_| inputs.resizing.actuated.containers.get(name));
    out.resources = info.map(|_| actuated.or(container.resources.as_ref()).cloned().unwrap_or_default());
    out.allocated_resources = info.and(container.resources.as_ref()).and_then(|resources| resources.requests.clone());
    let mounts = container.volume_mounts.iter().flatten();
    out.volume_mounts = Some(
        mounts
            .map(|mount| VolumeMountStatus {
                name: mount.name.clone(),
                mount_path: mount.mount_path.clone(),
                read_only: mount.read_only.filter(|only| *only),
                recursive_read_only: mount.read_only.filter(|only| *only).map(|_| "Disabled".into()),
                ..Default::default()
            })
            .collect(),
    )
    .filter(|list: &Vec<_>| !list.is_empty());
    out
}

fn old_status<'a>(inputs: &'a Inputs<'_>, kind: ContainerKind, name: &str) -> Option<&'a ContainerStatus> {
    let status = inputs.pod.status.as_ref()?;
    let list = match kind {
        ContainerKind::Main => &status.container_statuses,
        ContainerKind::Init => &status.init_container_statuses,
        ContainerKind::Ephemeral => &status.ephemeral_container_statuses,
    };
    list.iter().flatten().find(|status| status.name == name)
}

fn known(
    inputs: &Inputs<'_>,
    kind: ContainerKind,
    container: &Container,
    info: &ContainerInfo,
    out: &mut ContainerStatus,
) {
    let name = container.name.as_str();
    out.container_id = Some(format!("{}://{}", inputs.runtime_name, info.id));
    if !info.image.is_empty() {
        out.image = info.image.clone();
    }
    out.image_id = info.image_ref.clone();
    out.restart_count = i32::try_from(info.restarts).unwrap_or(i32::MAX);
    let previous = inputs.runtime.before_latest(name).map(|before| terminated(inputs, before));
    out.last_state = Some(ContainerState { terminated: previous, ..Default::default() });
    match info.state {
        RuntimeState::ContainerRunning => {
            let started_at = info.started_at.map(Time);
            out.state =
                Some(ContainerState { running: Some(ContainerStateRunning { started_at }), ..Default::default() });
            let started = actions::has_started(container, info, inputs.probes);
            let readiness = inputs.probes.get(&info.id).and_then(|probe| probe.ready);
            let probed = container.readiness_probe.is_none() || readiness == Some(true);
            out.started = Some(started);
            out.ready = match kind {
                ContainerKind::Main => started && probed,
                ContainerKind::Init => is_sidecar(container) && started && probed,
                ContainerKind::Ephemeral => false,
            };
        }
        RuntimeState::ContainerExited => {
            let ended = terminated(inputs, info);
            out.ready = kind == ContainerKind::Init && !is_sidecar(container) && info.exit_code == 0;
            let comes_back = !inputs.is_terminal && actions::should_restart(inputs.pod, container, kind, info);
            match inputs.reasons.get(name).filter(|_| comes_back) {
                Some(reason) => {
                    out.state = Some(waiting(&reason.0, &reason.1));
                    out.last_state = Some(ContainerState { terminated: Some(ended), ..Default::default() });
                }
                None => out.state = Some(ContainerState { terminated: Some(ended), ..Default::default() }),
            }
        }
        _ => {
            let (reason, message) = waiting_reason(inputs, name);
            out.state = Some(waiting(&reason, &message));
        }
    }
}

/// The runtime has no container of this name: it has not been made yet, or it was lost.
fn unknown(inputs: &Inputs<'_>, old: Option<&ContainerStatus>, out: &mut ContainerStatus) {
    let (reason, message) = waiting_reason(inputs, &out.name);
    out.state = Some(waiting(&reason, &message));
    let Some(old) = old else { return };
    out.restart_count = old.restart_count;
    let state = old.state.clone().unwrap_or_default();
    if let Some(running) = state.running {
        let lost = ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some(
                "The container could not be located when the pod was deleted.  The container used to be Running".into(),
            ),
            started_at: running.started_at,
            finished_at: Some(Time(inputs.now)),
            container_id: old.container_id.clone(),
            ..Default::default()
        };
        let lost = Some(ContainerState { terminated: Some(lost), ..Default::default() });
        if inputs.is_terminal {
            out.state = lost;
        } else {
            out.restart_count += 1;
            out.last_state = lost;
        }
    } else if state.terminated.is_some() {
        out.state = Some(state);
        out.last_state = old.last_state.clone();
        out.container_id = old.container_id.clone();
        out.image_id = old.image_id.clone();
        out.ready = old.ready;
    } else {
        out.last_state = old.last_state.clone().or(Some(ContainerState::default()));
    }
}

fn waiting_reason(inputs: &Inputs<'_>, name: &str) -> (String, String) {
    if let Some(reason) = inputs.reasons.get(name) {
        return reason.clone();
    }
    let reason = if !inputs.pod.init_containers().is_empty() { "PodInitializing" } else { "ContainerCreating" };
    (reason.into(), String::new())
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    let waiting = ContainerStateWaiting { reason: Some(reason.into()), message };
    ContainerState { waiting: Some(waiting), ..Default::default() }
}

fn terminated(inputs: &Inputs<'_>, info: &ContainerInfo) -> ContainerStateTerminated {
    let reason = match (info.reason.as_str(), info.exit_code) {
        ("", 0) => "Completed",
        ("", _) => "Error",
        (given, _) => given,
    };
    let words = info.last_words.clone().filter(|words| !words.is_empty());
    let runtime_words = (!info.message.is_empty()).then(|| info.message.clone());
    ContainerStateTerminated {
        exit_code: info.exit_code,
        reason: Some(reason.into()),
        message: words.or(runtime_words),
        // A container that never started did so at the runtime's zero, which is what clients expect to find.
        started_at: Some(Time(info.started_at.unwrap_or(Timestamp::UNIX_EPOCH))),
        finished_at: Some(Time(info.finished_at.unwrap_or(Timestamp::UNIX_EPOCH))),
        container_id: Some(format!("{}://{}", inputs.runtime_name, info.id)),
        ..Default::default()
    }
}
