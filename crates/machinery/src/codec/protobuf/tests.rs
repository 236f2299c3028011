//! Protobuf against what kubectl sends, bytes written by hand, the recorded conversations, and noise.

mod golden;
mod noise;
mod recorded;

use serde_json::{Value, json};

use super::*;
use crate::schema::{Shape, TypeId, builtin, canonicalize};

fn id(name: &str) -> TypeId {
    builtin().id(name).unwrap_or_else(|| panic!("no type {name}"))
}

fn core(name: &str) -> TypeId {
    id(&format!("io.k8s.api.core.v1.{name}"))
}

fn meta(name: &str) -> TypeId {
    id(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"))
}

/// Bytes from hexadecimal digits; white space is for the reader.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The object without what protobuf does not carry: its type, and the types of whole objects inside it.
fn untyped(id: TypeId, mut object: Value) -> Value {
    strip(&Shape::Ref(id), &mut object);
    object
}

fn strip(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Ref(id) | Shape::RefOr(id, _), Value::Object(map)) => {
            let ty = builtin().get(*id);
            map.retain(|name, _| ty.find(name).is_some_and(|field| field.proto.is_some()));
            map.iter_mut().for_each(|(name, value)| strip(&ty.find(name).unwrap().shape, value));
        }
        (Shape::List(item), Value::Array(items)) => items.iter_mut().for_each(|value| strip(item, value)),
        (Shape::Map(item), Value::Object(map)) => map.values_mut().for_each(|value| strip(item, value)),
        _ => {}
    }
}

/// Both ways between an object in canonical form and its bytes.
fn check(id: TypeId, object: Value, hex: &str) {
    let want = bytes(hex);
    assert_eq!(hex_of(&encode(builtin(), id, &object).unwrap()), hex_of(&want), "{object}");
    assert_eq!(decode(builtin(), id, &want).unwrap().to_string(), object.to_string());
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
