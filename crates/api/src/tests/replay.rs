//! Runs a recorded write through the hooks, as the engine does, without admission and allocation.

use machinery::field::ErrorList;
use machinery::patch::{json as json_patch, merge, strategic};
use machinery::schema::{self, FieldValidation};
use serde_json::{Map, Value, json};

use super::oracle::{Write, text};

/// What stands before validation: decoded, defaulted, prepared and canonical.
pub fn prepared(write: &Write) -> Result<Value, String> {
    let types = schema::builtin();
    let id = |schema: &str| types.id(schema).ok_or_else(|| format!("no type {schema}"));
    let mut object = decoded(write, patched(write)?)?;
    if let Some(default) = write.version.default {
        default(&mut object);
    }
    let hooks = &write.kind.hooks;
    (hooks.default)(&mut object).map_err(|s| s.to_string())?;
    match write.old {
        None => (hooks.prepare_create)(&mut object),
        Some(old) => {
            let old = stored(write, old.clone())?;
            match write.subresource {
                "" => (hooks.prepare_update)(&mut object, &old),
                "status" => (hooks.prepare_status_update)(&mut object, &old),
                name => match write.kind.subresource(name).and_then(|s| s.update.as_ref()) {
                    Some(update) => (update.prepare)(&mut object, &old),
                    None => return Err(format!("no subresource {name}")),
                },
            }
        }
    }
    .map_err(|s| s.to_string())?;
    schema::canonicalize(types, id(write.kind.storage_version().schema)?, &mut object);
    Ok(object)
}

pub fn check(write: &Write, object: &Value) -> ErrorList {
    let Some(old) = write.old.and_then(|old| stored(write, old.clone()).ok()) else {
        return write.version.check(write.kind, object, None);
    };
    match write.subresource {
        "" => write.version.check(write.kind, object, Some(&old)),
        "status" => (write.kind.hooks.validate_status_update)(object, &old),
        name => match write.kind.subresource(name).and_then(|s| s.update.as_ref()) {
            Some(update) => (update.validate)(object, &old),
            None => ErrorList::new(),
        },
    }
}

/// The new object in the version asked for, before decoding.
fn patched(write: &Write) -> Result<Value, String> {
    let types = schema::builtin();
    let Some(old) = write.old else { return Ok(with_metadata(write, write.body.clone())) };
    let mut object = old.clone();
    let patch = write.body.clone();
    let result = match write.media.split(';').next().unwrap_or_default() {
        _ if write.method == "PUT" => {
            let mut body = with_metadata(write, patch);
            server_fields(&mut body, old);
            return Ok(body);
        }
        "application/json-patch+json" => json_patch::apply(&mut object, patch.to_string().as_bytes()),
        "application/merge-patch+json" => merge::apply_value(&mut object, patch),
        "application/strategic-merge-patch+json" => {
            let id = types.id(write.version.schema).ok_or("no type")?;
            strategic::apply(types, id, &mut object, patch)
        }
        other => return Err(format!("media type {other}")),
    };
    result.map_err(|e| e.to_string())?;
    Ok(object)
}

fn with_metadata(write: &Write, mut object: Value) -> Value {
    let Some(map) = object.as_object_mut() else { return object };
    map.insert("apiVersion".to_string(), write.version.api_version(write.kind).into());
    map.insert("kind".to_string(), write.kind.kind.into());
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        if write.kind.namespaced {
            metadata.insert("namespace".to_string(), write.namespace.into());
        }
        if write.status == 201 {
            for field in ["creationTimestamp", "uid"] {
                metadata.insert(field.to_string(), write.answer["metadata"][field].clone());
            }
        } else if let Some(uid) = refused_uid(write) {
            metadata.insert("uid".to_string(), uid.into());
        }
    }
    object
}

/// The uid that a refused Job had: its labels show it.
fn refused_uid(write: &Write) -> Option<String> {
    if write.old.is_some() || write.kind.kind != "Job" {
        return None;
    }
    let text = write.answer["message"].as_str().unwrap_or("");
    let shown = text.split_once("controller-uid\":\"").and_then(|(_, rest)| rest.split_once('"'));
    Some(shown.map_or("unknown", |(uid, _)| uid).to_string())
}

