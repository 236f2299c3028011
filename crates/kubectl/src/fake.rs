//! An API server for tests of commands: fixed answers by method and path, a record of what was asked, on a loopback port.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::commands;
use crate::console::Console;
use crate::context::Context;

/// What a command printed and asked.
pub struct Done {
    pub out: String,
    pub err: String,
    pub code: u8,
    /// "POST /path" and the body of every request that was not about discovery.
    pub asked: Vec<(String, String)>,
}

#[derive(Default)]
pub struct Fake {
    answers: Vec<(String, u16, String)>,
    is_canopus: bool,
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics while holding it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("nobody panics while holding it")).into_owned()
    }
}

impl Fake {
    pub fn new() -> Self {
        Fake::default()
    }

    /// Answers a request; the same request asked again gets the same answer, or the next one that was given for it.
    pub fn answer(mut self, request: &str, code: u16, body: Value) -> Self {
        self.answers.push((request.to_owned(), code, body.to_string()));
        self
    }

    /// Its answers name the revision that they are about.
    pub fn of_canopus(mut self) -> Self {
        self.is_canopus = true;
        self
    }

    /// Runs a command line against this server. Words are split at spaces; `%20` in a word stands for one.
    pub fn run(&self, line: &str) -> Done {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        runtime.block_on(self.run_inside(line))
    }

    async fn run_inside(&self, line: &str) -> Done {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let asked: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let state = Arc::new((Mutex::new(self.answers.clone()), asked.clone(), self.is_canopus));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                let service = hyper::service::service_fn(move |request| serve(state.clone(), request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        let mut args: Vec<OsString> =
            vec!["kubectl".into(), "--kubeconfig=/dev/null".into(), format!("--server=http://{address}").into()];
        args.extend(line.split(' ').map(|word| OsString::from(word.replace("%20", " "))));
        let (out, err) = (Sink::default(), Sink::default());
        let console = Console::to(Box::new(out.clone()), Box::new(err.clone()));
        let code = match commands::parse(&args) {
            Err(not_run) => {
                not_run.show(&console);
                1
            }
            Ok(matches) => {
                let context = Context::new(console, &matches);
                match commands::run(&context, &matches).await {
                    Ok(()) => 0,
                    Err(error) => {
                        error.show(&context.console);
                        if let crate::error::Error::Exit(code) = error { code } else { 1 }
                    }
                }
            }
        };
        server.abort();
        let asked = asked.lock().expect("nobody panics while holding it").clone();
        Done { out: out.text(), err: err.text(), code, asked }
    }
}

type State = Arc<(Mutex<Vec<(String, u16, String)>>, Arc<Mutex<Vec<(String, String)>>>, bool)>;

async fn serve(state: State, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let key = format!("{} {path}", request.method());
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let (code, text) = match path.as_str() {
        "/api" => (200, discovery(&[("", "v1", CORE)])),
        "/apis" => (200, discovery(&[("apps", "v1", APPS), ("rbac.authorization.k8s.io", "v1", RBAC)])),
        _ => {
            state
                .1
                .lock()
                .expect("nobody panics while holding it")
                .push((key.clone(), String::from_utf8_lossy(&body).into_owned()));
            let mut answers = state.0.lock().expect("nobody panics while holding it");
            match answers.iter().position(|(request, ..)| *request == key) {
                Some(at) => {
                    let (_, code, text) = answers[at].clone();
                    if answers[at + 1..].iter().any(|(request, ..)| *request == key) {
                        answers.remove(at);
                    }
                    (code, text)
                }
                None => (404, not_found(&path)),
            }
        }
    };
    let mut answer = Response::builder().status(code).header("content-type", "application/json");
    if state.2 {
        answer = answer.header(crate::past::HEADER, "7");
    }
    Ok(answer.body(Full::new(Bytes::from(text))).expect("the parts are valid"))
}

fn not_found(path: &str) -> String {
    let parts: Vec<&str> = path.split('?').next().unwrap_or(path).rsplit('/').collect();
    let (name, resource) = (parts.first().copied().unwrap_or(""), parts.get(1).copied().unwrap_or(""));
    json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "message": format!("{resource} \"{name}\" not found"), "code": 404})
        .to_string()
}

/// plural, kind, short name, namespaced
type Rows = &'static [(&'static str, &'static str, &'static str, bool)];
const CORE: Rows = &[
    ("pods", "Pod", "po", true),
    ("services", "Service", "svc", true),
    ("configmaps", "ConfigMap", "cm", true),
    ("secrets", "Secret", "", true),
    ("resourcequotas", "ResourceQuota", "quota", true),
    ("replicationcontrollers", "ReplicationController", "rc", true),
    ("events", "Event", "ev", true),
    ("serviceaccounts", "ServiceAccount", "sa", true),
    ("nodes", "Node", "no", false),
    ("namespaces", "Namespace", "ns", false),
];
const APPS: Rows = &[("deployments", "Deployment", "deploy", true), ("replicasets", "ReplicaSet", "rs", true)];
const RBAC: Rows = &[("clusterroles", "ClusterRole", "", false)];

fn discovery(groups: &[(&str, &str, Rows)]) -> String {
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, version, rows)| {
            let resources: Vec<Value> = rows
                .iter()
                .map(|(plural, kind, short, namespaced)| {
                    json!({"resource": plural, "responseKind": {"kind": kind, "group": group, "version": version},
                        "scope": if *namespaced { "Namespaced" } else { "Cluster" }, "singularResource": kind.to_lowercase(),
                        "shortNames": if short.is_empty() { json!([]) } else { json!([short]) },
                        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"]})
                })
                .collect();
            json!({"metadata": {"name": group}, "versions": [{"version": version, "resources": resources}]})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": items}).to_string()
}
