//! Events on their way to servers that really listen: TLS servers of the test's own, on loopback.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::WebhookFlags;
use super::settings::{Batch, Mode, Options, Truncate};
use crate::admission::webhook::tests::Hook;
use crate::testing::{Pki, admin, call, server_with};
use crate::{Config, Server};

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: RequestResponse
  users: [admin]
"#;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A server that is sent events, and fails as long as it is told to.
struct World {
    pki: Pki,
    hook: Hook,
    fails: Arc<AtomicBool>,
}

impl World {
    async fn new() -> Self {
        let pki = Pki::new();
        let fails = Arc::new(AtomicBool::new(false));
        let failing = fails.clone();
        let hook = Hook::new(&pki, move |_| {
            let code = if failing.load(Ordering::SeqCst) { 400 } else { 200 };
            Response::builder().status(code).body(Bytes::new()).unwrap()
        })
        .await;
        let kubeconfig = json!({
            "clusters": [{ "name": "c", "cluster": { "server": hook.url(), "certificate-authority": "ca.crt" } }],
            "users": [{ "name": "u", "user": { "token": "secret" } }],
            "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
            "current-context": "x",
        });
        pki.write("audit.conf", &kubeconfig.to_string());
        pki.write("policy.yaml", POLICY);
        Self { pki, hook, fails }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.pki.path().join(name)
    }

    async fn server(&self, change: impl FnOnce(&mut Config)) -> (Arc<Server>, Pki) {
        server_with(|config| {
            config.audit_policy_file = Some(self.path("policy.yaml"));
            let initial_backoff = Duration::from_millis(1);
            let config_file = Some(self.path("audit.conf"));
            config.audit_webhook = WebhookFlags { config_file, initial_backoff, ..WebhookFlags::default() };
            change(config);
        })
        .await
    }

    /// The names and stages of all events that came.
    fn events(&self) -> Vec<Value> {
        let lists = self.hook.asked.lock().clone();
        lists.iter().flat_map(|list| list["items"].as_array().unwrap().clone()).collect()
    }
}

fn batch() -> Batch {
    Options::webhook().batch
}

async fn make(server: &Arc<Server>, name: &str) -> u16 {
    let map = json!({ "metadata": { "name": name }, "data": { "k": "x".repeat(2000) } });
    call(server, admin(), "POST", MAPS, &map.to_string()).await.0
}

async fn metric(server: &Server, line: &str) -> bool {
    let body = server.serve_metrics().into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap().lines().any(|own| own == line)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed().as_secs() < 60, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn events_are_sent_in_batches_and_the_rest_at_the_end() {
    let world = World::new().await;
    let (server, _pki) = world
        .server(|config| {
            config.audit_webhook.options.batch = Batch { max_size: 2, max_wait: Duration::from_secs(3600), ..batch() };
        })
        .await;
    for name in ["a", "b", "c"] {
        assert_eq!(make(&server, name).await, 201);
    }
    until("the full batch came", async || world.events().len() == 2).await;
    server.audit.as_ref().unwrap().flush(Duration::from_secs(60)).await;
    let events = world.events();
    assert_eq!(events.len(), 3);
    let list = world.hook.asked.lock()[0].clone();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("EventList"), &json!("audit.k8s.io/v1")));
    let event = &events[0];
    assert_eq!((&event["stage"], &event["level"]), (&json!("ResponseComplete"), &json!("RequestResponse")));
    assert_eq!(event.get("kind"), None);
    assert_eq!(event["requestObject"]["metadata"]["name"], "a");
    assert_eq!(world.hook.callers.lock()[0], "Bearer secret");
    assert!(metric(&server, "apiserver_audit_event_total 3").await);
    assert!(metric(&server, "apiserver_audit_level_total{level=\"RequestResponse\"} 3").await);
}

#[tokio::test]
async fn a_batch_that_waited_long_enough_is_sent() {
    let world = World::new().await;
    let (server, _pki) = world
        .server(|config| config.audit_webhook.options.batch = Batch { max_wait: Duration::from_millis(20), ..batch() })
        .await;
    assert_eq!(make(&server, "a").await, 201);
    until("the event came", async || world.events().len() == 1).await;
}

#[tokio::test]
async fn what_does_not_fit_into_the_buffer_or_is_refused_is_lost_and_counted() {
    let world = World::new().await;
    world.fails.store(true, Ordering::SeqCst);
    let (server, _pki) =
        world.server(|config| config.audit_webhook.options.batch = Batch { buffer_size: 1, ..batch() }).await;
    let audit = server.audit.as_ref().unwrap();
    // Nothing else runs meanwhile, so the buffer is not emptied.
    for _ in 0..3 {
        audit.sinks.put_last(&super::Event::new(&json!({ "verb": "get" })), &json!({}));
    }
    assert!(metric(&server, "apiserver_audit_error_total{plugin=\"buffered\"} 2").await);
    audit.flush(Duration::from_secs(60)).await;
    assert_eq!(world.events().len(), 1);
    assert!(metric(&server, "apiserver_audit_error_total{plugin=\"webhook\"} 1").await);
}

