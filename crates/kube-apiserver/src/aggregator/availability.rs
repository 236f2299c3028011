//! Which of the other servers can be asked: the Service is there and has endpoints, and the server answers for its group.
//!
//! A server is asked anew when something about it changed, and from time to time; the answer stands in the condition
//! `Available` of its APIService, by which requests are handed on or answered 503.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::apiregistration::api_service::KIND;
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request, StatusCode};
use machinery::go_text::quote;
use machinery::status::Status;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::proxy::identity_headers;
use super::{ApiService, Found};
use crate::registry::{NoAdmission, Part, WriteOptions, object};
use crate::user::MASTERS_GROUP;
use crate::{Server, UserInfo, outbound};

const RECHECK_AFTER: Duration = Duration::from_secs(30);
const RECHECK_FAILED_AFTER: Duration = Duration::from_secs(5);
/// However much changes, a server is not asked more often.
const PAUSE: Duration = Duration::from_millis(500);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The first try may fail for a connection that just ended.
const ATTEMPTS: usize = 5;
const CONCURRENT_MAX: usize = 8;
/// A document of all resources of a version, or the index of all documents.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What is found out about a server.
struct Finding {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Finding {
    fn unavailable(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }
}

/// What the last check was made of, and when.
struct Checked {
    state: String,
    at: Instant,
    passed: bool,
}

/// Checks until the server ends.
pub async fn run(server: Arc<Server>) {
    let shutdown = server.shutdown.clone();
    shutdown.run_until_cancelled(work(server)).await;
}

async fn work(server: Arc<Server>) {
    let registry = &server.registry;
    let kinds = [("apiregistration.k8s.io", "apiservices"), ("", "services"), ("discovery.k8s.io", "endpointslices")];
    let kinds: Vec<_> = kinds.iter().filter_map(|(group, plural)| Some(api::find(group, "v1", plural)?.0)).collect();
    let mut checked: HashMap<String, Checked> = HashMap::new();
    loop {
        let revision = registry.store().revision();
        check_all(&server, &mut checked).await;
        let any = registry.change_since(&kinds, revision);
        if checked.is_empty() {
            any.await;
        } else {
            // Servers come and go without a change of any object.
            let _ = tokio::time::timeout(RECHECK_FAILED_AFTER, any).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn check_all(server: &Arc<Server>, checked: &mut HashMap<String, Checked>) {
    let remote = server.aggregator.remote();
    checked.retain(|name, _| remote.1.iter().any(|service| service.name() == name));
    server.aggregator.found.lock().retain(|name, _| remote.1.iter().any(|service| service.name() == name));
    let due = remote.1.iter().filter_map(|service| {
        let state = state(server, service);
        let is_due = checked.get(service.name()).is_none_or(|last| {
            let after = if last.passed { RECHECK_AFTER } else { RECHECK_FAILED_AFTER };
            last.state != state || last.at.elapsed() >= after
        });
        is_due.then_some((service.clone(), state))
    });
    let due: Vec<_> = due.collect();
    let checks = due.into_iter().map(|(service, state)| async move {
        let finding = check(server, &service).await;
        if let Err(status) = record(server, &service, &finding).await {
            tracing::warn!(service = service.name(), %status, "failed to record whether a server is available");
        }
        (service.name().to_owned(), Checked { state, at: Instant::now(), passed: finding.status == "True" })
    });
    let done: Vec<_> = futures::stream::iter(checks).buffer_unordered(CONCURRENT_MAX).collect().await;
    checked.extend(done);
}

/// Changes when one of the objects does that a check looks at.
fn state(server: &Server, service: &ApiService) -> String {
    let registry = &server.registry;
    let mut state = registry.entry(&KIND, "", service.name()).map_or(0, |entry| entry.revision).to_string();
    let Some(reference) = &service.spec.service else { return state };
    if let Some((kind, _)) = api::find("", "v1", "services") {
        let entry = registry.entry(kind, &reference.namespace, &reference.name);
        state.push_str(&format!(" {}", entry.map_or(0, |entry| entry.revision)));
    }
    for slice in slices(server, &reference.namespace, &reference.name) {
        state.push_str(&format!(" {}", object::resource_version(&slice)));
    }
    state
}

fn slices(server: &Server, namespace: &str, service: &str) -> Vec<Value> {
    let Some((kind, _)) = api::find("discovery.k8s.io", "v1", "endpointslices") else { return Vec::new() };
    let mut slices = server.registry.list(kind, namespace);
    slices.retain(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service);
    slices
}

async fn check(server: &Arc<Server>, service: &ApiService) -> Finding {
    if let Some(finding) = check_objects(server, service) {
        return finding;
    }
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        match ask(server, service, &service.path()).await {
            Ok(resources) => {
                // What a server cannot tell of its documents keeps nobody from using it.
                let openapi = ask(server, service, "/openapi/v3").await.unwrap_or_default();
                let found = Found { resources: Arc::new(resources), openapi: Arc::new(openapi) };
                server.aggregator.found.lock().insert(service.name().to_owned(), found);
                return Finding { status: "True", reason: "Passed", message: "all checks passed".to_owned() };
            }
            Err(reason) => last = reason,
        }
    }
    Finding::unavailable("FailedDiscoveryCheck", last)
}

/// What the objects alone say against it.
fn check_objects(server: &Server, service: &ApiService) -> Option<Finding> {
    let reference = service.spec.service.as_ref()?;
    let (name, namespace) = (&reference.name, &reference.namespace);
    let of = format!("service/{name} in {}", quote(namespace));
    let (kind, _) = api::find("", "v1", "services")?;
    let Ok(found) = server.registry.get(kind, namespace, name) else {
        return Some(Finding::unavailable("ServiceNotFound", format!("{of} is not present")));
    };
    if object::text(&found, "/spec/type") != "ClusterIP" {
        return None;
    }
    let port = reference.port.unwrap_or(443);
    let ports = object::list(&found, "/spec/ports");
    let Some(own) = ports.iter().find(|own| own["port"].as_u64() == Some(port.into())) else {
        return Some(Finding::unavailable("ServicePortError", format!("{of} is not listening on port {port}")));
    };
    let slices = slices(server, namespace, name);
    if slices.is_empty() {
        return Some(Finding::unavailable("EndpointsNotFound", format!("cannot find endpointslices for {of}")));
    }
    let port_name = object::text(own, "/name");
    let has_addresses = slices.iter().any(|slice| {
        let has_port = object::list(slice, "/ports").iter().any(|port| object::text(port, "/name") == port_name);
        let is_ready = |endpoint: &Value| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
        has_port && object::list(slice, "/endpoints").iter().any(is_ready)
    });
    if has_addresses {
        return None;
    }
    let message = format!("endpoints for {of} have no addresses with port name {}", quote(port_name));
    Some(Finding::unavailable("MissingEndpoints", message))
}

/// A GET under a name that may do everything there.
async fn ask(server: &Arc<Server>, service: &ApiService, path: &str) -> Result<Value, String> {
    let to = service.destination(server).map_err(|status| status.message().to_owned())?;
    let url = format!("https://{}{path}", to.authority);
    let failed = |reason: String| format!("failing or missing response from {url}: {reason}");
    let tls = service.tls(server.aggregator.identity.as_ref()).map_err(failed)?;
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
    request.headers_mut().extend(identity_headers(&UserInfo::new("system:kube-aggregator", [MASTERS_GROUP])));
    request.headers_mut().insert(http::header::ACCEPT, http::HeaderValue::from_static("application/json"));
    let answer = outbound::exchange(&tls, &to, request, ANSWER_BYTES_MAX);
    let answer = match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Err(_) => return Err(failed(format!("Get {}: context deadline exceeded", quote(&url)))),
        Ok(answer) => answer.map_err(|error| failed(format!("Get {}: {error}", quote(&url))))?,
    };
    // A redirect is no answer either, and is not followed.
    if answer.status() < StatusCode::OK || answer.status() >= StatusCode::MULTIPLE_CHOICES {
        return Err(failed(format!("bad status from {url}: {}", answer.status().as_u16())));
    }
    Ok(serde_json::from_slice(answer.body()).unwrap_or_default())
}

/// Writes the condition where it changed.
async fn record(server: &Server, service: &ApiService, finding: &Finding) -> Result<(), Status> {
    let now = object::time(crate::registry::now());
    let mut change = |current: &Value| {
        let mut new = current.clone();
        let conditions = object::map_mut(&mut new, "status").entry("conditions").or_insert_with(|| json!([]));
        let mut condition = json!({
            "type": "Available",
            "status": finding.status,
            "lastTransitionTime": now,
            "reason": finding.reason,
            "message": finding.message,
        });
        let Value::Array(list) = conditions else { return Ok(new) };
        match list.iter_mut().find(|own| own["type"] == "Available") {
            Some(own) => {
                if own["status"] == finding.status {
                    condition["lastTransitionTime"] = own["lastTransitionTime"].clone();
                }
                *own = condition;
            }
            None => list.push(condition),
        }
        Ok(new)
    };
    let options = WriteOptions::default();
    let registry = &server.registry;
    let written = registry.update(&KIND, "", service.name(), Part::STATUS, &mut change, &options, &NoAdmission).await;
    let available = finding.status == "True";
    server.metrics.aggregator().observe(service.name(), (!available).then_some(finding.reason));
    match written {
        Err(status) if !status.is_not_found() => Err(status),
        _ => Ok(()),
    }
}
