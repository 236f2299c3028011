//! What a Job's controller reports: checked where it changed, so that one old fault does not stop a Job for ever.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::super::indexes;
use super::INDEXED;
use crate::value::{list, text};
use crate::workload::Counts;
use crate::{cells, internal};

/// How the Job is, in one word.
pub fn word(job: &Value) -> &'static str {
    let is = |kind: &str| list(job, "/status/conditions").iter().any(|c| c["type"] == kind && c["status"] == "True");
    let deleted = !text(job, "/metadata/deletionTimestamp").is_empty();
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if deleted => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

/// From the start to the end, or to now; nothing before the start.
pub fn duration(job: &Value, now: Timestamp) -> String {
    let time = |pointer: &str| text(job, pointer).parse::<Timestamp>().ok();
    let Some(start) = time("/status/startTime") else { return String::new() };
    let end = time("/status/completionTime").unwrap_or(now);
    cells::human_duration(end.as_second() - start.as_second())
}

/// Whether a suspended Job has none of its pods running, so that they can still be made otherwise.
pub fn has_no_pods(job: &Job) -> bool {
    let default = JobStatus::default();
    let status = job.status.as_ref().unwrap_or(&default);
    status.start_time.is_none() || status.active.unwrap_or(0) == 0 && is_true(status, "Suspended")
}

fn is_true(status: &JobStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

pub fn validate_update(new: &Job, old: &Job) -> ErrorList {
    let (default, empty) = (JobStatus::default(), JobSpec::default());
    let (status, before) = (new.status.as_ref().unwrap_or(&default), old.status.as_ref().unwrap_or(&default));
    let spec = new.spec.as_ref().unwrap_or(&empty);
    let mut errors = counts(status);
    let check = Check { spec, status, before, path: Path::new("status") };
    errors.extend(check.end());
    errors.extend(check.indexes());
    errors.extend(check.running());
    errors.extend(check.contradictions());
    errors.extend(check.undone());
    errors
}

fn counts(status: &JobStatus) -> ErrorList {
    let mut counts = Counts::new(Path::new("status"));
    for (name, count) in [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ] {
        counts.non_negative(name, count.map(Into::into));
    }
    let mut errors = counts.errors;
    let Some(uncounted) = &status.uncounted_terminated_pods else { return errors };
    let status_path = Path::new("status");
    let path = status_path.child("uncountedTerminatedPods");
    let mut seen = std::collections::HashSet::new();
    for (name, uids) in [("succeeded", &uncounted.succeeded), ("failed", &uncounted.failed)] {
        let at = path.child(name);
        for (i, uid) in uids.iter().flatten().enumerate() {
            if uid.is_empty() {
                errors.push(Error::invalid(&at.index(i), uid, "must not be empty"));
            } else if !seen.insert(uid) {
                errors.push(Error::duplicate(&at.index(i), uid));
            }
        }
    }
    errors
}

struct Check<'a> {
    spec: &'a JobSpec,
    status: &'a JobStatus,
    before: &'a JobStatus,
    path: Path<'a>,
}

