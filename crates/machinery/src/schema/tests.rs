//! The walkers against the built-in table.

mod recorded;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::codec::{Limits, json as json_codec};

fn id(name: &str) -> TypeId {
    builtin().id(&format!("io.k8s.api.{name}")).unwrap()
}

fn check(name: &str, text: &str, mode: FieldValidation) -> Result<Decoded, String> {
    let parsed = json_codec::parse(text.as_bytes(), Limits::default())?;
    decode_parsed(builtin(), id(name), parsed, mode).map_err(|error| error.to_string())
}

fn error(name: &str, text: &str) -> String {
    check(name, text, FieldValidation::Ignore).unwrap_err()
}

fn canonical(name: &str, mut value: Value) -> String {
    canonicalize(builtin(), id(name), &mut value);
    value.to_string()
}

#[test]
fn the_table_knows_the_types() {
    let types = builtin();
    let old = OLD_TEXT.lines().filter(|line| line.starts_with("io.")).count();
    assert_eq!(types.len(), 584 + old);
    let spec = types.get(id("core.v1.PodSpec"));
    let containers = spec.find("containers").unwrap();
    assert_eq!(containers.shape, Shape::List(Box::new(Shape::Ref(id("core.v1.Container")))));
    assert_eq!(containers.list, ListKind::Map(vec!["name".into()]));
    assert_eq!(containers.patch.merge_key.as_deref(), Some("name"));
    assert!(containers.required && !containers.omit_empty && containers.patch.merge);
    assert_eq!(types.by_kind("apps", "v1", "Deployment"), Some(id("apps.v1.Deployment")));
    let pod: Vec<&str> = types.get(id("core.v1.Pod")).fields.iter().map(|field| field.name.as_ref()).collect();
    assert_eq!(pod, ["apiVersion", "kind", "metadata", "spec", "status"]);
    let volume = types.get(id("core.v1.Volume"));
    assert_eq!(volume.find("image").unwrap().proto.as_ref().map(|proto| proto.within.as_slice()), Some(&[2][..]));
    assert!(types.iter().all(|(_, ty)| ty.fields.len() < usize::from(u16::MAX)));
}

#[test]
fn wrong_types_are_worded_as_upstream() {
    let cases = [
        (
            r#"{"spec":{"containers":[{"resources":5}]}}"#,
            "number into Go struct field Container.spec.containers.resources of type v1.ResourceRequirements",
        ),
        (
            r#"{"spec":{"containers":[{"env":[{"name":[]}]}]}}"#,
            "array into Go struct field EnvVar.spec.containers.env.name of type string",
        ),
        (
            r#"{"metadata":{"labels":{"a":{}}}}"#,
            "object into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            r#"{"metadata":{"labels":"x"}}"#,
            "string into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            r#"{"spec":{"priority":2147483648}}"#,
            "number 2147483648 into Go struct field PodSpec.spec.priority of type int32",
        ),
        (r#"{"spec":{"priority":1.0}}"#, "number 1.0 into Go struct field PodSpec.spec.priority of type int32"),
        (r#"{"spec":{"hostNetwork":"true"}}"#, "string into Go struct field PodSpec.spec.hostNetwork of type bool"),
        (
            r#"{"spec":{"volumes":[{"emptyDir":true}]}}"#,
            "bool into Go struct field Volume.spec.volumes.emptyDir of type v1.EmptyDirVolumeSource",
        ),
        (
            r#"{"metadata":{"creationTimestamp":5}}"#,
            "number into Go struct field ObjectMeta.metadata.creationTimestamp of type string",
        ),
        (
            r#"{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":true}}}]}}"#,
            "bool into Go struct field HTTPGetAction.spec.containers.livenessProbe.httpGet.port of type int32",
        ),
        (
            r#"{"spec":{"restartPolicy":1}}"#,
            "number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy",
        ),
        (r#"{"spec":{"overhead":1}}"#, "number into Go struct field PodSpec.spec.overhead of type v1.ResourceList"),
        (
            r#"{"spec":{"containers":[{"securityContext":{"capabilities":{"add":[1]}}}]}}"#,
            "number into Go struct field Capabilities.spec.containers.securityContext.capabilities.add of type v1.Capability",
        ),
        (
            r#"{"spec":{"containers":[{"securityContext":{"capabilities":{"add":1}}}]}}"#,
            "number into Go struct field Capabilities.spec.containers.securityContext.capabilities.add of type []v1.Capability",
        ),
        (r#"[]"#, "array into Go value of type v1.Pod"),
        // The first of several counts.
        (
            r#"{"spec":{"hostPID":1},"metadata":{"name":5}}"#,
            "number into Go struct field PodSpec.spec.hostPID of type bool",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(error("core.v1.Pod", text), format!("json: cannot unmarshal {expected}"), "{text}");
    }
}

#[test]
fn values_that_their_type_refuses_win_over_wrong_types() {
    let text = r#"{"metadata":{"name":5,"creationTimestamp":"x"}}"#;
    assert_eq!(
        error("core.v1.Pod", text),
        r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#
    );
    let text = r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"1x"}}}]}}"#;
    assert_eq!(error("core.v1.Pod", text), crate::quantity::Quantity::parse("1x").unwrap_err().to_string());
    let text = r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":true}}}]}}"#;
    assert!(error("core.v1.Pod", text).starts_with("quantities must match"));
}

