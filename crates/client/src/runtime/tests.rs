//! A controller that keeps one config map beside each service, run against the fake server.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::fake::FakeServer;
use crate::plan::{EventType, Intent, Note, Plan};
use crate::view::View;
use crate::{ManualClock, Object, Store};

const SERVICES: &str = "/api/v1/namespaces/n/services";
const MAPS: &str = "/api/v1/namespaces/n/configmaps";
const EVENTS: &str = "/api/v1/namespaces/n/events";

/// Wants as many config maps as the service's port says, with generated names.
struct Maps;

impl Controller for Maps {
    const NAME: &'static str = "maps";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<Service>();
        sources.on::<ConfigMap, _>(|_, change| {
            change.latest().map(|map| Key::new("n", map.metadata.labels.as_ref().map_or("", |labels| &labels["of"])))
        });
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let services = view.of::<Service>();
        let Some(service) = services.get(key) else { return plan };
        let wanted = service.spec.as_ref().and_then(|spec| spec.health_check_node_port).unwrap_or(0);
        let maps = view.of::<ConfigMap>();
        let selector = crate::Selector::of_labels(&[("of".to_owned(), key.name.to_string())].into());
        let there = maps.select("n", &selector);
        for _ in there.len()..usize::try_from(wanted).unwrap_or(0) {
            let map: ConfigMap = serde_json::from_value(
                json!({"metadata": {"generateName": "m-", "namespace": "n", "labels": {"of": &*key.name}}}),
            )
            .unwrap();
            plan.write(
                Intent::create(&map)
                    .on_success(Note::about(&**service, EventType::Normal, "Created", "Created map: {}"))
                    .on_failure(Note::about(&**service, EventType::Warning, "FailedCreate", "Error creating: {}")),
            );
        }
        for extra in there.iter().skip(usize::try_from(wanted).unwrap_or(0)) {
            plan.write(Intent::delete(&***extra));
        }
        if view.failure().is_some() {
            plan.because("trying again");
        }
        plan
    }
}

fn service(name: &str, maps: i32) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "n"}, "spec": {"healthCheckNodePort": maps}})
}

struct World {
    maps: Arc<Store<ConfigMap>>,
    services: Arc<Store<Service>>,
    cancel: CancellationToken,
}

impl World {
    fn start(server: FakeServer) -> Self {
        let environment = Environment::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)), 1);
        let cancel = CancellationToken::new();
        let reflectors = Reflectors::new(server.client(), environment.clone(), cancel.clone());
        let world = Self { maps: reflectors.store(), services: reflectors.store(), cancel: cancel.clone() };
        let runtime = Runtime { reflectors, environment };
        tokio::spawn(async move { runtime.run(Maps, server.client(), "maps-controller", cancel).await });
        world
    }

    async fn maps(&self, count: usize) {
        self.maps_are(|maps| maps.len() == count).await;
    }

    async fn maps_are(&self, condition: impl FnMut(&crate::Snapshot<ConfigMap>) -> bool) {
        let patience = Duration::from_secs(100);
        tokio::time::timeout(patience, self.maps.wait_for(condition)).await.expect("the maps never became so");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Waits, without a clock, until the other tasks have done what makes the condition true.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the condition never became true");
}

#[tokio::test(start_paused = true)]
async fn plans_are_carried_out_and_events_tell_of_it() {
    let server = FakeServer::new();
    server.put(SERVICES, service("a", 3));
    let world = World::start(server.clone());
    world.maps(3).await;
    until(|| server.list(EVENTS).len() == 3).await;
    let event = &server.list(EVENTS)[0];
    assert_eq!(
        event["message"],
        json!(format!("Created map: {}", server.list(MAPS)[0]["metadata"]["name"].as_str().unwrap()))
    );
    assert_eq!(
        (&event["source"]["component"], &event["involvedObject"]["kind"]),
        (&json!("maps-controller"), &json!("Service"))
    );
    server.put(SERVICES, service("a", 1));
    world.maps(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_cache_does_not_make_it_act_twice() {
    let server = FakeServer::new();
    let world = World::start(server.clone());
    world.services.wait_synced().await;
    world.maps.wait_synced().await;
    server.put(SERVICES, service("a", 2));
    // The service's event is under way; those of the maps will be held back.
    server.hold_watches();
    until(|| server.list(MAPS).len() == 2).await;
    // The key is wanted again while the cache does not show the second map.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(server.list(MAPS).len(), 2);
    server.release_watches();
    world.maps(2).await;
    assert_eq!(server.writes().iter().filter(|write| write.ends_with("configmaps")).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_costs_one_request_and_is_tried_again_with_back_off() {
    let server = FakeServer::new();
    server.refuse(|method, path, _| {
        let status = json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": "exceeded quota"});
        (method == Method::POST && path.ends_with("configmaps")).then_some((403, status))
    });
    server.put(SERVICES, service("a", 10));
    let world = World::start(server.clone());
    let attempts = || server.writes().iter().filter(|write| write.ends_with("configmaps")).count();
    until(|| attempts() >= 5).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    // 5 ms doubling: eleven waits fit into about ten seconds.
    assert!((10..=14).contains(&attempts()), "{} attempts", attempts());
    until(|| !server.list(EVENTS).is_empty()).await;
    assert_eq!(server.list(EVENTS)[0]["message"], "Error creating: exceeded quota");
    until(|| server.list(EVENTS)[0]["count"].as_u64() > Some(1)).await;
    assert_eq!(server.list(EVENTS).len(), 1, "the same event again raises the count");
    server.allow();
    world.maps(10).await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_watch_is_made_good_by_a_list() {
    let server = FakeServer::new();
    server.put(SERVICES, service("a", 2));
    let world = World::start(server.clone());
    world.maps(2).await;
    server.expire_watches();
    let name = server.list(MAPS)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    server.remove(&format!("{MAPS}/{name}"));
    world.maps_are(|maps| maps.len() == 2 && maps.iter().all(|map| map.meta_ref().name != name)).await;
}
