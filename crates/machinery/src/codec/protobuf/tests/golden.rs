use super::*;

/// `decode` gives what kubectl prints, `encode` what it sends, to the byte.
#[test]
fn kubectls_bodies_come_and_go() {
    let mut seen = 0;
    for line in include_str!("kubectl.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let [name, hex, object] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let object: Value = serde_json::from_str(object).unwrap();
        let body = bytes(hex);
        let envelope = unwrap_envelope(&body).unwrap();
        assert_eq!((&object["apiVersion"], &object["kind"]), (&json!(envelope.api_version), &json!(envelope.kind)));
        let mut want = object.clone();
        canonicalize(builtin(), id(name), &mut want);
        let decoded = decode(builtin(), id(name), envelope.raw).unwrap();
        assert_eq!(decoded.to_string(), untyped(id(name), want).to_string());
        let raw = encode(builtin(), id(name), &object).unwrap();
        assert_eq!(hex_of(&wrap_envelope(&envelope.api_version, &envelope.kind, &raw)), hex);
        seen += 1;
    }
    assert_eq!(seen, 20);
}

#[test]
fn objects_are_written_whole() {
    check(
        core("Namespace"),
        json!({"metadata": {"name": "x", "creationTimestamp": "2001-01-01T00:00:00Z", "labels": {"a": "1", "b": ""}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {}}),
        "0a 28
           0a 01 78  12 00  1a 00  22 00  2a 00  32 00  38 00
           42 08 08 80 91 bf d2 03 10 00
           5a 06 0a 01 61 12 01 31
           5a 05 0a 01 62 12 00
         12 0c 0a 0a 6b 75 62 65 72 6e 65 74 65 73
         1a 02 0a 00",
    );
}

#[test]
fn inlined_messages_have_their_own_number() {
    // Probe: the handler is field 1, the rest plain numbers that are written also when zero.
    check(
        core("Probe"),
        json!({"tcpSocket": {"port": "http"}, "periodSeconds": 10}),
        "0a 10  1a 0e  0a 0a 08 01 10 00 1a 04 68 74 74 70  12 00
         10 00  18 00  20 0a  28 00  30 00",
    );
    // Volume: name is field 1, the source field 2, emptyDir its field 2.
    check(
        core("Volume"),
        json!({"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1500m"}}),
        "0a 01 76  12 13  12 11  0a 06 4d 65 6d 6f 72 79  12 07 0a 05 31 35 30 30 6d",
    );
}

#[test]
fn types_that_are_messages_on_the_wire_only() {
    // An event: times with micros, a count that is absent, an object that is no pointer.
    check(
        core("EventSeries"),
        json!({"count": 2, "lastObservedTime": "1969-12-31T23:59:59.500000Z"}),
        "08 02  12 11 08 ff ff ff ff ff ff ff ff ff 01 10 80 ca b5 ee 01",
    );
    check(meta("MicroTime"), json!("1970-01-01T00:00:01.000002Z"), "08 01 10 d0 0f");
    check(meta("Time"), json!("1970-01-01T00:00:00Z"), "08 00 10 00");
    check(meta("Time"), Value::Null, "");
    check(
        id("io.k8s.apimachinery.pkg.util.intstr.IntOrString"),
        json!(-1),
        "08 00 10 ff ff ff ff ff ff ff ff ff 01 1a 00",
    );
    check(id("io.k8s.apimachinery.pkg.api.resource.Quantity"), json!("2Gi"), "0a 03 32 47 69");
    check(
        meta("WatchEvent"),
        json!({"object": {"a": [1]}, "type": "ADDED"}),
        "0a 05 41 44 44 45 44  12 0b 0a 09 7b 22 61 22 3a 5b 31 5d 7d",
    );
    check(
        id("io.k8s.api.apps.v1.ControllerRevision"),
        json!({"metadata": {}, "data": null, "revision": 1}),
        "0a 10 0a 00 12 00 1a 00 22 00 2a 00 32 00 38 00 42 00  12 00  18 01",
    );
}

