//! Single objects out of a backup, made anew in a running cluster: what somebody deleted comes back through the API, with all
//! its checks, and nothing that is there is touched.
//!
//! An object comes back as its author would write it: without what the server and controllers had set (uid, status, the
//! node of a pod, the address of a Service). What a controller makes of other objects is left to that controller.

use anyhow::{Context, Result, bail};
use kube::api::{DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope, pinned_kind};
use kube::{Api, Client};
use serde_json::{Map, Value};
use store::journal::inspect::State;

use crate::store_files;

/// Which objects of a backup.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Selection {
    /// Make the objects of this namespace anew in the running cluster, the namespace too; what is there stays as it is
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Only this object (with --namespace where its kind has one); may be repeated
    #[arg(long, value_name = "KIND/NAME")]
    pub object: Vec<String>,
}

/// Kinds that others need, in this order; the rest comes after them, and what runs pods at the end.
const FIRST: [&str; 8] = [
    "Namespace",
    "CustomResourceDefinition",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Service",
];
const LAST: [&str; 8] =
    ["Pod", "ReplicationController", "ReplicaSet", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"];
/// Kinds that say what happened or who leads, not what somebody wants.
const PASSING: [&str; 2] = ["Event", "Lease"];

impl Selection {
    /// Whether single objects are meant, not a whole store.
    pub fn is_some(&self) -> bool {
        self.namespace.is_some() || !self.object.is_empty()
    }

    fn takes(&self, object: &Value) -> bool {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, name, namespace) = (text("/kind"), text("/metadata/name"), text("/metadata/namespace"));
        let own = self.namespace.as_deref().unwrap_or_default();
        if !self.object.is_empty() {
            let named =
                |asked: &String| asked.split_once('/').is_some_and(|(k, n)| k.eq_ignore_ascii_case(kind) && n == name);
            return namespace == own && self.object.iter().any(named);
        }
        let inside = namespace == own && !PASSING.contains(&kind) && !is_made_by_a_controller(object);
        inside || (kind == "Namespace" && name == own)
    }

    /// The objects that are meant, as they are to be made, in order.
    pub fn of(&self, state: &State) -> Result<Vec<Value>> {
        if let Some(odd) = self.object.iter().find(|object| !object.contains('/')) {
            bail!("--object {odd}: must be KIND/NAME, such as ConfigMap/settings");
        }
        let mut objects = Vec::new();
        for record in state.records() {
            if store_files::is_sealed(record.value) {
                let folder = record.key.rsplit('/').nth(1);
                if folder.is_some() && folder == self.namespace.as_deref() {
                    eprintln!("{}: is encrypted at rest in the backup, and left out", record.key);
                }
                continue;
            }
            let Ok(object) = serde_json::from_slice::<Value>(record.value) else { continue };
            if self.takes(&object) {
                objects.push(authored(object));
            }
        }
        objects.sort_by_key(|object| rank(object["kind"].as_str().unwrap_or_default()));
        Ok(objects)
    }

    /// Makes them, and says of each what became of it.
    pub async fn restore(&self, state: &State, client: &Client) -> Result<()> {
        let objects = self.of(state)?;
        if objects.is_empty() {
            bail!("the backup has no such object");
        }
        let mut failed = 0;
        for object in objects {
            let named =
                format!("{}/{}", lower(&object["kind"]), object["metadata"]["name"].as_str().unwrap_or_default());
            match make(client, object).await {
                Ok(true) => println!("{named} created"),
                Ok(false) => println!("{named} unchanged (it exists)"),
                Err(error) => {
                    failed += 1;
                    eprintln!("error: {named}: {error:#}");
                }
            }
        }
        if failed > 0 {
            bail!("{failed} objects could not be made");
        }
        Ok(())
    }
}

fn lower(kind: &Value) -> String {
    kind.as_str().unwrap_or_default().to_ascii_lowercase()
}

