//! The record of one request. It is written when its stages come; whatever ends a request (an answer, a client that goes
//! away, a panic) drops the last handle of it, which writes the last stage.

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderMap;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::event::Event as Text;
use super::policy::{Decision, Level};
use super::{Request, Sinks};
use crate::UserInfo;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// As soon as it is known who asks.
    RequestReceived,
    /// The answer of a watch or stream begins.
    ResponseStarted,
    ResponseComplete,
    Panic,
}

pub struct Record {
    decision: Decision,
    sinks: Arc<Sinks>,
    event: Mutex<Event>,
}

/// The parts of an event in their order; what it is comes before them.
struct Event {
    audit_id: String,
    uri: String,
    verb: String,
    user: Value,
    impersonated: Option<Value>,
    source_ips: Vec<String>,
    user_agent: String,
    object: Option<Map<String, Value>>,
    status: Option<Value>,
    request_object: Option<Value>,
    response_object: Option<Value>,
    received: jiff::Timestamp,
    annotations: Map<String, Value>,
    complete: bool,
}

impl Record {
    pub(super) fn new(decision: Decision, request: &Request, sinks: Arc<Sinks>) -> Option<Self> {
        if decision.level == Level::None {
            return None;
        }
        let event = Event {
            audit_id: request.audit_id.to_owned(),
            uri: request.uri.to_owned(),
            verb: request.info.verb.clone(),
            user: request.user.map_or_else(|| json!({}), user),
            impersonated: None,
            source_ips: request.source_ips.clone(),
            user_agent: request.user_agent.to_owned(),
            object: request.info.is_resource.then(|| object_reference(request)),
            status: None,
            request_object: None,
            response_object: None,
            received: request.received,
            annotations: Map::new(),
            complete: false,
        };
        Some(Self { decision, sinks, event: Mutex::new(event) })
    }

    /// How much is recorded of the request.
    pub fn level(&self) -> Level {
        self.decision.level
    }

    /// Whether the body of the request is needed: for the record, or for the name of what is created.
    pub fn wants_request(&self) -> bool {
        self.decision.level >= Level::Request || self.event.lock().verb == "create"
    }

    pub fn wants_response(&self) -> bool {
        self.decision.level == Level::RequestResponse
    }

    /// Whom the request acts as.
    pub fn impersonated(&self, as_user: &UserInfo) {
        self.event.lock().impersonated = Some(user(as_user));
    }

    /// `authorization.k8s.io/decision: allow`, and the like; the first value of a key stays.
    pub fn annotate(&self, key: &str, value: &str) {
        self.event.lock().annotations.entry(key).or_insert_with(|| value.into());
    }

