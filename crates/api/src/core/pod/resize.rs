//! pods/resize: more or less cpu and memory for a pod that runs, without a new pod.
//!
//! Of the new object only resources and resize policies count. The containers must be the ones that are there, what was
//! asked for can be changed but not taken back, and the QoS class stays: it decides where the pod's cgroup is.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use machinery::field::{Error, ErrorList, Path};
use machinery::status::Status;
use serde::Serialize;
use serde_json::{Value, json};

use super::{resources, status, validate};
use crate::kind::{Subresource, SubresourceUpdate, Verb};
use crate::value::{list, semantically_equal};
use crate::{erase, strategy};

pub const SUBRESOURCE: Subresource = Subresource {
    update: Some(SubresourceUpdate { prepare, validate }),
    ..Subresource::new("resize", "Pod", Verb::GET_PATCH_UPDATE)
};

const LISTS: [&str; 2] = ["initContainers", "containers"];
const MUTABLE: [&str; 2] = ["cpu", "memory"];

fn prepare(new: &mut Value, old: &Value) -> Result<(), Status> {
    let given = std::mem::replace(new, old.clone());
    strategy::keep_resource_version(new, &given);
    let Some(spec) = new.get_mut("spec") else { return Ok(()) };
    for name in LISTS {
        let pointer = format!("/spec/{name}");
        let (given, old) = (list(&given, &pointer), list(old, &pointer));
        if !given.is_empty() || !old.is_empty() {
            spec[name] = merged(given, old).into();
        }
    }
    strategy::copy_field(spec, &given["spec"], "resources");
    strategy::bump_generation(new, old, &["spec"]);
    Ok(())
}

/// The old containers with the resources of the new ones. Other containers than the old ones are left for the checks to
/// refuse.
fn merged(given: &[Value], old: &[Value]) -> Vec<Value> {
    let same = given.len() == old.len() && given.iter().zip(old).all(|(new, old)| new.get("name") == old.get("name"));
    if !same {
        return given.to_vec();
    }
    let merge = |(new, old): (&Value, &Value)| {
        let mut merged = old.clone();
        strategy::copy_field(&mut merged, new, "resizePolicy");
        merged["resources"] = new.get("resources").cloned().unwrap_or_else(|| json!({}));
        merged
    };
    given.iter().zip(old).map(merge).collect()
}

fn validate(new: &Value, old: &Value) -> ErrorList {
    let mut errors = erase::metadata_update(new, old, true, None);
    errors.extend(erase::compare::<Pod>(new, old, compare));
    errors
}

fn compare(new: &Pod, old: &Pod) -> ErrorList {
    if validate::is_mirror(old) {
        return vec![Error::forbidden(&Path::new("[]"), "static pods cannot be resized")];
    }
    let (none, path) = (PodSpec::default(), Path::new("spec"));
    let (new_spec, old_spec) = (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    if old_spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return vec![Error::forbidden(&Path::new("[]"), "windows pods cannot be resized")];
    }
    let mut errors = validate::whole(new);
    let class = old.status.as_ref().and_then(|status| status.qos_class.as_deref()).filter(|class| !class.is_empty());
    let class = class.unwrap_or_else(|| status::qos_class(old_spec));
    if class != status::qos_class(new_spec) {
        errors.push(Error::invalid(&path, class, "Pod QOS Class may not change as a result of resizing"));
    }
    if !node_resizes(old) {
        errors.push(Error::forbidden(&path, "Pod running on node without support for resize"));
    }
    errors.extend(pod_level(new_spec.resources.as_ref(), old_spec.resources.as_ref(), &path));
    let claims = old.status.as_ref().and_then(|status| status.node_allocatable_resource_claim_statuses.as_ref());
    if claims.is_some_and(|claims| !claims.is_empty()) {
        errors.push(Error::forbidden(&path, "pods with node allocatable resource claims cannot be resized"));
    }
    let init = (new_spec.init_containers.as_deref().unwrap_or(&[]), old_spec.init_containers.as_deref().unwrap_or(&[]));
    let regular = (new_spec.containers.as_slice(), old_spec.containers.as_slice());
    let mut others = ErrorList::new();
    for (name, (new, old)) in [("containers", regular), ("initContainers", init)] {
        others.extend(other_containers(name, new, old, &path.child(name)));
    }
    if !others.is_empty() {
        errors.extend(others);
        return errors;
    }
    for (name, (new, old)) in [("initContainers", init), ("containers", regular)] {
        let list = path.child(name);
        for (i, (new, old)) in new.iter().zip(old).enumerate() {
            let container = list.index(i);
            errors.extend(removed(new.resources.as_ref(), old.resources.as_ref(), "", &container.child("resources")));
        }
    }
    for (new, old) in regular.0.iter().zip(regular.1) {
        if !same(&with_amounts_of(new, old), old) {
            errors.push(Error::forbidden(&path, "only cpu and memory resources are mutable"));
        }
    }
    let list = path.child("initContainers");
    for (i, (new, old)) in init.0.iter().zip(init.1).enumerate() {
        errors.extend(init_container(new, old, &list.index(i)));
    }
    errors
}

