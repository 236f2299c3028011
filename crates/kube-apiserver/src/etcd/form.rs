//! The values in etcd as upstream writes them: without a resourceVersion, in protobuf behind its envelope or in JSON.
//!
//! The form that is written is a setting, the form that is read is told by the value's first bytes; so servers with
//! different settings, upstream's among them, live on one etcd. What is served is the same either way: the canonical JSON of
//! the storage version.

use api::Kind;
use machinery::codec::protobuf;
use machinery::schema;
use serde_json::Value;
use store::NewValue;
use store::etcd::Form;

use super::MediaType;
use crate::registry::{encode, keys, object};

/// What a value in protobuf begins with.
const PROTOBUF: &[u8] = b"k8s\0";
/// What stands before the place of the revision in a value of the store.
const REVISION: &[u8] = b"\"resourceVersion\":\"";
/// The groups that upstream serves by servers of their own, which write JSON whatever the setting.
const ALWAYS_JSON: &[&str] = &["apiextensions.k8s.io", "apiregistration.k8s.io"];

/// The form of values in etcd.
pub struct Kept(MediaType);

impl Kept {
    pub fn new(media_type: MediaType) -> Self {
        Self(media_type)
    }
}

impl Form for Kept {
    fn keep(&self, key: &str, value: &NewValue) -> Result<Vec<u8>, String> {
        let kind = keys::built_in(key).filter(|kind| !ALWAYS_JSON.contains(&kind.group));
        if self.0 == MediaType::Protobuf
            && let Some(kind) = kind
            && let Some(message) = to_protobuf(kind, &value.bytes)?
        {
            return Ok(message);
        }
        let mut json =
            without_revision(value).ok_or_else(|| format!("the value of {key} has no place for its revision"))?;
        // As upstream's encoder ends what it writes.
        json.push(b'\n');
        Ok(json)
    }

    fn serve(&self, key: &str, kept: &[u8]) -> Result<NewValue, String> {
        let object = if kept.starts_with(PROTOBUF) { of_protobuf(kept)? } else { of_json(key, kept)? };
        let Some(mut object) = object else {
            // Not an object: upstream's own notes, which nobody here reads.
            return Ok(NewValue::new(kept, None));
        };
        let status = |status: machinery::status::Status| status.message().to_owned();
        if let Some(kind) = keys::built_in(key) {
            to_storage(kind, &mut object)?;
            encode::canonicalize(kind, &mut object);
            let encoded = encode::encode(kind, &object).map_err(status)?;
            return Ok(NewValue::new(encoded.bytes, Some(encoded.revision_at)));
        }
        let (kind, api_version) = (object::text(&object, "/kind"), object::text(&object, "/apiVersion"));
        let encoded = encode::encode_as(kind, api_version, &object).map_err(status)?;
        Ok(NewValue::new(encoded.bytes, Some(encoded.revision_at)))
    }
}

/// The value without the member that its revision would be in.
fn without_revision(value: &NewValue) -> Option<Vec<u8>> {
    let bytes = &value.bytes;
    let at = value.revision_at?;
    let begin = at.checked_sub(REVISION.len()).filter(|begin| bytes.get(*begin..at) == Some(REVISION))?;
    // The place is followed by the closing quote.
    let (mut begin, mut end) = (begin, at + 1);
    match (bytes.get(begin.checked_sub(1)?)?, bytes.get(end)?) {
        (b',', _) => begin -= 1,
        (_, b',') => end += 1,
        _ => {}
    }
    let mut json = Vec::with_capacity(bytes.len() - (end - begin) + 1);
    json.extend_from_slice(&bytes[..begin]);
    json.extend_from_slice(&bytes[end..]);
    Some(json)
}

/// `None` for a kind that has no message.
fn to_protobuf(kind: &Kind, json: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let types = schema::builtin();
    let Some(id) = types.id(kind.storage_version().schema) else { return Ok(None) };
    let object: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let message = protobuf::encode(types, id, &object).map_err(|error| error.to_string())?;
    Ok(Some(protobuf::wrap_envelope(&kind.storage_api_version(), kind.kind, &message)))
}

/// `None` for a message that is no object of the API.
fn of_protobuf(kept: &[u8]) -> Result<Option<Value>, String> {
    let envelope = protobuf::unwrap_envelope(kept).map_err(|error| error.to_string())?;
    let types = schema::builtin();
    let (group, version) = split(&envelope.api_version);
    let id = types.by_kind(group, version, &envelope.kind).or_else(|| {
        let (_, version) = api::find_kind(group, version, &envelope.kind)?;
        types.id(version.schema)
    });
    let Some(id) = id else { return Ok(None) };
    let mut object = protobuf::decode(types, id, envelope.raw).map_err(|error| error.to_string())?;
    if let Some(fields) = object.as_object_mut() {
        fields.insert("kind".to_owned(), envelope.kind.clone().into());
        fields.insert("apiVersion".to_owned(), envelope.api_version.clone().into());
    }
    Ok(Some(object))
}

/// `None` for JSON that is no object of the API, where none must be.
fn of_json(key: &str, kept: &[u8]) -> Result<Option<Value>, String> {
    let is_kind = keys::resource(key).is_some();
    match serde_json::from_slice::<Value>(kept) {
        Ok(object) if object["metadata"].is_object() && object["kind"].is_string() => Ok(Some(object)),
        Ok(_) if is_kind => Err("it is no object".to_owned()),
        Err(error) if is_kind => Err(error.to_string()),
        _ => Ok(None),
    }
}

