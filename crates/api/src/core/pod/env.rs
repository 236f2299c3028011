//! Environment variables: their names and where their values come from.

use k8s_openapi::api::core::v1::{
    ConfigMapKeySelector, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, ObjectFieldSelector,
    ResourceFieldSelector, SecretKeySelector,
};
use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use machinery::quantity::Quantity;

use super::resources::is_hugepages;
use crate::checks;

/// Fields of the pod an environment variable may show.
const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of the pod a volume's file may show.
pub const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

pub fn validate(variables: &[EnvVar], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, variable) in variables.iter().enumerate() {
        let path = path.index(i);
        if variable.name.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        } else {
            let faults = names::env_var_name(&variable.name);
            errors.extend(checks::each(&path.child("name"), &variable.name, faults));
        }
        if let Some(source) = &variable.value_from {
            let value = variable.value.as_deref().unwrap_or("");
            errors.extend(value_from(source, value, &path.child("valueFrom")));
        }
    }
    errors
}

fn value_from(source: &EnvVarSource, value: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut sources = 0;
    if let Some(field) = &source.field_ref {
        sources += 1;
        errors.extend(field_ref(field, ENV_FIELDS, &path.child("fieldRef")));
    }
    if let Some(resource) = &source.resource_field_ref {
        sources += 1;
        errors.extend(resource_field_ref(resource, false, &path.child("resourceFieldRef")));
    }
    if let Some(key) = &source.config_map_key_ref {
        sources += 1;
        errors.extend(config_map_key(key, &path.child("configMapKeyRef")));
    }
    if let Some(key) = &source.secret_key_ref {
        sources += 1;
        errors.extend(secret_key(key, &path.child("secretKeyRef")));
    }
    if let Some(key) = &source.file_key_ref {
        sources += 1;
        errors.extend(file_key(key, &path.child("fileKeyRef")));
    }
    let fault = match sources {
        0 => Some(
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ),
        _ if !value.is_empty() => Some("may not be specified when `value` is not empty"),
        1 => None,
        _ => Some("may not have more than one field specified at a time"),
    };
    errors.extend(fault.map(|fault| Error::invalid(path, "", fault)));
    errors
}

/// A field of the pod, of `allowed` or one label or annotation.
pub fn field_ref(field: &ObjectFieldSelector, allowed: &[&str], path: &Path) -> ErrorList {
    if field.api_version.as_deref().unwrap_or("").is_empty() {
        return vec![Error::required(&path.child("apiVersion"), "")];
    }
    if field.field_path.is_empty() {
        return vec![Error::required(&path.child("fieldPath"), "")];
    }
    let at = path.child("fieldPath");
    let converted = match convert(&field.field_path) {
        Ok(converted) => converted,
        Err(fault) => {
            return vec![Error::invalid(&at, &field.field_path, format!("error converting fieldPath: {fault}"))];
        }
    };
    match subscript(&converted) {
        Some(("metadata.annotations", key)) => checks::each(path, key, names::qualified_name(&key.to_lowercase())),
        Some(("metadata.labels", key)) => checks::each(path, key, names::qualified_name(key)),
        Some((other, _)) => vec![Error::invalid(path, other, "does not support subscript")],
        None if allowed.contains(&converted.as_str()) => ErrorList::new(),
        None => vec![Error::not_supported(&at, converted, allowed)],
    }
}

fn convert(field: &str) -> Result<String, String> {
    if let Some((base, _)) = subscript(field) {
        return match base {
            "metadata.annotations" | "metadata.labels" => Ok(field.to_string()),
            _ => Err(format!("field label does not support subscript: {field}")),
        };
    }
    match field {
        "metadata.annotations"
        | "metadata.labels"
        | "metadata.name"
        | "metadata.namespace"
        | "metadata.uid"
        | "spec.nodeName"
        | "spec.restartPolicy"
        | "spec.serviceAccountName"
        | "spec.schedulerName"
        | "status.phase"
        | "status.hostIP"
        | "status.hostIPs"
        | "status.podIP"
        | "status.podIPs" => Ok(field.to_string()),
        "spec.host" => Ok("spec.nodeName".to_string()),
        _ => Err(format!("field label not supported: {field}")),
    }
}

/// `metadata.labels['key']` as its path and key.
fn subscript(field: &str) -> Option<(&str, &str)> {
    let (path, rest) = field.strip_suffix("']")?.split_once("['")?;
    (!path.is_empty()).then_some((path, rest))
}