/// A kubelet that can resize says what its running containers have.
fn node_resizes(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut running = statuses.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    running.next().is_none_or(|status| status.resources.is_some())
}

/// The resources of the pod as a whole.
fn pod_level(new: Option<&ResourceRequirements>, old: Option<&ResourceRequirements>, spec: &Path) -> ErrorList {
    let counts = |resources: Option<&ResourceRequirements>| {
        resources.is_some_and(|r| r.requests.iter().chain(&r.limits).any(|amounts| !amounts.is_empty()))
    };
    if !counts(new) && !counts(old) {
        return ErrorList::new();
    }
    let path = spec.child("resources");
    if old.is_some() && new.is_none() {
        return vec![Error::forbidden(&path, "pod-level resources cannot be removed")];
    }
    let mut errors = removed(new, old, "pod-level ", &path);
    if !same(&requirements_with_amounts_of(new, old), &old.cloned().unwrap_or_default()) {
        errors.push(Error::forbidden(spec, "only cpu and memory resources are mutable at pod-level"));
    }
    errors
}

fn other_containers(what: &str, new: &[Container], old: &[Container], path: &Path) -> ErrorList {
    if new.len() != old.len() {
        return vec![Error::forbidden(path, format!("{what} may not be added or removed on resize"))];
    }
    let renamed = new.iter().zip(old).enumerate().filter(|(_, (new, old))| new.name != old.name);
    let refuse = |(i, _)| {
        let container = path.index(i);
        Error::forbidden(&container.child("name"), format!("{what} may not be renamed or reordered on resize"))
    };
    renamed.map(refuse).collect()
}

fn removed(
    new: Option<&ResourceRequirements>,
    old: Option<&ResourceRequirements>,
    level: &str,
    path: &Path,
) -> ErrorList {
    let mut errors = ErrorList::new();
    let none = ResourceRequirements::default();
    let (new, old) = (new.unwrap_or(&none), old.unwrap_or(&none));
    for (field, new, old) in [("requests", &new.requests, &old.requests), ("limits", &new.limits, &old.limits)] {
        let has = |name: &String| new.as_ref().is_some_and(|new| new.contains_key(name));
        if !old.iter().flatten().all(|(name, _)| has(name)) {
            errors.push(Error::forbidden(&path.child(field), format!("{level}resource {field} cannot be removed")));
        }
    }
    errors
}

fn init_container(new: &Container, old: &Container, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if !same(&with_amounts_of(new, old), old) {
        errors.push(Error::forbidden(path, "only cpu and memory resources for init or sidecar containers are mutable"));
    }
    let runs_on = new.restart_policy.as_deref() == Some("Always");
    let restarts = new.resize_policy.iter().flatten().any(|policy| policy.restart_policy == "RestartContainer");
    if !runs_on && restarts && !same(new, old) {
        let detail = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
        errors.push(Error::forbidden(path, detail));
    }
    errors
}

/// The new container with the cpu and memory of the old one, so that what still differs may not.
fn with_amounts_of(new: &Container, old: &Container) -> Container {
    let resources = requirements_with_amounts_of(new.resources.as_ref(), old.resources.as_ref());
    Container { resources: Some(resources), ..new.clone() }
}

fn requirements_with_amounts_of(
    new: Option<&ResourceRequirements>,
    old: Option<&ResourceRequirements>,
) -> ResourceRequirements {
    let put_back = |new: Option<&resources::Amounts>, old: Option<&resources::Amounts>| {
        let mut amounts = new.cloned().unwrap_or_default();
        for name in MUTABLE {
            match old.and_then(|old| old.get(name)) {
                Some(amount) => amounts.insert(name.to_owned(), amount.clone()),
                None => amounts.remove(name),
            };
        }
        (!amounts.is_empty()).then_some(amounts)
    };
    let none = ResourceRequirements::default();
    let (new, old) = (new.unwrap_or(&none), old.unwrap_or(&none));
    ResourceRequirements {
        claims: new.claims.clone(),
        limits: put_back(new.limits.as_ref(), old.limits.as_ref()),
        requests: put_back(new.requests.as_ref(), old.requests.as_ref()),
    }
}

