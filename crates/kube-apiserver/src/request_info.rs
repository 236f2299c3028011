//! What a request is about, read off its method, path and query: the attributes that authorization judges and by which
//! the request is dispatched.
//!
//! `GET /api/v1/namespaces/ns/pods/p/log` is verb `get`, resource `pods`, subresource `log`, name `p`, namespace `ns`;
//! `GET /apis/apps/v1/deployments?watch=1` is verb `watch`; `GET /healthz` is no resource and its verb is the method.

use machinery::{fields, labels, names};

/// The verb is one of get, list, watch, create, update, patch, delete, deletecollection, proxy (a legacy path) for a
/// resource request, else the method in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    pub is_resource: bool,
    pub path: String,
    pub verb: String,
    pub api_prefix: String,
    pub api_group: String,
    pub api_version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// What a list, watch or deletecollection is limited to. A selector that cannot be read counts as none here: it
    /// must not widen what is allowed, and whoever serves the request refuses it.
    pub field_selector: fields::Selector,
    pub label_selector: Option<labels::Selector>,
    /// The path from the resource on: `["pods", "p", "log"]`.
    pub parts: Vec<String>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RequestInfoError {
    #[error("unable to determine kind and namespace from url, {0}")]
    NoKind(String),
    #[error("invalid percent encoding in the path {0:?}")]
    Encoding(String),
}

/// Below a namespace these are the namespace's own subresources, not resources in it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    pub fn new(method: &http::Method, uri: &http::Uri) -> Result<Self, RequestInfoError> {
        let path = percent_decode(uri.path()).ok_or_else(|| RequestInfoError::Encoding(uri.path().to_owned()))?;
        let mut info = Self { verb: method.as_str().to_lowercase(), path, ..Self::default() };
        let path = info.path.clone();
        let parts = split_path(&path);
        let group_is_in_path = match parts.first() {
            _ if parts.len() < 3 => return Ok(info),
            Some(&"api") => false,
            Some(&"apis") => true,
            _ => return Ok(info),
        };
        info.api_prefix = parts[0].to_owned();
        let mut parts = &parts[1..];
        if group_is_in_path {
            if parts.len() < 3 {
                return Ok(info);
            }
            info.api_group = parts[0].to_owned();
            parts = &parts[1..];
        }
        info.is_resource = true;
        info.api_version = parts[0].to_owned();
        parts = &parts[1..];

        if matches!(parts[0], "proxy" | "watch") {
            if parts.len() < 2 {
                return Err(RequestInfoError::NoKind(path));
            }
            info.verb = parts[0].to_owned();
            parts = &parts[1..];
        } else {
            info.verb = verb_of(method).to_owned();
        }

        if parts[0] == "namespaces" && parts.len() > 1 {
            info.namespace = parts[1].to_owned();
            // What follows the namespace's name is a resource of that namespace, unless it is the namespace's own.
            if parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2]) {
                parts = &parts[2..];
            }
        }
        info.parts = parts.iter().map(|&part| part.to_owned()).collect();
        info.resource = parts[0].to_owned();
        info.name = parts.get(1).copied().unwrap_or_default().to_owned();
        if info.verb != "proxy" {
            info.subresource = parts.get(2).copied().unwrap_or_default().to_owned();
        }
        if info.name.is_empty() {
            info.refine_collection_verb(uri.query().unwrap_or_default());
        }
        Ok(info)
    }

    /// Without a name a get is a list or a watch, and a delete deletes the collection. A selector for exactly one
    /// name gives the request that name, so that rights on one object suffice to list or watch it.
    fn refine_collection_verb(&mut self, query: &str) {
        match self.verb.as_str() {
            "get" => {
                let watch = query_value(query, "watch").is_some_and(|value| is_true(&value));
                self.verb = if watch { "watch" } else { "list" }.to_owned();
            }
            "watch" => {}
            "delete" => self.verb = "deletecollection".to_owned(),
            _ => return,
        }
        let selector = query_value(query, "fieldSelector").and_then(|text| fields::Selector::parse(&text).ok());
        self.field_selector = selector.unwrap_or_default();
        self.label_selector = query_value(query, "labelSelector").and_then(|text| labels::Selector::parse(&text).ok());
        if self.verb != "deletecollection"
            && let Some(name) = self.field_selector.exact("metadata.name")
            && names::path_segment_name(name).is_empty()
        {
            self.name = name.to_owned();
        }
    }
}

/// The first value of a key in a query, decoded.
pub fn query_value(query: &str, key: &str) -> Option<String> {
    query_pairs(query).find(|(name, _)| name == key).map(|(_, value)| value)
}