#[tokio::test]
async fn a_server_that_was_away_for_a_moment_gets_everything() {
    let pki = Pki::new();
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    let hook = Hook::new(&pki, move |_| {
        let code = if counted.fetch_add(1, Ordering::SeqCst) < 2 { 503 } else { 200 };
        Response::builder().status(code).body(Bytes::new()).unwrap()
    })
    .await;
    let world = World { hook, ..World::new().await };
    let kubeconfig = std::fs::read_to_string(world.path("audit.conf")).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&kubeconfig).unwrap();
    kubeconfig["clusters"][0]["cluster"]["server"] = world.hook.url().into();
    kubeconfig["clusters"][0]["cluster"]["certificate-authority"] = json!(pki.path().join("ca.crt"));
    world.pki.write("audit.conf", &kubeconfig.to_string());
    let (server, _pki) = world.server(|_| {}).await;
    assert_eq!(make(&server, "a").await, 201);
    server.audit.as_ref().unwrap().flush(Duration::from_secs(60)).await;
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    assert!(!metric(&server, "apiserver_audit_error_total{plugin=\"webhook\"} 1").await);
}

#[tokio::test]
async fn blocking_modes_wait_and_the_strict_one_refuses_what_cannot_be_recorded() {
    let world = World::new().await;
    world.pki.write("policy.yaml", &POLICY.replace("omitStages: [RequestReceived]", "omitStages: [ResponseComplete]"));
    for (mode, code) in [(Mode::Blocking, 201), (Mode::BlockingStrict, 500)] {
        let (server, _pki) = world.server(|config| config.audit_webhook.options.mode = mode).await;
        let before = world.events().len();
        world.fails.store(false, Ordering::SeqCst);
        assert_eq!(make(&server, "a").await, 201);
        let events = world.events().split_off(before);
        assert_eq!(events.len(), 1, "it was there before the answer: {events:?}");
        world.fails.store(true, Ordering::SeqCst);
        let map = json!({ "metadata": { "name": "b" } }).to_string();
        let (answered, answer) = call(&server, admin(), "POST", MAPS, &map).await;
        assert_eq!(answered, code, "{answer}");
        if code == 500 {
            let wanted = format!("Internal Server Error: \"{MAPS}\": failed to store audit event\n");
            assert_eq!(answer.as_str().unwrap(), wanted);
            assert!(metric(&server, "apiserver_audit_requests_rejected_total 1").await);
            world.fails.store(false, Ordering::SeqCst);
            assert_eq!(call(&server, admin(), "GET", &format!("{MAPS}/b"), "").await.0, 404);
        }
        assert!(metric(&server, "apiserver_audit_error_total{plugin=\"webhook\"} 1").await);
    }
}

#[tokio::test]
async fn large_events_lose_their_objects_and_large_batches_are_split() {
    let world = World::new().await;
    let (server, _pki) = world
        .server(|config| {
            let truncate = Truncate { enabled: true, max_batch_size: 1500, max_event_size: 1500 };
            config.audit_webhook.options.truncate = truncate;
            config.audit_webhook.options.batch.max_wait = Duration::from_secs(3600);
        })
        .await;
    for name in ["a", "b", "c"] {
        assert_eq!(make(&server, name).await, 201);
    }
    server.audit.as_ref().unwrap().flush(Duration::from_secs(60)).await;
    let events = world.events();
    assert_eq!(events.len(), 3);
    for event in &events {
        assert_eq!((event.get("requestObject"), event.get("responseObject")), (None, None));
        assert_eq!(event["annotations"]["audit.k8s.io/truncated"], "true");
    }
    for list in world.hook.asked.lock().iter() {
        assert!(list["items"].to_string().len() <= 1502, "{list}");
    }
}

#[tokio::test]
async fn a_log_can_be_written_in_batches_too() {
    let world = World::new().await;
    let log = world.path("audit.log");
    let (server, _pki) = world
        .server(|config| {
            config.audit_webhook.config_file = None;
            config.audit_log_path = Some(log.clone());
            config.audit_log_options.mode = Mode::Batch;
        })
        .await;
    assert_eq!(make(&server, "a").await, 201);
    server.audit.as_ref().unwrap().flush(Duration::from_secs(60)).await;
    let text = std::fs::read_to_string(&log).unwrap();
    let event: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&event["kind"], &event["apiVersion"]), (&json!("Event"), &json!("audit.k8s.io/v1")));
}

#[test]
fn options_that_make_no_sense_are_refused_in_upstreams_words() {
    let message = |change: &dyn Fn(&mut Options)| {
        let mut options = Options::webhook();
        change(&mut options);
        options.check("webhook").unwrap_err()
    };
    for (change, wanted) in [
        (
            &(|o: &mut Options| o.batch.buffer_size = 0) as &dyn Fn(&mut Options),
            "invalid audit batch webhook buffer size 0, must be a positive number",
        ),
        (&|o| o.batch.max_size = 0, "invalid audit batch webhook max batch size 0, must be a positive number"),
        (&|o| o.batch.throttle_qps = -1.0, "invalid audit batch webhook throttle QPS -1, must be a positive number"),
        (&|o| o.batch.throttle_burst = 0, "invalid audit batch webhook throttle burst 0, must be a positive number"),
        (
            &|o| o.truncate = Truncate { enabled: true, max_batch_size: 1, max_event_size: 0 },
            "invalid audit truncate webhook max event size 0, must be a positive number",
        ),
        (
            &|o| o.truncate = Truncate { enabled: true, max_batch_size: 1, max_event_size: 2 },
            "invalid audit truncate webhook max batch size 1, must be greater than max event size (2)",
        ),
    ] {
        assert_eq!(message(change), wanted);
    }
    assert_eq!(Options::log().check("log"), Ok(()));
}
