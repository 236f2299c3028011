//! One step from the old pods to the new: rolling (a few at a time, within surge and unavailability) or Recreate
//! (all old ones gone first).

use client::{Snapshot, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::report;
use super::revisions::{self, ByName};
use super::sets::{Set, Sets};
use crate::pods;

/// A step of a rolling update. Says what it waits for, if it waits.
pub fn roll(sets: &mut Sets, by_name: ByName<'_>, view: &View, now: Timestamp) -> Option<String> {
    let known = sets.new.is_some();
    revisions::sync(sets, Some(by_name), view, now);
    if known && let Some(new) = &sets.new {
        let size = new_size(sets, new.replicas());
        if sets.scale(None, size) {
            return Some(format!("scaling the new replica set to {size}"));
        }
    }
    if scale_down_old(sets) {
        return Some("scaling old replica sets down".to_owned());
    }
    finish(sets);
    None
}

/// A step of a Recreate.
pub fn recreate(
    sets: &mut Sets,
    pods: &Snapshot<Pod>,
    by_name: ByName<'_>,
    view: &View,
    now: Timestamp,
) -> Option<String> {
    revisions::sync(sets, None, view, now);
    let mut scaled = false;
    for place in 0..sets.old.len() {
        if sets.old[place].replicas() > 0 {
            scaled |= sets.scale(Some(place), 0);
        }
    }
    if scaled {
        return Some("scaling old replica sets down to nothing".to_owned());
    }
    let still_there = sets.old.iter().any(|set| {
        let uid = set.now.metadata.uid.as_deref().unwrap_or_default();
        set.actual() > 0 || pods.owned_by(uid).any(|pod| !pods::is_terminal(pod))
    });
    if still_there {
        return Some("waiting for the old pods to be gone".to_owned());
    }
    if sets.new.is_none() {
        revisions::sync(sets, Some(by_name), view, now);
    }
    let wanted = sets.wanted();
    if sets.scale(None, wanted) {
        return Some(format!("scaling the new replica set to {wanted}"));
    }
    finish(sets);
    None
}

fn finish(sets: &mut Sets) {
    let counted = report::counted(sets);
    if report::complete(sets, &counted) {
        revisions::clean_up(sets);
    }
}

/// The size that the new set, now of `size`, may have in this step.
pub fn new_size(sets: &Sets, size: i32) -> i32 {
    let wanted = sets.wanted();
    if sets.recreates() || size >= wanted {
        return wanted;
    }
    let room = wanted.saturating_add(sets.max_surge()).saturating_sub(sets.total());
    if room <= 0 { size } else { size + room.min(wanted - size) }
}

/// Scales old sets down as far as availability allows: unhealthy pods first, which nobody misses. True if any changed.
fn scale_down_old(sets: &mut Sets) -> bool {
    if sets.old.iter().all(|set| set.replicas() == 0) {
        return false;
    }
    let min_available = sets.wanted() - sets.max_unavailable();
    let new_unavailable = sets.new.as_ref().map_or(0, |new| new.replicas() - new.available());
    let may_go = sets.total() - min_available - new_unavailable;
    if may_go <= 0 {
        return false;
    }
    let mut gone = 0;
    for place in 0..sets.old.len() {
        let (size, available) = (sets.old[place].replicas(), sets.old[place].available());
        let unhealthy = (size - available).max(0).min(may_go - gone);
        if size > 0 && unhealthy > 0 {
            sets.scale(Some(place), size - unhealthy);
            gone += unhealthy;
        }
    }
    let mut spare = sets.all().map(Set::available).sum::<i32>() - min_available;
    let mut changed = gone > 0;
    for place in 0..sets.old.len() {
        let size = sets.old[place].replicas();
        let down = size.min(spare).max(0);
        if down > 0 {
            changed |= sets.scale(Some(place), size - down);
            spare -= down;
        }
    }
    changed
}