/// The decoded pairs of a query in order; pairs that cannot be decoded are left out.
pub fn query_pairs(query: &str) -> impl Iterator<Item = (String, String)> + '_ {
    query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((percent_decode(&name.replace('+', " "))?, percent_decode(&value.replace('+', " "))?))
    })
}

/// How a boolean query parameter reads: present and not plainly false means true.
pub fn is_true(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
}

/// `None` when a `%` is not followed by two hexadecimal digits or the result is not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(decoded).ok()
}

fn verb_of(method: &http::Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

fn split_path(path: &str) -> Vec<&str> {
    match path.trim_matches('/') {
        "" => Vec::new(),
        path => path.split('/').collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: &str, uri: &str) -> RequestInfo {
        RequestInfo::new(&method.parse().unwrap(), &uri.parse().unwrap()).unwrap()
    }

    /// Verb, group, version, namespace, resource, subresource, name.
    fn brief(method: &str, uri: &str) -> [String; 7] {
        let info = info(method, uri);
        assert!(info.is_resource, "{uri}");
        [info.verb, info.api_group, info.api_version, info.namespace, info.resource, info.subresource, info.name]
    }

    #[test]
    fn resource_paths() {
        let cases: &[(&str, &str, [&str; 7])] = &[
            ("GET", "/api/v1/namespaces", ["list", "", "v1", "", "namespaces", "", ""]),
            ("GET", "/api/v1/namespaces/other", ["get", "", "v1", "other", "namespaces", "", "other"]),
            (
                "PUT",
                "/api/v1/namespaces/other/finalize",
                ["update", "", "v1", "other", "namespaces", "finalize", "other"],
            ),
            ("GET", "/api/v1/namespaces/other/pods", ["list", "", "v1", "other", "pods", "", ""]),
            ("HEAD", "/api/v1/namespaces/other/pods/foo", ["get", "", "v1", "other", "pods", "", "foo"]),
            (
                "GET",
                "/api/v1/namespaces/other/pods/foo/proxy/sub/path",
                ["get", "", "v1", "other", "pods", "proxy", "foo"],
            ),
            ("GET", "/api/v1/pods?watch=true", ["watch", "", "v1", "", "pods", "", ""]),
            ("GET", "/api/v1/pods?watch=0", ["list", "", "v1", "", "pods", "", ""]),
            ("GET", "/api/v1/watch/namespaces/other/pods", ["watch", "", "v1", "other", "pods", "", ""]),
            ("GET", "/api/v1/proxy/namespaces/other/pods/foo/x", ["proxy", "", "v1", "other", "pods", "", "foo"]),
            ("POST", "/apis/apps/v1/namespaces/ns/deployments", ["create", "apps", "v1", "ns", "deployments", "", ""]),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/ns/deployments/d/scale",
                ["patch", "apps", "v1", "ns", "deployments", "scale", "d"],
            ),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/ns/deployments",
                ["deletecollection", "apps", "v1", "ns", "deployments", "", ""],
            ),
            (
                "GET",
                "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Ds",
                ["list", "", "v1", "ns", "secrets", "", "s"],
            ),
            (
                "DELETE",
                "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name%3Ds",
                ["deletecollection", "", "v1", "ns", "secrets", "", ""],
            ),
            (
                "GET",
                "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name!%3Ds",
                ["list", "", "v1", "ns", "secrets", "", ""],
            ),
            ("GET", "/api/v1/namespaces/a%20b/pods/", ["list", "", "v1", "a b", "pods", "", ""]),
        ];
        for (method, uri, expected) in cases {
            assert_eq!(brief(method, uri), expected.map(str::to_owned), "{method} {uri}");
        }
    }

    #[test]
    fn other_paths_have_the_method_as_verb() {
        for uri in ["/", "/api", "/api/v1", "/apis/apps/v1", "/healthz/etcd", "/apis/", "/openapi/v3/api/v1/x"] {
            let info = info("GET", uri);
            assert!(!info.is_resource, "{uri}");
            assert_eq!((info.verb.as_str(), info.path.as_str()), ("get", uri));
        }
    }

    #[test]
    fn paths_that_cannot_be_read_are_refused() {
        let new = |uri: &str| RequestInfo::new(&http::Method::GET, &uri.parse().unwrap()).unwrap_err();
        assert_eq!(new("/api/v1/watch").to_string(), "unable to determine kind and namespace from url, /api/v1/watch");
        assert!(matches!(new("/api/v1/pods/%zz"), RequestInfoError::Encoding(_)));
        assert!(matches!(new("/api/v1/pods/%ff"), RequestInfoError::Encoding(_)));
    }
}
