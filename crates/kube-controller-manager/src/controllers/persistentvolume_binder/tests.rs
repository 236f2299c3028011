//! Claims and volumes, one decision at a time, and then both with all the writes between them.

use std::sync::Arc;

use client::fake::{FakeServer, until};
use client::{Environment, ManualClock, Reflectors, Runtime};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::testing::{at, body, lines, object, pod};

fn merged(mut base: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        base[key] = match base.get_mut(key).map(Value::take) {
            Some(known) if known.is_object() && value.is_object() => merged(known, value),
            _ => value.clone(),
        };
    }
    base
}

fn claim_json(more: &Value) -> Value {
    let base = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"storageClassName": "k",
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Pending"}});
    merged(base, more)
}

fn volume_json(more: &Value) -> Value {
    let base = json!({"metadata": {"name": "v", "namespace": ""}, "spec": {"storageClassName": "k",
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}, "hostPath": {"path": "/x"},
        "persistentVolumeReclaimPolicy": "Retain"}, "status": {"phase": "Available"}});
    merged(base, more)
}

fn claim(more: Value) -> PersistentVolumeClaim {
    object(claim_json(&more))
}

fn volume(more: Value) -> PersistentVolume {
    object(volume_json(&more))
}

fn class(name: &str, more: Value) -> StorageClass {
    let base = json!({"metadata": {"name": name, "namespace": ""}, "provisioner": "x.example.com"});
    object(merged(base, &more))
}

fn bound(more: Value) -> PersistentVolumeClaim {
    let base = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "v"}, "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"]}});
    claim(merged(base, &more))
}

fn binder() -> PersistentVolumes {
    PersistentVolumes { options: Options::default() }
}

fn view(claims: Vec<PersistentVolumeClaim>, volumes: Vec<PersistentVolume>, classes: Vec<StorageClass>) -> View {
    View::new().with(claims).with(volumes).with(classes).with::<Pod>([])
}

fn of_claim(claim: PersistentVolumeClaim, volumes: Vec<PersistentVolume>, classes: Vec<StorageClass>) -> Plan {
    let key = claim.key();
    binder().reconcile(&view(vec![claim], volumes, classes), &key, at(1))
}

fn of_volume(volume: PersistentVolume, claims: Vec<PersistentVolumeClaim>) -> Plan {
    let key = volume.key();
    binder().reconcile(&view(claims, vec![volume], vec![]), &key, at(1))
}

#[test]
fn the_volume_takes_the_claim_first_and_then_the_claim_the_volume() {
    let first = of_claim(claim(json!({})), vec![volume(json!({}))], vec![]);
    assert_eq!(lines(&first), ["update persistentvolumes /v", "update persistentvolumes/status /v"]);
    let tied = body(&first, 0);
    let reference = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "n", "name": "c",
        "uid": "c-uid", "resourceVersion": "7"});
    assert_eq!(tied["spec"]["claimRef"], reference);
    assert_eq!(tied["metadata"]["annotations"], json!({"pv.kubernetes.io/bound-by-controller": "yes"}));
    assert_eq!(body(&first, 1)["status"]["phase"], "Bound");

    let tied = volume(merged(tied, &json!({"status": {"phase": "Bound"}})));
    let second = of_claim(claim(json!({})), vec![tied], vec![]);
    assert_eq!(lines(&second), ["update persistentvolumeclaims n/c", "update persistentvolumeclaims/status n/c"]);
    let annotations = json!({"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"});
    assert_eq!(body(&second, 0)["metadata"]["annotations"], annotations);
    assert_eq!(body(&second, 0)["spec"]["volumeName"], "v");
    let status = json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}});
    assert_eq!(body(&second, 1)["status"], status);
}

#[test]
fn what_a_person_bound_is_not_marked_as_the_binders() {
    let reference = json!({"spec": {"claimRef": {"namespace": "n", "name": "c"}}});
    let first = of_claim(claim(json!({})), vec![volume(reference)], vec![]);
    assert_eq!(body(&first, 0)["metadata"]["annotations"], Value::Null);
    assert_eq!(body(&first, 0)["spec"]["claimRef"]["uid"], "c-uid");

    let tied = volume(
        json!({"spec": {"claimRef": {"namespace": "n", "name": "c", "uid": "c-uid"}}, "status": {"phase": "Bound"}}),
    );
    let second = of_claim(claim(json!({"spec": {"volumeName": "v"}})), vec![tied], vec![]);
    assert_eq!(body(&second, 0)["metadata"]["annotations"], json!({"pv.kubernetes.io/bind-completed": "yes"}));
}