fn same(a: &impl Serialize, b: &impl Serialize) -> bool {
    let (a, b) = (serde_json::to_value(a).ok(), serde_json::to_value(b).ok());
    semantically_equal(a.as_ref(), b.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        let resources = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}});
        json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "1", "generation": 1},
            "spec": {
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
                "initContainers": [container("i", &resources)],
                "containers": [container("a", &resources), container("b", &resources)],
            },
            "status": {"qosClass": "Burstable"},
        })
    }

    fn container(name: &str, resources: &Value) -> Value {
        json!({
            "name": name, "image": "i", "imagePullPolicy": "Always", "terminationMessagePath": "/m",
            "terminationMessagePolicy": "File", "resources": resources,
        })
    }

    /// What a resize that changes the pod so makes of it, or why it is refused.
    fn resize(old: &Value, change: impl FnOnce(&mut Value)) -> Result<Value, Vec<String>> {
        let mut new = old.clone();
        change(&mut new);
        prepare(&mut new, old).unwrap();
        let errors = validate(&new, old);
        if errors.is_empty() { Ok(new) } else { Err(errors.iter().map(ToString::to_string).collect()) }
    }

    #[test]
    fn nothing_but_resources_is_taken_over_and_they_move_the_generation() {
        let new = resize(&pod(), |pod| {
            pod["metadata"]["labels"] = json!({"x": "y"});
            pod["spec"]["nodeName"] = "n".into();
            pod["spec"]["containers"][0]["image"] = "other".into();
            pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "3".into();
            pod["spec"]["initContainers"][0]["resources"]["requests"]["memory"] = "1.5Gi".into();
        })
        .unwrap();
        let mut expected = pod();
        expected["metadata"]["generation"] = 2.into();
        expected["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "3".into();
        expected["spec"]["initContainers"][0]["resources"]["requests"]["memory"] = "1.5Gi".into();
        assert_eq!(new, expected);
    }

    #[test]
    fn what_was_asked_for_is_not_taken_back() {
        let refused = resize(&pod(), |pod| pod["spec"]["containers"][1]["resources"] = json!({})).unwrap_err();
        assert_eq!(
            refused,
            [
                "spec.containers[1].resources.requests: Forbidden: resource requests cannot be removed",
                "spec.containers[1].resources.limits: Forbidden: resource limits cannot be removed",
            ]
        );
    }

    #[test]
    fn the_containers_stay_the_same_in_the_same_order() {
        let swapped = resize(&pod(), |pod| pod["spec"]["containers"].as_array_mut().unwrap().reverse()).unwrap_err();
        let detail = "Forbidden: containers may not be renamed or reordered on resize";
        assert_eq!(
            swapped,
            [format!("spec.containers[0].name: {detail}"), format!("spec.containers[1].name: {detail}")]
        );
        let fewer = resize(&pod(), |pod| pod["spec"]["containers"] = json!([pod["spec"]["containers"][0]]));
        assert_eq!(
            fewer.unwrap_err(),
            ["spec.containers: Forbidden: containers may not be added or removed on resize"]
        );
    }

    #[test]
    fn only_cpu_and_memory_and_no_policies_change() {
        let mutable = "spec: Forbidden: only cpu and memory resources are mutable";
        let storage = resize(&pod(), |pod| {
            pod["spec"]["containers"][0]["resources"]["requests"]["ephemeral-storage"] = "1Gi".into();
        });
        assert_eq!(storage.unwrap_err(), [mutable]);
        let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        let restarting = resize(&pod(), |pod| pod["spec"]["containers"][0]["resizePolicy"] = policy.clone());
        assert_eq!(restarting.unwrap_err(), [mutable]);
        let mut old = pod();
        old["spec"]["initContainers"][0]["resizePolicy"] = policy;
        let more = |pod: &mut Value| pod["spec"]["initContainers"][0]["resources"]["limits"]["cpu"] = "3".into();
        assert_eq!(
            resize(&old, more).unwrap_err(),
            [
                "spec.initContainers[0]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer cannot be resized"
            ]
        );
        old["spec"]["initContainers"][0]["restartPolicy"] = "Always".into();
        assert_eq!(resize(&old, more).map(|_| ()), Ok(()));
    }

    #[test]
    fn some_pods_cannot_be_resized() {
        let more = |pod: &mut Value| pod["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "3".into();
        let mut running = pod();
        running["status"]["containerStatuses"] = json!([{"name": "a", "image": "i", "imageID": "", "ready": true,
            "restartCount": 0, "state": {"running": {}}}]);
        assert_eq!(
            resize(&running, more).unwrap_err(),
            ["spec: Forbidden: Pod running on node without support for resize"]
        );
        let mut mirror = pod();
        mirror["metadata"]["annotations"] = json!({ validate::MIRROR_ANNOTATION: "x" });
        assert_eq!(resize(&mirror, more).unwrap_err(), ["[]: Forbidden: static pods cannot be resized"]);
        let guaranteed = resize(&pod(), |pod| {
            for (list, i) in [("initContainers", 0), ("containers", 0), ("containers", 1)] {
                let limits = pod["spec"][list][i]["resources"]["limits"].clone();
                pod["spec"][list][i]["resources"]["requests"] = limits;
            }
        });
        assert_eq!(
            guaranteed.unwrap_err(),
            ["spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"]
        );
    }

    #[test]
    fn resources_of_the_pod_as_a_whole_grow_and_shrink_but_stay() {
        let mut old = pod();
        old["spec"]["resources"] = json!({"requests": {"cpu": "3", "memory": "3Gi"}});
        assert!(resize(&old, |pod| pod["spec"]["resources"]["requests"]["cpu"] = "4".into()).is_ok());
        let gone = resize(&old, |pod| drop(pod["spec"].as_object_mut().unwrap().shift_remove("resources")));
        assert_eq!(gone.unwrap_err(), ["spec.resources: Forbidden: pod-level resources cannot be removed"]);
    }
}
