//! Where events end: the log, or a server that is sent them.

use std::path::Path;
use std::time::Duration;

use super::event::{self, Event};
use super::legacy;
use super::log::Log;
use super::metrics::AuditMetrics;
use super::settings::Format;
use crate::outbound::{Endpoint, EndpointError, PostError};

/// How long one request to the server may take.
const TIMEOUT: Duration = Duration::from_secs(30);

pub enum Output {
    Log(Log, Format, AuditMetrics),
    Webhook(Box<Endpoint>, AuditMetrics),
}

impl Output {
    pub fn webhook(kubeconfig: &Path, initial_backoff: Duration, metrics: AuditMetrics) -> Result<Self, EndpointError> {
        Ok(Self::Webhook(Box::new(Endpoint::open(kubeconfig, initial_backoff)?), metrics))
    }

    pub fn is_log(&self) -> bool {
        matches!(self, Self::Log(..))
    }

    /// Whether all of them were taken; if not, this is logged and counted.
    pub async fn write(&self, events: &[Event]) -> bool {
        match self {
            Self::Log(..) => self.write_lines(events),
            Self::Webhook(endpoint, metrics) => {
                let sent = endpoint.send_each(event::list(events), TIMEOUT, is_transient).await;
                let Err(error) = sent else { return true };
                tracing::error!(%error, events = events.len(), "failed to send audit events");
                metrics.failed("webhook", events.len());
                false
            }
        }
    }

    /// The same where nothing has to be waited for.
    pub fn write_lines(&self, events: &[Event]) -> bool {
        let Self::Log(log, format, metrics) = self else { return false };
        let mut all = true;
        for event in events {
            let line = match format {
                Format::Json => event.line(),
                Format::Legacy => legacy::line(&event.value()),
            };
            if let Err(error) = log.write(&line) {
                tracing::error!(%error, "failed to write an audit event");
                metrics.failed("log", 1);
                all = false;
            }
        }
        all
    }
}

/// A server that is away for a moment is waited for, unlike one that refuses.
fn is_transient(error: &PostError) -> bool {
    match error {
        PostError::Code(code) => *code == http::StatusCode::TOO_MANY_REQUESTS || code.is_server_error(),
        PostError::Call(..) => true,
        _ => false,
    }
}