#[test]
fn base64_is_checked() {
    let secret =
        |data: &str| check("core.v1.Secret", &json!({"data": {"k": data}}).to_string(), FieldValidation::Strict);
    assert_eq!(secret("aGk=").unwrap().value["data"]["k"], "aGk=");
    assert_eq!(secret("aG\nk=\r\n").unwrap().value["data"]["k"], "aGk=");
    assert_eq!(secret("aGl=").unwrap().value["data"]["k"], "aGk=");
    assert_eq!(secret("").unwrap().value["data"]["k"], "");
    assert_eq!(secret("!x").unwrap_err(), "illegal base64 data at input byte 0");
    assert_eq!(secret("aGk").unwrap_err(), "illegal base64 data at input byte 0");
    assert_eq!(secret("aGkxaG").unwrap_err(), "illegal base64 data at input byte 4");
    assert_eq!(secret("aG=k").unwrap_err(), "illegal base64 data at input byte 2");
    assert_eq!(secret("aGk=aa").unwrap_err(), "illegal base64 data at input byte 4");
    let number = check("core.v1.Secret", r#"{"data":{"k":5}}"#, FieldValidation::Ignore).unwrap_err();
    assert_eq!(number, "json: cannot unmarshal number into Go struct field Secret.data of type []uint8");
}

#[test]
fn unknown_and_duplicate_fields_are_reported_in_the_order_of_the_document() {
    let text = r#"{"Metadata":1,"metadata":{"labels":{"a":"1","a":"2"},"x":{"y":1,"y":2}},
        "spec":{"containers":[{"name":"a","nope":1,"name":"b"}],"containerz":[]},"spec2":{},"kind":null}"#;
    let findings = [
        r#"unknown field "Metadata""#,
        r#"duplicate field "metadata.labels.a""#,
        r#"unknown field "metadata.x""#,
        r#"unknown field "spec.containers[0].nope""#,
        r#"duplicate field "spec.containers[0].name""#,
        r#"unknown field "spec.containerz""#,
        r#"unknown field "spec2""#,
    ];
    let strict = check("core.v1.Pod", text, FieldValidation::Strict).unwrap_err();
    assert_eq!(strict, format!("strict decoding error: {}", findings.join(", ")));
    let warned = check("core.v1.Pod", text, FieldValidation::Warn).unwrap();
    assert_eq!(warned.warnings, findings);
    let expected = json!({"metadata": {"labels": {"a": "2"}}, "spec": {"containers": [{"name": "b"}]}});
    assert_eq!(warned.value, expected);
    let ignored = check("core.v1.Pod", text, FieldValidation::Ignore).unwrap();
    assert_eq!((ignored.value, ignored.warnings), (expected, vec![]));
    // What is kept as it is, nobody looks into.
    let text = r#"{"data":{"a":1,"a":2,"b":null}}"#;
    let kept = check("apps.v1.ControllerRevision", text, FieldValidation::Strict).unwrap();
    assert_eq!(kept.value, json!({"data": {"a": 2, "b": null}}));
}