/// Brings an object from the version that it was written in into the one that is stored.
fn to_storage(kind: &Kind, object: &mut Value) -> Result<(), String> {
    if object::text(object, "/kind") != kind.kind {
        return Err(format!("it is a {} in the place of a {}", object::text(object, "/kind"), kind.kind));
    }
    let (group, name) = split(object::text(object, "/apiVersion"));
    let version = kind.version(group, name).ok_or_else(|| format!("no version {group}/{name} is known"))?;
    if let Some(convert) = version.convert.as_ref().filter(|_| !version.storage) {
        (convert.to_storage)(object);
    }
    encode::set_type(kind, object);
    Ok(())
}

fn split(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "/registry/configmaps/default/a";

    fn stored(kind: &Kind, object: &Value) -> NewValue {
        let mut object = object.clone();
        encode::set_type(kind, &mut object);
        encode::canonicalize(kind, &mut object);
        let encoded = encode::encode(kind, &object).unwrap();
        NewValue::new(encoded.bytes, Some(encoded.revision_at))
    }

    fn built_in(key: &str) -> &'static Kind {
        keys::built_in(key).unwrap()
    }

    fn config_map() -> Value {
        json!({ "metadata": { "name": "a", "namespace": "default", "uid": "u",
                "creationTimestamp": "2026-01-01T00:00:00Z" }, "data": { "k": "v\u{1F600}" } })
    }

    #[test]
    fn values_come_back_as_they_were_in_both_forms() {
        let value = stored(built_in(KEY), &config_map());
        for media_type in [MediaType::Json, MediaType::Protobuf] {
            let form = Kept::new(media_type);
            let kept = form.keep(KEY, &value).unwrap();
            assert!(!String::from_utf8_lossy(&kept).contains("\"resourceVersion\""));
            let back = form.serve(KEY, &kept).unwrap();
            assert_eq!(String::from_utf8(back.bytes).unwrap(), String::from_utf8(value.bytes.clone()).unwrap());
            assert_eq!(back.revision_at, value.revision_at);
        }
    }

    #[test]
    fn json_is_without_the_revision_and_protobuf_in_upstreams_envelope() {
        let value = stored(built_in(KEY), &config_map());
        let json = Kept::new(MediaType::Json).keep(KEY, &value).unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":\"default\",\
             \"uid\":\"u\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\"},\"data\":{\"k\":\"v\u{1F600}\"}}\n"
        );
        let message = Kept::new(MediaType::Protobuf).keep(KEY, &value).unwrap();
        assert!(message.starts_with(b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12"), "{message:?}");
        let alone = stored(built_in(KEY), &json!({ "metadata": {} }));
        let json = Kept::new(MediaType::Json).keep(KEY, &alone).unwrap();
        assert_eq!(json, b"{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{}}\n");
    }

    #[test]
    fn definitions_and_custom_objects_are_json_whatever_is_set() {
        let form = Kept::new(MediaType::Protobuf);
        let key = "/registry/apiextensions.k8s.io/customresourcedefinitions/a.b.c";
        let kept = form.keep(key, &stored(built_in(key), &json!({ "metadata": { "name": "a.b.c" } }))).unwrap();
        assert!(kept.starts_with(b"{\"kind\":\"CustomResourceDefinition\""));
        let custom =
            br#"{"apiVersion":"b.c/v1","kind":"A","metadata":{"name":"x","uid":"u","zone":1},"spec":{"z":1,"a":2}}"#;
        let key = "/registry/b.c/as/default/x";
        let served = form.serve(key, custom).unwrap();
        let text = "{\"kind\":\"A\",\"apiVersion\":\"b.c/v1\",\"metadata\":{\"name\":\"x\",\"uid\":\"u\",\
                    \"resourceVersion\":\"\",\"zone\":1},\"spec\":{\"z\":1,\"a\":2}}";
        assert_eq!(std::str::from_utf8(&served.bytes).unwrap(), text);
        let kept = form.keep(key, &served).unwrap();
        assert_eq!(form.serve(key, &kept).unwrap().bytes, served.bytes);
    }

    #[test]
    fn old_versions_become_the_stored_one() {
        let key = "/registry/ingress/default/a";
        let old = json!({ "apiVersion": "networking.k8s.io/v1beta1", "kind": "Ingress",
            "metadata": { "name": "a", "namespace": "default" },
            "spec": { "backend": { "serviceName": "s", "servicePort": 80 } } });
        let served = Kept::new(MediaType::Json).serve(key, old.to_string().as_bytes()).unwrap();
        let object: Value = serde_json::from_slice(&served.bytes).unwrap();
        assert_eq!(object["apiVersion"], "networking.k8s.io/v1");
        assert_eq!(object["spec"]["defaultBackend"]["service"]["name"], "s");
    }

    #[test]
    fn what_is_no_object_is_kept_where_none_must_be_and_refused_elsewhere() {
        let form = Kept::new(MediaType::Json);
        assert_eq!(form.serve("/registry/notes/x", b"whatever").unwrap().bytes, b"whatever");
        assert_eq!(form.serve("/registry/notes/x", b"k8s\0").map(|value| value.bytes).ok(), None);
        for wrong in
            [&b"whatever"[..], b"{}", b"k8s\0\xff", b"", b"{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{}}"]
        {
            assert!(form.serve(KEY, wrong).is_err(), "{wrong:?}");
        }
    }
}
