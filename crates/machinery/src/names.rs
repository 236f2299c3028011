//! Formats of names, keys and small values.
//!
//! Each check returns all that is wrong with the text, in upstream's words; an empty answer means that it is valid. The checks
//! read characters directly: they run for every label of every object, and the patterns are simple.

mod network;

pub use network::{cidr, cidr_legacy, interface_address, ip, ip_legacy, port_number};

use crate::field::{Error, ErrorList, Path};

/// The longest label of a DNS name, and so of most names in a namespace.
pub const DNS_LABEL_MAX: usize = 63;
/// The longest DNS name.
pub const DNS_SUBDOMAIN_MAX: usize = 253;
/// The longest value of a label, and the longest name part of a label's key.
pub const LABEL_MAX: usize = 63;

const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORMAT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const HTTP_PATH_FORMAT: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";

/// A lower-case DNS label that may start with a digit: "my-name", "123-abc".
pub fn is_dns1123_label(value: &str) -> Vec<String> {
    let mut errors = longer_than(value, DNS_LABEL_MAX);
    if !matches_label(value) {
        errors.push(if matches_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            let message = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
            format_error(message, LABEL_FORMAT, &["my-name", "123-abc"])
        });
    }
    errors
}

/// Dot-separated DNS labels: "example.com".
pub fn is_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = longer_than(value, DNS_SUBDOMAIN_MAX);
    if !matches_subdomain(value) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        errors.push(format_error(message, SUBDOMAIN_FORMAT, &["example.com"]));
    }
    errors
}

/// A lower-case DNS label that starts with a letter, as Services' names must.
pub fn is_dns1035_label(value: &str) -> Vec<String> {
    let mut errors = longer_than(value, DNS_LABEL_MAX);
    if !matches_label(value) || !value.starts_with(|c: char| c.is_ascii_lowercase()) {
        let message = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        errors.push(format_error(message, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"]));
    }
    errors
}

/// A DNS name whose first label is "*".
pub fn is_wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = longer_than(value, DNS_SUBDOMAIN_MAX);
    if !value.strip_prefix("*.").is_some_and(matches_subdomain) {
        let message = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
        errors.push(format_error(message, &format!(r"\*\.{SUBDOMAIN_FORMAT}"), &["*.example.com"]));
    }
    errors
}

/// A name with an optional DNS prefix, as keys of labels and annotations are: "app", "example.com/my.name".
pub fn qualified_name(value: &str) -> Vec<String> {
    let message = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    let format = || format_error(message, QUALIFIED_FORMAT, &["MyName", "my.name", "123-abc"]);
    let (prefix, name) = match value.split_once('/') {
        None => (None, value),
        Some((_, rest)) if rest.contains('/') => {
            let suffix = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a valid label key {} {suffix}", format())];
        }
        Some((prefix, name)) => (Some(prefix), name),
    };
    let mut errors = Vec::new();
    match prefix {
        Some("") => errors.push("prefix part must be non-empty".to_owned()),
        Some(prefix) => errors.extend(is_dns1123_subdomain(prefix).into_iter().map(|e| format!("prefix part {e}"))),
        None => {}
    }
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        errors.push(format!("name part must be no more than {LABEL_MAX} bytes"));
    }
    if !matches_qualified(name) {
        errors.push(format!("name part {}", format()));
    }
    errors
}

/// The value of a label: empty, or letters, digits, '-', '_', '.'.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_MAX {
        errors.push(format!("must be no more than {LABEL_MAX} bytes"));
    }
    if !value.is_empty() && !matches_qualified(value) {
        let message = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        errors.push(format_error(message, &format!("({QUALIFIED_FORMAT})?"), &["MyValue", "my_value", "12345"]));
    }
    errors
}

/// Anything that can be one segment of a URL path: names of RBAC roles.
pub fn path_segment_name(value: &str) -> Vec<String> {
    if matches!(value, "." | "..") {
        return vec![format!("may not be '{value}'")];
    }
    ["/", "%"].into_iter().filter(|part| value.contains(part)).map(|part| format!("may not contain '{part}'")).collect()
}

