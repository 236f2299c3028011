//! A small API server in memory, for tests: objects by path, resource versions, optimistic locking, list and watch.
//! It knows no kind, no defaults and no validation; what it refuses, tests tell it to refuse.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::Service;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;
type Refusal = Box<dyn Fn(&Method, &str, &Value) -> Option<(u16, Value)> + Send>;

/// The server. Clones share their state.
#[derive(Clone, Default)]
pub struct FakeServer {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    revision: u64,
    watches: Vec<(String, mpsc::UnboundedSender<Bytes>)>,
    requests: Vec<String>,
    reads: Vec<String>,
    refusal: Option<Refusal>,
    watches_held: bool,
    held: Vec<(String, Bytes)>,
    history: Vec<(u64, String, Bytes)>,
}

/// Looks again each millisecond until what components make of a server comes true; under a paused clock that takes no time.
///
/// # Panics
/// If it does not within 100 s.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never came true: {what}");
}

impl FakeServer {
    /// A server without objects.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client of it.
    pub fn client(&self) -> kube::Client {
        crate::for_service(self.clone(), "test/1")
    }

    /// Every write it was asked for, as "POST /path", in order.
    pub fn writes(&self) -> Vec<String> {
        self.state.lock().requests.clone()
    }

    /// Every read it was asked for, as "/path?query", in order.
    pub fn reads(&self) -> Vec<String> {
        self.state.lock().reads.clone()
    }

