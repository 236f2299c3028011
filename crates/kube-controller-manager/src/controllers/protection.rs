//! Storage that is in use stays: a claim, a volume or a class of attributes that is to be deleted keeps the finalizer
//! that admission gave it until nobody uses it any more. One that was taken away before is given back.

use client::volumes::{claim_name, claim_names};
use client::{ApiError, BoxFuture, Controller, Intent, Key, Object, Outside, Plan, Sources, View, request};
use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";
const CLASS: &str = "kubernetes.io/vac-protection";

/// Claims stay while a pod on a node mounts them.
pub struct Claims;

/// Volumes stay while they are bound to a claim.
pub struct Volumes;

/// Classes of attributes stay while a claim or a volume names them.
pub struct AttributesClasses;

/// The server itself knows no pod that mounts the claim: the cache may not have seen the latest.
struct Confirmed;

impl Controller for Claims {
    const NAME: &'static str = "persistentvolumeclaim-protection";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<PersistentVolumeClaim>();
        sources.on::<Pod, _>(|view, change| {
            let claims = view.of::<PersistentVolumeClaim>();
            let pods = [change.old, change.new].into_iter().flatten();
            let named = pods.flat_map(|pod| {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default().to_owned();
                claim_names(pod).map(move |name| Key::new(&namespace, &name)).collect::<Vec<_>>()
            });
            named.filter(|key| claims.get(key).is_some_and(|claim| waits(&claim.metadata, CLAIM))).collect::<Vec<_>>()
        });
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let (claims, pods) = (view.of::<PersistentVolumeClaim>(), view.of::<Pod>());
            let Some(claim) = claims.get(key).filter(|claim| waits(&claim.metadata, CLAIM)) else { return Ok(()) };
            if pods.namespace(&key.namespace).any(|pod| uses(pod, claim)) {
                return Ok(());
            }
            let path = format!("/api/v1/namespaces/{}/pods", key.namespace);
            let list: Value = request::get(&outside.client, &path).await?;
            let items = list.get("items").and_then(Value::as_array).into_iter().flatten();
            let used = items.filter_map(|pod| serde_json::from_value::<Pod>(pod.clone()).ok()).any(|p| uses(&p, claim));
            if !used {
                view.put(Arc::new(Confirmed));
            }
            Ok(())
        })
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let claims = view.of::<PersistentVolumeClaim>();
        let Some(claim) = claims.get(key) else { return Plan::nothing() };
        let is_used = || view.extra::<Confirmed>().is_none();
        protect(&**claim, CLAIM, || is_used().then_some("a pod uses the claim"))
    }
}

impl Controller for Volumes {
    const NAME: &'static str = "persistentvolume-protection";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<PersistentVolume>();
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let volumes = view.of::<PersistentVolume>();
        let Some(volume) = volumes.get(key) else { return Plan::nothing() };
        let is_bound = || volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
        protect(&**volume, VOLUME, || is_bound().then_some("the volume is bound to a claim"))
    }
}

impl Controller for AttributesClasses {
    const NAME: &'static str = "volumeattributesclass-protection";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<VolumeAttributesClass>();
        // What lets a class go is rare enough to look at all classes that wait.
        sources.on::<PersistentVolumeClaim, _>(|view, change| {
            let named = change.old.is_some_and(|claim| classes_of_claim(claim).next().is_some());
            if named { waiting_classes(view) } else { Vec::new() }
        });
        sources.on::<PersistentVolume, _>(|view, change| {
            let named = change.old.is_some_and(|volume| class_of_volume(volume).is_some());
            if named { waiting_classes(view) } else { Vec::new() }
        });
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let classes = view.of::<VolumeAttributesClass>();
        let Some(class) = classes.get(key) else { return Plan::nothing() };
        let name = Some(&*key.name);
        let is_used = || {
            let claims = view.of::<PersistentVolumeClaim>();
            let by_claim = claims.iter().any(|claim| classes_of_claim(claim).any(|own| Some(own) == name));
            by_claim || view.of::<PersistentVolume>().iter().any(|volume| class_of_volume(volume) == name)
        };
        protect(&**class, CLASS, || is_used().then_some("a claim or a volume uses the class"))
    }
}

/// Whether the object is to go and this finalizer is still there.
fn waits(metadata: &ObjectMeta, finalizer: &str) -> bool {
    metadata.deletion_timestamp.is_some() && metadata.finalizers.iter().flatten().any(|own| own == finalizer)
}

