//! Looking: the pod as the runtime has it. What cannot have changed is not asked for again.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use super::Worker;
use crate::{
    cri::{CriError, v1},
    logs::parser,
    pod::PodExt,
    runtime_state::{ContainerInfo, PodRuntime, Sandbox},
};

/// The most of a termination message file that is told.
const LAST_WORDS_BYTES_MAX: u64 = 4096;
/// The most of a log that stands in for one.
const LOG_TAIL_BYTES_MAX: usize = 2048;
const LOG_TAIL_LINES_MAX: usize = 80;

impl Worker {
    pub(super) async fn observe(&mut self) -> Result<PodRuntime, CriError> {
        let cri = self.kubelet.cri.clone();
        let pod = self.pod();
        let uid = pod.uid();
        let (sandboxes, containers) = tokio::try_join!(cri.sandboxes(Some(uid)), cri.containers(Some(uid)))?;
        let mut runtime = PodRuntime::default();
        for sandbox in sandboxes {
            let ready = sandbox.state() == v1::PodSandboxState::SandboxReady;
            let known = self.seen_sandboxes.get(&sandbox.id).filter(|known| known.ready == ready);
            let known = known.filter(|known| !ready || !known.ips.is_empty() || pod.host_network()).cloned();
            let known = match known {
                Some(known) => known,
                None => {
                    let Some(status) = cri.sandbox_status(&sandbox.id).await? else { continue };
                    let found = sandbox_state(status);
                    self.seen_sandboxes.insert(found.id.clone(), found.clone());
                    found
                }
            };
            runtime.sandboxes.push(known);
        }
        for container in containers {
            let known = self.seen_containers.get(&container.id).filter(|known| known.state == container.state());
            let known = match known.cloned() {
                Some(known) => known,
                None => {
                    let Some(status) = cri.container_status(&container.id).await? else { continue };
                    let mut found = ContainerInfo::new(status, container.pod_sandbox_id.clone());
                    if found.exited() {
                        found.last_words = last_words(&found);
                    }
                    self.seen_containers.insert(found.id.clone(), found.clone());
                    found
                }
            };
            let is_replaced = self.replaced.contains(&known.id);
            runtime.containers.push(ContainerInfo { is_replaced, ..known });
        }
        self.seen_containers.retain(|id, _| runtime.containers.iter().any(|c| c.id == *id));
        self.replaced.retain(|id| runtime.containers.iter().any(|c| c.id == *id));
        self.seen_sandboxes.retain(|id, _| runtime.sandboxes.iter().any(|s| s.id == *id));
        let runtime = runtime.sorted();
        self.shared.lock().runtime = runtime.clone();
        Ok(runtime)
    }
}

fn sandbox_state(status: v1::PodSandboxStatus) -> Sandbox {
    let ready = status.state() == v1::PodSandboxState::SandboxReady;
    let mut ips = Vec::new();
    if let Some(network) = status.network.filter(|network| !network.ip.is_empty()) {
        ips.push(network.ip);
        ips.extend(network.additional_ips.into_iter().map(|ip| ip.ip));
    }
    let attempt = status.metadata.map_or(0, |metadata| metadata.attempt);
    Sandbox { id: status.id, attempt, ready, created_at: status.created_at, ips }
}

/// What a container left in its termination message file, or in its log if that may stand in.
fn last_words(info: &ContainerInfo) -> Option<String> {
    let words = info.termination_file.as_deref().and_then(|path| read_end(path, LAST_WORDS_BYTES_MAX));
    if let Some(words) = words.filter(|words| !words.is_empty()) {
        return Some(words);
    }
    if !info.log_is_fallback || info.exit_code == 0 {
        return None;
    }
    let text = read_end(&info.log_path, 64 << 10)?;
    let lines: Vec<String> = text.lines().filter_map(parser::parse).map(|line| line.text()).collect();
    let mut tail = lines[lines.len().saturating_sub(LOG_TAIL_LINES_MAX)..].concat();
    let mut cut = tail.len().saturating_sub(LOG_TAIL_BYTES_MAX);
    while !tail.is_char_boundary(cut) {
        cut += 1;
    }
    Some(tail.split_off(cut))
}

fn read_end(path: &Path, bytes_max: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max))).ok()?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
