//! `/metrics`: what the server counts, under upstream's names.

mod process;
pub(crate) mod store;
mod text;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry as Metrics_;

use crate::admission::plugins::pod_security::PodSecurityMetrics;
use crate::admission::policy::PolicyMetrics;
use crate::admission::webhook::WebhookMetrics;
use crate::aggregator::AggregatorMetrics;
use crate::apiextensions::{ConversionMetrics, KindSet};
use crate::audit::metrics::AuditMetrics;
use crate::authorization::metrics::AuthorizationMetrics;
use crate::flowcontrol::FlowMetrics;
use crate::{RequestInfo, Response, body};

const DURATION_BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];

pub use watch::WatchCounters;
use watch::Watches;

const SLI_BUCKETS: [f64; 21] =
    [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];
const SIZE_BUCKETS: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
const DECISION_BUCKETS: [f64; 8] = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128];

/// Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: RwLock<Metrics_>,
    requests: Family<Answered, Counter>,
    durations: Family<Asked, Histogram>,
    sli_durations: Family<Asked, Histogram>,
    response_sizes: Family<Asked, Histogram>,
    inflight: Family<Inflight, Gauge>,
    longrunning: Family<Asked, Gauge>,
    terminations: Family<Answered, Counter>,
    handshake_errors: Counter,
    authenticated: Family<User, Counter>,
    attempts: Family<Decided, Counter>,
    attempt_durations: Family<Decided, Histogram>,
    authorizations: Family<Decided, Counter>,
    authorization_durations: Family<Decided, Histogram>,
    objects: Family<Resource, Gauge>,
    resource_objects: Family<GroupResource, Gauge>,
    storage_bytes: Gauge,
    watches: Watches,
    pod_security: PodSecurityMetrics,
    flow: FlowMetrics,
    webhooks: WebhookMetrics,
    conversions: ConversionMetrics,
    policies: PolicyMetrics,
    aggregator: AggregatorMetrics,
    authorization: AuthorizationMetrics,
    audit: AuditMetrics,
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
    dry_run: &'static str,
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
struct Decided {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupResource {
    group: String,
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
    pub fn of(info: &RequestInfo, kinds: &KindSet) -> Self {
        let known = info.is_resource && kinds.find(&info.api_group, &info.api_version, &info.resource).is_some();
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

impl Metrics {
    pub fn new(conversions: ConversionMetrics) -> Self {
        let mut inner = Inner {
            registry: RwLock::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)),
            sli_durations: Family::new_with_constructor(|| Histogram::new(SLI_BUCKETS)),
            response_sizes: Family::new_with_constructor(|| Histogram::new(SIZE_BUCKETS)),
            inflight: Family::default(),
            longrunning: Family::default(),
            terminations: Family::default(),
            handshake_errors: Counter::default(),
            authenticated: Family::default(),
            attempts: Family::default(),
            attempt_durations: Family::new_with_constructor(|| Histogram::new(DECISION_BUCKETS)),
            authorizations: Family::default(),
            authorization_durations: Family::new_with_constructor(|| Histogram::new(DECISION_BUCKETS)),
            objects: Family::default(),
            resource_objects: Family::default(),
            storage_bytes: Gauge::default(),
            watches: Watches::default(),
            pod_security: PodSecurityMetrics::default(),
            flow: FlowMetrics::default(),
            webhooks: WebhookMetrics::default(),
            conversions,
            policies: PolicyMetrics::default(),
            aggregator: AggregatorMetrics::default(),
            authorization: AuthorizationMetrics::default(),
            audit: AuditMetrics::default(),
        };
        // Counters get their `_total` when they are written.
        let registry = inner.registry.get_mut();
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
            "apiserver_request_sli_duration_seconds",
            "Time to the head of the answer, without what the client or a webhook took",
            inner.sli_durations.clone(),
        );
        registry.register("apiserver_response_sizes", "Bytes of answers", inner.response_sizes.clone());
        registry.register("authentication_attempts", "Authentications by result", inner.attempts.clone());
        let (name, help) = ("authentication_duration_seconds", "Time of authentications by result");
        registry.register(name, help, inner.attempt_durations.clone());
        registry.register("authorization_attempts", "Authorizations by result", inner.authorizations.clone());
        let (name, help) = ("authorization_duration_seconds", "Time of authorizations by result");
        registry.register(name, help, inner.authorization_durations.clone());
        registry.register("apiserver_resource_objects", "Objects in the store", inner.resource_objects.clone());
        inner.watches.register(registry);
        process::register(registry);
        inner.pod_security.register(registry);
        inner.flow.register(registry);
        inner.webhooks.register(registry);
        inner.conversions.register(registry);
        inner.policies.register(registry);
        inner.aggregator.register(registry);
        inner.authorization.register(registry);
        inner.audit.register(registry);
        Self(Arc::new(inner))
    }