/// What an update may leave out.
fn server_fields(object: &mut Value, old: &Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for field in ["uid", "creationTimestamp", "resourceVersion", "generation"] {
        if let Some(value) = old.pointer(&format!("/metadata/{field}")) {
            metadata.entry(field).or_insert_with(|| value.clone());
        }
    }
}

fn decoded(write: &Write, object: Value) -> Result<Value, String> {
    let types = schema::builtin();
    let id = types.id(write.version.schema).ok_or("no type")?;
    let object = schema::decode(types, id, object, FieldValidation::Ignore).map_err(|e| e.to_string())?.value;
    stored(write, object)
}

/// The storage form of an object in the version asked for.
pub fn stored(write: &Write, mut object: Value) -> Result<Value, String> {
    match &write.version.convert {
        Some(convert) => (convert.to_storage)(&mut object),
        None => object["apiVersion"] = write.kind.storage_api_version().into(),
    }
    Ok(object)
}

/// In the version that was asked for.
pub fn answered(write: &Write, mut object: Value) -> Value {
    let types = schema::builtin();
    if let (Some(convert), Some(id)) = (&write.version.convert, types.id(write.version.schema)) {
        (convert.from_storage)(&mut object);
        schema::canonicalize(types, id, &mut object);
    }
    object
}

/// The part of an answer that the kind alone decides.
pub fn comparable(write: &Write, mut object: Value) -> Value {
    let generation = object.pointer("/metadata/generation").cloned();
    let Some(map) = object.as_object_mut() else { return object };
    for field in ["apiVersion", "kind", "metadata"] {
        map.shift_remove(field);
    }
    // A controller may already have seen the object.
    if matches!(write.kind.plural, "replicasets" | "deployments" | "replicationcontrollers" | "resourcequotas") {
        map.shift_remove("status");
    }
    if let Some(generation) = generation.filter(|_| write.kind.generation) {
        map.insert("generation".to_string(), generation);
    }
    drop_filled(write, map);
    object
}

/// Takes away what admission adds and what is allocated.
fn drop_filled(write: &Write, object: &mut Map<String, Value>) {
    if write.kind.kind == "CertificateSigningRequest" {
        drop_times_of_conditions(object);
    }
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let mut take = |fields: &[&str]| fields.iter().for_each(|field| drop(spec.shift_remove(*field)));
    let is_new = write.old.is_none();
    // Ports are allocated when the type first has them.
    let had_ports = write.old.is_some_and(|old| old.pointer("/spec/ports/0/nodePort").is_some());
    match write.kind.kind {
        "Pod" => {
            take(&["priority", "preemptionPolicy", "tolerations", "serviceAccount", "serviceAccountName"]);
            drop_token(spec);
        }
        "Service" if !had_ports => {
            if is_new {
                take(&["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "healthCheckNodePort"]);
            }
            for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
                port.as_object_mut().map(|port| port.shift_remove("nodePort"));
            }
        }
        "Node" if is_new => take(&["taints"]),
        "CertificateSigningRequest" if is_new => take(&["username", "uid", "groups", "extra"]),
        _ => {}
    }
}

fn drop_times_of_conditions(object: &mut Map<String, Value>) {
    let conditions = object.get_mut("status").and_then(|status| status.get_mut("conditions"));
    for condition in conditions.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        condition.retain(|field, _| !matches!(field.as_str(), "lastUpdateTime" | "lastTransitionTime"));
    }
}

fn drop_token(spec: &mut Map<String, Value>) {
    let is_token = |v: &Value| text(v, "name").starts_with("kube-api-access-");
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(|v| !is_token(v));
        if volumes.is_empty() {
            spec.shift_remove("volumes");
        }
    }
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) else { continue };
            mounts.retain(|m| !is_token(m));
            if mounts.is_empty() {
                container.shift_remove("volumeMounts");
            }
        }
    }
}
