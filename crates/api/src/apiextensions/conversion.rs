//! How objects get from one version to another: not at all, or by a webhook.

use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use serde_json::Value;

use super::openapi::is_review;
use super::spec::texts;
use crate::structural::{UrlParts, split_url};
use crate::value::{integer, text};

const FORM: &str = "; desired format: https://host[/path]";

pub fn validate(conversion: &Value, path: &Path, require_known_review: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let strategy = text(conversion, "/strategy");
    match strategy {
        "" => errors.push(Error::required(&path.child("strategy"), "")),
        "None" | "Webhook" => {}
        other => errors.push(Error::not_supported(&path.child("strategy"), other, &["None", "Webhook"])),
    }
    let config = conversion.pointer("/webhook/clientConfig").filter(|config| !config.is_null());
    let reviews = texts(conversion, "/webhook/conversionReviewVersions");
    let (config_path, reviews_path) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if config.is_some() {
            errors.push(Error::forbidden(&config_path, detail));
        }
        if !reviews.is_empty() {
            errors.push(Error::forbidden(&reviews_path, detail));
        }
        return errors;
    }
    match config {
        None => errors.push(Error::required(&config_path, "required when strategy is set to Webhook")),
        Some(config) => errors.extend(client_config(config, &config_path)),
    }
    errors.extend(review_versions(&reviews, &reviews_path, require_known_review));
    errors
}

fn client_config(config: &Value, path: &Path) -> ErrorList {
    match (config.get("url").and_then(Value::as_str), config.get("service").filter(|own| !own.is_null())) {
        (Some(url), None) => webhook_url(url, &path.child("url")),
        (None, Some(service)) => webhook_service(service, &path.child("service")),
        _ => vec![Error::required(path, "exactly one of url or service is required")],
    }
}

fn review_versions(versions: &[&str], path: &Path, require_known: bool) -> ErrorList {
    if versions.is_empty() {
        return vec![Error::required(path, "")];
    }
    let mut errors = ErrorList::new();
    for (index, version) in versions.iter().enumerate() {
        let path = path.index(index);
        if versions[..index].contains(version) {
            errors.push(Error::invalid(&path, version, "duplicate version"));
            continue;
        }
        let problems = names::is_dns1035_label(version);
        errors.extend(problems.into_iter().map(|problem| Error::invalid(&path, version, problem)));
    }
    if require_known && !versions.iter().any(|version| is_review(version)) {
        errors.push(Error::invalid(path, versions, "must include at least one of v1, v1beta1"));
    }
    errors
}

/// The URL of a webhook: https, a host, nothing but a path.
fn webhook_url(url: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let parts = match split_url(url) {
        Ok(parts) => parts,
        Err(problem) => return vec![Error::required(path, format!("url must be a valid URL: {problem}{FORM}"))],
    };
    let UrlParts { scheme, user, host, query, fragment } = parts;
    if scheme != "https" {
        errors.push(Error::invalid(path, scheme, format!("'https' is the only allowed URL scheme{FORM}")));
    }
    if host.is_empty() {
        errors.push(Error::invalid(path, "", format!("host must be specified{FORM}")));
    }
    if let Some(user) = user {
        errors.push(Error::invalid(path, user, "user information is not permitted in the URL"));
    }
    if !fragment.is_empty() {
        errors.push(Error::invalid(path, fragment, "fragments are not permitted in the URL"));
    }
    if !query.is_empty() {
        errors.push(Error::invalid(path, query, "query parameters are not permitted in the URL"));
    }
    errors
}

fn webhook_service(service: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    // Upstream hands the two over in the other order, and so says the other's name.
    if text(service, "/namespace").is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    if text(service, "/name").is_empty() {
        errors.push(Error::required(&path.child("namespace"), ""));
    }
    let port = integer(service, "/port");
    if !(1..=65535).contains(&port) {
        let detail = "port is not valid: must be between 1 and 65535, inclusive";
        errors.push(Error::invalid(&path.child("port"), port, detail));
    }
    errors.extend(url_path(text(service, "/path"), &path.child("path")));
    errors
}

fn url_path(given: &str, path: &Path) -> ErrorList {
    let refuse = |detail: String| Error::invalid(path, given, detail);
    match given {
        "" | "/" => return ErrorList::new(),
        "//" => return vec![refuse("segment[0] may not be empty".to_owned())],
        _ => {}
    }
    let mut errors = ErrorList::new();
    if !given.starts_with('/') {
        errors.push(refuse("must start with a '/'".to_owned()));
    }
    let mut rest = given.chars();
    rest.next();
    let rest = rest.as_str();
    for (index, segment) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if segment.is_empty() {
            errors.push(refuse(format!("segment[{index}] may not be empty")));
            continue;
        }
        let problems = names::is_dns1123_subdomain(segment);
        errors.extend(problems.into_iter().map(|problem| refuse(format!("segment[{index}]: {problem}"))));
    }
    errors
}
