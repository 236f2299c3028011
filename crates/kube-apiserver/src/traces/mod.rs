//! Traces: one span for each request that is sampled and one for each of its steps, sent to an OpenTelemetry collector
//! (`--tracing-config-file`). What is asked of webhooks for a request carries its trace on.
//!
//! Not everybody may say that a request belongs to their trace: whoever could would decide how much is recorded. For all but
//! `system:masters` and `system:monitoring` a trace of its own begins, with a link to theirs.
//! See https://kubernetes.io/docs/concepts/cluster-administration/system-traces/.

mod configuration;
pub mod context;
mod steps;
mod export;
mod otlp;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use configuration::{Configuration, ConfigurationError};
use context::{Current, SpanContext};
use export::Exporter;
use http::{HeaderMap, Method, StatusCode, Uri, Version, header};
pub use otlp::KeyValue;
use otlp::{Link, Span, Status};
pub use steps::{request, step, step_if};

use crate::user::MASTERS_GROUP;
use crate::{Config, RequestInfo, UserInfo};

const MONITORING_GROUP: &str = "system:monitoring";
const SERVER: i32 = 2;
const ERROR: i32 = 2;

#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    #[error("failed to prepare the connection to the collector")]
    Collector(#[source] tonic::transport::Error),
}

pub struct Traces {
    exporter: Arc<Exporter>,
    /// Traces whose identifier is below this are sampled, of those that begin here.
    sampled_below: u64,
}

/// What a span says of a request.
pub struct Request<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub version: Version,
    pub headers: &'a HeaderMap,
    pub info: &'a RequestInfo,
    /// None when authentication failed.
    pub user: Option<&'a UserInfo>,
    pub peer: Option<SocketAddr>,
    pub audit_id: &'a str,
    pub received: jiff::Timestamp,
}

/// The span of a request that is being served; it ends with [`Serving::answered`], or when this is dropped.
pub struct Serving {
    /// Where it is recorded.
    span: Option<Box<Span>>,
    exporter: Arc<Exporter>,
}

impl Traces {
    /// None where nothing is traced. Needs a runtime.
    pub fn open(config: &Config) -> Result<Option<Self>, TracesError> {
        let Some(path) = &config.tracing_config_file else { return Ok(None) };
        let Configuration { collector, sampling_rate_per_million } = Configuration::open(path)?;
        let exporter = Arc::new(Exporter::new(&collector, &config.id()).map_err(TracesError::Collector)?);
        let rate = u128::from(sampling_rate_per_million.unsigned_abs());
        let bound = (1u128 << 63) * rate / u128::from(configuration::MILLION.unsigned_abs());
        Ok(Some(Self { exporter, sampled_below: u64::try_from(bound).unwrap_or(u64::MAX) }))
    }

    /// What is done from here on for the request belongs to its span.
    pub fn begin(&self, request: &Request<'_>) -> Serving {
        let remote = SpanContext::of(request.headers);
        let may_lead = request.user.is_some_and(|user| user.in_group(MASTERS_GROUP) || user.in_group(MONITORING_GROUP));
        let parent = remote.filter(|_| may_lead);
        let (trace_id, sampled) = match parent {
            Some(parent) => (parent.trace_id, parent.sampled),
            None => {
                let trace_id: [u8; 16] = rand::random();
                (trace_id, self.is_sampled(trace_id))
            }
        };
        let context = SpanContext { trace_id, span_id: rand::random(), sampled };
        context::set_here(Current { context, exporter: self.exporter.clone() });
        let span = sampled.then(|| Box::new(span(request, context, parent, remote.filter(|_| !may_lead))));
        Serving { span, exporter: self.exporter.clone() }
    }

    fn is_sampled(&self, trace_id: [u8; 16]) -> bool {
        let mut low = [0; 8];
        low.copy_from_slice(&trace_id[8..]);
        u64::from_be_bytes(low) >> 1 < self.sampled_below
    }

    /// Sends what waits, as far as there is time.
    pub async fn flush(&self, within: Duration) {
        self.exporter.flush(within).await;
    }
}

impl Serving {
    pub fn answered(&mut self, code: StatusCode, bytes: Option<u64>) {
        let Some(span) = &mut self.span else { return };
        span.attributes.push(KeyValue::int("http.response.status_code", i64::from(code.as_u16())));
        let bytes = bytes.and_then(|bytes| i64::try_from(bytes).ok());
        span.attributes.extend(bytes.map(|bytes| KeyValue::int("http.response.body.size", bytes)));
        if code.is_server_error() {
            span.status = Some(Status { code: ERROR });
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.end_time_unix_nano = nanoseconds(jiff::Timestamp::now());
            self.exporter.put(*span);
        }
    }
}

fn span(request: &Request<'_>, context: SpanContext, parent: Option<SpanContext>, linked: Option<SpanContext>) -> Span {
    let mut attributes = vec![
        KeyValue::text("http.request.method", request.method.as_str()),
        KeyValue::text("url.scheme", "https"),
        KeyValue::text("url.path", request.uri.path()),
        KeyValue::text("http.target", request.uri.path_and_query().map_or("", |target| target.as_str())),
        KeyValue::text("network.protocol.version", version(request.version)),
        KeyValue::text("audit-id", request.audit_id),
    ];
    let header = |name| request.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let host = request.uri.host().or_else(|| header(header::HOST));
    attributes.extend(host.map(|host| KeyValue::text("server.address", host)));
    attributes.extend(header(header::USER_AGENT).map(|agent| KeyValue::text("user_agent.original", agent)));
    if let Some(peer) = request.peer {
        let address = peer.ip().to_string();
        attributes.push(KeyValue::text("client.address", address.as_str()));
        attributes.push(KeyValue::text("network.peer.address", address));
        attributes.push(KeyValue::int("network.peer.port", i64::from(peer.port())));
    }
    let link = |linked: SpanContext| Link { trace_id: linked.trace_id.to_vec(), span_id: linked.span_id.to_vec() };
    Span {
        trace_id: context.trace_id.to_vec(),
        span_id: context.span_id.to_vec(),
        parent_span_id: parent.map(|parent| parent.span_id.to_vec()).unwrap_or_default(),
        name: name(request),
        kind: SERVER,
        start_time_unix_nano: nanoseconds(request.received),
        end_time_unix_nano: 0,
        attributes,
        links: linked.map(link).into_iter().collect(),
        status: None,
    }
}

/// `GET /api/v1/namespaces/{:namespace}/pods/{:name}`; of what is no resource the method alone.
fn name(request: &Request<'_>) -> String {
    let (method, info) = (request.method, request.info);
    if !info.is_resource {
        return method.to_string();
    }
    let mut name = format!("{method} /{}", if info.api_group.is_empty() { "api" } else { "apis" });
    for (is_there, part) in [
        (!info.api_group.is_empty(), info.api_group.as_str()),
        (true, &info.api_version),
        (!info.namespace.is_empty(), "namespaces/{:namespace}"),
        (true, &info.resource),
        (!info.name.is_empty(), "{:name}"),
        (!info.subresource.is_empty(), &info.subresource),
    ] {
        if is_there {
            name.push('/');
            name.push_str(part);
        }
    }
    name
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

fn nanoseconds(time: jiff::Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or_default()
}