#[test]
fn unions_of_json_schema_and_named_lists() {
    let schema = id("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
    for object in [
        json!({"items": {"type": "string"}, "additionalProperties": false, "maximum": 1.5}),
        json!({"items": [{"type": "string"}], "additionalProperties": {"type": "string"}, "default": {"a": null}}),
        json!({"dependencies": {"a": ["b"], "c": {"nullable": true}}, "enum": [1, "x", null]}),
        json!({"additionalItems": true, "$ref": "", "x-kubernetes-list-map-keys": ["a"]}),
    ] {
        let mut want = object;
        canonicalize(builtin(), schema, &mut want);
        let bytes = encode(builtin(), schema, &want).unwrap();
        assert_eq!(decode(builtin(), schema, &bytes).unwrap().to_string(), want.to_string());
    }
    check(
        id("io.k8s.api.authentication.v1.UserInfo"),
        json!({"username": "u", "groups": ["g"], "extra": {"k": ["a", "b"], "none": []}}),
        "0a 01 75  12 00  1a 01 67
         22 0b 0a 01 6b 12 06 0a 01 61 0a 01 62
         22 08 0a 04 6e 6f 6e 65 12 00",
    );
}

/// What another version of the type has is stepped over; what comes twice is merged as proto2 wants it.
#[test]
fn unknown_and_repeated_fields() {
    let decoded = |name, hex: &str| decode(builtin(), core(name), &bytes(hex)).unwrap();
    let port = "0a 01 61  10 01  f8 06 05  f9 06 00 00 00 00 00 00 00 00  fa 06 01 00  fb 06 08 01 fc 06  fd 06 00 00 00 00  18 50";
    assert_eq!(decoded("ContainerPort", port), json!({"name": "a", "hostPort": 1, "containerPort": 80}));
    let twice = "0a 03 0a 01 61  12 04 0a 02 6b 31  0a 03 1a 01 6e  12 04 0a 02 6b 32";
    assert_eq!(
        decoded("Namespace", twice),
        json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"finalizers": ["k1", "k2"]}, "status": {}})
    );
    // supplementalGroups, once packed and once not.
    assert_eq!(decoded("PodSecurityContext", "22 02 05 06 20 07"), json!({"supplementalGroups": [5, 6, 7]}));
    // A map entry without key or value, and one that comes again.
    assert_eq!(
        decoded("ConfigMap", "12 00 12 06 0a 01 61 12 01 62 12 06 0a 01 61 12 01 63")["data"],
        json!({"": "", "a": "c"})
    );
    // What is no UTF-8 is replaced.
    assert_eq!(decoded("LocalObjectReference", "0a 02 ff 61"), json!({"name": "\u{fffd}a"}));
}

#[test]
fn lists_need_no_type_of_their_own() {
    let items = [json!({"metadata": {"name": "a"}}), json!({"metadata": {"name": "b"}, "data": {"k": "v"}})];
    let metadata = json!({"resourceVersion": "5", "remainingItemCount": 3});
    let list = json!({"metadata": metadata, "items": items});
    let by_items = encode_list(builtin(), core("ConfigMap"), &metadata, &items).unwrap();
    let messages: Vec<Vec<u8>> = items.iter().map(|item| encode(builtin(), core("ConfigMap"), item).unwrap()).collect();
    let by_messages = encode_list_of(builtin(), &metadata, messages.iter().map(Vec::as_slice)).unwrap();
    assert_eq!(by_messages, by_items);
    assert_eq!(hex_of(&by_items), hex_of(&encode(builtin(), core("ConfigMapList"), &list).unwrap()));
    assert_eq!(decode(builtin(), core("ConfigMapList"), &by_items).unwrap(), list);
}

#[test]
fn values_of_wrong_types_are_not_written() {
    let refused = |value| encode(builtin(), core("Pod"), &value).unwrap_err().to_string();
    assert_eq!(refused(json!({"spec": 5})), "spec: number cannot be written to protobuf");
    assert_eq!(refused(json!({"metadata": {"labels": ["a"]}})), "labels: array cannot be written to protobuf");
    assert_eq!(refused(json!({"spec": {"priority": 1.5}})), "priority: number cannot be written to protobuf");
    assert_eq!(refused(json!({"spec": {"priority": 1i64 << 31}})), "priority: number cannot be written to protobuf");
    let refused = encode(builtin(), core("Secret"), &json!({"data": {"a": "?"}})).unwrap_err();
    assert_eq!(refused.to_string(), "data: string cannot be written to protobuf");
}
