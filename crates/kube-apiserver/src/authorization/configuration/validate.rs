//! What is wrong with an AuthorizationConfiguration.

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use machinery::field::{Error, ErrorList, Path};
use machinery::names;

use super::settings::{ConnectionInfo, Settings, WebhookSettings};
use super::{FAILURE_POLICIES, KUBE_CONFIG_FILE, TYPES, WEBHOOK};
use crate::authorization::match_conditions::MatchConditions;

const IN_CLUSTER_CONFIG: &str = "InClusterConfig";
const TIMEOUT_NANOSECONDS_MAX: i64 = 30_000_000_000;

pub fn settings(settings: &Settings) -> ErrorList {
    let root = Path::new("authorizers");
    let mut errors = ErrorList::new();
    if settings.authorizers.is_empty() {
        errors.push(Error::required(&root, "at least one authorization mode must be defined"));
    }
    let (mut types, mut own_names) = (BTreeSet::new(), BTreeSet::new());
    for (at, authorizer) in settings.authorizers.iter().enumerate() {
        let path = root.index(at);
        let (kind, name) = (authorizer.kind.as_str(), authorizer.name.as_str());
        if kind.is_empty() {
            errors.push(Error::required(&path.child("type"), ""));
            continue;
        }
        if !TYPES.contains(&kind) {
            errors.push(Error::not_supported(&path.child("type"), kind, &TYPES));
            continue;
        }
        if !types.insert(kind) && kind != WEBHOOK {
            errors.push(Error::duplicate(&path.child("type"), kind));
            continue;
        }
        let is_new = own_names.insert(name);
        let wrong = names::is_dns1123_subdomain(name);
        if name.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        } else if !is_new {
            errors.push(Error::duplicate(&path.child("name"), name));
        } else if !wrong.is_empty() {
            let detail = format!("authorizer name is invalid: {}", wrong.join(", "));
            errors.push(Error::invalid(&path.child("name"), name, detail));
        }
        match &authorizer.webhook {
            Some(settings) if kind == WEBHOOK => webhook(settings, &path, &mut errors),
            None if kind == WEBHOOK => {
                errors.push(Error::required(&path.child("webhook"), "required when type=Webhook"));
            }
            Some(_) => {
                let detail = "may only be specified when type=Webhook";
                errors.push(Error::invalid(&path.child("webhook"), "non-null", detail));
            }
            None => {}
        }
    }
    errors
}

/// `path` is the authorizer's: upstream names the fields of a webhook as if they were the authorizer's own.
fn webhook(settings: &WebhookSettings, path: &Path<'_>, errors: &mut ErrorList) {
    let timeout = path.child("timeout");
    if settings.timeout == 0 {
        errors.push(Error::required(&timeout, ""));
    } else if !(0..=TIMEOUT_NANOSECONDS_MAX).contains(&settings.timeout) {
        errors.push(Error::invalid(&timeout, text(settings.timeout), "must be > 0s and <= 30s"));
    }
    for (field, ttl) in [("authorizedTTL", settings.authorized_ttl), ("unauthorizedTTL", settings.unauthorized_ttl)] {
        if ttl < 0 {
            errors.push(Error::invalid(&path.child(field), text(ttl), "must be > 0s"));
        }
    }
    one_of(
        &path.child("subjectAccessReviewVersion"),
        &settings.subject_access_review_version,
        &["v1", "v1beta1"],
        errors,
    );
    let version = &settings.match_condition_subject_access_review_version;
    let version_path = path.child("matchConditionSubjectAccessReviewVersion");
    if !version.is_empty() {
        one_of(&version_path, version, &["v1"], errors);
    } else if !settings.match_conditions.is_empty() {
        errors.push(Error::required(&version_path, "required if match conditions are specified"));
    }
    one_of(&path.child("failurePolicy"), &settings.failure_policy, &FAILURE_POLICIES, errors);
    connection(&settings.connection_info, &path.child("connectionInfo"), errors);
    let expressions = settings.match_conditions.iter().map(|condition| condition.expression.as_str());
    MatchConditions::compile(expressions, &path.child("matchConditions"), errors);
}

fn one_of(path: &Path<'_>, value: &str, known: &[&str], errors: &mut ErrorList) {
    if value.is_empty() {
        errors.push(Error::required(path, ""));
    } else if !known.contains(&value) {
        errors.push(Error::not_supported(path, value, known));
    }
}

fn connection(info: &ConnectionInfo, path: &Path<'_>, errors: &mut ErrorList) {
    let file_path = path.child("kubeConfigFile");
    one_of(&path.child("type"), &info.kind, &[IN_CLUSTER_CONFIG, KUBE_CONFIG_FILE], errors);
    match (info.kind.as_str(), info.kube_config_file.as_deref()) {
        (IN_CLUSTER_CONFIG, Some(file)) => {
            errors.push(Error::invalid(&file_path, file, "can only be set when type=KubeConfigFile"));
        }
        // That would be this server itself.
        (IN_CLUSTER_CONFIG, None) => {
            let detail = "this mode is not allowed for kube-apiserver";
            errors.push(Error::invalid(&path.child("type"), IN_CLUSTER_CONFIG, detail));
        }
        (KUBE_CONFIG_FILE, None | Some("")) => errors.push(Error::required(&file_path, "")),
        (KUBE_CONFIG_FILE, Some(file)) => {
            let detail = match std::fs::metadata(file) {
                _ if !FilePath::new(file).is_absolute() => "must be an absolute path".to_owned(),
                Err(error) => format!("error loading file: stat {file}: {}", reason(&error)),
                Ok(found) if !found.is_file() => "must be a regular file".to_owned(),
                Ok(_) => return,
            };
            errors.push(Error::invalid(&file_path, file, detail));
        }
        _ => {}
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// `1h2m3.5s`, as Go writes it.
fn text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    if total < 1_000_000_000 {
        let (unit, name) = match total {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return format!("{sign}{}{name}", decimal(total, unit));
    }
    let (hours, minutes) = (total / 3_600_000_000_000, total / 60_000_000_000 % 60);
    let seconds = decimal(total % 60_000_000_000, 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.to_string().len() - 1;
    format!("{whole}.{}", format!("{rest:0digits$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_gos() {
        for (nanoseconds, wanted) in [
            (1, "1ns"),
            (1_500, "1.5µs"),
            (-2_000_000, "-2ms"),
            (31_000_000_000, "31s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(text(nanoseconds), wanted);
        }
    }
}
