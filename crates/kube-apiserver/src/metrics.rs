//! `/metrics`: what the server counts, under upstream's names.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry as Metrics_;

use crate::{RequestInfo, Response, body};

const DURATION_BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];

/// Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Metrics_,
    requests: Family<Answered, Counter>,
    durations: Family<Asked, Histogram>,
    inflight: Family<Inflight, Gauge>,
    longrunning: Family<Asked, Gauge>,
    terminations: Family<Answered, Counter>,
    handshake_errors: Counter,
    authenticated: Family<User, Counter>,
    objects: Family<Resource, Gauge>,
    storage_bytes: Gauge,
    resident_bytes: Gauge,
}

/// What was asked for. Only names that the API knows become labels, so that clients cannot make new series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Asked {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    component: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    component: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Inflight {
    request_kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct User {
    username: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    resource: String,
}

/// Counts a request as running until it is dropped.
pub struct Running(Gauge);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Asked {
    pub fn of(info: &RequestInfo) -> Self {
        let known = info.is_resource && api::find(&info.api_group, &info.api_version, &info.resource).is_some();
        if !known {
            let path = [
                "/healthz",
                "/livez",
                "/readyz",
                "/version",
                "/metrics",
                "/api",
                "/apis",
                "/openapi/v2",
                "/openapi/v3",
            ]
            .into_iter()
            .find(|path| info.path == *path);
            let verb = match info.verb.as_str() {
                verb @ ("get" | "post" | "put" | "patch" | "delete" | "head") if !info.is_resource => {
                    verb.to_uppercase()
                }
                _ => "OTHER".to_owned(),
            };
            let subresource = path.unwrap_or_default().to_owned();
            return Self { verb, subresource, component: "apiserver", ..Self::default() };
        }
        let subresource = match info.subresource.as_str() {
            known @ ("status"
            | "scale"
            | "log"
            | "exec"
            | "attach"
            | "portforward"
            | "proxy"
            | "eviction"
            | "binding"
            | "token"
            | "finalize"
            | "ephemeralcontainers"
            | "resize") => known,
            _ => "",
        };
        let connects = matches!(subresource, "exec" | "attach" | "portforward" | "proxy" | "log");
        let verb = match info.verb.as_str() {
            "create" if connects => "CONNECT".to_owned(),
            "get" if connects => "CONNECT".to_owned(),
            "create" => "POST".to_owned(),
            "update" => "PUT".to_owned(),
            verb @ ("get" | "list" | "watch" | "patch" | "delete" | "deletecollection") => verb.to_uppercase(),
            _ => "OTHER".to_owned(),
        };
        let scope = match (&*info.name, &*info.namespace) {
            ("", "") => "cluster",
            ("", _) => "namespace",
            _ => "resource",
        };
        Self {
            verb,
            group: info.api_group.clone(),
            version: info.api_version.clone(),
            resource: info.resource.clone(),
            subresource: subresource.to_owned(),
            scope,
            component: "apiserver",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut inner = Inner {
            registry: Metrics_::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            inflight: Family::default(),
            longrunning: Family::default(),
            terminations: Family::default(),
            handshake_errors: Counter::default(),
            authenticated: Family::default(),
            objects: Family::default(),
            storage_bytes: Gauge::default(),
            resident_bytes: Gauge::default(),
        };
        // Counters get their `_total` when they are written.
        let registry = &mut inner.registry;
        registry.register(
            "apiserver_request",
            "Requests by what was asked and the code of the answer",
            inner.requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Time to the head of the answer",
            inner.durations.clone(),
        );
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests being served that end by themselves",
            inner.inflight.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Watches and streams being served",
            inner.longrunning.clone(),
        );
        registry.register(
            "apiserver_request_terminations",
            "Requests that the server ended to protect itself",
            inner.terminations.clone(),
        );
        registry.register(
            "apiserver_tls_handshake_errors",
            "Connections that failed before the first request",
            inner.handshake_errors.clone(),
        );
        registry.register("authenticated_user_requests", "Requests by kind of user", inner.authenticated.clone());
        registry.register("apiserver_storage_objects", "Objects in the store", inner.objects.clone());
        registry.register(
            "apiserver_storage_size_bytes",
            "Size of all objects in the store",
            inner.storage_bytes.clone(),
        );
        registry.register(
            "process_resident_memory_bytes",
            "Resident memory of this process",
            inner.resident_bytes.clone(),
        );
        Self(Arc::new(inner))
    }

    /// A request was answered.
    pub fn answered(&self, asked: &Asked, code: StatusCode, took: Duration) {
        self.0.requests.get_or_create(&answered(asked, code)).inc();
        if asked.verb != "WATCH" && asked.verb != "CONNECT" {
            self.0.durations.get_or_create(asked).observe(took.as_secs_f64());
        }
    }

    /// A request was refused or cut off by a limit.
    pub fn terminated(&self, asked: &Asked, code: StatusCode) {
        self.0.terminations.get_or_create(&answered(asked, code)).inc();
    }

    /// Counts until the result is dropped.
    pub fn running(&self, asked: &Asked, long: bool, mutating: bool) -> Running {
        let gauge = if long {
            self.0.longrunning.get_or_create(asked).clone()
        } else {
            let request_kind = if mutating { "mutating" } else { "readOnly" };
            self.0.inflight.get_or_create(&Inflight { request_kind }).clone()
        };
        gauge.inc();
        Running(gauge)
    }

    pub fn authenticated(&self, username: &'static str) {
        self.0.authenticated.get_or_create(&User { username }).inc();
    }

    pub fn handshake_failed(&self) {
        self.0.handshake_errors.inc();
    }

    /// The answer of `/metrics`, with what is counted only when somebody asks.
    pub fn serve(&self, objects: impl Iterator<Item = (String, u64)>, storage_bytes: u64) -> Response {
        for (resource, count) in objects {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.0.objects.get_or_create(&Resource { resource }).set(count);
        }
        self.0.storage_bytes.set(i64::try_from(storage_bytes).unwrap_or(i64::MAX));
        self.0.resident_bytes.set(resident_bytes().unwrap_or_default());
        let mut text = String::new();
        if encode(&mut text, &self.0.registry).is_err() {
            return body::text(StatusCode::INTERNAL_SERVER_ERROR, "failed to write the metrics\n");
        }
        let mut response = Response::new(body::full(text));
        let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

fn answered(asked: &Asked, code: StatusCode) -> Answered {
    let asked = asked.clone();
    Answered {
        verb: asked.verb,
        group: asked.group,
        version: asked.version,
        resource: asked.resource,
        subresource: asked.subresource,
        scope: asked.scope,
        component: asked.component,
        code: code.as_u16(),
    }
}

fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<i64>().ok()?.checked_mul(1024)
}
