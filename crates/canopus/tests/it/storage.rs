//! Claims and volumes on a real node: bound, mounted, kept, protected and released.

use serde_json::{Value, json};

use crate::harness::{Cluster, Kubectl};

fn create(kubectl: &Kubectl<'_>, name: &str, object: &Value) {
    let file = kubectl.manifest(&format!("{name}.json"), &object.to_string());
    kubectl.ok(&["create", "-f", &file]);
}

fn claim(name: &str, class: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": {"storageClassName": class,
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
}

fn volume(name: &str, class: &str, source: Value) -> Value {
    let mut volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"},
            "persistentVolumeReclaimPolicy": "Retain"}});
    volume["spec"].as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    volume
}

fn pod(name: &str, claim: &str, script: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"terminationGracePeriodSeconds": 0,
        "restartPolicy": "Never", "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        "containers": [{"name": "c", "image": "busybox", "imagePullPolicy": "Never", "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}})
}

fn phase(kubectl: &Kubectl<'_>, kind: &str, name: &str, wanted: &str) {
    kubectl.until(&["get", kind, name, "-o=jsonpath={.status.phase}"], |phase| phase == wanted);
}

#[test]
fn data_outlives_its_pod_and_a_claim_in_use_stays() {
    let cluster = Cluster::start(&["busybox"]);
    let kubectl = cluster.own_kubectl("storage");
    let path = cluster.root().join("disk");
    create(&kubectl, "writer", &pod("writer", "c", "echo kept > /data/file; sleep 3600"));
    let waits = ["get", "pod", "writer", "-o=jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].message}"];
    kubectl.until(&waits, |message| message.contains("persistentvolumeclaim \"c\" not found"));
    create(&kubectl, "claim", &claim("c", "by-hand"));
    kubectl.until(&waits, |message| message.contains("pod has unbound immediate PersistentVolumeClaims"));
    let source = json!({"hostPath": {"path": path, "type": "DirectoryOrCreate"}});
    create(&kubectl, "volume", &volume("v", "by-hand", source));
    phase(&kubectl, "pvc", "c", "Bound");
    phase(&kubectl, "pod", "writer", "Running");
    kubectl.until(&["exec", "writer", "--", "cat", "/data/file"], |text| text.trim() == "kept");

    // The claim waits for its pod, and the pod that comes after it finds the data.
    kubectl.ok(&["delete", "pod", "writer", "--wait=true"]);
    create(&kubectl, "reader", &pod("reader", "c", "cat /data/file; sleep 3600"));
    phase(&kubectl, "pod", "reader", "Running");
    kubectl.until(&["logs", "reader"], |text| text.trim() == "kept");
    kubectl.ok(&["delete", "pvc", "c", "--wait=false"]);
    let deleted = kubectl.field("pvc", "c", ".metadata.deletionTimestamp");
    assert!(!deleted.is_empty(), "the claim is to go");
    assert_eq!(kubectl.field("pvc", "c", ".metadata.finalizers[0]"), "kubernetes.io/pvc-protection");
    phase(&kubectl, "pod", "reader", "Running");
    kubectl.ok(&["delete", "pod", "reader", "--wait=true"]);
    kubectl.until(&["get", "pvc", "-o=name"], str::is_empty);
    phase(&kubectl, "pv", "v", "Released");
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "kept\n");
}

#[test]
fn a_class_that_waits_gives_the_pod_a_local_volume_that_its_node_can_reach() {
    let cluster = Cluster::start(&["busybox"]);
    let kubectl = cluster.own_kubectl("storage");
    let node = kubectl.ok(&["get", "nodes", "-o=jsonpath={.items[0].metadata.name}"]);
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "late"},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"});
    create(&kubectl, "class", &class);
    let local = |name: &str, node: &str| {
        let path = cluster.root().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let only = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
        let terms = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [only]}]}});
        volume(name, "late", json!({"local": {"path": path}, "nodeAffinity": terms}))
    };
    create(&kubectl, "away", &local("away", "elsewhere"));
    create(&kubectl, "claim", &claim("c", "late"));
    let events = ["get", "events", "-o=jsonpath={.items[*].message}"];
    kubectl.until(&events, |text| text.contains("waiting for first consumer to be created before binding"));
    create(&kubectl, "pod", &pod("p", "c", "echo here > /data/file; sleep 3600"));
    let waits = ["get", "pod", "p", "-o=jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].message}"];
    kubectl.until(&waits, |message| message.contains("1 node(s) didn't find available persistent volumes to bind"));
    create(&kubectl, "here", &local("here", node.trim()));
    phase(&kubectl, "pod", "p", "Running");
    assert_eq!(kubectl.field("pvc", "c", ".spec.volumeName"), "here");
    kubectl.until(&["exec", "p", "--", "cat", "/data/file"], |text| text.trim() == "here");
    assert_eq!(std::fs::read_to_string(cluster.root().join("here/file")).unwrap(), "here\n");
    kubectl.ok(&["delete", "pod", "p", "--wait=true"]);
}