fn rank(kind: &str) -> usize {
    let place = |list: &[&str]| list.iter().position(|own| *own == kind);
    place(&FIRST).or_else(|| place(&LAST).map(|at| FIRST.len() + 1 + at)).unwrap_or(FIRST.len())
}

fn is_made_by_a_controller(object: &Value) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let is_token = object["type"] == "kubernetes.io/service-account-token" && object["kind"] == "Secret";
    is_token || owners.is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true))
}

/// The object without what the server and controllers had set.
fn authored(mut object: Value) -> Value {
    let mut metadata = Map::new();
    for field in ["name", "namespace", "labels", "annotations", "finalizers"] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    object["metadata"] = metadata.into();
    remove(&mut object, "", &["status"]);
    match object["kind"].as_str().unwrap_or_default() {
        "Pod" => {
            remove(&mut object, "/spec", &["nodeName"]);
            without_token_volumes(&mut object);
        }
        "Service" if object["spec"]["clusterIP"] != "None" => {
            remove(&mut object, "/spec", &["clusterIP", "clusterIPs", "healthCheckNodePort"]);
        }
        "PersistentVolumeClaim" => {
            let set = ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"];
            remove(&mut object, "/metadata/annotations", &set);
        }
        "Job" if object["spec"]["manualSelector"] != true => {
            remove(&mut object, "/spec", &["selector"]);
            let set =
                ["controller-uid", "batch.kubernetes.io/controller-uid", "job-name", "batch.kubernetes.io/job-name"];
            remove(&mut object, "/spec/template/metadata/labels", &set);
            remove(&mut object, "/metadata/labels", &set);
        }
        _ => {}
    }
    object
}

fn remove(object: &mut Value, pointer: &str, fields: &[&str]) {
    if let Some(map) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        map.retain(|key, _| !fields.contains(&key.as_str()));
    }
}

/// Admission adds the token's volume to each pod anew, under another name.
fn without_token_volumes(pod: &mut Value) {
    let is_own = |volume: &Value| volume["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in pod.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                mounts.retain(|mount| !is_own(mount));
            }
        }
    }
    if let Some(volumes) = pod.pointer_mut("/spec/volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| !is_own(volume));
    }
}

