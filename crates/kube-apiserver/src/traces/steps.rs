//! The steps of a request: spans below its own, or below that of the step around them.
//!
//! A step is a future that runs with its own span as the current one, so that steps of work done side by side do not get into
//! each other's way. What is not sampled costs a look at the current trace.

use std::cell::RefCell;
use std::sync::Arc;

use futures::future::Either;

use super::context::{self, CURRENT, Current, SpanContext};
use super::export::Exporter;
use super::nanoseconds;
use super::otlp::{KeyValue, Span};

const INTERNAL: i32 = 1;
const CLIENT: i32 = 3;

/// Does a part of the work that the current span is about.
pub fn step<F: Future>(
    name: &str,
    attributes: impl FnOnce() -> Vec<KeyValue>,
    work: F,
) -> impl Future<Output = F::Output> {
    within(begin(INTERNAL, name, attributes), work)
}

/// The same; without a name the work is no step.
pub fn step_if<F: Future>(
    name: Option<&str>,
    attributes: impl FnOnce() -> Vec<KeyValue>,
    work: F,
) -> impl Future<Output = F::Output> {
    within(name.and_then(|name| begin(INTERNAL, name, attributes)), work)
}

/// Asks another server, which is told of the trace.
pub fn request<F: Future>(
    name: &str,
    attributes: impl FnOnce() -> Vec<KeyValue>,
    work: F,
) -> impl Future<Output = F::Output> {
    within(begin(CLIENT, name, attributes), work)
}

/// Work that is not traced stays as it is: it is neither copied nor boxed.
fn within<F: Future>(open: Option<Open>, work: F) -> impl Future<Output = F::Output> {
    let Some(open) = open else { return Either::Left(work) };
    Either::Right(Box::pin(async move {
        let current = Current { context: open.context, exporter: open.exporter.clone() };
        CURRENT.scope(RefCell::new(Some(current)), work).await
    }))
}

/// Begins a span below the current one, if that is recorded.
fn begin(kind: i32, name: &str, attributes: impl FnOnce() -> Vec<KeyValue>) -> Option<Open> {
    let around = context::here().filter(|around| around.context.sampled)?;
    let context = SpanContext { span_id: rand::random(), ..around.context };
    let span = Span {
        trace_id: context.trace_id.to_vec(),
        span_id: context.span_id.to_vec(),
        parent_span_id: around.context.span_id.to_vec(),
        name: name.to_owned(),
        kind,
        start_time_unix_nano: nanoseconds(jiff::Timestamp::now()),
        end_time_unix_nano: 0,
        attributes: attributes(),
        links: Vec::new(),
        status: None,
    };
    Some(Open { span, context, exporter: around.exporter })
}

/// A span that ends when this is dropped: work that is given up ends too.
struct Open {
    span: Span,
    context: SpanContext,
    exporter: Arc<Exporter>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut span = std::mem::take(&mut self.span);
        span.end_time_unix_nano = nanoseconds(jiff::Timestamp::now());
        self.exporter.put(span);
    }
}
