//! What clients find of aggregated servers.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use super::world::*;
use crate::testing::admin;

#[tokio::test]
async fn groups_and_resources_stand_among_those_served_here() {
    let world = World::new().await;
    let extension = Extension::new(&world.pki, |_| json(404, &Value::Null)).await;
    world.register(&extension).await;
    world.until("Passed").await;
    let (_, groups) = world.get("/apis").await;
    let groups = groups["groups"].as_array().unwrap();
    let version = json!({ "groupVersion": "widgets.example.com/v1", "version": "v1" });
    let own = groups.iter().find(|group| group["name"] == "widgets.example.com").unwrap();
    assert_eq!(*own, json!({ "name": "widgets.example.com", "versions": [version], "preferredVersion": version }));
    let (code, group) = world.get("/apis/widgets.example.com").await;
    assert_eq!((code, &group["kind"], &group["versions"]), (200, &json!("APIGroup"), &json!([version])));
    let (code, list) = world.get(GROUP_VERSION).await;
    assert_eq!((code, &list["resources"][0]["kind"]), (200, &json!("Widget")), "{list}");

    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let ask = |etag: Option<String>| {
        let request = Request::get("/apis").header("accept", accept);
        let request = etag.into_iter().fold(request, |request, etag| request.header("if-none-match", etag));
        world.send(admin(), request.body(Full::new(Bytes::new())).unwrap())
    };
    let (code, headers, body) = ask(None).await;
    let list: Value = serde_json::from_slice(&body).unwrap();
    let items = list["items"].as_array().unwrap();
    let own = items.iter().find(|item| item["metadata"]["name"] == "widgets.example.com").unwrap();
    assert_eq!((code.as_u16(), &own["versions"][0]["freshness"]), (200, &json!("Current")));
    let wanted = json!({
        "resource": "widgets",
        "responseKind": { "group": "widgets.example.com", "version": "v1", "kind": "Widget" },
        "scope": "Namespaced",
        "singularResource": "widget",
        "verbs": ["get", "list"],
        "shortNames": ["wd"],
        "subresources": [{
            "subresource": "status",
            "responseKind": { "group": "widgets.example.com", "version": "v1", "kind": "Widget" },
            "verbs": ["get"],
        }],
    });
    assert_eq!(own["versions"][0]["resources"], json!([wanted]));
    let etag = headers["etag"].to_str().unwrap().to_owned();
    assert_eq!(ask(Some(etag)).await.0.as_u16(), 304);
}

#[tokio::test]
async fn documents_are_in_the_index_and_asked_of_who_has_them() {
    let world = World::new().await;
    let extension = Extension::new(&world.pki, |request| json(200, &json!({ "openapi": request.uri().path() }))).await;
    world.register(&extension).await;
    world.until("Passed").await;
    let (_, index) = world.get("/openapi/v3").await;
    let url = index["paths"]["apis/widgets.example.com/v1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(url, "/openapi/v3/apis/widgets.example.com/v1?hash=ABC");
    assert!(index["paths"].get("version").is_none(), "nobody speaks for what is not theirs");
    assert!(index["paths"].get("api/v1").is_some());
    let (code, document) = world.get(url).await;
    assert_eq!((code, document), (200, json!({ "openapi": "/openapi/v3/apis/widgets.example.com/v1" })));
}

#[tokio::test]
async fn a_server_that_is_away_is_stale_and_not_gone() {
    let world = World::new().await;
    world.register_with(1, json!({ "insecureSkipTLSVerify": true })).await;
    world.until("FailedDiscoveryCheck").await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let request = Request::get("/apis").header("accept", accept).body(Full::new(Bytes::new())).unwrap();
    let (_, _, body) = world.send(admin(), request).await;
    let list: Value = serde_json::from_slice(&body).unwrap();
    let items = list["items"].as_array().unwrap();
    let own = items.iter().find(|item| item["metadata"]["name"] == "widgets.example.com").unwrap();
    assert_eq!(own["versions"], json!([{ "version": "v1", "freshness": "Stale" }]));
}