/// Creates the object; false where there is one of that name.
async fn make(client: &Client, mut object: Value) -> Result<bool> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let (resource, capabilities): (ApiResource, ApiCapabilities) =
        pinned_kind(client, &gvk).await.with_context(|| format!("the cluster has no {kind} of {api_version}"))?;
    if kind == "PersistentVolumeClaim" {
        forget_lost_volume(client, &mut object).await?;
    }
    let namespace = text(&object["metadata"]["namespace"]);
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Namespaced => Api::namespaced_with(client.clone(), &namespace, &resource),
        Scope::Cluster => Api::all_with(client.clone(), &resource),
    };
    let object: DynamicObject = serde_json::from_value(object).context("the backup's object is none")?;
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A claim goes back to its volume, unless that went with it: then it gets a new one.
async fn forget_lost_volume(client: &Client, claim: &mut Value) -> Result<()> {
    let Some(name) = claim["spec"]["volumeName"].as_str().map(ToOwned::to_owned) else { return Ok(()) };
    let volumes: Api<k8s_openapi::api::core::v1::PersistentVolume> = Api::all(client.clone());
    if volumes.get_opt(&name).await.with_context(|| format!("failed to look for the volume {name}"))?.is_none() {
        remove(claim, "/spec", &["volumeName"]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use store::EventKind;
    use store::journal::{Record, Visitor as _};

    fn state(objects: &[Value]) -> State {
        let mut state = State::default();
        for (at, object) in objects.iter().enumerate() {
            let key = format!("/registry/x/{at:03}");
            let (value, revision) = (object.to_string(), at as u64 + 2);
            state.entry(Record {
                kind: EventKind::Put,
                key: &key,
                create_revision: revision,
                revision,
                value: value.as_bytes(),
                revision_at: None,
                expires_at: 0,
            });
        }
        state
    }

    fn object(kind: &str, namespace: &str, name: &str) -> Value {
        let mut metadata =
            json!({ "name": name, "uid": "1-2", "resourceVersion": "7", "generation": 3, "labels": { "l": "1" } });
        if !namespace.is_empty() {
            metadata["namespace"] = namespace.into();
        }
        json!({ "kind": kind, "apiVersion": "v1", "metadata": metadata, "status": { "s": 1 } })
    }

    fn names(objects: &[Value]) -> Vec<String> {
        objects
            .iter()
            .map(|object| format!("{}/{}", lower(&object["kind"]), object["metadata"]["name"].as_str().unwrap()))
            .collect()
    }

    #[test]
    fn a_namespace_comes_back_with_what_people_made_in_it_in_the_order_of_need() {
        let mut owned = object("ReplicaSet", "a", "d-1");
        owned["metadata"]["ownerReferences"] =
            json!([{ "kind": "Deployment", "name": "d", "uid": "9", "controller": true }]);
        let mut token = object("Secret", "a", "token");
        token["type"] = "kubernetes.io/service-account-token".into();
        let state = state(&[
            object("Deployment", "a", "d"),
            owned,
            token,
            object("Widget", "a", "w"),
            object("ConfigMap", "a", "c"),
            object("ConfigMap", "b", "c"),
            object("Event", "a", "e"),
            object("Lease", "a", "l"),
            object("Namespace", "", "a"),
            object("Namespace", "", "b"),
            object("Node", "", "a"),
            json!("no object"),
        ]);
        let selection = Selection { namespace: Some("a".into()), object: Vec::new() };
        let objects = selection.of(&state).unwrap();
        assert_eq!(names(&objects), ["namespace/a", "configmap/c", "widget/w", "deployment/d"]);
        assert_eq!(
            objects[1],
            json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "c", "namespace": "a", "labels": { "l": "1" } } })
        );

        let one = Selection { namespace: Some("a".into()), object: vec!["replicaset/d-1".into()] };
        assert_eq!(names(&one.of(&state).unwrap()), ["replicaset/d-1"], "what is named comes back whoever made it");
        let of_cluster = Selection { namespace: None, object: vec!["Node/a".into(), "ConfigMap/c".into()] };
        assert_eq!(names(&of_cluster.of(&state).unwrap()), ["node/a"]);
        let odd = Selection { namespace: None, object: vec!["a".into()] };
        assert_eq!(
            odd.of(&state).unwrap_err().to_string(),
            "--object a: must be KIND/NAME, such as ConfigMap/settings"
        );
    }

    #[test]
    fn what_was_given_to_an_object_is_taken_off() {
        let mut pod = object("Pod", "a", "p");
        pod["spec"] = json!({
            "nodeName": "n", "volumes": [{ "name": "kube-api-access-x2" }, { "name": "own" }],
            "containers": [{ "name": "c", "volumeMounts": [{ "name": "own" }, { "name": "kube-api-access-x2" }] }],
        });
        let pod = authored(pod);
        let spec = json!({ "volumes": [{ "name": "own" }], "containers": [{ "name": "c", "volumeMounts": [{ "name": "own" }] }] });
        assert_eq!(pod["spec"], spec);
        let service = |ip: &str| {
            let mut service = object("Service", "a", "s");
            service["spec"] = json!({ "clusterIP": ip, "clusterIPs": [ip], "ports": [] });
            authored(service)["spec"].clone()
        };
        assert_eq!(service("10.0.0.7"), json!({ "ports": [] }));
        assert_eq!(service("None")["clusterIP"], "None");
        let mut job = object("Job", "a", "j");
        job["spec"] =
            json!({ "selector": {}, "template": { "metadata": { "labels": { "job-name": "j", "own": "1" } } } });
        assert_eq!(authored(job)["spec"], json!({ "template": { "metadata": { "labels": { "own": "1" } } } }));
    }
}
