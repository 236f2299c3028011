//! Notices what happens to pods in the runtime. A runtime that streams container events is listened to; besides, and
//! with others instead, all sandboxes and containers are listed each second and compared with the list before. Either
//! way the outcome is only "look at this pod again": the pod's worker reads the state itself.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    cri::{Cri, CriError, v1},
    pod::labels,
};

/// Told about pods whose containers changed.
pub trait Listener: Send + Sync + 'static {
    /// Something happened to the pod with this uid.
    fn changed(&self, uid: &str);
    /// How many pods there are; with none nothing is listed.
    fn pod_count(&self) -> usize;
    /// A complete list was taken: these uids have something in the runtime.
    fn relisted(&self, uids: &HashSet<String>);
}

/// (pod uid, state) by id.
type Seen = HashMap<String, (String, i32)>;

/// Runs until cancelled.
pub async fn run(cri: Cri, listener: Arc<dyn Listener>, period: Duration, cancel: CancellationToken) {
    let streaming = tokio::spawn(stream(cri.clone(), listener.clone(), cancel.clone()));
    let mut seen = Seen::new();
    let mut healthy = true;
    loop {
        if listener.pod_count() > 0 || !seen.is_empty() {
            match list(&cri).await {
                Ok(now) => {
                    for uid in changed(&seen, &now) {
                        listener.changed(&uid);
                    }
                    listener.relisted(&now.values().map(|(uid, _)| uid.clone()).collect());
                    seen = now;
                    healthy = true;
                }
                Err(error) => {
                    if healthy {
                        tracing::warn!(%error, "the container runtime does not answer");
                    }
                    healthy = false;
                }
            }
        }
        // With events, the list is only a safety net.
        let pause = if streaming.is_finished() { period } else { period * 30 };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return,
        }
    }
}

async fn list(cri: &Cri) -> Result<Seen, CriError> {
    let (sandboxes, containers) = tokio::try_join!(cri.sandboxes(None), cri.containers(None))?;
    let uid = |labels: &HashMap<String, String>| labels.get(labels::POD_UID).cloned();
    let mut seen = Seen::new();
    seen.extend(sandboxes.into_iter().filter_map(|s| Some((s.id, (uid(&s.labels)?, s.state)))));
    seen.extend(containers.into_iter().filter_map(|c| Some((c.id, (uid(&c.labels)?, c.state)))));
    Ok(seen)
}

fn changed(before: &Seen, now: &Seen) -> HashSet<String> {
    let new = now.iter().filter(|(id, state)| before.get(*id) != Some(state)).map(|(_, (uid, _))| uid.clone());
    let gone = before.iter().filter(|(id, _)| !now.contains_key(*id)).map(|(_, (uid, _))| uid.clone());
    new.chain(gone).collect()
}

/// Ends when the runtime turns out to have no event stream.
async fn stream(cri: Cri, listener: Arc<dyn Listener>, cancel: CancellationToken) {
    loop {
        let answer = cri.runtime().get_container_events(v1::GetEventsRequest {}).await;
        match answer {
            Ok(answer) => {
                let mut events = answer.into_inner();
                loop {
                    let event = tokio::select! {
                        event = events.message() => event,
                        () = cancel.cancelled() => return,
                    };
                    match event {
                        Ok(Some(event)) => {
                            let metadata = event.pod_sandbox_status.and_then(|status| status.metadata);
                            if let Some(metadata) = metadata {
                                listener.changed(&metadata.uid);
                            }
                        }
                        Err(status) if status.code() == tonic::Code::Unimplemented => return,
                        Ok(None) | Err(_) => break,
                    }
                }
            }
            Err(status) if status.code() == tonic::Code::Unimplemented => return,
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = cancel.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_new_state_a_new_id_or_a_missing_one() {
        let seen = |list: &[(&str, &str, i32)]| -> Seen {
            list.iter().map(|(id, uid, state)| ((*id).to_owned(), ((*uid).to_owned(), *state))).collect()
        };
        let before = seen(&[("a", "1", 1), ("b", "2", 1), ("c", "3", 1)]);
        let now = seen(&[("a", "1", 1), ("b", "2", 2), ("d", "4", 0)]);
        let expected = ["2", "3", "4"].map(str::to_owned).into();
        assert_eq!(changed(&before, &now), expected);
    }
}
