use serde_json::json;

use super::*;

fn named<'a>(objects: &'a [Value], name: &str) -> &'a Value {
    objects.iter().find(|object| object["metadata"]["name"] == name).unwrap()
}

#[test]
fn roles_and_bindings_are_complete_and_fit_together() {
    let (roles, bindings) = (cluster_roles(), cluster_role_bindings());
    assert_eq!((roles.len(), bindings.len()), (69, 50));
    for binding in &bindings {
        assert_eq!(binding["roleRef"]["name"], binding["metadata"]["name"]);
        named(&roles, binding["roleRef"]["name"].as_str().unwrap());
    }
    let in_namespaces = self::roles();
    for binding in role_bindings() {
        let role = named(&in_namespaces, binding["roleRef"]["name"].as_str().unwrap());
        assert_eq!(role["kind"], binding["roleRef"]["kind"]);
    }
}

#[test]
fn an_object_of_the_policy_reads_as_the_api_has_it() {
    let roles = cluster_roles();
    let mut view = named(&roles, "view").clone();
    view["rules"] = Value::Null;
    assert_eq!(
        view,
        json!({"kind": "ClusterRole", "apiVersion": "rbac.authorization.k8s.io/v1",
            "metadata": {"name": "view",
                "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", "rbac.authorization.k8s.io/aggregate-to-edit": "true"},
                "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}]},
            "rules": null})
    );
    assert_eq!(
        named(&roles, "system:controller:ttl-controller")["rules"],
        json!([
            {"verbs": ["list", "patch", "update", "watch"], "apiGroups": [""], "resources": ["nodes"]},
            {"verbs": ["create", "patch", "update"], "apiGroups": ["", "events.k8s.io"], "resources": ["events"]},
        ])
    );
    assert_eq!(
        named(&roles, "system:public-info-viewer")["rules"],
        json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]}])
    );
    let bindings = cluster_role_bindings();
    assert_eq!(
        named(&bindings, "system:controller:job-controller")["subjects"],
        json!([{"kind": "ServiceAccount", "name": "job-controller", "namespace": "kube-system"}])
    );
    assert!(named(&bindings, "system:node").get("subjects").is_none());
}

#[test]
fn a_new_cluster_gets_everything_with_aggregates_filled() {
    let writes = plan(cluster_roles(), &[]);
    assert_eq!(writes.len(), cluster_roles().len());
    let created: Vec<Value> = writes
        .into_iter()
        .map(|write| match write {
            Write::Create(object) => object,
            other => panic!("{other:?}"),
        })
        .collect();
    let rules = |name| named(&created, name)["rules"].as_array().unwrap().clone();
    assert_eq!(rules("view"), rules("system:aggregate-to-view"));
    assert_eq!(rules("edit"), [rules("system:aggregate-to-edit"), rules("view")].concat());
    assert_eq!(rules("admin"), [rules("edit"), rules("system:aggregate-to-admin")].concat());
    assert_eq!(plan(cluster_roles(), &created), [], "what was just written needs no writing");
}

#[test]
fn lacking_rights_labels_and_subjects_are_added_and_others_left() {
    let wanted = || vec![named(&cluster_roles(), "system:basic-user").clone()];
    let mut role = wanted().remove(0);
    role["metadata"]["labels"] = json!({"mine": "x"});
    role["rules"].as_array_mut().unwrap().remove(1);
    role["rules"].as_array_mut().unwrap().push(json!({"verbs": ["get"], "apiGroups": ["x"], "resources": ["y"]}));
    let [Write::Update(updated)] = &plan(wanted(), std::slice::from_ref(&role))[..] else { panic!() };
    assert_eq!(updated["metadata"]["labels"], json!({"mine": "x", "kubernetes.io/bootstrapping": "rbac-defaults"}));
    assert_eq!(updated["rules"].as_array().unwrap().len(), 3);
    role["metadata"]["annotations"][AUTOUPDATE] = "false".into();
    assert_eq!(plan(wanted(), &[role]), []);

    let wanted = || vec![named(&cluster_role_bindings(), "system:public-info-viewer").clone()];
    let mut binding = wanted().remove(0);
    binding["subjects"] = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "me"}]);
    let [Write::Update(updated)] = &plan(wanted(), std::slice::from_ref(&binding))[..] else { panic!() };
    assert_eq!(updated["subjects"].as_array().unwrap().len(), 3);
    binding["roleRef"]["name"] = "cluster-admin".into();
    assert_eq!(plan(wanted(), &[binding]), [Write::Replace(wanted().remove(0))]);
}
