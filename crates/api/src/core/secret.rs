//! Secret: bytes that only those who need them should read. Its type says which keys there must be.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use crate::kind::{Column, FieldSelectorStyle, Kind, SelectableField, Version};
use crate::value::text;
use crate::{cells, checks, names};

const MAX_BYTES: usize = 1024 * 1024;
const SERVICE_ACCOUNT: &str = "kubernetes.io/service-account.name";

pub static KIND: Kind = Kind {
    kind: "Secret",
    list_kind: "SecretList",
    plural: "secrets",
    singular: "secret",
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.Secret")],
    selectable_fields: &[SelectableField { label: "type", value: |v| text(v, "/type").to_string() }],
    field_selector_style: FieldSelectorStyle::NotSupported,
    columns: COLUMNS,
    cells: |v, now| {
        let count = v.get("data").and_then(Value::as_object).map_or(0, |data| data.len());
        vec![cells::name(v), text(v, "/type").into(), count.into(), cells::age(v, now)]
    },
    hooks: hooks!(
        Secret,
        true,
        names::subdomain,
        full { default: default, prepare_update: prepare_update, validate: validate, validate_update: validate_update }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new(
        "Type",
        "string",
        0,
        "Used to facilitate programmatic handling of secret data. More info: https://kubernetes.io/docs/concepts/configuration/secret/#secret-types",
    ),
    Column::new(
        "Data",
        "string",
        0,
        "Data contains the secret data. Each key must consist of alphanumeric characters, '-', '_' or '.'. The serialized form of the secret data is a base64 encoded string, representing the arbitrary (possibly non-string) data value here. Described in https://tools.ietf.org/html/rfc4648#section-4",
    ),
    Column::AGE,
];

fn default(secret: &mut Secret) {
    if secret.type_.as_deref().unwrap_or("").is_empty() {
        secret.type_ = Some("Opaque".to_string());
    }
    // Plain text given for convenience is kept as bytes.
    for (key, value) in secret.string_data.take().into_iter().flatten() {
        secret.data.get_or_insert_default().insert(key, ByteString(value.into_bytes()));
    }
}

fn prepare_update(new: &mut Value, old: &Value) {
    let kind = text(old, "/type");
    if let Some(new) = new.as_object_mut()
        && new.get("type").and_then(Value::as_str).unwrap_or("").is_empty()
    {
        new.insert("type".to_string(), kind.into());
    }
}

fn validate(secret: &Secret) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("data");
    let mut bytes = 0;
    for (key, value) in secret.data.iter().flatten() {
        errors.extend(checks::config_map_key(key, &path.key(key)));
        bytes += value.0.len();
    }
    if bytes > MAX_BYTES {
        errors.push(checks::object_too_long(MAX_BYTES));
    }
    let value = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let missing = |key: &str| Error::required(&path.key(key), "");
    match secret.type_.as_deref().unwrap_or("") {
        "kubernetes.io/service-account-token" => {
            let account = secret.metadata.annotations.as_ref().and_then(|a| a.get(SERVICE_ACCOUNT));
            if account.is_none_or(String::is_empty) {
                let (metadata, annotations);
                metadata = Path::new("metadata");
                annotations = metadata.child("annotations");
                errors.push(Error::required(&annotations.key(SERVICE_ACCOUNT), ""));
            }
        }
        "kubernetes.io/dockercfg" => errors.extend(json_value(value(".dockercfg"), &path.key(".dockercfg"))),
        "kubernetes.io/dockerconfigjson" => {
            errors.extend(json_value(value(".dockerconfigjson"), &path.key(".dockerconfigjson")));
        }
        "kubernetes.io/basic-auth" if value("username").is_none() && value("password").is_none() => {
            errors.extend([missing("username"), missing("password")]);
        }
        "kubernetes.io/ssh-auth" if value("ssh-privatekey").is_none_or(|key| key.0.is_empty()) => {
            errors.push(missing("ssh-privatekey"));
        }
        "kubernetes.io/tls" => {
            errors.extend(["tls.crt", "tls.key"].into_iter().filter(|key| value(key).is_none()).map(missing));
        }
        _ => {}
    }
    errors
}

fn json_value(value: Option<&ByteString>, path: &Path) -> Option<Error> {
    let Some(value) = value else { return Some(Error::required(path, "")) };
    let fault = checks::json_fault(&value.0)?;
    Some(Error::invalid(path, "<secret contents redacted>", fault))
}

fn validate_update(new: &Secret, old: &Secret) -> ErrorList {
    let mut errors = ErrorList::new();
    errors.extend(checks::immutable(&new.type_, &old.type_, &Path::new("type")));
    if old.immutable == Some(true) {
        let mut frozen = |field, same: bool| {
            if !same {
                errors.push(Error::forbidden(&Path::new(field), "field is immutable when `immutable` is set"));
            }
        };
        frozen("immutable", new.immutable == Some(true));
        frozen("data", new.data.clone().unwrap_or_default() == old.data.clone().unwrap_or_default());
    }
    errors.extend(validate(new));
    errors
}