/// Gives the finalizer back to an object that is to stay, and takes it from one that is to go unless something uses it.
fn protect<K>(object: &K, finalizer: &str, used: impl FnOnce() -> Option<&'static str>) -> Plan
where
    K: Object + Metadata<Ty = ObjectMeta> + kube::Resource<DynamicType = ()> + Serialize + Clone,
{
    let mut plan = Plan::nothing();
    let metadata = object.metadata();
    let has = metadata.finalizers.iter().flatten().any(|own| own == finalizer);
    if has != metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let mut changed = object.clone();
    let finalizers = changed.metadata_mut().finalizers.get_or_insert_default();
    if !has {
        finalizers.push(finalizer.to_owned());
    } else if let Some(why) = used() {
        plan.because(why);
        return plan;
    } else {
        finalizers.retain(|own| own != finalizer);
    }
    plan.write(Intent::update(&changed));
    plan
}

/// A pod that no node runs does not use its claims yet: its node would refuse a claim that is being deleted.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let Some(spec) = pod.spec.as_ref().filter(|spec| spec.node_name.as_deref().is_some_and(|node| !node.is_empty()))
    else {
        return false;
    };
    let is_down = pod.metadata.deletion_timestamp.is_some() && pod.metadata.deletion_grace_period_seconds == Some(0);
    spec.volumes.iter().flatten().any(|volume| {
        let named = claim_name(pod, volume).as_deref() == claim.metadata.name.as_deref();
        let owns = || {
            let owners = claim.metadata.owner_references.iter().flatten();
            owners.into_iter().any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref())
        };
        named && (volume.persistent_volume_claim.is_some() || (!is_down && owns()))
    })
}

fn waiting_classes(view: &View) -> Vec<Key> {
    let classes = view.of::<VolumeAttributesClass>();
    classes.iter().filter(|class| waits(&class.metadata, CLASS)).map(|class| class.key()).collect()
}

fn classes_of_claim(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &str> {
    let status = claim.status.as_ref();
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let current = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let modified = status.and_then(|status| status.modify_volume_status.as_ref());
    let target = modified.and_then(|modify| modify.target_volume_attributes_class_name.as_deref());
    [wanted, current, target].into_iter().flatten().filter(|name| !name.is_empty())
}

fn class_of_volume(volume: &PersistentVolume) -> Option<&str> {
    let name = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    name.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, body, lines, object, pod};
    use serde_json::json;

    fn going(name: &str, namespace: &str, finalizer: &str, with: Value) -> Value {
        let mut value = json!({ "metadata": { "name": name, "namespace": namespace,
            "deletionTimestamp": "1970-01-01T00:00:00Z", "finalizers": ["own/one", finalizer] } });
        value.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        value
    }

    #[test]
    fn a_claim_goes_when_the_server_knows_no_pod_with_it() {
        let claim: PersistentVolumeClaim = object(going("c", "n", CLAIM, json!({})));
        let key = Key::new("n", "c");
        assert_eq!(Claims.reconcile(&View::new().with([claim.clone()]), &key, at(1)).writes, []);
        let plan = Claims.reconcile(&View::new().with([claim.clone()]).with_extra(Confirmed), &key, at(1));
        assert_eq!(lines(&plan), ["update persistentvolumeclaims n/c"]);
        assert_eq!(body(&plan, 0)["metadata"]["finalizers"], json!(["own/one"]));
        let mut staying = claim;
        staying.metadata.deletion_timestamp = None;
        let plan = |claim| Claims.reconcile(&View::new().with([claim]).with_extra(Confirmed), &key, at(1));
        assert_eq!(plan(staying.clone()), Plan::nothing());
        staying.metadata.finalizers = None;
        let given_back = plan(staying);
        assert_eq!(body(&given_back, 0)["metadata"]["finalizers"], json!([CLAIM]));
    }

    #[test]
    fn pods_on_nodes_use_their_claims_also_those_made_for_them() {
        let claim: PersistentVolumeClaim = object(json!({ "metadata": { "name": "p-v", "namespace": "n",
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u" }] } }));
        let with = |node: &str, uid: &str, volume: Value| {
            pod(json!({ "metadata": { "name": "p", "uid": uid },
                "spec": { "nodeName": node, "volumes": [volume], "containers": [] } }))
        };
        let named = json!({ "name": "x", "persistentVolumeClaim": { "claimName": "p-v" } });
        let own = json!({ "name": "v", "ephemeral": {} });
        assert!(uses(&with("n1", "other", named.clone()), &claim));
        assert!(!uses(&with("", "other", named), &claim));
        assert!(uses(&with("n1", "u", own.clone()), &claim));
        assert!(!uses(&with("n1", "other", own), &claim));
    }

    #[test]
    fn a_bound_volume_and_a_class_that_is_named_stay() {
        let volume = |phase: &str| -> PersistentVolume {
            object(going("v", "", VOLUME, json!({ "status": { "phase": phase } })))
        };
        let plan = |phase| Volumes.reconcile(&View::new().with([volume(phase)]), &Key::cluster("v"), at(1));
        assert_eq!(plan("Bound").writes, []);
        assert_eq!(lines(&plan("Released")), ["update persistentvolumes /v"]);

        let class: VolumeAttributesClass = object(going("gold", "", CLASS, json!({ "driverName": "d" })));
        let plan = |claim: Value| {
            let claim: PersistentVolumeClaim = object(claim);
            let view = View::new().with([class.clone()]).with([claim]).with::<PersistentVolume>([]);
            AttributesClasses.reconcile(&view, &Key::cluster("gold"), at(1))
        };
        let claim = |status: Value| json!({ "metadata": { "name": "c", "namespace": "n" }, "status": status });
        assert_eq!(plan(claim(json!({ "currentVolumeAttributesClassName": "gold" }))).writes, []);
        assert_eq!(lines(&plan(claim(json!({})))), ["update volumeattributesclasses /gold"]);
    }
}
