use super::*;
use crate::schema;
use proptest::prelude::*;
use serde_json::json;

fn patch_as(ty: &str, object: Value, patch: Value) -> Result<Value, PatchError> {
    let types = schema::builtin();
    let id = types.id(ty).unwrap_or_else(|| panic!("{ty} is a type"));
    let mut object = object;
    apply(types, id, &mut object, patch).map(|()| object)
}

fn patched(object: Value, patch: Value) -> Value {
    patch_as("io.k8s.api.core.v1.Pod", object, patch).unwrap_or_else(|e| panic!("{e}"))
}

fn spec(object: Value, patch: Value) -> Value {
    patched(json!({"spec": object}), json!({"spec": patch}))["spec"].take()
}

fn refused(patch: Value) -> PatchError {
    let object = json!({"spec": {"containers": [{"name": "a"}], "securityContext": {"runAsUser": 5}}, "metadata": {"finalizers": ["a"]}});
    patch_as("io.k8s.api.core.v1.Pod", object, patch).unwrap_err()
}

#[test]
fn maps_merge() {
    for (object, patch, want) in [
        (
            json!({"nodeSelector": {"a": "b", "c": "d"}}),
            json!({"nodeSelector": {"c": null, "e": "f"}}),
            json!({"nodeSelector": {"a": "b", "e": "f"}}),
        ),
        (
            json!({"securityContext": {"runAsUser": 5}}),
            json!({"securityContext": {"$patch": "replace", "runAsGroup": 7}}),
            json!({"securityContext": {"runAsGroup": 7}}),
        ),
        (
            json!({"securityContext": {"runAsUser": 5}}),
            json!({"securityContext": {"$patch": "delete"}}),
            json!({"securityContext": {}}),
        ),
        (json!({"nodeName": "a"}), json!({"nodeName": null, "hostname": null}), json!({})),
        (
            json!({}),
            json!({"securityContext": {"runAsUser": null, "fsGroup": 1}}),
            json!({"securityContext": {"fsGroup": 1}}),
        ),
        (json!({}), json!({"securityContext": {"$patch": "delete"}}), json!({})),
        (
            json!({}),
            json!({"securityContext": {"$patch": "replace", "fsGroup": 1}}),
            json!({"securityContext": {"fsGroup": 1}}),
        ),
    ] {
        assert_eq!(spec(object, patch.clone()), want, "{patch}");
    }
}

#[test]
fn lists_merge_by_key() {
    let containers =
        || json!({"containers": [{"name": "a", "image": "i:1", "args": ["1", "2"]}, {"name": "b", "image": "i:2"}]});
    for (patch, want) in [
        (
            json!([{"name": "b", "image": "new"}]),
            json!([{"name": "a", "image": "i:1", "args": ["1", "2"]}, {"name": "b", "image": "new"}]),
        ),
        (
            json!([{"name": "c", "image": "added"}]),
            json!([{"name": "c", "image": "added"}, {"name": "a", "image": "i:1", "args": ["1", "2"]}, {"name": "b", "image": "i:2"}]),
        ),
        (json!([{"$patch": "delete", "name": "a"}]), json!([{"name": "b", "image": "i:2"}])),
        (json!([{"$patch": "delete", "name": "zz"}]), containers()["containers"].clone()),
        (json!([{"$patch": "replace"}, {"name": "z"}]), json!([{"name": "z"}])),
        (
            json!([{"name": "a", "args": ["3"], "image": null}]),
            json!([{"name": "a", "args": ["3"]}, {"name": "b", "image": "i:2"}]),
        ),
    ] {
        assert_eq!(spec(containers(), json!({"containers": patch})), json!({"containers": want}), "{patch}");
    }
}

#[test]
fn lists_without_strategy_are_replaced() {
    assert_eq!(
        spec(json!({"tolerations": [{"key": "a"}]}), json!({"tolerations": [{"key": "b"}]})),
        json!({"tolerations": [{"key": "b"}]})
    );
}

#[test]
fn scalars_merge_as_sets() {
    let finalizers = |patch: Value| {
        patched(json!({"metadata": {"finalizers": ["a", "b"]}}), json!({"metadata": patch}))["metadata"]["finalizers"]
            .take()
    };
    assert_eq!(finalizers(json!({"finalizers": ["c", "b"]})), json!(["c", "a", "b"]));
    assert_eq!(finalizers(json!({"$deleteFromPrimitiveList/finalizers": ["a"]})), json!(["b"]));
    assert_eq!(
        finalizers(
            json!({"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]})
        ),
        json!(["c", "b"])
    );
    assert_eq!(
        patched(json!({"metadata": {}}), json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}})),
        json!({"metadata": {}})
    );
}

