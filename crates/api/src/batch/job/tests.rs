use super::*;

fn job(change: impl FnOnce(&mut Value)) -> Value {
    let mut object = json!({"metadata": {"name": "j", "namespace": "n", "uid": "u-1", "resourceVersion": "1"}, "spec": {
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}});
    change(&mut object);
    (KIND.hooks.default)(&mut object).expect("the object is well formed");
    let status = object.get("status").cloned();
    (KIND.hooks.prepare_create)(&mut object).expect("the object is well formed");
    if let Some(status) = status {
        object["status"] = status;
    }
    object
}

fn texts(errors: &[Error]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn refused_update(new: &Value, old: &Value) -> Vec<String> {
    texts(&(KIND.hooks.validate_update)(new, old))
}

#[test]
fn labels_and_selector_are_the_jobs_own() {
    let made = job(|_| {});
    assert_eq!((KIND.hooks.validate)(&made), []);
    assert_eq!(made["spec"]["selector"], json!({"matchLabels": {UID_LABEL: "u-1"}}));
    let labels = json!({UID_LABEL: "u-1", NAME_LABEL: "j", OLD_UID_LABEL: "u-1", OLD_NAME_LABEL: "j"});
    assert_eq!(made["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(made["metadata"]["labels"], labels);
    let other = job(|job| job["spec"]["template"]["metadata"]["labels"] = json!({OLD_NAME_LABEL: "k"}));
    assert!(texts(&(KIND.hooks.validate)(&other))[0].ends_with("must be 'j'"));
    let manual = job(|job| job["spec"]["manualSelector"] = true.into());
    assert_eq!(texts(&(KIND.hooks.validate)(&manual))[0], "spec.selector: Required value");
}

#[test]
fn a_waiting_job_may_be_sent_elsewhere_and_get_other_resources() {
    let waiting = job(|job| job["spec"]["suspend"] = true.into());
    let mut moved = waiting.clone();
    moved["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
    moved["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1"}});
    assert_eq!(refused_update(&moved, &waiting), [""; 0]);
    moved["spec"]["template"]["spec"]["containers"][0]["image"] = "other".into();
    assert!(refused_update(&moved, &waiting)[0].starts_with("spec.template.spec: Invalid value: {\"Volumes\""));
    let running = job(|_| {});
    let mut moved = running.clone();
    moved["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
    assert!(refused_update(&moved, &running)[0].ends_with("field is immutable"));
}

#[test]
fn an_indexed_job_grows_as_a_whole() {
    let sized = |parallelism: i32, completions: i32| {
        job(|job| {
            job["spec"]["completionMode"] = INDEXED.into();
            job["spec"]["parallelism"] = parallelism.into();
            job["spec"]["completions"] = completions.into();
        })
    };
    assert_eq!(refused_update(&sized(3, 3), &sized(2, 2)), [""; 0]);
    assert_eq!(
        refused_update(&sized(2, 3), &sized(2, 2)),
        ["spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"]
    );
}

#[test]
fn a_status_is_checked_where_it_changed() {
    let with = |status: Value| job(|job| job["status"] = status);
    let refused = |new: &Value, old: &Value| texts(&(KIND.hooks.validate_status_update)(new, old));
    let fresh = with(json!({"startTime": "2026-01-01T00:00:00Z", "active": 1}));
    let bad = with(json!({"startTime": "2026-01-01T00:00:00Z", "active": 1, "ready": 2}));
    assert_eq!(refused(&bad, &fresh), ["status.ready: Invalid value: 2: cannot set more ready pods than active"]);
    assert_eq!(refused(&bad, &bad), [""; 0], "an old fault does not stop other reports");
    let complete =
        with(json!({"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Complete", "status": "True"}]}));
    assert_eq!(
        refused(&complete, &fresh),
        [
            "status.completionTime: Required value: completionTime is required for Complete jobs",
            "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ]
    );
    let gone = with(json!({"active": 1}));
    assert_eq!(
        refused(&gone, &fresh),
        ["status.startTime: Required value: startTime cannot be removed for unsuspended job"]
    );
}

#[test]
fn tables_say_how_it_goes() {
    let now = "2026-01-01T00:01:30Z".parse().expect("a time");
    let row = |change: fn(&mut Value)| (KIND.cells)(&job(change), now)[1..4].to_vec();
    assert_eq!(row(|_| {}), ["Running", "0/1", ""]);
    let done = row(|job| {
        job["spec"]["parallelism"] = 3.into();
        job["status"] = json!({"succeeded": 1, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:10Z",
            "conditions": [{"type": "Complete", "status": "True"}]});
    });
    assert_eq!(done, ["Complete", "1/1 of 3", "10s"]);
}
