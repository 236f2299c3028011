use super::*;

const MAPS: &str = "/api/v1/namespaces/ns/configmaps";
const JSON: &str = "application/json";

fn pair(kind: &str, name: &str) -> Option<(String, String)> {
    Some((kind.to_owned(), name.to_owned()))
}

#[tokio::test]
async fn a_watch_begins_with_the_state_or_after_a_version() {
    let h = Harness::new().await;
    let a = h.configmap("a", json!({})).await;
    let version = a["metadata"]["resourceVersion"].as_str().unwrap();
    let mut all = h.watch(&format!("{MAPS}?watch=1"), JSON).await;
    let mut after = h.watch(&format!("{MAPS}?watch=1&resourceVersion={version}"), JSON).await;
    let mut legacy = h.watch("/api/v1/watch/namespaces/ns/configmaps/b", JSON).await;
    assert_eq!(all.brief().await, pair("ADDED", "a"));
    let b = h.configmap("b", json!({})).await;
    h.merge(&format!("{MAPS}/a"), json!({ "data": { "k": "2" } })).await.expect(200);
    h.delete(&format!("{MAPS}/b")).await.expect(200);
    for watch in [&mut all, &mut after] {
        let added = watch.next().await.unwrap();
        assert_eq!((added["type"].as_str(), &added["object"]), (Some("ADDED"), &b));
        assert_eq!(watch.brief().await, pair("MODIFIED", "a"));
        assert_eq!(watch.brief().await, pair("DELETED", "b"));
    }
    assert_eq!(legacy.brief().await, pair("ADDED", "b"));
    assert_eq!(legacy.brief().await, pair("DELETED", "b"));
}

