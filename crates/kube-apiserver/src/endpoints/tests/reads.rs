use super::*;

const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn lists_come_from_stored_bytes_without_types_in_items() {
    let h = Harness::new().await;
    assert_eq!(h.get(MAPS).await.expect(200)["items"], json!([]));
    h.configmap("b", json!({ "x": "1" })).await;
    h.configmap("a", json!({})).await;
    let list = h.get(MAPS).await.expect(200);
    assert_eq!((list["kind"].as_str(), list["apiVersion"].as_str()), (Some("ConfigMapList"), Some("v1")));
    assert_eq!(names(&list), ["a", "b"]);
    assert!(list["items"][0].get("kind").is_none());
    let selected = h.get(&format!("{MAPS}?labelSelector=x%3D1")).await.expect(200);
    assert_eq!(names(&selected), ["b"]);
    let by_name = h.get(&format!("{MAPS}?fieldSelector=metadata.name%3Da")).await.expect(200);
    assert_eq!(names(&by_name), ["a"]);
    let everywhere = h.get("/api/v1/configmaps").await.expect(200);
    assert!(names(&everywhere).contains(&"a"));
    assert_eq!(
        h.get(&format!("{MAPS}?labelSelector=a%3Db%3Dc")).await.message(),
        "found '=', expected: ',' or 'end of string'"
    );
    assert_eq!(h.get(&format!("{MAPS}?fieldSelector=spec.x%3D1")).await.code, 400);
}

#[tokio::test]
async fn large_lists_are_whole() {
    let h = Harness::new().await;
    let text = "x".repeat(100_000);
    for n in 0..8 {
        h.post(MAPS, json!({ "metadata": { "name": format!("m{n}") }, "data": { "k": text } })).await.expect(201);
    }
    let list = h.get(MAPS).await.expect(200);
    assert_eq!(names(&list).len(), 8);
    assert_eq!(list["items"][7]["data"]["k"].as_str().unwrap().len(), text.len());
}

#[tokio::test]
async fn pages_show_the_state_of_the_first() {
    let h = Harness::new().await;
    for name in ["a", "b", "d"] {
        h.configmap(name, json!({})).await;
    }
    let first = h.get(&format!("{MAPS}?limit=1")).await.expect(200);
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["a"], &json!(2)));
    h.configmap("c", json!({})).await;
    h.delete(&format!("{MAPS}/d")).await.expect(200);
    let token = first["metadata"]["continue"].as_str().unwrap();
    let rest = h.get(&format!("{MAPS}?limit=10&continue={token}")).await.expect(200);
    assert_eq!(names(&rest), ["b", "d"]);
    assert!(rest["metadata"].get("continue").is_none());
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
}

#[tokio::test]
async fn a_list_can_be_asked_for_at_a_revision() {
    let h = Harness::new().await;
    let a = h.configmap("a", json!({})).await;
    let version = a["metadata"]["resourceVersion"].as_str().unwrap();
    h.configmap("b", json!({})).await;
    let exact = h.get(&format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")).await.expect(200);
    assert_eq!((names(&exact), exact["metadata"]["resourceVersion"].as_str()), (vec!["a"], Some(version)));
    let newer = h.get(&format!("{MAPS}?resourceVersion={version}")).await.expect(200);
    assert_eq!(names(&newer), ["a", "b"]);
    for (query, message) in [
        (
            "resourceVersionMatch=Exact",
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=abc",
            "invalid resource version: resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax",
        ),
        (
            "sendInitialEvents=true",
            "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
        ),
    ] {
        assert_eq!(h.get(&format!("{MAPS}?{query}")).await.message(), message);
    }
}

#[tokio::test]
async fn tables_and_metadata_are_other_shapes_of_the_same() {
    let h = Harness::new().await;
    h.configmap("a", json!({ "x": "y" })).await;
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let list = h.send("GET", MAPS, &table, "").await.expect(200);
    assert_eq!(list["kind"], "Table");
    let columns: Vec<&str> =
        list["columnDefinitions"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "Data", "Age"]);
    let row = &list["rows"][0];
    assert_eq!((&row["cells"][0], &row["object"]["kind"]), (&json!("a"), &json!("PartialObjectMetadata")));
    let bare = h.send("GET", &format!("{MAPS}/a?includeObject=None"), &table, "").await.expect(200);
    assert_eq!(bare["rows"][0]["object"], Value::Null);
    let partial = [("accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")];
    let list = h.send("GET", MAPS, &partial, "").await.expect(200);
    assert_eq!((list["kind"].as_str(), names(&list)), (Some("PartialObjectMetadataList"), vec!["a"]));
    assert!(list["items"][0].get("data").is_none());
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let h = Harness::new().await;
    let missing = h.get(&format!("{MAPS}/x")).await;
    assert_eq!((missing.code, missing.message()), (404, "configmaps \"x\" not found"));
    for path in
        ["/api/v1/nope", "/api/v1/namespaces/ns/nope/x", "/api/v1/namespaces/ns/configmaps/a/status", "/apis/apps/v9/x"]
    {
        let answer = h.get(path).await;
        assert_eq!(
            (answer.code, answer.message()),
            (404, "the server could not find the requested resource"),
            "{path}"
        );
    }
    assert_eq!(h.get("/nope").await.code, 404);
    let put = h.put(MAPS, json!({})).await;
    assert_eq!((put.code, put.message()), (405, "the server does not allow this method on the requested resource"));
    assert_eq!(h.post("/api/v1/configmaps", json!({})).await.code, 405);
}

#[tokio::test]
async fn discovery_and_openapi_answer() {
    let h = Harness::new().await;
    let root = h.get("/").await.expect(200);
    assert!(root["paths"].as_array().unwrap().contains(&json!("/api/v1")));
    assert_eq!(h.get("/api").await.expect(200)["versions"], json!(["v1"]));
    assert_eq!(h.get("/apis/apps").await.expect(200)["preferredVersion"]["version"], "v1");
    let accept = [("accept", "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList,application/json")];
    let list = h.send("GET", "/apis", &accept, "").await;
    assert!(list.headers["content-type"].to_str().unwrap().contains("APIGroupDiscoveryList"));
    assert_eq!(list.expect(200)["kind"], "APIGroupDiscoveryList");
    let index = h.get("/openapi/v3").await.expect(200);
    assert!(
        index["paths"]["apis/apps/v1"]["serverRelativeURL"]
            .as_str()
            .unwrap()
            .starts_with("/openapi/v3/apis/apps/v1?hash=")
    );
}
