use proptest::prelude::*;

use super::*;
use crate::codec::protobuf::wire;

/// Bytes that look like messages: tags of small numbers with lengths that mostly fit.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        (1u32..20, any::<i64>()).prop_map(|(number, value)| field(|out| wire::put_integer(out, number, value))),
        (1u32..20, "[a-z0-9{}:\"]{0,8}").prop_map(|(number, text)| field(|out| wire::put_bytes(
            out,
            number,
            text.as_bytes()
        ))),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        (1u32..20, proptest::collection::vec(inner, 0..6))
            .prop_map(|(number, parts)| field(|out| wire::put_bytes(out, number, &parts.concat())))
    })
}

fn field(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

proptest! {
    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = unwrap_envelope(&noise);
        let _ = unwrap_envelope(&[b"k8s\0", noise.as_slice()].concat());
        for (id, _) in builtin().iter().step_by(7) {
            let _ = decode(builtin(), id, &noise);
        }
    }

    #[test]
    fn what_decodes_encodes_to_the_same(parts in proptest::collection::vec(message(), 0..8)) {
        let noise = parts.concat();
        for (id, ty) in builtin().iter() {
            let Ok(value) = decode(builtin(), id, &noise) else { continue };
            let written = encode(builtin(), id, &value).unwrap();
            let again = decode(builtin(), id, &written).unwrap();
            prop_assert_eq!(&again, &value, "{}", ty.name);
            prop_assert_eq!(encode(builtin(), id, &again).unwrap(), written, "{}", ty.name);
        }
    }
}

#[test]
fn deep_and_wide_messages_are_refused() {
    let schema = id("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps");
    let mut deep = Vec::new();
    for _ in 0..2000 {
        // `not` is field 28.
        deep = field(|out| wire::put_bytes(out, 28, &deep));
    }
    assert_eq!(decode(builtin(), schema, &deep), Err(ProtobufError::TooDeep));
    let wide = b"\x12\x00".repeat(200_000);
    assert_eq!(decode(builtin(), core("PodSpec"), &wide), Err(ProtobufError::TooMany));
    let raw = field(|out| wire::put_bytes(out, 1, "[".repeat(100_000).as_bytes()));
    let data = field(|out| wire::put_bytes(out, 2, &raw));
    assert!(decode(builtin(), id("io.k8s.api.apps.v1.ControllerRevision"), &data).is_err());
}

#[test]
fn broken_messages_are_refused_as_upstream_words_it() {
    for (hex, text) in [
        ("0a 05 0a", "unexpected EOF"),
        ("0a", "unexpected EOF"),
        ("0a ff ff ff ff ff ff ff ff ff ff 01", "proto: integer overflow"),
        ("0a ff ff ff ff ff ff ff ff ff 01", "proto: negative length found during unmarshaling"),
        ("08 01", "proto: wrong wireType = 0 for field Metadata"),
        ("0c", "proto: Namespace: wiretype end group for non-group"),
        ("02 00", "proto: Namespace: illegal tag 0 (wire type 2)"),
        ("f3 01 0a 01", "unexpected EOF"),
        ("f6 01", "proto: illegal wireType 6"),
    ] {
        assert_eq!(decode(builtin(), core("Namespace"), &bytes(hex)).unwrap_err().to_string(), text, "{hex}");
    }
    let quota = bytes("12 0d 0a 0b 0a 04 70 6f 64 73 12 03 0a 01 78");
    let refused = decode(builtin(), core("ResourceQuota"), &quota).unwrap_err().to_string();
    assert!(refused.starts_with("quantities must match the regular expression"), "{refused}");
    for (body, text) in [
        (&b""[..], "empty data"),
        (b"k8s\0", "empty body"),
        (b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (b"k8s\0\x0a\x09", "unexpected EOF"),
    ] {
        assert_eq!(unwrap_envelope(body).unwrap_err().to_string(), text);
    }
}
