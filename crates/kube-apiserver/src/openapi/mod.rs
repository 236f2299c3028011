//! OpenAPI v2 and v3, made from the schema and the list of kinds, with upstream's descriptions.
//!
//! Documents are made on first use and kept in gzip, which is how most clients take them; clients that have one are told so
//! (304). kubectl before 1.27 takes v2 as protobuf only, so the same document is also there in that encoding.

mod custom;
mod descriptions;
mod operations;
mod parameters;
mod proto;
mod schemas;
mod v2;
mod v3;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use self::descriptions::Descriptions;
use crate::apiextensions::KindSet;
use crate::endpoints::takes_gzip;
use crate::{Response, body, discovery};

/// What the documents call themselves.
const TITLE: &str = "Kubernetes";
const VERSION: &str = "v1.36.2";
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const PROTOBUF_OLD: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

struct Document {
    gzip: Bytes,
    /// Of the text.
    hash: String,
}

impl Document {
    fn new(text: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Nothing fails that writes to memory.
        let _ = encoder.write_all(text);
        Self { hash: discovery::hash(text), gzip: encoder.finish().unwrap_or_default().into() }
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let _ = GzDecoder::new(&*self.gzip).read_to_end(&mut text);
        text
    }
}

/// Answers a path of OpenAPI; `None` for other paths.
pub fn serve(kinds: &KindSet, path: &str, headers: &HeaderMap, query: &str) -> Option<Response> {
    match path.trim_end_matches('/') {
        "/openapi/v2" => {
            let accept: Vec<&str> =
                headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
            let accept = accept.join(",");
            if accept.contains(PROTOBUF) || accept.contains(PROTOBUF_OLD) {
                return Some(answer(&proto_document(kinds), "application/octet-stream", headers, false));
            }
            Some(answer(&v2_document(kinds), "application/json", headers, false))
        }
        "/openapi/v3" => Some(answer(&v3_documents(kinds).index, "application/json", headers, false)),
        path => {
            let documents = v3_documents(kinds);
            let document = documents.documents.get(path.strip_prefix("/openapi/v3/")?)?;
            let hash = crate::request_info::query_value(query, "hash");
            // A document asked for by its hash never changes under that address.
            let immutable = hash.as_deref() == Some(&document.hash);
            Some(answer(document, "application/json", headers, immutable))
        }
    }
}

fn answer(document: &Document, content_type: &'static str, headers: &HeaderMap, immutable: bool) -> Response {
    let etag = format!("\"{}\"", document.hash);
    let mut response = if discovery::unchanged(headers, &etag) {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let gzip = takes_gzip(headers);
        let bytes = if gzip { document.gzip.clone() } else { document.text().into() };
        let mut response = body::json_bytes(StatusCode::OK, bytes);
        if gzip {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    if immutable {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    response
}

fn v2_document(kinds: &KindSet) -> Arc<Document> {
    let make = |kinds: &KindSet| Document::new(v2::document(kinds, &Descriptions::read()).to_string().as_bytes());
    kinds.cached(|kinds| V2(Arc::new(make(kinds)))).0.clone()
}

fn proto_document(kinds: &KindSet) -> Arc<Document> {
    let make = |kinds: &KindSet| Document::new(&proto::encode(&v2::document(kinds, &Descriptions::read())));
    kinds.cached(|kinds| V2Proto(Arc::new(make(kinds)))).0.clone()
}

/// The two forms of the v2 document, told apart by their types in the cache of the kinds.
struct V2(Arc<Document>);
struct V2Proto(Arc<Document>);

/// By `api/v1`, `apis/GROUP/VERSION`.
type Documents = BTreeMap<String, Arc<Document>>;

struct V3 {
    index: Document,
    documents: Documents,
}

fn v3_documents(kinds: &KindSet) -> Arc<V3> {
    kinds.cached(|kinds| {
        let documents = v3_made(kinds);
        let mut paths = serde_json::Map::new();
        for (path, document) in &documents {
            let url = format!("/openapi/v3/{path}?hash={}", document.hash);
            paths.insert(path.clone(), json!({ "serverRelativeURL": url }));
        }
        let index: Value = json!({ "paths": paths });
        V3 { index: Document::new(index.to_string().as_bytes()), documents }
    })
}

/// The documents of all groups. Those without custom kinds are made once and for all.
fn v3_made(kinds: &KindSet) -> Documents {
    static BUILT_IN: OnceLock<Documents> = OnceLock::new();
    let mut descriptions = None;
    let mut make = |kinds: &KindSet, group: &str, version: &str| {
        let descriptions = descriptions.get_or_insert_with(Descriptions::read);
        Arc::new(Document::new(v3::document(kinds, group, version, descriptions).to_string().as_bytes()))
    };
    let all = |kinds: &KindSet, make: &mut dyn FnMut(&str, &str, &str) -> Arc<Document>| -> Documents {
        let groups = v3::group_versions(kinds).into_iter();
        groups.map(|(path, group, version)| (path.clone(), make(&path, group, version))).collect()
    };
    let built_in = BUILT_IN.get_or_init(|| {
        let kinds = KindSet::builtin();
        all(&kinds, &mut |_, group, version| make(&kinds, group, version))
    });
    all(kinds, &mut |path, group, version| {
        let is_custom = kinds.custom().any(|kind| kind.group == group);
        let known = built_in.get(path).filter(|_| !is_custom).cloned();
        known.unwrap_or_else(|| make(kinds, group, version))
    })
}

#[cfg(test)]
mod oracle_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str, headers: &HeaderMap) -> Response {
        serve(&KindSet::builtin(), path, headers, "").unwrap()
    }

    #[test]
    fn every_reference_of_the_documents_has_its_schema() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(reference)) = fields.get("$ref") {
                        found.push(reference.clone());
                    }
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let check = |document: Value, place: &str, prefix: &str| {
            let mut found = Vec::new();
            references(&document, &mut found);
            assert!(!found.is_empty());
            for reference in found {
                let name = reference.strip_prefix(prefix).unwrap_or_else(|| panic!("{reference}"));
                assert!(document.pointer(place).unwrap().get(name).is_some(), "{reference}");
            }
        };
        let kinds = &KindSet::builtin();
        let descriptions = Descriptions::read();
        check(v2::document(kinds, &descriptions), "/definitions", "#/definitions/");
        for (_, group, version) in v3::group_versions(kinds) {
            check(v3::document(kinds, group, version, &descriptions), "/components/schemas", "#/components/schemas/");
        }
    }

    #[test]
    fn a_client_that_has_the_document_gets_304() {
        let first = get("/openapi/v2", &HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        assert!(!first.headers().contains_key(header::CONTENT_ENCODING));
        let gzip = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        assert_eq!(get("/openapi/v2", &gzip).headers()[header::CONTENT_ENCODING], "gzip");
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(get("/openapi/v2", &headers).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(get("/openapi/v3", &headers).status(), StatusCode::OK);
    }

    #[test]
    fn the_index_leads_to_every_document() {
        let index: Value = serde_json::from_slice(&v3_documents(&KindSet::builtin()).index.text()).unwrap();
        for (_, entry) in index["paths"].as_object().unwrap() {
            let url = entry["serverRelativeURL"].as_str().unwrap();
            let (path, query) = url.split_once('?').unwrap();
            let response = serve(&KindSet::builtin(), path, &HeaderMap::new(), query).unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[header::CACHE_CONTROL], "public, immutable");
        }
    }
}