#[tokio::test]
async fn objects_move_in_and_out_of_a_selector() {
    let h = Harness::new().await;
    let mut watch = h.watch(&format!("{MAPS}?watch=1&labelSelector=s%3D1"), JSON).await;
    h.configmap("a", json!({})).await;
    let path = format!("{MAPS}/a");
    for labels in [json!({ "s": "1" }), json!({ "t": "1" }), json!({ "s": null })] {
        h.merge(&path, json!({ "metadata": { "labels": labels } })).await.expect(200);
    }
    let out = h.get(&path).await.expect(200);
    assert_eq!(watch.brief().await, pair("ADDED", "a"));
    assert_eq!(watch.brief().await, pair("MODIFIED", "a"));
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    assert_eq!(gone["object"]["metadata"]["labels"], json!({ "s": "1", "t": "1" }), "the last state that matched");
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], out["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_node_lists_and_watches_its_own_pods() {
    const PODS: &str = "/api/v1/namespaces/ns/pods";
    let h = Harness::new().await;
    let of = |node: &str| format!("fieldSelector=spec.nodeName%3D{node}");
    let names = async |node: &str| {
        let list = h.get(&format!("/api/v1/pods?{}", of(node))).await.expect(200);
        let name = |item: &Value| item["metadata"]["name"].as_str().map(str::to_owned);
        list["items"].as_array().unwrap().iter().filter_map(name).collect::<Vec<_>>()
    };
    let bind = async |pod: &str, node: &str| {
        let target = json!({ "kind": "Node", "name": node });
        let binding = json!({ "kind": "Binding", "apiVersion": "v1", "metadata": { "name": pod }, "target": target });
        h.post(&format!("{PODS}/{pod}/binding"), binding).await.expect(201);
    };
    h.post(PODS, pod("early")).await.expect(201);
    bind("early", "n1").await;
    let mut own = h.watch(&format!("/api/v1/pods?watch=1&{}", of("n1")), JSON).await;
    let mut pending = h.watch(&format!("{PODS}?watch=1&{}", of("")), JSON).await;
    for name in ["mine", "other"] {
        h.post(PODS, pod(name)).await.expect(201);
    }
    bind("other", "n2").await;
    bind("mine", "n1").await;
    for name in ["early", "mine"] {
        assert_eq!(own.brief().await, pair("ADDED", name));
    }
    for (what, name) in [("ADDED", "mine"), ("ADDED", "other"), ("DELETED", "other"), ("DELETED", "mine")] {
        assert_eq!(pending.brief().await, pair(what, name));
    }
    assert_eq!(names("n1").await, ["early", "mine"]);
    assert_eq!(names("n2").await, ["other"]);
    assert!(names("").await.is_empty() && names("n").await.is_empty());
    let both = format!("{PODS}?{},metadata.name%3Dmine", of("n2"));
    assert_eq!(h.get(&both).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let h = Harness::new().await;
    h.configmap("a", json!({})).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = h.watch(&format!("{MAPS}?{query}"), JSON).await;
    assert_eq!(watch.brief().await, pair("ADDED", "a"));
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
}

#[tokio::test]
async fn tables_name_their_columns_once() {
    let h = Harness::new().await;
    h.configmap("a", json!({})).await;
    h.configmap("b", json!({})).await;
    let mut watch = h.watch(&format!("{MAPS}?watch=1"), "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let (first, second) = (watch.next().await.unwrap(), watch.next().await.unwrap());
    assert!(first["object"]["columnDefinitions"].is_array());
    assert_eq!(second["object"]["columnDefinitions"], Value::Null);
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn a_watch_from_before_the_history_is_told_to_list_again() {
    let h = Harness::new().await;
    let first = h.configmap("a", json!({})).await;
    let version: u64 = first["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    h.configmap("b", json!({})).await;
    h.configmap("c", json!({})).await;
    h.server.registry.store().compact(version + 1).await.unwrap();
    let mut watch = h.watch(&format!("{MAPS}?watch=1&resourceVersion={}", version - 1), JSON).await;
    let event = watch.next().await.unwrap();
    assert_eq!((event["type"].as_str(), &event["object"]["code"]), (Some("ERROR"), &json!(410)));
    assert!(watch.next().await.is_none());
}

/// etcd 20221 and 15220, as a client of the API would see them.
#[tokio::test]
async fn a_watch_from_a_version_to_come_is_told_nothing_older_in_events_or_bookmarks() {
    let h = Harness::new().await;
    let version = |object: &Value| -> u64 { object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap() };
    let from = version(&h.configmap("a", json!({})).await) + 2;
    let query = format!("watch=1&allowWatchBookmarks=true&timeoutSeconds=1&resourceVersion={from}");
    let mut watch = h.watch(&format!("{MAPS}?{query}"), JSON).await;
    let mut made = Vec::new();
    for name in ["b", "c", "d", "e"] {
        made.push(version(&h.configmap(name, json!({})).await));
    }
    let (mut told, mut bookmark) = (Vec::new(), None);
    while let Some(event) = watch.next().await {
        assert_eq!(bookmark, None, "the bookmark comes last");
        match event["type"].as_str() {
            Some("ADDED") => told.push(version(&event["object"])),
            Some("BOOKMARK") => bookmark = Some(version(&event["object"])),
            other => panic!("{other:?}: {event}"),
        }
    }
    made.retain(|version| *version > from);
    assert!(made.len() >= 2 && told == made, "{told:?}, not {made:?} after {from}");
    assert!(bookmark >= made.last().copied(), "{bookmark:?}");
}

#[tokio::test]
async fn a_watch_ends_with_its_time() {
    let h = Harness::new().await;
    let mut watch = h.watch(&format!("{MAPS}?watch=1&timeoutSeconds=1"), JSON).await;
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn events_that_are_ready_come_in_one_chunk_and_a_large_state_in_several() {
    let h = Harness::new().await;
    let first = h.configmap("a", json!({})).await;
    let version = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut after = h.watch(&format!("{MAPS}?watch=1&resourceVersion={version}"), JSON).await;
    for name in ["b", "c", "d"] {
        h.configmap(name, json!({})).await;
    }
    let chunk = after.body.next().await.unwrap().unwrap();
    assert_eq!(chunk.iter().filter(|byte| **byte == b'\n').count(), 3);
    h.configmap("e", json!({})).await;
    assert_eq!(after.brief().await, pair("ADDED", "e"));

    let large = json!({ "metadata": { "name": "large" }, "data": { "k": "v".repeat(100_000) } });
    h.post(MAPS, large.clone()).await.expect(201);
    let mut all = h.watch(&format!("{MAPS}?watch=1&fieldSelector=metadata.name!%3Da"), JSON).await;
    h.merge(&format!("{MAPS}/large"), json!({ "data": { "l": "" } })).await.expect(200);
    let state = all.body.next().await.unwrap().unwrap();
    assert!(state.ends_with(b"}\n"), "chunks end with events");
    assert_eq!(state.iter().filter(|byte| **byte == b'\n').count(), 5, "one event beyond the bound, no more");
    assert_eq!(all.brief().await, pair("MODIFIED", "large"));
}