#[test]
fn a_claim_for_a_certain_volume_waits_for_it_and_says_what_is_wrong_with_it() {
    let named = || claim(json!({"spec": {"volumeName": "v"}}));
    let waits = of_claim(named(), vec![], vec![]);
    assert_eq!((lines(&waits), waits.requeue_after), (vec![], Some(Duration::from_secs(15))));
    let small = volume(json!({"spec": {"capacity": {"storage": "1Mi"}}}));
    let why = "event VolumeMismatch Cannot bind to requested volume \"v\": requested PV is too small";
    assert_eq!(lines(&of_claim(named(), vec![small], vec![])), [why]);
    let taken = volume(json!({"spec": {"claimRef": {"namespace": "n", "name": "other"}}}));
    let why = "event FailedBinding volume \"v\" already bound to a different claim.";
    assert_eq!(lines(&of_claim(named(), vec![taken], vec![])), [why]);
}

#[test]
fn without_a_volume_the_claim_says_what_it_waits_for() {
    let said = |more: Value, classes| lines(&of_claim(claim(more), vec![], classes));
    assert_eq!(
        said(json!({"spec": {"storageClassName": ""}}), vec![]),
        ["event FailedBinding no persistent volumes available for this claim and no storage class is set"]
    );
    assert_eq!(said(json!({}), vec![]), ["event ProvisioningFailed storageclass.storage.k8s.io \"k\" not found"]);
    let none = class("k", json!({"provisioner": "kubernetes.io/no-provisioner"}));
    assert_eq!(
        said(json!({}), vec![none]),
        ["event ProvisioningFailed no volume plugin matched name: kubernetes.io/no-provisioner"]
    );
    let waiting = "event ExternalProvisioning Waiting for a volume to be created either by the external provisioner 'x.example.com' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.";
    assert_eq!(said(json!({}), vec![class("k", json!({}))]), ["update persistentvolumeclaims n/c", waiting]);
    let asked = json!({"metadata": {"annotations": {"volume.kubernetes.io/storage-provisioner": "x.example.com"}}});
    assert_eq!(said(asked, vec![class("k", json!({}))]), [waiting]);
    let plan = of_claim(claim(json!({})), vec![], vec![class("k", json!({"provisioner": "kubernetes.io/aws-ebs"}))]);
    let annotations = json!({"volume.beta.kubernetes.io/storage-provisioner": "ebs.csi.aws.com",
        "volume.kubernetes.io/storage-provisioner": "ebs.csi.aws.com"});
    assert_eq!(body(&plan, 0)["metadata"]["annotations"], annotations);
}

