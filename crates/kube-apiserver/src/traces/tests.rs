use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic_prost::ProstCodec;
use tower::Service;

use super::otlp::{ExportTraceServiceRequest, ExportTraceServiceResponse, Value};
use super::*;
use crate::Server;
use crate::chain::{Caller, handle};
use crate::testing::{Pki, server_with};

type Requests = Arc<Mutex<Vec<ExportTraceServiceRequest>>>;

/// A collector that really listens; it ends with the test.
struct Collector {
    port: u16,
    requests: Requests,
    _end: DropGuard,
}

#[derive(Clone)]
struct TraceService(Requests);

impl tonic::server::NamedService for TraceService {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<http::Request<tonic::body::Body>> for TraceService {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        assert!(request.uri().path().ends_with("/Export"));
        let export = Export(self.0.clone());
        let codec = ProstCodec::<ExportTraceServiceResponse, ExportTraceServiceRequest>::default();
        Box::pin(async move { Ok(tonic::server::Grpc::new(codec).unary(export, request).await) })
    }
}

struct Export(Requests);

impl tonic::server::UnaryService<ExportTraceServiceRequest> for Export {
    type Response = ExportTraceServiceResponse;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::Response>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<ExportTraceServiceRequest>) -> Self::Future {
        self.0.lock().push(request.into_inner());
        Box::pin(async { Ok(tonic::Response::new(ExportTraceServiceResponse::default())) })
    }
}

impl Collector {
    async fn new() -> Self {
        let (requests, end) = (Requests::default(), CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let service = TraceService(requests.clone());
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let ended = end.clone();
        tokio::spawn(async move {
            let serving = tonic::transport::Server::builder().serve_with_incoming(service, incoming);
            ended.run_until_cancelled(serving).await
        });
        Self { port, requests, _end: end.drop_guard() }
    }

    fn spans(&self) -> Vec<otlp::Span> {
        let requests = self.requests.lock();
        let scopes = requests.iter().flat_map(|request| &request.resource_spans).flat_map(|spans| &spans.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

async fn server(collector: &Collector, rate: u32, change: impl FnOnce(&Pki, &mut Config)) -> (Arc<Server>, Pki) {
    let folder = Pki::new();
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: TracingConfiguration\nendpoint: 127.0.0.1:{}\nsamplingRatePerMillion: {rate}\n",
        collector.port
    );
    folder.write("tracing.yaml", &text);
    let (server, _pki) = server_with(|config| {
        config.tracing_config_file = Some(folder.path().join("tracing.yaml"));
        change(&folder, config);
    })
    .await;
    (server, folder)
}

const REMOTE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

async fn get(server: &Arc<Server>, groups: &[&str], path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = http::Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(crate::body::empty()).unwrap();
    let user = Arc::new(UserInfo::new("amy", groups.iter().copied()));
    handle(server.clone(), Caller::Known(user), request).await.status().as_u16()
}

async fn finished(server: &Server) {
    server.traces.as_ref().unwrap().flush(Duration::from_secs(60)).await;
}

fn text(span: &otlp::Span, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::Text(text)) => text,
        Some(Value::Int(number)) => number.to_string(),
        None => String::new(),
    }
}

#[tokio::test]
async fn requests_become_spans_with_upstreams_names_and_attributes() {
    let collector = Collector::new().await;
    let (server, _folder) = server(&collector, 1_000_000, |_, _| {}).await;
    let masters = &[MASTERS_GROUP];
    let headers = &[("user-agent", "test/1"), ("audit-id", "the-id")];
    assert_eq!(get(&server, masters, "/api/v1/namespaces/default/configmaps/none?pretty=0", headers).await, 404);
    assert_eq!(get(&server, masters, "/apis/apps/v1/deployments", &[]).await, 200);
    assert_eq!(get(&server, masters, "/version", &[]).await, 200);
    finished(&server).await;
    let all = collector.spans();
    let named = |name: &str| all.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} in {all:?}"));
    let span = named("GET /api/v1/namespaces/{:namespace}/configmaps/{:name}");
    for (key, wanted) in [
        ("http.request.method", "GET"),
        ("url.path", "/api/v1/namespaces/default/configmaps/none"),
        ("http.target", "/api/v1/namespaces/default/configmaps/none?pretty=0"),
        ("user_agent.original", "test/1"),
        ("audit-id", "the-id"),
        ("http.response.status_code", "404"),
    ] {
        assert_eq!(text(span, key), wanted, "{key}");
    }
    assert_eq!((span.kind, span.status.as_ref(), span.trace_id.len(), span.span_id.len()), (2, None, 16, 8));
    assert!(span.parent_span_id.is_empty() && span.start_time_unix_nano <= span.end_time_unix_nano);
    named("GET /apis/apps/v1/deployments");
    assert_eq!(text(named("GET"), "url.path"), "/version");
    let resource = collector.requests.lock()[0].resource_spans[0].resource.clone().unwrap();
    assert_eq!(resource.attributes[0], KeyValue::text("service.name", "apiserver"));
}

