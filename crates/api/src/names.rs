//! The rules for names of objects, as `machinery::meta_validation::NameRule`s: `prefix` is true for a generateName, whose last
//! character may be one that a whole name could not end with.

use machinery::names;

/// Most kinds: a DNS subdomain.
pub fn subdomain(name: &str, prefix: bool) -> Vec<String> {
    names::is_dns1123_subdomain(&masked(name, prefix))
}

/// Namespaces and services: a DNS label.
pub fn label(name: &str, prefix: bool) -> Vec<String> {
    names::is_dns1123_label(&masked(name, prefix))
}

/// RBAC kinds: whatever fits into a URL path.
pub fn path_segment(name: &str, prefix: bool) -> Vec<String> {
    // A prefix of "." grows into a name that is not "."; only the characters count yet.
    if prefix && matches!(name, "." | "..") { Vec::new() } else { names::path_segment_name(name) }
}

/// Reviews have no name.
pub fn any(_: &str, _: bool) -> Vec<String> {
    Vec::new()
}

/// A prefix may end in a dash, which more characters will follow.
fn masked(name: &str, prefix: bool) -> String {
    match name.strip_suffix('-') {
        Some(start) if prefix && !start.is_empty() => format!("{start}a"),
        _ => name.to_string(),
    }
}