/// The walkers recurse as deep as the parser lets a body be.
#[test]
fn the_deepest_body_is_walked() {
    let depth = Limits::default().depth;
    let levels = (depth - 8) / 2;
    let schema = format!("{}{}{}", r#"{"properties":{"a":"#.repeat(levels), r#"{"nope":1}"#, "}}".repeat(levels));
    let text = format!(r#"{{"spec":{{"versions":[{{"name":"v1","schema":{{"openAPIV3Schema":{schema}}}}}]}}}}"#);
    let types = builtin();
    let id = types.by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    let parsed = json_codec::parse(text.as_bytes(), Limits::default()).unwrap();
    let mut decoded = decode_parsed(types, id, parsed, FieldValidation::Warn).unwrap();
    assert!(decoded.warnings[0].ends_with(r#"a.nope""#));
    canonicalize(types, id, &mut decoded.value);
    assert!(decoded.value.to_string().len() > levels * 15);
}

#[test]
fn nulls_are_absent_or_zero() {
    let text = r#"{"metadata":{"labels":{"a":null},"name":null},"spec":{"containers":[null],"volumes":null}}"#;
    let decoded = check("core.v1.Pod", text, FieldValidation::Strict).unwrap();
    assert_eq!(decoded.value, json!({"metadata": {"labels": {"a": ""}}, "spec": {"containers": [{}]}}));
}

#[test]
fn canonical_form_of_zero_values() {
    assert_eq!(canonical("core.v1.Pod", json!({})), r#"{"metadata":{},"spec":{"containers":null},"status":{}}"#);
    assert_eq!(
        canonical(
            "core.v1.PodSpec",
            json!({
                "hostNetwork": false, "nodeName": "", "volumes": [], "nodeSelector": {}, "securityContext": {},
                "terminationGracePeriodSeconds": 0, "containers": [{"name": ""}],
            })
        ),
        r#"{"containers":[{"name":"","resources":{}}],"terminationGracePeriodSeconds":0,"securityContext":{}}"#
    );
    assert_eq!(
        canonical("rbac.v1.ClusterRole", json!({"rules": [], "unknown": 1, "kind": "ClusterRole"})),
        r#"{"kind":"ClusterRole","metadata":{},"rules":null,"unknown":1}"#
    );
    assert_eq!(canonical("core.v1.PodList", json!({"items": []})), r#"{"metadata":{},"items":[]}"#);
    assert_eq!(
        canonical("core.v1.PodCondition", json!({"type": "Ready", "status": "True"})),
        r#"{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":null}"#
    );
    assert_eq!(
        canonical("core.v1.ResourceFieldSelector", json!({"resource": "limits.cpu"})),
        r#"{"resource":"limits.cpu","divisor":"0"}"#
    );
    assert_eq!(canonical("core.v1.ServicePort", json!({"port": 80})), r#"{"port":80,"targetPort":0}"#);
}

#[test]
fn canonical_form_of_quantities_times_and_maps() {
    assert_eq!(
        canonical("core.v1.ResourceRequirements", json!({"requests": {"memory": "1024Mi", "cpu": "0.5", "x": 2}})),
        r#"{"requests":{"cpu":"500m","memory":"1Gi","x":"2"}}"#
    );
    let time = |time: &str| canonical("core.v1.ContainerStateRunning", json!({"startedAt": time}));
    assert_eq!(time("2024-01-02T03:04:05.678+01:00"), r#"{"startedAt":"2024-01-02T02:04:05Z"}"#);
    assert_eq!(time("0001-01-01T00:00:00Z"), r#"{"startedAt":null}"#);
    let lease = |time: &str| canonical("coordination.v1.LeaseSpec", json!({"renewTime": time}));
    assert_eq!(lease("2024-01-02T03:04:05.6789Z"), r#"{"renewTime":"2024-01-02T03:04:05.678900Z"}"#);
}

#[test]
fn canonical_form_is_stable() {
    let text = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","resources":{}}]},"status":{}}"#;
    let value: Value = serde_json::from_str(text).unwrap();
    assert_eq!(canonical("core.v1.Pod", value), text);
}

#[test]
fn defaults_of_the_schema_are_filled_in() {
    let mut pod = json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 1}]}], "volumes": [
        {"name": "v", "rbd": {"image": "i", "pool": "own"}},
    ]}});
    apply_defaults(builtin(), id("core.v1.Pod"), &mut pod);
    assert_eq!(pod["spec"]["containers"][0]["ports"][0], json!({"containerPort": 1, "protocol": "TCP"}));
    assert_eq!(
        pod["spec"]["volumes"][0]["rbd"],
        json!({"image": "i", "pool": "own", "keyring": "/etc/ceph/keyring", "user": "admin"})
    );
    assert_eq!(pod.get("status"), None);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9:.Z=-]{0,8}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "metadata",
        "spec",
        "containers",
        "resources",
        "limits",
        "labels",
        "creationTimestamp",
        "volumes",
        "name",
        "ports",
        "targetPort",
        "env",
        "managedFields",
        "fieldsV1",
        "overhead",
        "x",
    ]);
    leaf.prop_recursive(6, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|entries| entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    /// Whatever decodes has a canonical form, which decodes again under Strict and is its own canonical form.
    #[test]
    fn canonical_form_decodes_to_itself(value in any_json()) {
        let (types, id) = (builtin(), id("core.v1.Pod"));
        if let Ok(decoded) = decode(types, id, value, FieldValidation::Warn) {
            let mut first = decoded.value;
            canonicalize(types, id, &mut first);
            let again = decode(types, id, first.clone(), FieldValidation::Strict).unwrap();
            let mut second = again.value;
            canonicalize(types, id, &mut second);
            prop_assert_eq!(first.to_string(), second.to_string());
        }
    }
}
