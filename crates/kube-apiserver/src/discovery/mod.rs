//! Which groups, versions and resources there are: read off the list of kinds, in the plain and the aggregated form.
//!
//! Old homes of kinds (extensions/v1beta1) are listed too, after the current ones: clients find by discovery what they may
//! send, and old manifests are to be sendable.

mod aggregated;
pub(crate) mod model;
mod plain;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};

use crate::apiextensions::KindSet;
use crate::{Response, Server, body, endpoints};

const AGGREGATED_TYPE: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A document and its ETag.
struct Document {
    bytes: Bytes,
    etag: String,
}

/// Of all groups but the core one, and of the core one.
struct Aggregated([Document; 2]);

/// Answers a path of discovery; `None` for other paths.
pub fn serve(server: &Server, path: &str, headers: &HeaderMap) -> Option<Response> {
    let trimmed = path.trim_end_matches('/');
    let parts: Vec<&str> = trimmed.trim_start_matches('/').split('/').collect();
    let kinds = &server.registry.kinds();
    let is_top = matches!(parts.as_slice(), ["api"] | ["apis"]);
    let aggregated_wanted = match endpoints::wants_aggregated(headers, is_top) {
        Ok(wanted) => wanted,
        Err(status) if parts != [""] => return is_discovery(kinds, &parts).then(|| body::status(&status)),
        Err(_) => false,
    };
    let document = match parts.as_slice() {
        [""] => plain::root(kinds),
        ["api" | "apis"] if aggregated_wanted => return Some(aggregated(kinds, headers, parts == ["api"])),
        ["api"] => {
            plain::versions(kinds, &format!("{}:{}", server.config.advertise_address, server.config.secure_port))
        }
        ["apis"] => plain::groups(kinds),
        ["api", version] => plain::resources(kinds, "", version)?,
        ["apis", group] => plain::group(kinds, group)?,
        ["apis", group, version] => plain::resources(kinds, group, version)?,
        _ => return None,
    };
    Some(body::json_line(StatusCode::OK, document.to_string().as_bytes()))
}

/// Whether a path lies in an API that is served, so that what is not found below it is the API's own error: anything below
/// `/api/`, below `/apis/` any version of a built-in group that there is, and the resources of custom kinds.
pub fn is_served(kinds: &KindSet, path: &str) -> bool {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match (parts.next(), parts.next()) {
        (Some("api"), Some(_)) => true,
        (Some("apis"), Some(group)) => {
            let mut versions = api::ALL.iter().flat_map(|kind| kind.versions.iter().map(move |own| own.group_of(kind)));
            versions.any(|own| own == group) || is_custom(kinds, group, parts)
        }
        _ => false,
    }
}

/// Of a group of custom kinds only the resources are served, and nothing around them.
fn is_custom<'p>(kinds: &KindSet, group: &str, mut rest: impl Iterator<Item = &'p str>) -> bool {
    let Some(version) = rest.next() else { return false };
    let rest: Vec<&str> = rest.filter(|part| *part != "watch").collect();
    let plural = match rest.as_slice() {
        ["namespaces", _, plural, ..] => plural,
        [plural, ..] => plural,
        [] => return false,
    };
    kinds.find(group, version, plural).is_some()
}

/// Whether there is a document at a path of discovery.
fn is_discovery(kinds: &KindSet, parts: &[&str]) -> bool {
    match parts {
        ["api" | "apis"] => true,
        ["api", version] => plain::resources(kinds, "", version).is_some(),
        ["apis", group] => plain::group(kinds, group).is_some(),
        ["apis", group, version] => plain::resources(kinds, group, version).is_some(),
        _ => false,
    }
}

/// The aggregated document.
fn aggregated(kinds: &KindSet, headers: &HeaderMap, core: bool) -> Response {
    let documents = kinds.cached(|kinds| {
        Aggregated([false, true].map(|core| {
            let bytes = Bytes::from(aggregated::list(kinds, core).to_string() + "\n");
            Document { etag: etag(&bytes), bytes }
        }))
    });
    let document = &documents.0[usize::from(core)];
    let mut response = if unchanged(headers, &document.etag) {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        body::json_bytes(StatusCode::OK, document.bytes.clone())
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED_TYPE));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// The quoted hash of a document.
pub fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hash(bytes))
}

/// The hash of a document in hexadecimal digits.
pub fn hash(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// Whether the client has this very document.
pub fn unchanged(headers: &HeaderMap, etag: &str) -> bool {
    let given = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|value| value.trim().trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_sorted_and_carry_upstreams_storage_hash() {
        let list = plain::resources(&KindSet::builtin(), "", "v1").unwrap();
        let names: Vec<&str> =
            list["resources"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted);
        let configmaps = list["resources"].as_array().unwrap().iter().find(|r| r["name"] == "configmaps").unwrap();
        assert_eq!(configmaps["storageVersionHash"], "qFsyl6wFWjQ=");
    }

    #[test]
    fn what_is_not_found_is_the_apis_own_error_below_a_group_that_is_served() {
        for path in ["/api/v2", "/api/v1/nope", "/apis/apps", "/apis/apps/v9/x", "/apis/extensions/v1beta1/x"] {
            assert!(is_served(&KindSet::builtin(), path), "{path}");
        }
        for path in ["/", "/api", "/apis", "/nope", "/apis/example.com", "/apis/example.com/v1/widgets", "/apix/v1"] {
            assert!(!is_served(&KindSet::builtin(), path), "{path}");
        }
    }

    #[test]
    fn every_group_lists_each_of_its_versions_once() {
        let groups = plain::groups(&KindSet::builtin());
        for group in groups["groups"].as_array().unwrap() {
            let mut versions: Vec<&str> =
                group["versions"].as_array().unwrap().iter().filter_map(|v| v["version"].as_str()).collect();
            let count = versions.len();
            versions.sort_unstable();
            versions.dedup();
            assert_eq!(versions.len(), count, "{group}");
            assert_eq!(group["preferredVersion"], group["versions"][0]);
        }
    }

    #[test]
    fn aggregated_lists_hold_the_same_resources() {
        let list = aggregated::list(&KindSet::builtin(), true);
        let resources = list["items"][0]["versions"][0]["resources"].as_array().unwrap().len();
        let plain = plain::resources(&KindSet::builtin(), "", "v1").unwrap();
        let plain = plain["resources"].as_array().unwrap();
        assert_eq!(resources, plain.iter().filter(|r| !r["name"].as_str().unwrap().contains('/')).count());
    }
}