#[tokio::test]
async fn a_write_is_told_in_steps_below_its_span() {
    let collector = Collector::new().await;
    let (server, _folder) = server(&collector, 0, |_, _| {}).await;
    let map = serde_json::json!({ "metadata": { "name": "a" } }).to_string();
    let request = http::Request::builder()
        .method("POST")
        .uri("/api/v1/namespaces/default/configmaps")
        .header("traceparent", REMOTE)
        .header("content-type", "application/json")
        .body(crate::body::full(map))
        .unwrap();
    let user = Arc::new(UserInfo::new("amy", [MASTERS_GROUP]));
    assert_eq!(handle(server.clone(), Caller::Known(user), request).await.status(), 201);
    finished(&server).await;
    let all = collector.spans();
    let named = |name: &str| all.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name} in {all:?}"));
    let root = named("POST /api/v1/namespaces/{:namespace}/configmaps");
    let create = named("Create");
    for (name, parent) in [
        ("Authorization", root),
        ("Create", root),
        ("Mutating admission", create),
        ("Validating admission", create),
        ("Create etcd3", create),
    ] {
        let span = named(name);
        assert_eq!((&span.parent_span_id, &span.trace_id), (&parent.span_id, &root.trace_id), "{name}");
        assert!(span.start_time_unix_nano >= parent.start_time_unix_nano, "{name}");
        assert!(span.end_time_unix_nano <= parent.end_time_unix_nano, "{name}");
    }
    assert_eq!((text(create, "resource"), text(create, "scope")), ("configmaps".to_owned(), "namespace".to_owned()));
    assert_eq!(text(named("Create etcd3"), "type"), "ConfigMap");
    assert_eq!(text(named("Mutating admission"), "operation"), "CREATE");
}

#[tokio::test]
async fn only_the_privileged_lead_a_trace_and_decide_what_is_sampled() {
    let collector = Collector::new().await;
    let (server, _folder) = server(&collector, 0, |_, _| {}).await;
    let traced = &[("traceparent", REMOTE)];
    for groups in [&[MASTERS_GROUP][..], &["system:monitoring", "system:authenticated"], &["system:authenticated"]] {
        assert_eq!(get(&server, groups, "/version", traced).await, 200);
    }
    assert_eq!(
        get(&server, &[MASTERS_GROUP], "/version", &[("traceparent", &REMOTE.replace("-01", "-00"))]).await,
        200
    );
    assert_eq!(get(&server, &[MASTERS_GROUP], "/version", &[]).await, 200);
    finished(&server).await;
    let remote = SpanContext::of(&HeaderMap::from_iter([(
        http::HeaderName::from_static("traceparent"),
        http::HeaderValue::from_static(REMOTE),
    )]))
    .unwrap();
    let mut spans = collector.spans();
    spans.retain(|span| span.name == "GET");
    assert_eq!(spans.len(), 2, "{spans:?}");
    for span in spans {
        assert_eq!((span.trace_id, span.parent_span_id), (remote.trace_id.to_vec(), remote.span_id.to_vec()));
    }
}

#[tokio::test]
async fn others_get_a_trace_of_their_own_with_a_link() {
    let collector = Collector::new().await;
    let (server, _folder) = server(&collector, 1_000_000, |_, _| {}).await;
    assert_eq!(get(&server, &["system:authenticated"], "/version", &[("traceparent", REMOTE)]).await, 200);
    finished(&server).await;
    let spans = collector.spans();
    let span = spans.iter().find(|span| !span.links.is_empty()).unwrap();
    assert!(span.parent_span_id.is_empty());
    assert_ne!(span.trace_id, span.links[0].trace_id);
    assert_eq!(span.links[0].span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
}

#[tokio::test]
async fn what_is_asked_of_webhooks_belongs_to_the_trace() {
    use crate::admission::webhook::tests::Hook;
    let pki = Pki::new();
    let hook = Hook::new(&pki, |question| {
        let mut answer = question.clone();
        answer["status"] = serde_json::json!({ "allowed": true });
        http::Response::new(bytes::Bytes::from(answer.to_string()))
    })
    .await;
    let collector = Collector::new().await;
    let (server, _folder) = server(&collector, 0, |_, config| {
        let kubeconfig = serde_json::json!({
            "clusters": [{ "name": "c", "cluster": { "server": hook.url(), "certificate-authority": "ca.crt" } }],
            "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
            "current-context": "x",
        });
        pki.write("w.conf", &kubeconfig.to_string());
        config.authorization_mode = vec!["Webhook".to_owned()];
        config.authorization_webhook.config_file = Some(pki.path().join("w.conf"));
    })
    .await;
    let traced = &[("traceparent", REMOTE)];
    assert_eq!(get(&server, &["system:monitoring"], "/version", traced).await, 200);
    finished(&server).await;
    let spans = collector.spans();
    let span = spans.iter().find(|span| span.name == "HTTP POST").unwrap();
    let around = spans.iter().find(|around| around.span_id == span.parent_span_id).unwrap();
    assert_eq!((span.kind, around.name.as_str()), (3, "Authorization"));
    assert!(text(span, "url.full").starts_with(&hook.url()));
    let wanted = SpanContext {
        trace_id: span.trace_id.clone().try_into().unwrap(),
        span_id: span.span_id.clone().try_into().unwrap(),
        sampled: true,
    };
    // Others may be asked about in between.
    let told = hook.traceparents.lock().clone();
    assert!(told.contains(&wanted.to_header()), "{told:?}");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let collector = Collector::new().await;
    let port = collector.port;
    drop(collector);
    let gone = Collector { port, requests: Requests::default(), _end: CancellationToken::new().drop_guard() };
    let (server, _folder) = server(&gone, 1_000_000, |_, _| {}).await;
    for _ in 0..3000 {
        let request = http::Request::builder().uri("/version").body(()).unwrap();
        let info = RequestInfo::new(request.method(), request.uri()).unwrap();
        drop(server.traces.as_ref().unwrap().begin(&Request {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            info: &info,
            user: None,
            peer: None,
            audit_id: "",
            received: jiff::Timestamp::now(),
        }));
    }
    assert_eq!(get(&server, &[MASTERS_GROUP], "/version", &[]).await, 200);
    finished(&server).await;
}
