use std::sync::Arc;

use serde_json::{Value, json};

use crate::Server;
use crate::testing::{admin, call, server};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn done(server: &Arc<Server>, method: &str, path: &str, body: &Value) -> Value {
    let (code, answer) = call(server, admin(), method, path, &body.to_string()).await;
    assert!(code < 300, "{method} {path}: {code} {answer}");
    answer
}

/// Manager, operation, subresource and fields of each entry.
fn entries(object: &Value) -> Vec<Value> {
    let list = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    list.iter()
        .map(|e| json!([text(e, "manager"), text(e, "operation"), text(e, "subresource"), e["fieldsV1"].to_string()]))
        .collect()
}

fn deployment() -> Value {
    json!({"metadata": {"name": "d"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

#[tokio::test]
async fn whoever_changes_a_field_owns_it() {
    let (server, _pki) = server().await;
    let made = json!({"metadata": {"name": "a"}, "data": {"j": "1", "k": "1"}});
    let mut made = done(&server, "POST", &format!("{CONFIG_MAPS}?fieldManager=one"), &made).await;
    assert_eq!(entries(&made), [json!(["one", "Update", "", r#"{"f:data":{".":{},"f:j":{},"f:k":{}}}"#])]);
    made["data"] = json!({"j": "1", "k": "2"});
    let path = format!("{CONFIG_MAPS}/a?fieldManager=two");
    let changed = done(&server, "PUT", &path, &made).await;
    let wanted = [
        json!(["one", "Update", "", r#"{"f:data":{".":{},"f:j":{}}}"#]),
        json!(["two", "Update", "", r#"{"f:data":{"f:k":{}}}"#]),
    ];
    assert_eq!(entries(&changed), wanted);
    // An update that leaves managedFields out keeps them, and one that changes nothing is none.
    let same = json!({"metadata": {"name": "a"}, "data": {"j": "1", "k": "2"}});
    let again = done(&server, "PUT", &path, &same).await;
    assert_eq!(again["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"]);
    assert_eq!(entries(&again), wanted);
    // One empty entry forgets them all, and nobody is tracked from then on.
    let forget = json!({"metadata": {"name": "a", "managedFields": [{}]}, "data": {"j": "1", "k": "3"}});
    let forgotten = done(&server, "PUT", &format!("{CONFIG_MAPS}/a"), &forget).await;
    assert_eq!(entries(&forgotten), Vec::<Value>::new());
    let changed = done(&server, "PUT", &path, &same).await;
    assert_eq!(entries(&changed), Vec::<Value>::new());
    // A program without a name is unknown.
    let nameless = done(&server, "POST", CONFIG_MAPS, &json!({"metadata": {"name": "b"}, "data": {"k": "1"}})).await;
    assert_eq!(entries(&nameless), [json!(["unknown", "Update", "", r#"{"f:data":{".":{},"f:k":{}}}"#])]);
}

#[tokio::test]
async fn subresources_have_entries_of_their_own() {
    let (server, _pki) = server().await;
    done(&server, "POST", &format!("{DEPLOYMENTS}?fieldManager=one"), &deployment()).await;
    let scale = json!({"metadata": {"name": "d"}, "spec": {"replicas": 3}});
    done(&server, "PUT", &format!("{DEPLOYMENTS}/d/scale?fieldManager=hpa"), &scale).await;
    let mut current = done(&server, "GET", &format!("{DEPLOYMENTS}/d"), &Value::Null).await;
    current["status"]["observedGeneration"] = 1.into();
    current["spec"]["paused"] = true.into();
    let status = done(&server, "PUT", &format!("{DEPLOYMENTS}/d/status?fieldManager=ctl"), &current).await;
    let mut entries = entries(&status);
    // Older entries come first, and a second may have passed between two writes.
    entries.sort_by_key(|entry| entry[0].to_string());
    assert_eq!(entries[0], json!(["ctl", "Update", "status", r#"{"f:status":{"f:observedGeneration":{}}}"#]));
    assert_eq!(entries[1], json!(["hpa", "Update", "scale", r#"{"f:spec":{"f:replicas":{}}}"#]));
    let spec: Value = serde_json::from_str(entries[2][3].as_str().unwrap()).unwrap();
    assert!(spec["f:spec"].get("f:replicas").is_none() && spec["f:spec"].get("f:selector").is_some(), "{spec}");
    let container = &spec["f:spec"]["f:template"]["f:spec"]["f:containers"][r#"k:{"name":"c"}"#];
    assert_eq!(container["f:resources"], json!({}));
    assert!(spec["f:spec"]["f:strategy"].get(".").is_none() && spec["f:spec"]["f:strategy"].get("f:type").is_some());
}

#[tokio::test]
async fn what_admission_adds_is_not_the_clients() {
    let (server, _pki) = server().await;
    let pod = json!({"metadata": {"generateName": "p-"}, "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "i"}]}});
    done(&server, "POST", "/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "default"}}))
        .await;
    let made = done(&server, "POST", "/api/v1/namespaces/default/pods?fieldManager=m", &pod).await;
    assert!(made["spec"]["tolerations"].is_array());
    let fields = &made["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(fields["f:metadata"], json!({"f:generateName": {}}));
    assert_eq!(
        fields["f:spec"].as_object().unwrap().keys().collect::<Vec<_>>(),
        [
            "f:automountServiceAccountToken",
            "f:containers",
            "f:dnsPolicy",
            "f:enableServiceLinks",
            "f:restartPolicy",
            "f:schedulerName",
            "f:securityContext",
            "f:terminationGracePeriodSeconds"
        ]
    );
}

#[tokio::test]
async fn entries_that_cannot_be_read_are_ignored() {
    let (server, _pki) = server().await;
    let good = json!({"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:x": {}}}});
    let made = json!({"metadata": {"name": "a"}, "data": {"k": "1"}});
    let made = done(&server, "POST", &format!("{CONFIG_MAPS}?fieldManager=one"), &made).await;
    let path = format!("{CONFIG_MAPS}/a?fieldManager=one");
    for (field, value) in [("operation", json!("Bogus")), ("apiVersion", json!("")), ("fieldsV1", json!({"bad": {}}))] {
        let mut entry = good.clone();
        entry[field] = value;
        let mut change = made.clone();
        change["metadata"]["managedFields"] = json!([entry]);
        let after = done(&server, "PUT", &path, &change).await;
        assert_eq!(entries(&after), entries(&made), "{field}");
    }
    let mut change = made.clone();
    change["metadata"]["managedFields"] = json!([good]);
    let after = done(&server, "PUT", &path, &change).await;
    assert_eq!(entries(&after), [json!(["m", "Update", "", r#"{"f:data":{"f:x":{}}}"#])]);
}

#[tokio::test]
async fn a_list_stated_to_be_empty_has_an_owner_and_one_left_out_has_none() {
    let (server, _pki) = server().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let stated = done(&server, "POST", roles, &json!({"metadata": {"name": "stated"}, "rules": []})).await;
    assert_eq!(entries(&stated), [json!(["unknown", "Update", "", r#"{"f:rules":{}}"#])]);
    assert_eq!(stated["rules"], Value::Null);
    let silent = done(&server, "POST", roles, &json!({"metadata": {"name": "silent"}})).await;
    assert_eq!(entries(&silent), Vec::<Value>::new());
    let ranges = "/api/v1/namespaces/default/limitranges";
    let silent = done(&server, "POST", ranges, &json!({"metadata": {"name": "silent"}, "spec": {}})).await;
    assert_eq!(entries(&silent), Vec::<Value>::new());
}

#[tokio::test]
async fn data_of_any_form_is_one_field() {
    let (server, _pki) = server().await;
    let revisions = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let revision = json!({"metadata": {"name": "r"}, "revision": 1, "data": {"spec": {"a": 1}}});
    let made = done(&server, "POST", revisions, &revision).await;
    assert_eq!(entries(&made), [json!(["unknown", "Update", "", r#"{"f:data":{},"f:revision":{}}"#])]);
}