    /// The object (or patch) that came with the request.
    pub fn request_object(&self, mut object: Value) {
        let mut event = self.event.lock();
        if let Some(reference) = &mut event.object {
            for field in ["name", "namespace", "uid", "resourceVersion"] {
                let own = object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str);
                if let Some(own) = own.filter(|own| !own.is_empty() && !reference.contains_key(field)) {
                    reference.insert(field.to_owned(), own.into());
                }
            }
        }
        if self.decision.level >= Level::Request {
            self.clean(&mut object);
            event.request_object = Some(object);
        }
    }

    pub fn response_object(&self, mut object: Value) {
        self.clean(&mut object);
        self.event.lock().response_object = Some(object);
    }

    /// Deletes answer with a Status also when they succeed.
    pub fn may_answer_status(&self) -> bool {
        self.event.lock().verb.starts_with("delete")
    }

    /// The answer: its code, and its words where it is a Status.
    pub fn answered(&self, code: u16, status: Option<&Value>) {
        let mut value = status.cloned();
        if let Some(fields) = value.as_mut().and_then(Value::as_object_mut) {
            fields.shift_remove("kind");
            fields.shift_remove("apiVersion");
        }
        let mut value = value.unwrap_or_else(|| json!({ "metadata": {} }));
        value["code"] = code.into();
        self.event.lock().status = Some(value);
    }

    /// Writes nothing more.
    pub(super) fn discard(&self) {
        self.event.lock().complete = true;
    }

    /// Writes a stage, unless the policy leaves it out; whether the request may go on.
    pub async fn stage(&self, stage: Stage) -> bool {
        let Some((text, value)) = self.at(stage) else { return true };
        self.sinks.put(&text, &value).await
    }

    fn at(&self, stage: Stage) -> Option<(Text, Value)> {
        if self.decision.omit_stages.contains(&stage) {
            return None;
        }
        let value = self.event.lock().at(stage, self.decision.level);
        Some((Text::new(&value), value))
    }

    /// What no log holds: the credentials that a request is about, and field managers where the policy says so.
    fn clean(&self, object: &mut Value) {
        for pointer in ["/status/token", "/spec/token"] {
            let is_token = matches!(object.get("kind").and_then(Value::as_str), Some("TokenRequest" | "TokenReview"));
            if let Some(token) = object.pointer_mut(pointer).filter(|token| is_token && token.is_string()) {
                *token = "REDACTED".into();
            }
        }
        if self.decision.omit_managed_fields {
            remove_managed_fields(object);
            for item in object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
                remove_managed_fields(item);
            }
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        if panicking {
            self.answered(500, None);
        }
        if !std::mem::replace(&mut self.event.lock().complete, true) {
            let stage = if panicking { Stage::Panic } else { Stage::ResponseComplete };
            if let Some((text, value)) = self.at(stage) {
                self.sinks.put_last(&text, &value);
            }
        }
    }
}

impl Event {
    fn at(&self, stage: Stage, level: Level) -> Value {
        let mut event = json!({
            "level": format!("{level:?}"),
            "auditID": self.audit_id,
            "stage": format!("{stage:?}"),
            "requestURI": self.uri,
            "verb": self.verb,
            "user": self.user,
        });
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                event[key] = value;
            }
        };
        put("impersonatedUser", self.impersonated.clone());
        put("sourceIPs", (!self.source_ips.is_empty()).then(|| self.source_ips.clone().into()));
        put("userAgent", (!self.user_agent.is_empty()).then(|| self.user_agent.clone().into()));
        put("objectRef", self.object.clone().map(Value::Object));
        put("responseStatus", self.status.clone());
        put("requestObject", self.request_object.clone());
        put("responseObject", self.response_object.clone());
        put("requestReceivedTimestamp", Some(micro_time(self.received)));
        put("stageTimestamp", Some(micro_time(jiff::Timestamp::now())));
        put("annotations", (!self.annotations.is_empty()).then(|| self.annotations.clone().into()));
        event
    }
}

fn micro_time(time: jiff::Timestamp) -> Value {
    format!("{time:.6}").into()
}

fn user(user: &UserInfo) -> Value {
    let mut value = json!({ "username": user.name });
    if let Some(uid) = &user.uid {
        value["uid"] = uid.as_str().into();
    }
    if !user.groups.is_empty() {
        value["groups"] = user.groups.clone().into();
    }
    if !user.extra.is_empty() {
        value["extra"] = json!(user.extra);
    }
    value
}

fn object_reference(request: &Request) -> Map<String, Value> {
    let info = request.info;
    let fields = [
        ("resource", &info.resource),
        ("namespace", &info.namespace),
        ("name", &info.name),
        ("apiGroup", &info.api_group),
        ("apiVersion", &info.api_version),
        ("subresource", &info.subresource),
    ];
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(field, value)| (field.to_owned(), value.as_str().into()))
        .collect()
}

fn remove_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
}

/// The addresses that a request came through, its origin first: what proxies say, then the connection's other end.
pub fn source_ips(headers: &HeaderMap, address: Option<SocketAddr>) -> Vec<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let forwarded = text("x-forwarded-for").split(',').chain(std::iter::once(text("x-real-ip")));
    let mut ips: Vec<String> = Vec::new();
    let own = address.map(|address| address.ip().to_string());
    for ip in forwarded.map(str::trim).map(str::to_owned).chain(own) {
        if ip.parse::<std::net::IpAddr>().is_ok() && !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    ips
}
