//! What policies say, and what is done about it.

use http_body_util::BodyExt as _;

use super::*;

#[tokio::test]
async fn the_first_validation_that_does_not_hold_is_told_in_the_best_words_there_are() {
    let world = World::new().await;
    let validations = json!([
        { "expression": "object.metadata.name != 'a'", "message": " plain ", "reason": "Forbidden" },
        { "expression": "object.metadata.name != 'b'", "message": "plain", "messageExpression": "'made for ' + request.namespace" },
        { "expression": "object.metadata.name != 'c'", "message": "plain", "messageExpression": "'two\\nlines'" },
        { "expression": "object.metadata.name != 'd'", "messageExpression": "string(object.nothing)", "reason": "RequestEntityTooLarge" },
        { "expression": "variables.named in ['e', 'x'] ? variables.count == 0 : true" },
        { "expression": "variables.named != 'f' || object.data.none == 'x'" },
        { "expression": "object.metadata.name != 'g' || authorizer.group('').resource('pods').labelSelector('a=b').check('list').allowed()" },
        { "expression": "object.metadata.name != 'h' || namespaceObject.metadata.labels['kubernetes.io/metadata.name'] != 'default'", "message": "in the default namespace" },
    ]);
    let variables = json!([
        { "name": "named", "expression": "object.metadata.name" },
        { "name": "count", "expression": "object.data.size()" },
    ]);
    world.policy("p", json!({ "validations": validations, "variables": variables }), json!({})).await;
    let table = [
        ("a", 403, "plain"),
        ("b", 422, "made for default"),
        ("c", 422, "plain"),
        ("d", 413, "failed expression: object.metadata.name != 'd'"),
        ("e", 422, "failed expression: variables.named in ['e', 'x'] ? variables.count == 0 : true"),
        (
            "f",
            422,
            "expression 'variables.named != 'f' || object.data.none == 'x'' resulted in error: no such key: none",
        ),
        ("h", 422, "in the default namespace"),
    ];
    for (name, code, message) in table {
        assert_eq!(world.configmap(name, json!({ "k": "v" })).await, (code, denied(name, "p", message)));
    }
    assert_eq!(world.configmap("g", json!({ "k": "v" })).await.0, 201);
    let (_, _, body) = world.send("POST", CONFIGMAPS, json!({ "metadata": { "name": "a" } })).await;
    assert_eq!(body["reason"], "Forbidden");
    assert_eq!(
        body["details"],
        json!({ "name": "a", "kind": "configmaps", "causes": [{ "message": denied("a", "p", "plain").split_once(": ").unwrap().1 }] })
    );
}

#[tokio::test]
async fn failures_refuse_unless_they_are_ignored() {
    let world = World::new().await;
    let validations = json!([{ "expression": "object.data.x == 'y'" }]);
    let open = json!({ "failurePolicy": "Ignore", "validations": validations,
        "matchConditions": [{ "name": "m", "expression": "object.data.fail == 'no'" }] });
    world.policy("open", open, json!({})).await;
    assert_eq!(world.configmap("a", json!({})).await.0, 201, "a condition that fails means no");
    assert_eq!(world.configmap("a", json!({ "fail": "yes" })).await.0, 201, "and one that does not hold too");
    assert_eq!(world.configmap("a", json!({ "fail": "no" })).await.0, 201, "a validation that fails is passed over");
    let wrong = world.configmap("a", json!({ "fail": "no", "x": "z" })).await;
    assert_eq!(wrong, (422, denied("a", "open", "failed expression: object.data.x == 'y'")));

    let closed = json!({ "validations": [{ "expression": "true" }],
        "matchConditions": [{ "name": "m", "expression": "object.data.fail == 'no'" }] });
    world.policy("closed", closed, json!({})).await;
    let (code, message) = world.configmap("b", json!({ "k": "v" })).await;
    let failure = "expression 'object.data.fail == 'no'' resulted in error: no such key: fail";
    assert_eq!((code, message), (422, denied("b", "closed", failure)));
}

#[tokio::test]
async fn a_policy_that_costs_too_much_refuses() {
    let world = World::new().await;
    let list = "[0,1,2,3,4,5,6,7,8,9]";
    let expensive =
        format!("{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, {list}.all(e, a + b + c + d + e >= 0)))))");
    let validations: Vec<Value> = (0..11).map(|_| json!({ "expression": expensive })).collect();
    world.policy("p", json!({ "validations": validations }), json!({})).await;
    let (code, message) = world.configmap("a", json!({})).await;
    let budget = "validation failed due to running out of cost budget, no further validation rules will be run";
    assert_eq!((code, message), (422, denied("a", "p", budget)));
}

#[tokio::test]
async fn bindings_say_what_is_done_about_it() {
    let (world, log) = World::audited().await;
    let spec = json!({ "validations": [{ "expression": "false", "message": "never" }],
        "auditAnnotations": [
            { "key": "data", "valueExpression": "'has ' + string(object.data.size())" },
            { "key": "none", "valueExpression": "null" },
        ] });
    world.policy("p", spec, json!({ "validationActions": ["Audit", "Warn"] })).await;
    let object = json!({ "metadata": { "name": "a" }, "data": { "k": "v" } });
    let (code, warnings, _) = world.send("POST", CONFIGMAPS, object).await;
    assert_eq!(code, 201);
    assert_eq!(warnings, ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': never"]);
    let events = std::fs::read_to_string(log).unwrap();
    let event: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    let annotations = &event["annotations"];
    assert_eq!((&annotations["p/data"], annotations.get("p/none")), (&json!("has 1"), None));
    let failure = annotations["validation.policy.admission.k8s.io/validation_failure"].as_str().unwrap();
    let wanted = json!([{ "message": "never", "policy": "p", "binding": "p", "expressionIndex": 0, "validationActions": ["Audit", "Warn"] }]);
    assert_eq!(serde_json::from_str::<Value>(failure).unwrap(), wanted);
    let metrics = world.server.serve_metrics().into_body().collect().await.unwrap().to_bytes();
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    for action in ["audit", "warn"] {
        let line = format!(
            "apiserver_validating_admission_policy_check_total{{enforcement_action=\"{action}\",error_type=\"invalid_error\",policy=\"p\",policy_binding=\"p\"}} 1"
        );
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[tokio::test]
async fn policies_never_judge_policies() {
    let world = World::new().await;
    let everything = json!({ "resourceRules": [rule("*", "*", "*")] });
    let never = json!({ "matchConstraints": everything, "validations": [{ "expression": "false" }] });
    world.policy("p", never, json!({})).await;
    assert_eq!(world.configmap("a", json!({})).await.0, 422);
    for resource in ["validatingadmissionpolicybindings", "validatingadmissionpolicies"] {
        let (code, _, body) = world.send("DELETE", &format!("{GROUP}/{resource}/p"), Value::Null).await;
        assert_eq!(code, 200, "{body}");
    }
    assert_eq!(world.configmap("a", json!({})).await.0, 201);
}