#[test]
fn a_claim_that_names_no_class_gets_the_default_one_as_soon_as_there_is_one() {
    let open = || claim(json!({"spec": {"storageClassName": null}}));
    let default = json!({"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}});
    let plan = of_claim(open(), vec![], vec![class("d", default)]);
    assert_eq!(lines(&plan), ["update persistentvolumeclaims n/c"]);
    assert_eq!(body(&plan, 0)["spec"]["storageClassName"], "d");
    // Volumes without a class come first.
    let classless = volume(json!({"spec": {"storageClassName": ""}}));
    let plan = of_claim(open(), vec![classless], vec![]);
    assert_eq!(lines(&plan)[0], "update persistentvolumes /v");
}

#[test]
fn a_claim_of_a_waiting_class_waits_for_its_pod_and_then_for_the_provisioner() {
    let waiting = || class("k", json!({"volumeBindingMode": "WaitForFirstConsumer"}));
    let with_pods = |pods: Vec<Pod>| {
        let view = View::new().with([claim(json!({}))]).with([volume(json!({}))]).with([waiting()]).with(pods);
        lines(&binder().reconcile(&view, &Key::new("n", "c"), at(1)))
    };
    let user = |name: &str, node: &str| {
        let volumes = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]);
        pod(json!({"metadata": {"name": name}, "spec": {"nodeName": node, "volumes": volumes}}))
    };
    let first = "event WaitForFirstConsumer waiting for first consumer to be created before binding";
    assert_eq!(with_pods(vec![]), [first]);
    assert_eq!(with_pods(vec![user("bound", "n1")]), [first]);
    assert_eq!(with_pods(vec![user("a", "")]), ["event WaitForPodScheduled waiting for pod a to be scheduled"]);
    let both = with_pods(vec![user("a", ""), user("b", "")]);
    assert_eq!(both, ["event WaitForPodScheduled waiting for pods a,b to be scheduled"]);

    let placed = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "n1"}}});
    let plan = of_claim(claim(placed), vec![volume(json!({}))], vec![waiting()]);
    assert_eq!(lines(&plan)[0], "update persistentvolumeclaims n/c", "the provisioner is asked");
    assert_eq!(body(&plan, 0)["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"], "x.example.com");
    // What the scheduler has set aside is bound.
    let aside = volume(json!({"spec": {"claimRef": {"namespace": "n", "name": "c"}}}));
    assert_eq!(lines(&of_claim(claim(json!({})), vec![aside], vec![waiting()]))[0], "update persistentvolumes /v");
}

#[test]
fn a_bound_claim_without_its_volume_is_lost() {
    let lost = of_claim(bound(json!({})), vec![], vec![]);
    let gone = "event ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!";
    assert_eq!(lines(&lost), ["update persistentvolumeclaims/status n/c", gone]);
    assert_eq!(body(&lost, 0)["status"], json!({"phase": "Lost"}));
    assert_eq!(of_claim(bound(json!({"status": {"phase": "Lost", "accessModes": null}})), vec![], vec![]).writes, []);

    let others = volume(json!({"spec": {"claimRef": {"namespace": "n", "name": "c", "uid": "other"}}}));
    let misbound = "event ClaimMisbound Two claims are bound to the same volume, this one is bound incorrectly";
    assert_eq!(lines(&of_claim(bound(json!({})), vec![others], vec![]))[1], misbound);
    // A reference that was taken away is given back.
    assert_eq!(lines(&of_claim(bound(json!({})), vec![volume(json!({}))], vec![]))[0], "update persistentvolumes /v");
    let whole = volume(
        json!({"spec": {"claimRef": {"namespace": "n", "name": "c", "uid": "c-uid"}}, "status": {"phase": "Bound"}}),
    );
    assert_eq!(of_claim(bound(json!({})), vec![whole], vec![]), Plan::nothing());
}

fn tied(more: Value) -> PersistentVolume {
    let base = json!({"metadata": {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}},
        "spec": {"claimRef": {"namespace": "n", "name": "c", "uid": "c-uid"}}, "status": {"phase": "Bound"}});
    volume(merged(base, &more))
}

#[test]
fn a_volume_says_what_it_is() {
    let phase = |plan: Plan| (plan.writes.len() == 1).then(|| body(&plan, 0)["status"]["phase"].clone());
    let new = |more| volume(merged(json!({"status": {"phase": "Pending"}}), &more));
    assert_eq!(phase(of_volume(new(json!({})), vec![])), Some(json!("Available")));
    let aside = json!({"spec": {"claimRef": {"namespace": "n", "name": "c"}}});
    assert_eq!(phase(of_volume(new(aside), vec![claim(json!({}))])), Some(json!("Available")));
    let unsaid = tied(json!({"status": {"phase": "Available"}}));
    assert_eq!(phase(of_volume(unsaid, vec![bound(json!({}))])), Some(json!("Bound")));
    assert_eq!(phase(of_volume(tied(json!({})), vec![])), Some(json!("Released")));
    let again = bound(json!({"metadata": {"uid": "made-again"}}));
    assert_eq!(phase(of_volume(tied(json!({})), vec![again])), Some(json!("Released")));
    assert_eq!(of_volume(tied(json!({})), vec![claim(json!({}))]).writes, [], "the claim's turn");
    assert_eq!(of_volume(tied(json!({"status": {"phase": "Released"}})), vec![]).writes, [], "retained");
}

