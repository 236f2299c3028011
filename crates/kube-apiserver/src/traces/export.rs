//! The way of finished spans to the collector: a bounded queue, from which batches are sent one after the other. A collector
//! that is away costs spans, never memory or time of requests.

use std::time::Duration;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::configuration::Collector;
use super::otlp::{
    ExportTraceServiceRequest, ExportTraceServiceResponse, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span,
};

/// OpenTelemetry's own defaults.
const SPANS_WAITING_MAX: usize = 2048;
const BATCH_MAX: usize = 512;
const BATCH_WAIT: Duration = Duration::from_secs(5);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub struct Exporter {
    queue: mpsc::Sender<Span>,
    end: CancellationToken,
    task: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl Exporter {
    /// Needs a runtime. The connection is made when it is needed.
    pub fn new(collector: &Collector, server: &str) -> Result<Self, tonic::transport::Error> {
        let (queue, waiting) = mpsc::channel(SPANS_WAITING_MAX);
        let end = CancellationToken::new();
        let resource = Resource {
            attributes: vec![
                KeyValue::text("service.name", "apiserver"),
                KeyValue::text("service.instance.id", server),
            ],
        };
        let sender = Sender { waiting, channel: channel(collector)?, resource, end: end.clone() };
        let task = tokio::spawn(sender.run());
        Ok(Self { queue, end, task: parking_lot::Mutex::new(Some(task)) })
    }

    /// Never waits. A span for which there is no room is lost.
    pub fn put(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            tracing::debug!("a span is lost: too many wait for the collector");
        }
    }

    /// Sends what waits, as far as there is time.
    pub async fn flush(&self, within: Duration) {
        self.end.cancel();
        let Some(task) = self.task.lock().take() else { return };
        let abort = task.abort_handle();
        if timeout(within, task).await.is_err() {
            abort.abort();
        }
    }
}

fn channel(collector: &Collector) -> Result<Channel, tonic::transport::Error> {
    let bounded = |endpoint: Endpoint| endpoint.connect_timeout(EXPORT_TIMEOUT).timeout(EXPORT_TIMEOUT);
    match collector {
        Collector::Tcp(authority) => Ok(bounded(Endpoint::from_shared(format!("http://{authority}"))?).connect_lazy()),
        Collector::Unix(socket) => {
            let socket = socket.clone();
            let connect = tower::service_fn(move |_: http::Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            Ok(bounded(Endpoint::from_static("http://localhost")).connect_with_connector_lazy(connect))
        }
    }
}

struct Sender {
    waiting: mpsc::Receiver<Span>,
    channel: Channel,
    resource: Resource,
    end: CancellationToken,
}

impl Sender {
    async fn run(mut self) {
        loop {
            let batch = self.next_batch().await;
            if batch.is_empty() {
                return;
            }
            let spans = batch.len();
            if let Err(error) = self.send(batch).await {
                tracing::warn!(%error, spans, "failed to export spans");
            }
        }
    }

    /// Waits for spans; none are left when the batch is empty.
    async fn next_batch(&mut self) -> Vec<Span> {
        let mut batch = Vec::new();
        let first = match self.end.run_until_cancelled(self.waiting.recv()).await {
            Some(first) => first,
            None => {
                self.waiting.close();
                self.waiting.recv().await
            }
        };
        let Some(first) = first else { return batch };
        batch.push(first);
        let until = Instant::now() + BATCH_WAIT;
        while batch.len() < BATCH_MAX {
            if let Ok(span) = self.waiting.try_recv() {
                batch.push(span);
                continue;
            }
            match self.end.run_until_cancelled(timeout_at(until, self.waiting.recv())).await {
                Some(Ok(Some(span))) => batch.push(span),
                _ => break,
            }
        }
        batch
    }

    async fn send(&self, spans: Vec<Span>) -> Result<(), tonic::Status> {
        let scope = Scope { name: "kube-apiserver".to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans }];
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let request = tonic::Request::new(ExportTraceServiceRequest { resource_spans });
        let codec = ProstCodec::<ExportTraceServiceRequest, ExportTraceServiceResponse>::default();
        let answer = client.unary(request, PathAndQuery::from_static(EXPORT), codec).await?.into_inner();
        if let Some(partial) = answer.partial_success.filter(|partial| partial.rejected_spans > 0) {
            tracing::warn!(partial.rejected_spans, partial.error_message, "the collector did not take all spans");
        }
        Ok(())
    }
}