/// The name of a container's port.
pub fn port_name(value: &str) -> Vec<String> {
    let mut errors = longer_than(value, 15);
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !value.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// The name of an environment variable as the API has taken it since v1.34: any printable ASCII but '='.
pub fn env_var_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// The older, stricter name of an environment variable.
pub fn env_var_name_strict(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let first = |b: u8| b.is_ascii_alphabetic() || b"-._".contains(&b);
    if !matches_class(value, first, |b| first(b) || b.is_ascii_digit()) {
        let message = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit";
        errors.push(format_error(message, "[-._a-zA-Z][-._a-zA-Z0-9]*", &["my.env-name", "MY_ENV.NAME", "MyEnvName1"]));
    }
    errors.extend(change_directory_prefix(value));
    errors
}

/// A C identifier.
pub fn c_identifier(value: &str) -> Vec<String> {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    if matches_class(value, first, |b| first(b) || b.is_ascii_digit()) {
        return Vec::new();
    }
    let message = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'";
    vec![format_error(message, "[A-Za-z_][A-Za-z0-9_]*", &["my_name", "MY_NAME", "MyName"])]
}

/// A key in a ConfigMap or Secret, which must be able to be a file's name.
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut errors = longer_than(value, DNS_SUBDOMAIN_MAX);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if !matches_class(value, allowed, allowed) {
        let message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        errors.push(format_error(message, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"]));
    }
    errors.extend(change_directory_prefix(value));
    errors
}

/// The name of an HTTP header.
pub fn http_header_name(value: &str) -> Vec<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if matches_class(value, allowed, allowed) {
        return Vec::new();
    }
    let message = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![format_error(message, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// The characters of a URL's path.
pub fn http_path(value: &str) -> Vec<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
    if matches_class(value, allowed, allowed) {
        return Vec::new();
    }
    vec![format_error("Invalid path", HTTP_PATH_FORMAT, &[])]
}

/// "25%".
pub fn percent(value: &str) -> Vec<String> {
    let digits = |number: &str| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    if value.strip_suffix('%').is_some_and(digits) {
        return Vec::new();
    }
    let message = "a valid percent string must be a numeric string followed by an ending '%'";
    vec![format_error(message, "[0-9]+%", &["1%", "93%"])]
}

/// A DNS name of at least two labels; a trailing dot is allowed.
pub fn fully_qualified_domain_name(path: &Path, name: &str) -> ErrorList {
    if name.is_empty() {
        return vec![Error::required(path, "")];
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let errors = is_dns1123_subdomain(name);
    if !errors.is_empty() {
        return vec![Error::invalid(path, name, errors.join(","))];
    }
    if !name.contains('.') {
        return vec![Error::invalid(path, name, "should be a domain with at least two segments separated by dots")];
    }
    for label in name.split('.') {
        let errors = is_dns1123_label(label);
        if !errors.is_empty() {
            return vec![Error::invalid(path, label, errors.join(","))];
        }
    }
    Vec::new()
}

/// A DNS name, a slash and a path: "acme.io/foo".
pub fn domain_prefixed_path(path: &Path, value: &str) -> ErrorList {
    if value.is_empty() {
        return vec![Error::required(path, "")];
    }
    let Some((host, rest)) = value.split_once('/').filter(|(host, rest)| !host.is_empty() && !rest.is_empty()) else {
        return vec![Error::invalid(path, value, "must be a domain-prefixed path (such as \"acme.io/foo\")")];
    };
    let mut errors: ErrorList = is_dns1123_subdomain(host).into_iter().map(|e| Error::invalid(path, host, e)).collect();
    errors.extend(http_path(rest).into_iter().map(|e| Error::invalid(path, rest, e)));
    errors
}

/// A pattern mismatch in upstream's form.
pub fn format_error(message: &str, format: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{format}')");
    }
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{format}')", examples.join(" or "))
}

/// A number outside of its range, in upstream's words.
pub fn in_range(value: i64, min: i64, max: i64) -> Vec<String> {
    if (min..=max).contains(&value) { Vec::new() } else { vec![format!("must be between {min} and {max}, inclusive")] }
}

fn longer_than(value: &str, max: usize) -> Vec<String> {
    if value.len() > max { vec![format!("must be no more than {max} characters")] } else { Vec::new() }
}

/// A key that is mounted as a file must not lead out of its folder.
fn change_directory_prefix(value: &str) -> Vec<String> {
    match value {
        "." | ".." => vec![format!("must not be '{value}'")],
        value if value.starts_with("..") => vec!["must not start with '..'".to_owned()],
        _ => Vec::new(),
    }
}

fn matches_class(value: &str, first: impl Fn(u8) -> bool, rest: impl Fn(u8) -> bool) -> bool {
    match value.as_bytes() {
        [] => false,
        [head, tail @ ..] => first(*head) && tail.iter().all(|b| rest(*b)),
    }
}

/// [a-z0-9]([-a-z0-9]*[a-z0-9])?
fn matches_label(value: &str) -> bool {
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    matches_class(value, edge, |b| edge(b) || b == b'-') && !value.ends_with('-')
}

fn matches_subdomain(value: &str) -> bool {
    value.split('.').all(matches_label)
}

/// ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]
fn matches_qualified(value: &str) -> bool {
    let edge = |b: u8| b.is_ascii_alphanumeric();
    matches_class(value, edge, |b| edge(b) || b"-_.".contains(&b)) && value.bytes().last().is_some_and(edge)
}

#[cfg(test)]
mod tests;
