//! The index of OpenAPI v3 documents, with those of other servers: the documents themselves are asked of them.

use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::Aggregator;
use crate::{Response, Server, body, discovery, openapi};

const INDEX: &str = "/openapi/v3";

impl Aggregator {
    /// Answers the path of the index where other servers have a part in it.
    pub fn openapi(&self, server: &Server, path: &str, headers: &HeaderMap) -> Option<Response> {
        let remote = self.remote();
        if remote.1.is_empty() || path.trim_end_matches('/') != INDEX {
            return None;
        }
        let response = openapi::serve(&server.registry.kinds(), path, &HeaderMap::new(), "")?;
        let (parts, body) = response.into_parts();
        // The document is there already: nothing is waited for.
        let bytes = body.collect().now_or_never()?.ok()?.to_bytes();
        let mut index: Value = serde_json::from_slice(&bytes).ok()?;
        let paths = index.get_mut("paths")?.as_object_mut()?;
        for service in remote.1.iter().filter(|service| service.is_available()) {
            let key = service.path().trim_start_matches('/').to_owned();
            let found = self.found(service).openapi;
            let url = found["paths"][&key]["serverRelativeURL"].as_str();
            // It can name only its own document: the key is ours, and where the document is, is led through here.
            let hash = url.and_then(|url| url.split_once('?')).and_then(|(_, query)| hash_of(query));
            if let Some(hash) = hash {
                let url = format!("{INDEX}/{key}?hash={hash}");
                paths.insert(key, serde_json::json!({ "serverRelativeURL": url }));
            }
        }
        let bytes = index.to_string();
        let etag = discovery::etag(bytes.as_bytes());
        let mut response = Response::from_parts(parts, body::full(bytes));
        if discovery::unchanged(headers, &etag) {
            *response.body_mut() = body::empty();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        Some(response)
    }
}

/// The hash in a query, if it is one.
fn hash_of(query: &str) -> Option<String> {
    let hash = crate::request_info::query_value(query, "hash")?;
    (!hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(hash)
}
