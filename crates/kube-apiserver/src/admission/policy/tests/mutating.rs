//! What mutating policies make of objects.

use super::*;

impl World {
    /// A mutating policy of that name with a binding of the same name.
    async fn mutating(&self, name: &str, mutations: Value, more: Value) {
        let mut spec =
            json!({ "matchConstraints": about_configmaps(), "mutations": mutations, "reinvocationPolicy": "Never" });
        merge(&mut spec, more);
        self.create(&format!("{GROUP}/mutatingadmissionpolicies"), named(name, spec)).await;
        let binding = named(name, json!({ "policyName": name }));
        self.create(&format!("{GROUP}/mutatingadmissionpolicybindings"), binding).await;
    }

    async fn made(&self, name: &str, data: Value) -> (u16, Value) {
        let object = json!({ "metadata": { "name": name }, "data": data });
        let (code, _, body) = self.send("POST", &format!("{CONFIGMAPS}?dryRun=All"), object).await;
        (code, body)
    }
}

fn apply(expression: &str) -> Value {
    json!({ "patchType": "ApplyConfiguration", "applyConfiguration": { "expression": expression } })
}

fn patch(expression: &str) -> Value {
    json!({ "patchType": "JSONPatch", "jsonPatch": { "expression": expression } })
}

#[tokio::test]
async fn mutations_follow_each_other_before_policies_judge() {
    let world = World::new().await;
    let first = apply("Object{metadata: Object.metadata{labels: {'by': variables.who}}}");
    let second = patch(
        "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: object.metadata.labels.by}]",
    );
    let variables = json!({ "variables": [{ "name": "who", "expression": "request.userInfo.username" }] });
    world.mutating("m", json!([first, second]), variables).await;
    let judged = json!({ "validations": [{ "expression": "object.metadata.labels['a/b'] == 'admin'" }] });
    world.policy("v", judged, json!({})).await;
    let (code, body) = world.made("a", json!({ "k": "v" })).await;
    assert_eq!(code, 201, "{body}");
    assert_eq!(body["metadata"]["labels"], json!({ "a/b": "admin", "by": "admin" }));
}

#[tokio::test]
async fn what_fails_refuses_unless_it_is_ignored() {
    let world = World::new().await;
    let bad = json!([
        patch("[JSONPatch{op: 'remove', path: '/data/none'}]"),
        patch("[JSONPatch{op: 'add', path: '/data/x', value: 'y'}]")
    ]);
    world.mutating("open", bad.clone(), json!({ "failurePolicy": "Ignore" })).await;
    let (code, body) = world.made("a", json!({ "k": "v" })).await;
    assert_eq!((code, &body["data"]["x"]), (201, &json!("y")));
    world.mutating("closed", bad, json!({})).await;
    let (code, body) = world.made("a", json!({ "k": "v" })).await;
    let message = "policy 'closed' with binding 'closed' denied request: JSON Patch: error in remove for path: '/data/none': unable to remove nonexistent key: none: missing value";
    assert_eq!((code, &body["message"], &body["reason"]), (403, &json!(message), &json!("Invalid")));
    assert_eq!(body["details"], json!({ "name": "a", "kind": "configmaps", "causes": [{ "message": message }] }));
    let unknown = json!([patch("[JSONPatch{op: 'add', path: '/dota', value: {}}]")]);
    world.mutating("another", unknown, json!({})).await;
    let (_, body) = world.made("a", json!({ "none": "" })).await;
    let message =
        "policy 'another' with binding 'another' denied request: strict decoding error: unknown field \"dota\"";
    assert_eq!(body["message"], message);
}

#[tokio::test]
async fn who_wants_it_is_asked_again_after_a_change() {
    let world = World::new().await;
    let count = |key: &str| {
        patch(&format!(
            "[JSONPatch{{op: 'add', path: '/data/{key}', value: object.data.?{key}.orValue('') + (has(object.data.late) ? 'l' : 'e')}}]"
        ))
    };
    world.mutating("a", json!([count("a")]), json!({ "reinvocationPolicy": "IfNeeded" })).await;
    world.mutating("b", json!([count("b")]), json!({})).await;
    world.mutating("c", json!([patch("[JSONPatch{op: 'add', path: '/data/late', value: 'yes'}]")]), json!({})).await;
    let (code, body) = world.made("x", json!({ "k": "v" })).await;
    assert_eq!(code, 201, "{body}");
    assert_eq!(body["data"], json!({ "a": "el", "b": "e", "k": "v", "late": "yes" }));
}

#[tokio::test]
async fn other_versions_and_bodies_of_subresources_are_mutated_as_they_are_shown() {
    let world = World::new().await;
    let about =
        json!({ "resourceRules": [rule("events.k8s.io", "v1", "events"), rule("apps", "v1", "deployments/scale")] });
    let mutation = "request.subResource == 'scale' ? Object{spec: Object.spec{replicas: 1}} : Object{note: 'noted', metadata: Object.metadata{labels: {'of': object.regarding.kind}}}";
    let mutation = mutation.replace("request.subResource ==", "request.?subResource.orValue('') ==");
    world.mutating("m", json!([apply(&mutation)]), json!({ "matchConstraints": about })).await;
    let event = json!({ "metadata": { "name": "e" }, "involvedObject": { "kind": "Pod", "namespace": "default" }, "reason": "r", "type": "Normal" });
    let (code, _, body) = world.send("POST", "/api/v1/namespaces/default/events?dryRun=All", event).await;
    assert_eq!(code, 201, "{body}");
    assert_eq!((&body["message"], &body["metadata"]["labels"]["of"]), (&json!("noted"), &json!("Pod")));
    let template =
        json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    let deployment = json!({ "metadata": { "name": "d" }, "spec": { "replicas": 3, "selector": { "matchLabels": { "a": "b" } }, "template": template } });
    world.create("/apis/apps/v1/namespaces/default/deployments", deployment).await;
    let path = "/apis/apps/v1/namespaces/default/deployments/d/scale";
    let (code, _, body) = world.send("PATCH", path, json!({ "spec": { "replicas": 9 } })).await;
    assert_eq!((code, &body["spec"]["replicas"]), (200, &json!(1)), "{body}");
}