#[test]
fn a_volume_whose_claim_has_another_is_free_again_or_released() {
    let elsewhere = || bound(json!({"spec": {"volumeName": "w"}}));
    let plan = of_volume(tied(json!({})), vec![elsewhere()]);
    assert_eq!(lines(&plan), ["update persistentvolumes /v", "update persistentvolumes/status /v"]);
    let free = body(&plan, 0);
    assert_eq!((&free["spec"]["claimRef"], &free["metadata"]["annotations"]), (&Value::Null, &Value::Null));
    let by_hand = tied(json!({"metadata": {"annotations": null}}));
    let kept = body(&of_volume(by_hand, vec![elsewhere()]), 0)["spec"]["claimRef"].clone();
    assert_eq!(kept, json!({"namespace": "n", "name": "c"}));
    let made = tied(json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "x.example.com"}},
        "spec": {"persistentVolumeReclaimPolicy": "Delete"}}));
    assert_eq!(body(&of_volume(made, vec![elsewhere()]), 0)["status"]["phase"], "Released");
}

#[test]
fn what_nobody_can_delete_has_failed_and_says_so_once() {
    let released = |more| {
        tied(merged(
            json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}, "status": {"phase": "Released"}}),
            &more,
        ))
    };
    let plan = of_volume(released(json!({})), vec![]);
    let why = "host_path deleter only supports /tmp/.+ but received provided /x";
    assert_eq!(
        lines(&plan),
        ["update persistentvolumes/status /v".to_owned(), format!("event VolumeFailedDelete {why}")]
    );
    assert_eq!(body(&plan, 0)["status"], json!({"phase": "Failed", "message": why}));
    let again = of_volume(released(json!({"status": {"phase": "Failed"}})), vec![]);
    assert_eq!((lines(&again), again.requeue_after), (vec![], Some(Duration::from_secs(15))));
    let outside = json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "x.example.com"}}});
    assert_eq!(of_volume(released(outside), vec![]), Plan::nothing());
    let migrated = json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "kubernetes.io/gce-pd"}}});
    let marked = body(&of_volume(released(migrated), vec![]), 0)["metadata"]["annotations"].clone();
    assert_eq!(marked["pv.kubernetes.io/migrated-to"], "pd.csi.storage.gke.io");
    let unknown = of_volume(released(json!({"spec": {"persistentVolumeReclaimPolicy": "Burn"}})), vec![]);
    assert_eq!(
        lines(&unknown)[1],
        "event VolumeUnknownReclaimPolicy Volume has unrecognized PersistentVolumeReclaimPolicy"
    );
}

#[test]
fn a_recycled_volume_is_scrubbed_by_a_pod_and_free_afterwards() {
    let released = tied(json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle"}, "status": {"phase": "Released"}}));
    let with = |pods: Vec<Pod>| {
        let view =
            View::new().with::<PersistentVolumeClaim>([]).with([released.clone()]).with::<StorageClass>([]).with(pods);
        binder().reconcile(&view, &Key::cluster("v"), at(1))
    };
    let start = with(vec![]);
    assert_eq!(lines(&start), ["create pods default/recycler-for-v"]);
    let spec = body(&start, 0)["spec"].clone();
    assert_eq!((&spec["volumes"][0]["hostPath"]["path"], &spec["activeDeadlineSeconds"]), (&json!("/x"), &json!(60)));

    let scrubber =
        |status: Value| pod(json!({"metadata": {"name": "recycler-for-v", "namespace": "default"}, "status": status}));
    assert_eq!(recycler::volume_of(&scrubber(json!({}))), Some(Key::cluster("v")));
    assert_eq!(with(vec![scrubber(json!({"phase": "Running"}))]).writes, []);
    let failed = with(vec![scrubber(json!({"phase": "Failed", "message": "late"}))]);
    assert_eq!(lines(&failed)[2], "event VolumeFailedRecycle Recycle failed: late");
    let done = with(vec![scrubber(json!({"phase": "Succeeded"}))]);
    assert_eq!(
        lines(&done),
        [
            "delete pods default/recycler-for-v",
            "event VolumeRecycled Volume recycled",
            "update persistentvolumes /v",
            "update persistentvolumes/status /v"
        ]
    );
    let user = pod(
        json!({"metadata": {"name": "p"}, "spec": {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]}}),
    );
    assert_eq!(lines(&with(vec![user])), ["event VolumeFailedRecycle Volume is used by pods: n/p"]);
}

