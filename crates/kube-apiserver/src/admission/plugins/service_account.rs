//! Every pod runs as a ServiceAccount that exists, carries its pull secrets, and gets its token mounted.

use std::time::Duration;

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::{Value, json};

use super::mountable_secrets;
use crate::admission::{Operation, Plugin, Review};
use crate::registry::{create_suffix, object};

const DEFAULT_NAME: &str = "default";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// One hour and seven seconds: tokens asked for by this plugin are told apart by it.
const EXPIRATION_SECONDS: i64 = 3607;
/// A namespace's default account is made by a controller: the first pod may be faster.
const TRIES: u32 = 10;
const TRY_INTERVAL: Duration = Duration::from_millis(100);

pub struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if review.operation != Operation::Create || !review.is("", "pods") {
            return Ok(());
        }
        if is_mirror(object) {
            // Nothing is filled in; what it may not name is said before the pod is validated.
            return check_mirror(review, object);
        }
        if object::text(object, "/spec/serviceAccountName").is_empty() {
            let spec = object::map_mut(object, "spec");
            spec.insert("serviceAccountName".to_owned(), DEFAULT_NAME.into());
            spec.insert("serviceAccount".to_owned(), DEFAULT_NAME.into());
        }
        let account = look_up(review, object).await?;
        if should_mount(&account, object) {
            mount_token(object);
        }
        if object::list(object, "/spec/imagePullSecrets").is_empty() {
            let secrets = object::list(&account, "/imagePullSecrets").to_vec();
            if !secrets.is_empty() {
                object::map_mut(object, "spec").insert("imagePullSecrets".to_owned(), secrets.into());
            }
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(pod) = object.filter(|_| (review.kind.group, review.kind.plural) == ("", "pods")) else {
            return Ok(());
        };
        match (review.subresource, review.operation) {
            ("", Operation::Create) if is_mirror(pod) => return check_mirror(review, pod),
            ("", Operation::Create) | ("ephemeralcontainers", Operation::Update) => {}
            _ => return Ok(()),
        }
        if object::text(pod, "/spec/serviceAccountName").is_empty() {
            let (namespace, name) = (review.namespace, object::name(pod));
            let message = format!("no service account specified for pod {namespace}/{name}");
            return Err(review.forbidden(object, message));
        }
        let account = look_up(review, pod).await?;
        if !mountable_secrets::are_enforced(&account) {
            return Ok(());
        }
        let added_later = review.subresource == "ephemeralcontainers";
        let fault = mountable_secrets::fault(&account, pod, added_later);
        fault.map_or(Ok(()), |fault| Err(review.forbidden(object, fault)))
    }
}

/// Mirror pods are made by nodes: what they name there would be read with the node's eyes.
fn check_mirror(review: &Review<'_>, pod: &Value) -> Result<(), Status> {
    let refused = |detail| Err(review.forbidden(Some(pod), detail));
    if !object::text(pod, "/spec/serviceAccountName").is_empty() {
        return refused("a mirror pod may not reference service accounts");
    }
    if uses_secrets(pod) {
        return refused("a mirror pod may not reference secrets");
    }
    let volumes = object::list(pod, "/spec/volumes").iter();
    let mut sources = volumes.flat_map(|volume| object::list(volume, "/projected/sources"));
    if sources.any(|source| source.get("serviceAccountToken").is_some_and(|token| !token.is_null())) {
        return refused("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

fn is_mirror(pod: &Value) -> bool {
    pod.pointer("/metadata/annotations").and_then(|annotations| annotations.get(MIRROR_ANNOTATION)).is_some()
}

/// Whether a volume, a variable or a pull secret of the pod is a Secret.
fn uses_secrets(pod: &Value) -> bool {
    let has = |value: &Value, pointer: &str| value.pointer(pointer).is_some_and(|found| !found.is_null());
    let in_volume = |volume: &Value| {
        has(volume, "/secret") || object::list(volume, "/projected/sources").iter().any(|source| has(source, "/secret"))
    };
    let in_container = |container: &Value| {
        object::list(container, "/env").iter().any(|env| has(env, "/valueFrom/secretKeyRef"))
            || object::list(container, "/envFrom").iter().any(|from| has(from, "/secretRef"))
    };
    let containers = ["containers", "initContainers", "ephemeralContainers"];
    object::list(pod, "/spec/volumes").iter().any(in_volume)
        || containers.iter().any(|list| object::list(pod, &format!("/spec/{list}")).iter().any(in_container))
        || !object::list(pod, "/spec/imagePullSecrets").is_empty()
}

async fn look_up(review: &Review<'_>, pod: &Value) -> Result<Value, Status> {
    let name = object::text(pod, "/spec/serviceAccountName");
    let accounts = api::find("", "v1", "serviceaccounts").map(|(kind, _)| kind);
    let tries = if name == DEFAULT_NAME { TRIES } else { 1 };
    for attempt in 0..tries {
        if attempt > 0 {
            tokio::time::sleep(TRY_INTERVAL).await;
        }
        if let Some(account) = accounts.and_then(|kind| review.server.registry.get(kind, review.namespace, name).ok()) {
            return Ok(account);
        }
    }
    let namespace = review.namespace;
    let message = format!(
        "error looking up service account {namespace}/{name}: serviceaccount {} not found",
        machinery::go_text::quote(name)
    );
    Err(review.forbidden(Some(pod), message))
}

/// The pod decides, then the account, then yes.
fn should_mount(account: &Value, pod: &Value) -> bool {
    let of_pod = pod.pointer("/spec/automountServiceAccountToken").and_then(Value::as_bool);
    of_pod.or_else(|| account.get("automountServiceAccountToken").and_then(Value::as_bool)).unwrap_or(true)
}

fn mount_token(pod: &mut Value) {
    let existing = object::list(pod, "/spec/volumes").iter().find_map(|volume| {
        let name = volume.get("name")?.as_str()?;
        (name.starts_with(VOLUME_PREFIX) && volume.get("projected").is_some_and(Value::is_object))
            .then(|| name.to_owned())
    });
    let volume = existing.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", create_suffix()));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            mounted |= mount_in(container, &volume);
        }
    }
    if existing.is_some() || !mounted {
        return;
    }
    let volumes = object::map_mut(pod, "spec").entry("volumes").or_insert(Value::Null);
    if !volumes.is_array() {
        *volumes = json!([]);
    }
    if let Value::Array(volumes) = volumes {
        volumes.push(token_volume(&volume));
    }
}

/// Mounts the token unless something else is mounted in its place.
fn mount_in(container: &mut Value, volume: &str) -> bool {
    let taken =
        object::list(container, "/volumeMounts").iter().any(|mount| object::text(mount, "/mountPath") == MOUNT_PATH);
    let Some(container) = container.as_object_mut().filter(|_| !taken) else { return false };
    let mounts = container.entry("volumeMounts").or_insert(Value::Null);
    if !mounts.is_array() {
        *mounts = json!([]);
    }
    if let Value::Array(mounts) = mounts {
        mounts.push(json!({ "name": volume, "readOnly": true, "mountPath": MOUNT_PATH }));
    }
    true
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": EXPIRATION_SECONDS, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [
                    { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
                ] } },
            ],
            "defaultMode": 420,
        },
    })
}
