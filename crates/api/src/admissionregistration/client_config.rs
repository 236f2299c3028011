//! How a webhook is reached: a URL, or a Service of the cluster. CustomResourceDefinitions reach theirs the same way.

use k8s_openapi::api::admissionregistration::v1::WebhookClientConfig;
use machinery::field::{Error, ErrorList, Path};
use machinery::names;

use crate::checks;

const FORM: &str = "; desired format: https://host[/path]";

pub fn validate(config: &WebhookClientConfig, path: &Path) -> ErrorList {
    match (&config.url, &config.service) {
        (Some(given), None) => url(given, &path.child("url")),
        (None, Some(given)) => {
            let port = given.port.unwrap_or(0);
            service(&given.namespace, &given.name, given.path.as_deref(), port, &path.child("service"))
        }
        _ => vec![Error::required(path, "exactly one of url or service is required")],
    }
}

/// A URL that is fit to be called: https, a host, nothing but a path behind it.
pub fn url(url: &str, path: &Path) -> ErrorList {
    let parts = match Parts::of(url) {
        Ok(parts) => parts,
        Err(fault) => return vec![Error::required(path, format!("url must be a valid URL: {fault}{FORM}"))],
    };
    let mut errors = ErrorList::new();
    if parts.scheme != "https" {
        errors.push(Error::invalid(path, parts.scheme, format!("'https' is the only allowed URL scheme{FORM}")));
    }
    if parts.host.is_empty() {
        errors.push(Error::invalid(path, "", format!("host must be specified{FORM}")));
    }
    if let Some(user) = parts.user {
        errors.push(Error::invalid(path, user, "user information is not permitted in the URL"));
    }
    if !parts.fragment.is_empty() {
        errors.push(Error::invalid(path, parts.fragment, "fragments are not permitted in the URL"));
    }
    if !parts.query.is_empty() {
        errors.push(Error::invalid(path, parts.query, "query parameters are not permitted in the URL"));
    }
    errors
}

/// The parts of a URL that are looked at.
#[derive(Debug, PartialEq)]
struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    query: &'a str,
    fragment: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Result<Parts<'a>, String> {
        let fault = |what: &str| Err(format!("parse {url:?}: {what}"));
        if url.chars().any(|c| c.is_ascii_control()) {
            return fault("net/url: invalid control character in URL");
        }
        let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
        let (scheme, rest) = match rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c))) {
            Some(0) if rest.starts_with(':') => return fault("missing protocol scheme"),
            Some(at) if rest[at..].starts_with(':') && rest.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                (&rest[..at], &rest[at + 1..])
            }
            _ => ("", rest),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let Some(rest) = rest.strip_prefix("//") else {
            return Ok(Parts { scheme, user: None, host: "", query, fragment });
        };
        let authority = rest.split('/').next().unwrap_or("");
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if host.contains(' ') {
            return fault("invalid character \" \" in host name");
        }
        if let Some(port) = port_of(host)
            && !port.bytes().all(|b| b.is_ascii_digit())
        {
            return fault(&format!("invalid port {:?} after host", format!(":{port}")));
        }
        Ok(Parts { scheme, user, host, query, fragment })
    }
}

fn port_of(host: &str) -> Option<&str> {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').and_then(|(_, port)| port.strip_prefix(':')),
        None => host.rsplit_once(':').map(|(_, port)| port),
    }
}

/// A reference to a Service, and the path to ask there.
pub fn service(namespace: &str, name: &str, at: Option<&str>, port: i32, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if name.is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    if namespace.is_empty() {
        errors.push(Error::required(&path.child("namespace"), ""));
    }
    let field = path.child("port");
    for error in checks::port_number(port.into(), &field) {
        errors.push(Error::invalid(&field, port, format!("port is not valid: {}", error.detail)));
    }
    errors.extend(url_path(at.unwrap_or(""), &path.child("path")));
    errors
}

/// Each segment is a name.
fn url_path(given: &str, path: &Path) -> ErrorList {
    if matches!(given, "" | "/") {
        return ErrorList::new();
    }
    if given == "//" {
        return vec![Error::invalid(path, given, "segment[0] may not be empty")];
    }
    let mut errors = ErrorList::new();
    if !given.starts_with('/') {
        errors.push(Error::invalid(path, given, "must start with a '/'"));
    }
    // The first character counts for the slash whether or not it is one.
    let rest = given.get(1..).unwrap_or("");
    for (i, segment) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if segment.is_empty() {
            errors.push(Error::invalid(path, given, format!("segment[{i}] may not be empty")));
            continue;
        }
        for fault in names::is_dns1123_subdomain(segment) {
            errors.push(Error::invalid(path, given, format!("segment[{i}]: {fault}")));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: &[Error]) -> Vec<String> {
        errors.iter().map(Error::to_string).collect()
    }

    #[test]
    fn urls_are_https_with_a_host_and_a_path_only() {
        let check = |text: &str| texts(&url(text, &Path::new("url")));
        assert_eq!(check("https://hooks.example.com:8443/a/b"), Vec::<String>::new());
        assert_eq!(check("https://[::1]:8443/a"), Vec::<String>::new());
        assert_eq!(
            check("http://user:pw@host?x=1#f"),
            [
                "url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                "url: Invalid value: \"user:pw\": user information is not permitted in the URL",
                "url: Invalid value: \"f\": fragments are not permitted in the URL",
                "url: Invalid value: \"x=1\": query parameters are not permitted in the URL",
            ]
        );
        assert_eq!(
            check("https:///path"),
            ["url: Invalid value: \"\": host must be specified; desired format: https://host[/path]"]
        );
        let wanted = "url: Required value: url must be a valid URL: parse \"https://h:x/\": invalid port \":x\" after host; desired format: https://host[/path]";
        assert_eq!(check("https://h:x/"), [wanted]);
    }

    #[test]
    fn paths_of_services_are_made_of_names() {
        let check = |path: &str| texts(&service("ns", "svc", Some(path), 443, &Path::new("service")));
        assert_eq!(check("/a/b/"), Vec::<String>::new());
        assert_eq!(check("//"), ["service.path: Invalid value: \"//\": segment[0] may not be empty"]);
        assert_eq!(check("/a//b"), ["service.path: Invalid value: \"/a//b\": segment[1] may not be empty"]);
        assert_eq!(check("a")[0], "service.path: Invalid value: \"a\": must start with a '/'");
        let missing = texts(&service("", "", None, 0, &Path::new("service")));
        assert_eq!(missing.len(), 3);
        assert!(missing[2].ends_with("port is not valid: must be between 1 and 65535, inclusive"), "{}", missing[2]);
    }
}