const CLAIMS: &str = "/api/v1/namespaces/n/persistentvolumeclaims";
const VOLUMES: &str = "/api/v1/persistentvolumes";

/// A binder at work on this server until the token is cancelled.
fn start(server: &FakeServer) -> CancellationToken {
    let cancel = CancellationToken::new();
    let environment = Environment::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)), 1);
    let reflectors = Reflectors::new(server.client(), environment.clone(), cancel.clone());
    let runtime = Runtime { reflectors, environment };
    let (client, stop) = (server.client(), cancel.clone());
    tokio::spawn(async move { runtime.run(binder(), client, COMPONENT, stop).await });
    cancel
}

#[tokio::test(start_paused = true)]
async fn claims_that_are_alike_get_a_volume_each_and_a_deleted_claim_takes_its_data_along() {
    let server = FakeServer::new();
    let cancel = start(&server);
    let data = std::path::PathBuf::from(format!("/tmp/binder-{}", std::process::id()));
    std::fs::create_dir_all(data.join("inside")).unwrap();
    for name in ["a", "b", "c"] {
        let path = data.join(name);
        let more = json!({"metadata": {"name": name}, "spec": {"hostPath": {"path": path}, "persistentVolumeReclaimPolicy": "Delete"},
            "status": {"phase": "Pending"}});
        server.put(VOLUMES, merged(volume_json(&more), &json!({"apiVersion": "v1", "kind": "PersistentVolume"})));
        std::fs::create_dir_all(&path).unwrap();
        let more = json!({"metadata": {"name": name}, "apiVersion": "v1", "kind": "PersistentVolumeClaim"});
        server.put(CLAIMS, claim_json(&more));
    }
    let claims = || server.list(CLAIMS);
    until("all are bound", || claims().iter().all(|claim| claim["status"]["phase"] == "Bound")).await;
    let mut names: Vec<String> = claims().iter().map(|claim| claim["spec"]["volumeName"].to_string()).collect();
    names.sort();
    assert_eq!(names, ["\"a\"", "\"b\"", "\"c\""]);

    let mine = server.get(&format!("{CLAIMS}/b")).unwrap()["spec"]["volumeName"].as_str().unwrap().to_owned();
    server.remove(&format!("{CLAIMS}/b"));
    until("the volume is gone", || server.get(&format!("{VOLUMES}/{mine}")).is_none()).await;
    assert!(!data.join(&mine).exists());
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 3, "the others' data and what is nobody's");
    std::fs::remove_dir_all(&data).unwrap();
    cancel.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_was_meant_for_a_claim_is_free_once_the_claim_has_another() {
    let server = FakeServer::new();
    let kinds = |kind: &str| json!({"apiVersion": "v1", "kind": kind});
    let claim = server.put(CLAIMS, merged(claim_json(&json!({})), &kinds("PersistentVolumeClaim")));
    let uid = claim["metadata"]["uid"].clone();
    let put = |more: Value| server.put(VOLUMES, merged(volume_json(&more), &kinds("PersistentVolume")));
    put(json!({"metadata": {"name": "spare", "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}},
        "spec": {"capacity": {"storage": "1Mi"}, "claimRef": {"namespace": "n", "name": "c", "uid": uid}},
        "status": {"phase": "Bound"}}));
    let cancel = start(&server);
    until("it is told of", || !server.list("/api/v1/namespaces/n/events").is_empty()).await;
    put(json!({"metadata": {"name": "big"}}));
    until("the claim is bound", || server.list(CLAIMS)[0]["spec"]["volumeName"] == "big").await;
    let spare = || server.get(&format!("{VOLUMES}/spare")).unwrap();
    until("the spare one is free", || spare()["status"]["phase"] == "Available").await;
    assert_eq!(spare()["spec"]["claimRef"], Value::Null);
    cancel.cancel();
}