#[test]
fn order_can_be_set() {
    let conditions = |patch: Value| {
        patched(
            json!({"status": {"conditions": [{"type": "A"}, {"type": "B"}, {"type": "S"}]}}),
            json!({"status": patch}),
        )["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["type"].as_str().unwrap().to_owned())
            .collect::<String>()
    };
    assert_eq!(
        conditions(
            json!({"$setElementOrder/conditions": [{"type": "C"}, {"type": "B"}], "conditions": [{"type": "C"}]})
        ),
        "CABS"
    );
    assert_eq!(conditions(json!({"$setElementOrder/conditions": [{"type": "B"}, {"type": "A"}]})), "BAS");
    assert_eq!(
        conditions(
            json!({"$setElementOrder/conditions": [{"type": "S"}, {"type": "N"}], "conditions": [{"type": "N"}]})
        ),
        "ABSN"
    );
}

#[test]
fn keys_can_be_retained() {
    let patch =
        json!({"volumes": [{"$retainKeys": ["name", "emptyDir"], "name": "w", "emptyDir": {"medium": "Memory"}}]});
    assert_eq!(
        spec(json!({"volumes": [{"name": "w", "secret": {"secretName": "s"}}]}), patch),
        json!({"volumes": [{"name": "w", "emptyDir": {"medium": "Memory"}}]})
    );
    let strategy = |patch: Value| {
        let object = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        patch_as("io.k8s.api.apps.v1.Deployment", object, json!({"spec": {"strategy": patch}}))
            .map(|mut d| d["spec"]["strategy"].take())
    };
    assert_eq!(strategy(json!({"$retainKeys": ["type"], "type": "Recreate"})), Ok(json!({"type": "Recreate"})));
    assert_eq!(
        strategy(json!({"$retainKeys": ["type"], "rollingUpdate": {"maxSurge": 1}, "type": "RollingUpdate"})),
        Err(PatchError::Malformed("invalid patch format of retainKeys".to_owned()))
    );
}

#[test]
fn errors_are_upstreams() {
    for (patch, want) in [
        (
            json!({"spec": {"containers": [{"image": "nokey"}]}}),
            "map: map[image:nokey] does not contain declared merge key: name",
        ),
        (
            json!({"spec": {"securityContext": {"$patch": "bogus"}}}),
            "unknown patch type: bogus in map: map[$patch:bogus]",
        ),
        (
            json!({"spec": {"containers": [{"$patch": "merge", "name": "a"}]}}),
            "merging lists cannot yet be specified in the patch",
        ),
        (json!({"spec": {"$setElementOrder/containers": "x"}}), "expected a []interface {}, but received a string"),
        (
            json!({"spec": {"$setElementOrder/nope": []}}),
            "unable to find api field in struct PodSpec for the json field \"nope\"",
        ),
        (json!({"spec": {"containers": ["x"]}}), "list element types are not identical"),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}}),
            "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
    ] {
        assert_eq!(refused(patch), PatchError::Unexpected(want.to_owned()));
    }
    assert_eq!(
        refused(json!({"metadata": {"$deleteFromPrimitiveList": ["a"]}})),
        PatchError::Malformed("invalid patch format of primitive list".to_owned())
    );
    assert_eq!(
        refused(json!([])),
        PatchError::Malformed("json: cannot unmarshal array into Go value of type map[string]interface {}".to_owned())
    );
    assert!(matches!(refused(json!({"metadata": {"finalizers": [["a"]]}})), PatchError::Unexpected(_)));
}

#[test]
fn null_changes_nothing() {
    assert_eq!(patched(json!({"spec": {}}), Value::Null), json!({"spec": {}}));
}

proptest! {
    #[test]
    fn nothing_panics(object in crate::patch::tests::object(), patch in crate::patch::tests::object()) {
        let _ = patch_as("io.k8s.api.core.v1.Pod", object, patch);
    }

    #[test]
    fn merging_a_list_keeps_every_item_once(server in prop::collection::vec("[a-f]", 0..6), change in prop::collection::vec("[a-f]", 0..6)) {
        let unique = |names: Vec<String>| {
            let mut seen = std::collections::HashSet::new();
            names.into_iter().filter(|name| seen.insert(name.clone())).collect::<Vec<_>>()
        };
        let (server, change) = (unique(server), unique(change));
        let list = |names: &[String]| json!({"spec": {"containers": names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>()}});
        let result = patched(list(&server), list(&change));
        let names: Vec<String> = result["spec"]["containers"].as_array().into_iter().flatten().map(|c| c["name"].as_str().unwrap_or("").to_owned()).collect();
        prop_assert_eq!(unique(names.clone()).len(), names.len());
        for name in server.iter().chain(&change) {
            prop_assert!(names.contains(name));
        }
        // Items of the patch stand in its order, those of the server alone in the server's.
        let picked = |wanted: &dyn Fn(&String) -> bool| names.iter().filter(|n| wanted(n)).cloned().collect::<Vec<_>>();
        prop_assert_eq!(picked(&|n| change.contains(n)), change.clone());
        prop_assert_eq!(picked(&|n| !change.contains(n)), server.iter().filter(|n| !change.contains(n)).cloned().collect::<Vec<_>>());
    }
}