impl Check<'_> {
    fn is(&self, kind: &str) -> bool {
        is_true(self.status, kind)
    }

    fn was(&self, kind: &str) -> bool {
        is_true(self.before, kind)
    }

    fn turned(&self, kind: &str) -> bool {
        self.is(kind) != self.was(kind)
    }

    fn is_finished(&self) -> bool {
        self.is("Complete") || self.is("Failed")
    }

    fn finished_turned(&self) -> bool {
        self.is_finished() != (self.was("Complete") || self.was("Failed"))
    }

    fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some(INDEXED)
    }

    fn conditions(&self, detail: &str) -> Error {
        Error::invalid_unshown(&self.path.child("conditions"), detail)
    }

    /// The end of a Job and its time.
    fn end(&self) -> ErrorList {
        let (status, before, mut errors) = (self.status, self.before, ErrorList::new());
        let (ended, started) = (&status.completion_time, &status.start_time);
        let at = self.path.child("completionTime");
        let time_changed = *ended != before.completion_time;
        let complete = self.is("Complete");
        if complete && self.is("Failed") && (self.turned("Complete") || self.turned("Failed")) {
            errors.push(self.conditions("cannot set Complete=True and Failed=true conditions"));
        }
        if complete && self.is("FailureTarget") && (self.turned("Complete") || self.turned("FailureTarget")) {
            errors.push(self.conditions("cannot set Complete=True and FailureTarget=true conditions"));
        }
        if time_changed || self.turned("Complete") {
            match (ended, complete) {
                (Some(time), false) => {
                    let detail = "cannot set completionTime when there is no Complete=True condition";
                    errors.push(Error::invalid(&at, time, detail));
                }
                (None, true) => errors.push(Error::required(&at, "completionTime is required for Complete jobs")),
                _ => {}
            }
        }
        if (time_changed || *started != before.start_time)
            && let (Some(Time(start)), Some(Time(end))) = (started, ended)
            && end < start
        {
            errors.push(Error::invalid(&at, ended, "completionTime cannot be set before startTime"));
        }
        if self.is("Failed") && !self.is("FailureTarget") && (self.turned("Failed") || self.turned("FailureTarget")) {
            errors.push(self.conditions("cannot set Failed=True condition without the FailureTarget=true condition"));
        }
        if complete && !self.is("SuccessCriteriaMet") && (self.turned("Complete") || self.turned("SuccessCriteriaMet"))
        {
            let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
            errors.push(self.conditions(detail));
        }
        if self.is_finished() {
            errors.extend(self.finished());
        }
        errors
    }

    /// What a finished Job no longer has.
    fn finished(&self) -> ErrorList {
        let (status, before, mut errors) = (self.status, self.before, ErrorList::new());
        let turned = self.finished_turned();
        let active = status.active.unwrap_or(0);
        if active > 0 && (turned || status.active != before.active) {
            errors.push(Error::invalid(&self.path.child("active"), active, "active>0 is invalid for finished job"));
        }
        if status.start_time.is_none() && (turned || before.start_time.is_some()) {
            errors.push(Error::required(&self.path.child("startTime"), "startTime is required for finished job"));
        }
        if let Some(uncounted) = &status.uncounted_terminated_pods {
            let some = uncounted.failed.iter().flatten().chain(uncounted.succeeded.iter().flatten()).next().is_some();
            if some && (turned || status.uncounted_terminated_pods != before.uncounted_terminated_pods) {
                let shown = internal::shown("io.k8s.api.batch.v1.UncountedTerminatedPods", uncounted);
                let detail = "uncountedTerminatedPods needs to be empty for finished job";
                errors.push(Error::invalid(&self.path.child("uncountedTerminatedPods"), shown, detail));
            }
        }
        errors
    }

    fn indexes(&self) -> ErrorList {
        let (status, before, mut errors) = (self.status, self.before, ErrorList::new());
        let (at, failed_at) = (self.path.child("completedIndexes"), self.path.child("failedIndexes"));
        let text = status.completed_indexes.as_deref().unwrap_or("");
        let (changed, failed_changed) =
            (status.completed_indexes != before.completed_indexes, status.failed_indexes != before.failed_indexes);
        let failed = status.failed_indexes.as_deref();
        let limited = self.spec.backoff_limit_per_index.is_some();
        if let Some(completions) = self.spec.completions {
            if changed
                && self.is_indexed()
                && let Err(fault) = indexes::count(text, completions)
            {
                errors.push(Error::invalid(&at, text, format!("error parsing completedIndexes: {fault}")));
            }
            if failed_changed
                && limited
                && let Some(failed) = failed
                && let Err(fault) = indexes::count(failed, completions)
            {
                errors.push(Error::invalid(&failed_at, failed, format!("error parsing failedIndexes: {fault}")));
            }
        }
        if changed && !text.is_empty() && !self.is_indexed() {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.push(Error::invalid(&at, text, detail));
        }
        if let Some(failed) = failed {
            if failed_changed && !limited {
                let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
                errors.push(Error::invalid(&failed_at, failed, detail));
            }
            if (changed || failed_changed)
                && let Some(completions) = self.spec.completions
                && let Some(index) = indexes::overlap(text, failed, completions)
            {
                let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
                errors.push(Error::invalid(&failed_at, failed, detail));
            }
        }
        errors
    }

    fn running(&self) -> ErrorList {
        let (status, before, mut errors) = (self.status, self.before, ErrorList::new());
        if let Some(terminating) = status.terminating.filter(|terminating| *terminating > 0)
            && self.is_finished()
            && (self.finished_turned() || status.terminating != before.terminating)
        {
            let detail = "terminating>0 is invalid for finished job";
            errors.push(Error::invalid(&self.path.child("terminating"), terminating, detail));
        }
        if let Some(ready) = status.ready.filter(|ready| *ready > status.active.unwrap_or(0))
            && (status.ready != before.ready || status.active != before.active)
        {
            errors.push(Error::invalid(&self.path.child("ready"), ready, "cannot set more ready pods than active"));
        }
        errors
    }

    /// Success and failure at once.
    fn contradictions(&self) -> ErrorList {
        let met = self.is("SuccessCriteriaMet");
        let mut errors = ErrorList::new();
        if met && self.is("Failed") {
            errors.push(self.conditions("cannot set SuccessCriteriaMet=True and Failed=true conditions"));
        }
        if met && self.is("FailureTarget") {
            errors.push(self.conditions("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"));
        }
        if self.spec.success_policy.is_some() && !met && self.is("Complete") {
            let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            errors.push(self.conditions(detail));
        }
        errors
    }

    /// What is reported once is not taken back.
    fn undone(&self) -> ErrorList {
        let (status, before, mut errors) = (self.status, self.before, ErrorList::new());
        for kind in ["Failed", "Complete", "FailureTarget"] {
            if self.was(kind) && !self.is(kind) {
                errors.push(self.conditions(&format!("cannot disable the terminal {kind}=True condition")));
            }
        }
        // The indexes that a shrinking Job loses are no longer counted.
        let shrinks = self.is_indexed() && status.completed_indexes != before.completed_indexes;
        for (name, now, was, fixed) in [
            ("failed", status.failed, before.failed, true),
            ("succeeded", status.succeeded, before.succeeded, !shrinks),
        ] {
            let now = now.unwrap_or(0);
            if fixed && now < was.unwrap_or(0) {
                let detail = format!("cannot decrease the {name} counter");
                errors.push(Error::invalid(&self.path.child(name), now, detail));
            }
        }
        if let (Some(time), Some(was)) = (&status.completion_time, &before.completion_time)
            && time != was
        {
            errors.push(Error::invalid(&self.path.child("completionTime"), time, "completionTime cannot be mutated"));
        }
        // Suspending and resuming begin anew.
        let resumes = self.turned("Suspended") || self.spec.suspend == Some(true);
        if before.start_time.is_some() && status.start_time != before.start_time && !resumes {
            let detail = "startTime cannot be removed for unsuspended job";
            errors.push(Error::required(&self.path.child("startTime"), detail));
        }
        if self.was("SuccessCriteriaMet") && !self.is("SuccessCriteriaMet") {
            errors.push(self.conditions("cannot disable the SuccessCriteriaMet=True condition"));
        }
        if self.was("Complete") && !self.was("SuccessCriteriaMet") && self.is("SuccessCriteriaMet") {
            let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            errors.push(self.conditions(detail));
        }
        errors
    }
}