    /// Adds what another part of this process counts.
    pub fn extend(&self, register: impl FnOnce(&mut Metrics_)) {
        register(&mut self.0.registry.write());
    }

    pub fn flow(&self) -> &FlowMetrics {
        &self.0.flow
    }

    pub fn audit(&self) -> &AuditMetrics {
        &self.0.audit
    }

    pub fn authorization(&self) -> &AuthorizationMetrics {
        &self.0.authorization
    }

    pub fn aggregator(&self) -> &AggregatorMetrics {
        &self.0.aggregator
    }

    pub fn policies(&self) -> &PolicyMetrics {
        &self.0.policies
    }

    pub fn webhooks(&self) -> &WebhookMetrics {
        &self.0.webhooks
    }

    pub fn pod_security(&self) -> &PodSecurityMetrics {
        &self.0.pod_security
    }

    /// A request was answered, with this many bytes if that is known.
    pub fn answered(&self, asked: &Asked, dry_run: bool, code: StatusCode, took: Duration, bytes: Option<u64>) {
        self.0.requests.get_or_create(&answered(asked, dry_run, code)).inc();
        if asked.verb != "WATCH" && asked.verb != "CONNECT" {
            self.0.durations.get_or_create(asked).observe(took.as_secs_f64());
            self.0.sli_durations.get_or_create(asked).observe(took.as_secs_f64());
        }
        if let (Some(bytes), "GET" | "LIST") = (bytes, asked.verb.as_str()) {
            self.0.response_sizes.get_or_create(asked).observe(bytes as f64);
        }
    }

    /// The counters of a resource's watches.
    pub fn watch(&self, group: &str, version: &str, resource: &str) -> WatchCounters {
        self.0.watches.of(group, version, resource)
    }

    /// A request was refused or cut off by a limit.
    pub fn terminated(&self, asked: &Asked, code: StatusCode) {
        self.0.terminations.get_or_create(&answered(asked, false, code)).inc();
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

    /// An authentication came to an end: as whom, if it succeeded.
    pub fn authenticated(&self, username: Option<&'static str>, took: Duration) {
        let decided = Decided { result: if username.is_some() { "success" } else { "error" } };
        self.0.attempts.get_or_create(&decided).inc();
        self.0.attempt_durations.get_or_create(&decided).observe(took.as_secs_f64());
        if let Some(username) = username {
            self.0.authenticated.get_or_create(&User { username }).inc();
        }
    }

    /// An authorization came to an end: `allowed`, `denied` or `error`.
    pub fn authorized(&self, result: &'static str, took: Duration) {
        let decided = Decided { result };
        self.0.authorizations.get_or_create(&decided).inc();
        self.0.authorization_durations.get_or_create(&decided).observe(took.as_secs_f64());
    }

    pub fn handshake_failed(&self) {
        self.0.handshake_errors.inc();
    }

    /// The answer of `/metrics`, with what is counted only when somebody asks: the objects of each group and resource.
    pub fn serve(&self, objects: impl Iterator<Item = (String, String, u64)>, storage_bytes: u64) -> Response {
        for (group, resource, count) in objects {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            let name = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
            self.0.objects.get_or_create(&Resource { resource: name }).set(count);
            self.0.resource_objects.get_or_create(&GroupResource { group, resource }).set(count);
        }
        self.0.storage_bytes.set(i64::try_from(storage_bytes).unwrap_or(i64::MAX));
        let mut open = String::new();
        if encode(&mut open, &self.0.registry.read()).is_err() {
            return body::text(StatusCode::INTERNAL_SERVER_ERROR, "failed to write the metrics\n");
        }
        let mut response = Response::new(body::full(text::of_open_metrics(&open)));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

fn answered(asked: &Asked, dry_run: bool, code: StatusCode) -> Answered {
    let asked = asked.clone();
    Answered {
        dry_run: if dry_run { "All" } else { "" },
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
