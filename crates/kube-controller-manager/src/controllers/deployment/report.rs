//! What a Deployment says of itself: counts, and the conditions Available, Progressing and ReplicaFailure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::sets::{Set, Sets};

/// The deadline of progress; the largest number means none.
pub fn deadline(sets: &Sets) -> Option<i32> {
    sets.spec().progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)
}

fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// Whether the status has a condition of this type.
pub fn has(sets: &Sets, kind: &str) -> bool {
    condition(&sets.status, kind).is_some()
}

fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != kind);
    }
}

/// Sets a condition unless it already says so; the time of transition moves only with the status.
pub fn set(sets: &mut Sets, kind: &str, value: &str, reason: &str, message: String, now: Timestamp) {
    set_in(&mut sets.status, kind, value, reason, message, now);
}

fn set_in(status: &mut DeploymentStatus, kind: &str, value: &str, reason: &str, message: String, now: Timestamp) {
    let known = condition(status, kind);
    if known.is_some_and(|known| known.status == value && known.reason.as_deref() == Some(reason)) {
        return;
    }
    let since = known.filter(|known| known.status == value).and_then(|known| known.last_transition_time.clone());
    remove(status, kind);
    status.conditions.get_or_insert_default().push(DeploymentCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
    });
}

/// Shows that a Deployment is paused, or resumed.
pub fn pausing(sets: &mut Sets, now: Timestamp) {
    let reason = condition(&sets.status, "Progressing").and_then(|known| known.reason.clone()).unwrap_or_default();
    if deadline(sets).is_none() || reason == "ProgressDeadlineExceeded" {
        return;
    }
    if sets.paused() && reason != "DeploymentPaused" {
        set(sets, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".to_owned(), now);
    } else if !sets.paused() && reason == "DeploymentPaused" {
        set(sets, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned(), now);
    }
}

/// The status with fresh counts and the conditions of the one in work.
pub fn counted(sets: &Sets) -> DeploymentStatus {
    let sum = |count: fn(&Set) -> i32| sets.all().map(count).sum::<i32>();
    let some = |count: i32| (count > 0).then_some(count);
    let available = sum(Set::available);
    DeploymentStatus {
        observed_generation: sets.deployment().metadata.generation,
        replicas: some(sum(Set::actual)),
        updated_replicas: some(sets.new.as_ref().map_or(0, Set::actual)),
        ready_replicas: some(sum(|set| set.counted(|status| status.ready_replicas))),
        available_replicas: some(available),
        unavailable_replicas: some(sets.total() - available),
        terminating_replicas: Some(sum(|set| set.counted(|status| status.terminating_replicas))),
        collision_count: sets.status.collision_count,
        conditions: sets.status.conditions.clone(),
    }
}

/// Counts and availability.
pub fn plain(sets: &mut Sets, now: Timestamp) {
    let mut status = counted(sets);
    let available = status.available_replicas.unwrap_or(0);
    if available >= sets.wanted() - sets.max_unavailable() {
        let message = "Deployment has minimum availability.".to_owned();
        set_in(&mut status, "Available", "True", "MinimumReplicasAvailable", message, now);
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        set_in(&mut status, "Available", "False", "MinimumReplicasUnavailable", message, now);
    }
    sets.status = status;
}

/// Whether the rollout has arrived.
pub fn complete(sets: &Sets, status: &DeploymentStatus) -> bool {
    let wanted = sets.wanted();
    [status.updated_replicas, status.replicas, status.available_replicas]
        .iter()
        .all(|count| count.unwrap_or(0) == wanted)
        && status.observed_generation >= sets.deployment().metadata.generation
}

/// Counts, availability, progress and failures. Gives the time until the deadline of progress passes, if one runs.
pub fn progress(sets: &mut Sets, now: Timestamp) -> Option<Duration> {
    let before = sets.deployment().status.clone().unwrap_or_default();
    plain(sets, now);
    let mut status = sets.status.clone();
    let complete = complete(sets, &status);
    let subject = match &sets.new {
        Some(new) => format!("ReplicaSet \"{}\"", new.name()),
        None => format!("Deployment \"{}\"", sets.deployment().metadata.name.as_deref().unwrap_or_default()),
    };
    let known_reason = condition(&status, "Progressing").and_then(|known| known.reason.clone()).unwrap_or_default();
    let arrived = status.replicas == status.updated_replicas && known_reason == "NewReplicaSetAvailable";
    let limit = deadline(sets);
    match limit {
        None => remove(&mut status, "Progressing"),
        Some(_) if arrived => {}
        Some(_) if complete => {
            let message = format!("{subject} has successfully progressed.");
            set_in(&mut status, "Progressing", "True", "NewReplicaSetAvailable", message, now);
        }
        Some(_) if progressing(&before, &status) => {
            let since = condition(&status, "Progressing")
                .filter(|known| known.status == "True")
                .and_then(|known| known.last_transition_time.clone());
            // Progress moves the time of update, which is what the deadline counts from.
            remove(&mut status, "Progressing");
            set_in(&mut status, "Progressing", "True", "ReplicaSetUpdated", format!("{subject} is progressing."), now);
            if let Some(last) = status.conditions.as_mut().and_then(|conditions| conditions.last_mut()) {
                last.last_transition_time = since.or(last.last_transition_time.take());
            }
        }
        Some(seconds) if timed_out(&status, seconds, now) => {
            let message = format!("{subject} has timed out progressing.");
            set_in(&mut status, "Progressing", "False", "ProgressDeadlineExceeded", message, now);
        }
        Some(_) => {}
    }
    failures(sets, &mut status);
    sets.status = status;
    limit.filter(|_| !complete).and_then(|seconds| time_left(&sets.status, seconds, now))
}

fn progressing(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let old_ones = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(after.updated_replicas) > count(before.updated_replicas)
        || old_ones(after) < old_ones(before)
        || count(after.ready_replicas) > count(before.ready_replicas)
        || count(after.available_replicas) > count(before.available_replicas)
}

/// Milliseconds until the deadline, counted from the last progress; none if none is awaited.
fn left_ms(status: &DeploymentStatus, seconds: i32, now: Timestamp) -> Option<i64> {
    let known = condition(status, "Progressing")?;
    if matches!(
        known.reason.as_deref(),
        Some("NewReplicaSetAvailable" | "ProgressDeadlineExceeded" | "DeploymentPaused")
    ) {
        return None;
    }
    let since = known.last_update_time.as_ref()?.0;
    Some(since.as_millisecond() + i64::from(seconds) * 1000 - now.as_millisecond())
}

fn timed_out(status: &DeploymentStatus, seconds: i32, now: Timestamp) -> bool {
    left_ms(status, seconds, now).is_some_and(|left| left < 0)
}

fn time_left(status: &DeploymentStatus, seconds: i32, now: Timestamp) -> Option<Duration> {
    // A second more, so that the deadline has passed for sure when it is looked at again.
    left_ms(status, seconds, now).map(|left| Duration::from_millis(u64::try_from(left + 1000).unwrap_or(0)))
}

/// Shows the failure of a set as the Deployment's own.
fn failures(sets: &Sets, status: &mut DeploymentStatus) {
    let newest_first = sets.new.iter().chain(sets.old.iter());
    let failure =
        newest_first.flat_map(|set| set.now.status.iter()).flat_map(|status| status.conditions.iter().flatten());
    let failure = failure
        .filter(|condition| condition.type_ == "ReplicaFailure")
        .max_by_key(|condition| condition.last_transition_time.clone().map(|time| time.0));
    let Some(failure) = failure else { return remove(status, "ReplicaFailure") };
    let (reason, message) = (failure.reason.clone().unwrap_or_default(), failure.message.clone().unwrap_or_default());
    let now = failure.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    set_in(status, "ReplicaFailure", &failure.status, &reason, message, now);
}
