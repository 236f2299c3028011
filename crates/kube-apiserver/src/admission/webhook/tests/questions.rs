//! What webhooks are shown, and about what they are asked.

use super::*;

#[tokio::test]
async fn the_question_holds_the_whole_request() {
    let world = World::new().await;
    let hook = Hook::allowing(&world.pki).await;
    world.register("validating", "v", vec![world.webhook(&hook.url(), json!({}))]).await;
    let path = format!("{CONFIGMAPS}?fieldManager=me");
    assert_eq!(world.post(&path, configmap("a")).await.0, 201);
    let patched = world.send("PATCH", &format!("{CONFIGMAPS}/a"), json!({ "data": { "k": "w" } })).await;
    assert_eq!(patched.0, 200);
    let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background" });
    assert_eq!(world.send("DELETE", &format!("{CONFIGMAPS}/a"), options).await.0, 200);
    let questions = hook.asked.lock().clone();
    assert_eq!(questions[0]["apiVersion"], "admission.k8s.io/v1");
    let [create, update, delete] = &hook.requests()[..] else { panic!("{questions:?}") };

    assert_eq!(create["kind"], json!({ "group": "", "version": "v1", "kind": "ConfigMap" }));
    assert_eq!(create["resource"], json!({ "group": "", "version": "v1", "resource": "configmaps" }));
    assert_eq!((&create["requestKind"], &create["requestResource"]), (&create["kind"], &create["resource"]));
    assert_eq!((&create["name"], &create["namespace"]), (&json!("a"), &json!("default")));
    assert_eq!((&create["operation"], &create["dryRun"]), (&json!("CREATE"), &json!(false)));
    assert_eq!(create["userInfo"]["username"], "admin");
    assert_eq!((&create["object"]["kind"], &create["object"]["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!((&create["object"]["data"]["k"], &create["oldObject"]), (&json!("v"), &Value::Null));
    let wanted = json!({ "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me" });
    assert_eq!(create["options"], wanted);
    assert!(create.get("subResource").is_none());

    assert_eq!((&update["operation"], &update["options"]["kind"]), (&json!("UPDATE"), &json!("UpdateOptions")));
    assert_eq!((&update["object"]["data"]["k"], &update["oldObject"]["data"]["k"]), (&json!("w"), &json!("v")));
    assert_eq!(update["oldObject"]["apiVersion"], "v1");

    assert_eq!((&delete["operation"], &delete["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(delete["oldObject"]["data"]["k"], "w");
    assert_eq!(delete["options"]["propagationPolicy"], "Background");
}

#[tokio::test]
async fn old_reviews_are_spoken_too() {
    let world = World::new().await;
    // It answers as it did in those days: without saying what of which version it is.
    let hook = Hook::new(&world.pki, |_| {
        let operations = json!([{ "op": "add", "path": "/data/x", "value": "y" }]).to_string();
        plain(200, json!({ "response": { "allowed": true, "patch": STANDARD.encode(operations) } }).to_string())
    });
    let hook = hook.await;
    let versions = json!({ "admissionReviewVersions": ["v9", "v1beta1", "v1"] });
    world.register("mutating", "m", vec![world.webhook(&hook.url(), versions)]).await;
    let (code, made) = world.configmap("a").await;
    assert_eq!((code, &made["data"]["x"]), (201, &json!("y")));
    assert_eq!(hook.asked.lock()[0]["apiVersion"], "admission.k8s.io/v1beta1");
}

#[tokio::test]
async fn rules_and_selectors_say_about_what() {
    let world = World::new().await;
    let hook = Hook::allowing(&world.pki).await;
    let namespace = json!({ "metadata": { "name": "chosen", "labels": { "hooks": "yes" } } });
    world.post("/api/v1/namespaces", namespace).await;
    let selectors = json!({
        "rules": [rule(&["CREATE"], "", "v1", &["configmaps", "namespaces"])],
        "namespaceSelector": { "matchLabels": { "hooks": "yes" } },
        "objectSelector": { "matchExpressions": [{ "key": "skip", "operator": "DoesNotExist" }] },
    });
    world.register("validating", "v", vec![world.webhook(&hook.url(), selectors)]).await;
    assert_eq!(world.configmap("elsewhere").await.0, 201);
    let chosen = "/api/v1/namespaces/chosen/configmaps";
    assert_eq!(world.post(chosen, configmap("a")).await.0, 201);
    let mut skipped = configmap("b");
    skipped["metadata"]["labels"] = json!({ "skip": "" });
    assert_eq!(world.post(chosen, skipped).await.0, 201);
    assert_eq!(world.send("DELETE", &format!("{chosen}/a"), Value::Null).await.0, 200);
    // A Namespace is judged by the labels it will have, and is in itself.
    let other = json!({ "metadata": { "name": "other", "labels": { "hooks": "no" } } });
    assert_eq!(world.post("/api/v1/namespaces", other).await.0, 201);
    let own = json!({ "metadata": { "name": "own", "labels": { "hooks": "yes" } } });
    assert_eq!(world.post("/api/v1/namespaces", own).await.0, 201);
    let asked: Vec<Value> = hook.requests().into_iter().map(|request| request["namespace"].clone()).collect();
    assert_eq!(asked, ["chosen", "own"]);
}

#[tokio::test]
async fn equivalent_versions_are_shown_in_the_one_that_the_rule_names() {
    let world = World::new().await;
    let (equivalent, exact) = (Hook::allowing(&world.pki).await, Hook::allowing(&world.pki).await);
    let more = |policy: &str, name: &str| json!({ "name": name, "matchPolicy": policy, "rules": [rule(&["CREATE"], "extensions", "v1beta1", &["deployments"])] });
    let webhooks = vec![
        world.webhook(&equivalent.url(), more("Equivalent", "equivalent.example.com")),
        world.webhook(&exact.url(), more("Exact", "exact.example.com")),
    ];
    world.register("validating", "v", webhooks).await;
    let template = json!({
        "metadata": { "labels": { "a": "b" } },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    let deployment = json!({
        "metadata": { "name": "d" },
        "spec": { "selector": { "matchLabels": { "a": "b" } }, "template": template },
    });
    let (code, body) = world.post("/apis/apps/v1/namespaces/default/deployments", deployment).await;
    assert_eq!(code, 201, "{body}");
    let [request] = &equivalent.requests()[..] else { panic!("asked once") };
    assert_eq!(request["kind"], json!({ "group": "extensions", "version": "v1beta1", "kind": "Deployment" }));
    assert_eq!(request["requestKind"], json!({ "group": "apps", "version": "v1", "kind": "Deployment" }));
    assert_eq!(request["object"]["apiVersion"], "extensions/v1beta1");
    assert_eq!(exact.requests(), Vec::<Value>::new());
}

#[tokio::test]
async fn a_scale_is_shown_as_a_scale() {
    let world = World::new().await;
    let hook = Hook::new(&world.pki, |question| {
        allow(question, patch(json!([{ "op": "replace", "path": "/spec/replicas", "value": 3 }])))
    });
    let hook = hook.await;
    let rules = json!({ "rules": [rule(&["*"], "apps", "v1", &["*/scale"])] });
    world.register("mutating", "m", vec![world.webhook(&hook.url(), rules)]).await;
    let template = json!({
        "metadata": { "labels": { "a": "b" } },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    let deployment = json!({
        "metadata": { "name": "d" },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "a": "b" } }, "template": template },
    });
    let path = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(world.post(path, deployment).await.0, 201);
    let (code, _, scale) = world.send("PATCH", &format!("{path}/d/scale"), json!({ "spec": { "replicas": 2 } })).await;
    assert_eq!((code, &scale["spec"]["replicas"]), (200, &json!(3)));
    let [request] = &hook.requests()[..] else { panic!("asked once") };
    assert_eq!(request["kind"], json!({ "group": "autoscaling", "version": "v1", "kind": "Scale" }));
    assert_eq!(request["subResource"], "scale");
    assert_eq!(
        (&request["object"]["spec"]["replicas"], &request["oldObject"]["spec"]["replicas"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn a_stream_is_shown_before_it_is_opened() {
    let world = World::new().await;
    let hook = Hook::new(&world.pki, |question| {
        answer(question, json!({ "uid": question["request"]["uid"], "allowed": false }))
    });
    let hook = hook.await;
    let rules = json!({ "rules": [rule(&["CONNECT"], "", "v1", &["pods/exec"])] });
    world.register("validating", "v", vec![world.webhook(&hook.url(), rules)]).await;
    let path = "/api/v1/namespaces/default/pods/p/exec?command=sh&command=-c&stdin=true&container=c";
    let (code, body) = world.post(path, Value::Null).await;
    let message = "admission webhook \"w.example.com\" denied the request without explanation";
    assert_eq!((code, body["message"].as_str().unwrap()), (400, message));
    let [request] = &hook.requests()[..] else { panic!("asked once") };
    assert_eq!((&request["operation"], &request["subResource"]), (&json!("CONNECT"), &json!("exec")));
    let wanted = json!({ "stdin": true, "container": "c", "command": ["sh", "-c"], "kind": "PodExecOptions", "apiVersion": "v1" });
    assert_eq!(request["object"], wanted);
}

#[tokio::test]
async fn conditions_leave_webhooks_out() {
    let world = World::new().await;
    let hook = Hook::allowing(&world.pki).await;
    let condition = |expression: &str| json!([{ "name": "c", "expression": expression }]);
    let conditions = json!({ "matchConditions": condition(
        "object.metadata.name == 'hit' && request.operation == 'CREATE' && authorizer.group('').resource('pods').check('get').allowed()"
    ) });
    world.register("validating", "v", vec![world.webhook(&hook.url(), conditions)]).await;
    assert_eq!(world.configmap("miss").await.0, 201);
    assert_eq!(hook.requests().len(), 0);
    assert_eq!(world.configmap("hit").await.0, 201);
    assert_eq!(hook.requests().len(), 1);

    let broken = |policy: &str, name: &str| {
        let conditions = condition("object.data.nope == '1'");
        world.webhook(&hook.url(), json!({ "name": name, "failurePolicy": policy, "matchConditions": conditions }))
    };
    world.register("validating", "w", vec![broken("Ignore", "open.example.com")]).await;
    assert_eq!(world.configmap("passes").await.0, 201);
    world.register("validating", "x", vec![broken("Fail", "closed.example.com")]).await;
    let (code, body) = world.configmap("refused").await;
    let message = "configmaps \"refused\" is forbidden: expression 'object.data.nope == '1'' resulted in error: no such key: nope";
    assert_eq!((code, body["message"].as_str().unwrap()), (403, message));
}

#[tokio::test]
async fn configurations_are_nobodys_to_refuse() {
    let world = World::new().await;
    let hook = Hook::new(&world.pki, |question| {
        answer(question, json!({ "uid": question["request"]["uid"], "allowed": false }))
    });
    let hook = hook.await;
    let everything = json!({ "rules": [rule(&["*"], "*", "*", &["*/*"])] });
    world.register("validating", "v", vec![world.webhook(&hook.url(), everything.clone())]).await;
    world.register("mutating", "m", vec![world.webhook(&hook.url(), everything)]).await;
    assert_eq!(world.configmap("a").await.0, 400);
    let asked = hook.requests().len();
    let policy = json!({ "metadata": { "name": "b" }, "spec": { "policyName": "p", "validationActions": ["Deny"] } });
    let group = "/apis/admissionregistration.k8s.io/v1";
    assert_eq!(world.post(&format!("{group}/validatingadmissionpolicybindings"), policy).await.0, 201);
    for path in ["validatingwebhookconfigurations/v", "mutatingwebhookconfigurations/m"] {
        assert_eq!(world.send("DELETE", &format!("{group}/{path}"), Value::Null).await.0, 200);
    }
    assert_eq!(hook.requests().len(), asked);
    assert_eq!(world.configmap("a").await.0, 201);
}