    /// The object at this path.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    /// The objects in this collection.
    pub fn list(&self, collection: &str) -> Vec<Value> {
        let state = self.state.lock();
        state
            .objects
            .iter()
            .filter(|(path, _)| in_collection(path, collection))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Puts an object in as somebody else would.
    pub fn put(&self, collection: &str, object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        self.state.lock().store(&format!("{collection}/{name}"), object)
    }

    /// Takes an object out as somebody else would.
    pub fn remove(&self, path: &str) {
        self.state.lock().remove(path);
    }

    /// Answers writes with an error as long as the function gives one: status code and Status body.
    pub fn refuse(&self, refusal: impl Fn(&Method, &str, &Value) -> Option<(u16, Value)> + Send + 'static) {
        self.state.lock().refusal = Some(Box::new(refusal));
    }

    /// Stops refusing.
    pub fn allow(&self) {
        self.state.lock().refusal = None;
    }

    /// Holds back all watch events until [`Self::release_watches`], as a slow network would.
    pub fn hold_watches(&self) {
        self.state.lock().watches_held = true;
    }

    /// Sends what was held back.
    pub fn release_watches(&self) {
        let mut state = self.state.lock();
        state.watches_held = false;
        for (path, line) in std::mem::take(&mut state.held) {
            state.send(&path, line);
        }
    }

    /// Ends every watch with "too old", so that reflectors list again.
    pub fn expire_watches(&self) {
        let error = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}});
        for (_, sender) in std::mem::take(&mut self.state.lock().watches) {
            let _ = sender.unbounded_send(Bytes::from(format!("{error}\n")));
        }
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.revision += 1;
        let known = self.objects.contains_key(path);
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        if object["metadata"]["uid"].as_str().is_none_or(str::is_empty) {
            object["metadata"]["uid"] = json!(format!("uid-{}", self.revision));
        }
        self.objects.insert(path.to_owned(), object.clone());
        self.tell(path, if known { "MODIFIED" } else { "ADDED" }, &object);
        object
    }

    fn remove(&mut self, path: &str) -> Option<Value> {
        let mut object = self.objects.remove(path)?;
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.tell(path, "DELETED", &object);
        Some(object)
    }

    fn tell(&mut self, path: &str, kind: &str, object: &Value) {
        let line = Bytes::from(format!("{}\n", json!({"type": kind, "object": object})));
        self.history.push((self.revision, path.to_owned(), line.clone()));
        if self.watches_held {
            self.held.push((path.to_owned(), line));
        } else {
            self.send(path, line);
        }
    }

    fn send(&mut self, path: &str, line: Bytes) {
        self.watches.retain(|(collection, sender)| {
            !in_collection(path, collection) || sender.unbounded_send(line.clone()).is_ok()
        });
    }

    fn handle(&mut self, method: &Method, path: &str, query: &str, body: Value) -> Answer {
        if method == Method::GET {
            self.reads.push(format!("{path}?{query}"));
            return self.read(path, query);
        }
        self.requests.push(format!("{method} {path}"));
        if let Some((code, status)) = self.refusal.as_ref().and_then(|refusal| refusal(method, path, &body)) {
            return answer(code, &status);
        }
        match method.as_str() {
            "POST" => self.create(path, body),
            "DELETE" if self.objects.keys().any(|key| in_collection(key, path)) => {
                let inside: Vec<String> = self.objects.keys().filter(|key| in_collection(key, path)).cloned().collect();
                for path in inside {
                    self.remove(&path);
                }
                answer(200, &json!({"kind": "Status", "status": "Success"}))
            }
            "DELETE" => match self.remove(path) {
                Some(_) => answer(200, &json!({"kind": "Status", "status": "Success"})),
                None => not_found(path),
            },
            _ => self.change(method, path, body),
        }
    }

    fn read(&mut self, path: &str, query: &str) -> Answer {
        if query.contains("watch=true") {
            let (sender, receiver) = mpsc::unbounded();
            let from =
                query.split('&').find_map(|part| part.strip_prefix("resourceVersion=")?.parse().ok()).unwrap_or(0);
            for (revision, changed, line) in &self.history {
                if *revision > from && in_collection(changed, path) {
                    let _ = sender.unbounded_send(line.clone());
                }
            }
            self.watches.push((path.to_owned(), sender));
            let body = StreamBody::new(receiver.map(|line| Ok(Frame::data(line))));
            return Response::new(body.boxed_unsync());
        }
        if let Some(object) = self.objects.get(path) {
            return answer(200, object);
        }
        if !query.contains("limit=") {
            return not_found(path);
        }
        let items: Vec<_> =
            self.objects.iter().filter(|(key, _)| in_collection(key, path)).map(|(_, object)| object).collect();
        answer(200, &json!({"metadata": {"resourceVersion": self.revision.to_string()}, "items": items}))
    }

    fn create(&mut self, path: &str, mut body: Value) -> Answer {
        if let Some(prefix) = body["metadata"]["generateName"].as_str().map(str::to_owned) {
            body["metadata"]["name"] = json!(format!("{prefix}{:05}", self.revision));
        }
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let path = format!("{path}/{name}");
        if self.objects.contains_key(&path) {
            return answer(
                409,
                &json!({"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": format!("{name} already exists")}),
            );
        }
        answer(201, &self.store(&path, body))
    }

    fn change(&mut self, method: &Method, path: &str, body: Value) -> Answer {
        let (path, subresource) = match path.rsplit_once('/') {
            Some((object, last @ ("status" | "finalize"))) => (object, Some(last)),
            _ => (path, None),
        };
        let Some(known) = self.objects.get(path).cloned() else { return not_found(path) };
        let wanted = &body["metadata"]["resourceVersion"];
        if wanted.is_string() && *wanted != known["metadata"]["resourceVersion"] {
            return answer(
                409,
                &json!({"kind": "Status", "code": 409, "reason": "Conflict", "message": "the object has been modified"}),
            );
        }
        let mut next = if *method == Method::PATCH { merged(known, &body) } else { body };
        next["metadata"]["uid"] = self.objects[path]["metadata"]["uid"].clone();
        let _ = subresource;
        answer(200, &self.store(path, next))
    }
}

fn merged(mut base: Value, patch: &Value) -> Value {
    let Some(patch) = patch.as_object() else { return patch.clone() };
    if !base.is_object() {
        base = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            if let Some(base) = base.as_object_mut() {
                base.remove(key);
            }
        } else {
            base[key] = merged(base[key].take(), value);
        }
    }
    base
}

/// "/api/v1/namespaces/n/pods/p" is in "/api/v1/namespaces/n/pods" and in "/api/v1/pods".
fn in_collection(path: &str, collection: &str) -> bool {
    let Some((own, _)) = path.rsplit_once('/') else { return false };
    if own == collection {
        return true;
    }
    match own.split_once("/namespaces/") {
        Some((root, rest)) => rest.split_once('/').is_some_and(|(_, plural)| format!("{root}/{plural}") == collection),
        None => false,
    }
}

fn answer(code: u16, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn not_found(path: &str) -> Answer {
    answer(404, &json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": format!("{path} not found")}))
}

impl Service<Request<Body>> for FakeServer {
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let state = self.state.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
            Ok(state.lock().handle(&head.method, head.uri.path(), head.uri.query().unwrap_or_default(), body))
        })
    }
}
