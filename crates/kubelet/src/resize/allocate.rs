//! Promising pods what they want: one at a time, so that the same room is never promised twice.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use super::{
    Pending, Resizing,
    decide::{self, Reason},
    report,
};
use crate::{events::Level, kubelet::Kubelet, pod::PodExt, worker::Handle};

impl Kubelet {
    /// Promises a pod what its spec asks for if there is room, or notes why not; true if the promise is new.
    pub fn allocate(&self, pod: &Arc<Pod>, resizing: &Mutex<Resizing>) -> bool {
        let _turn = self.allocating.lock();
        if resizing.lock().allocated.fits(pod) {
            resizing.lock().pending = None;
            return false;
        }
        let Some(node) = self.node.borrow().clone() else { return false };
        let others: Vec<Arc<Pod>> = (self.handles().into_iter())
            .filter(|handle| handle.is_active() && handle.pod().uid() != pod.uid())
            .map(|handle| handle.allocated_pod())
            .collect();
        let generation = pod.metadata.generation.unwrap_or(0);
        let Some((reason, message)) = decide::refuse(pod, &others, &node) else {
            resizing.lock().allocate(pod);
            let text = report::message("started", pod, generation, None);
            self.events.pod(pod, None, Level::Normal, "ResizeStarted", text);
            return true;
        };
        let before = resizing.lock().pending.clone();
        let since = before.as_ref().filter(|before| before.reason == reason).map(|before| before.since);
        let since = since.unwrap_or_else(Timestamp::now);
        let now = Pending { reason, message: message.clone(), generation, since };
        if before.as_ref() != Some(&now) {
            let event = match reason {
                Reason::Deferred => "ResizeDeferred",
                Reason::Infeasible => "ResizeInfeasible",
            };
            let text = report::message(reason.as_str(), pod, generation, Some(&message));
            self.events.pod(pod, None, Level::Warning, event, text);
        }
        resizing.lock().pending = Some(now);
        false
    }

    /// There may be room now that was not there before.
    pub fn reconsider_resizes(&self) {
        let since = |handle: &Handle| handle.resizing.lock().pending.as_ref().map(|pending| pending.since);
        let mut waiting: Vec<(Timestamp, Handle)> = (self.handles().into_iter())
            .filter(Handle::is_active)
            .filter_map(|handle| Some((since(&handle)?, handle)))
            .collect();
        waiting.sort_by_key(|(since, handle)| decide::rank(&handle.pod(), *since));
        for (_, handle) in waiting {
            if self.allocate(&handle.pod(), &handle.resizing) {
                handle.wake.notify_one();
            }
        }
    }
}