/// An amount of a container's resources.
pub fn resource_field_ref(resource: &ResourceFieldSelector, volume: bool, path: &Path) -> ErrorList {
    if volume && resource.container_name.as_deref().unwrap_or("").is_empty() {
        return vec![Error::required(&path.child("containerName"), "")];
    }
    let name = resource.resource.as_str();
    if name.is_empty() {
        return vec![Error::required(&path.child("resource"), "")];
    }
    let bare = name.strip_prefix("limits.").or_else(|| name.strip_prefix("requests."));
    if !RESOURCES.contains(&name) && !bare.is_some_and(is_hugepages) {
        return vec![Error::not_supported(&path.child("resource"), name, RESOURCES)];
    }
    divisor(name, bare.unwrap_or(name), resource, &path.child("divisor"))
}

fn divisor(name: &str, bare: &str, resource: &ResourceFieldSelector, path: &Path) -> ErrorList {
    let Some(divisor) = resource.divisor.as_ref().and_then(checks::quantity).filter(|d| !d.is_zero()) else {
        return ErrorList::new();
    };
    const SIZES: [&str; 13] = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    const SIZES_TEXT: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let (allowed, what): (&[&str], String) = match bare {
        "cpu" => (&["1m", "1"], "1m and 1 are supported with the cpu resource".to_string()),
        "memory" => (&SIZES, format!("{SIZES_TEXT} are supported with the memory resource")),
        "ephemeral-storage" => {
            (&SIZES, format!("{SIZES_TEXT} are supported with the local ephemeral storage resource"))
        }
        _ => (&SIZES, format!("{SIZES_TEXT} are supported with the hugepages resource")),
    };
    let known = allowed.iter().any(|text| Quantity::parse(text).is_ok_and(|q| q.to_string() == divisor.to_string()));
    if known {
        return ErrorList::new();
    }
    vec![Error::invalid(path, name, format!("only divisor's values {what}"))]
}

fn config_map_key(key: &ConfigMapKeySelector, path: &Path) -> ErrorList {
    named_key(&key.name, &key.key, path)
}

fn secret_key(key: &SecretKeySelector, path: &Path) -> ErrorList {
    named_key(&key.name, &key.key, path)
}

fn named_key(name: &str, key: &str, path: &Path) -> ErrorList {
    let mut errors = checks::dns_subdomain(name, &path.child("name"));
    if key.is_empty() {
        errors.push(Error::required(&path.child("key"), ""));
    } else {
        errors.extend(checks::config_map_key(key, &path.child("key")));
    }
    errors
}

fn file_key(key: &FileKeySelector, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if key.key.is_empty() {
        errors.push(Error::required(&path.child("key"), ""));
    } else {
        let faults = names::env_var_name(&key.key);
        errors.extend(checks::each(&path.child("key"), &key.key, faults));
    }
    if key.volume_name.is_empty() {
        errors.push(Error::required(&path.child("volumeName"), ""));
    } else {
        errors.extend(checks::dns_label(&key.volume_name, &path.child("volumeName")));
    }
    if key.path.is_empty() {
        errors.push(Error::required(&path.child("path"), ""));
    } else {
        errors.extend(super::volumes::local_non_reserved_path(&key.path, &path.child("path")));
    }
    errors
}

pub fn validate_from(sources: &[EnvFromSource], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, source) in sources.iter().enumerate() {
        let path = path.index(i);
        if let Some(prefix) = source.prefix.as_deref().filter(|p| !p.is_empty()) {
            errors.extend(checks::each(&path.child("prefix"), prefix, names::env_var_name(prefix)));
        }
        let mut named = |name: &str, field| {
            let at = path.child(field);
            if name.is_empty() {
                errors.push(Error::required(&at.child("name"), ""));
            } else {
                errors.extend(checks::dns_subdomain(name, &at.child("name")));
            }
        };
        if let Some(map) = &source.config_map_ref {
            named(&map.name, "configMapRef");
        }
        if let Some(secret) = &source.secret_ref {
            named(&secret.name, "secretRef");
        }
        match (&source.config_map_ref, &source.secret_ref) {
            (None, None) => {
                errors.push(Error::invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`"))
            }
            (Some(_), Some(_)) => {
                errors.push(Error::invalid(&path, "", "may not have more than one field specified at a time"));
            }
            _ => {}
        }
    }
    errors
}
