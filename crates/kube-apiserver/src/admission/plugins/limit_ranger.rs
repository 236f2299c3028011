//! LimitRanges: fill in what containers leave open, refuse what lies outside. All violations of one range come in one
//! answer.

use std::collections::BTreeMap;

use async_trait::async_trait;
use machinery::quantity::Quantity;
use machinery::status::Status;
use serde_json::{Map, Value};

use crate::admission::usage::{Usage, of_pod, quantities};
use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

pub struct LimitRanger;

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if !changes_pod(review) {
            return Ok(());
        }
        for range in ranges(review) {
            set_defaults(&range, object);
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(check) = check_of(review) else { return Ok(()) };
        // What is going away may stay as it is.
        let Some(new) = object.filter(|_| !review.old.is_some_and(object::is_deleting)) else { return Ok(()) };
        for range in ranges(review) {
            let mut errors = Vec::new();
            for limit in object::list(&range, "/spec/limits") {
                check(limit, new, &mut errors);
            }
            match errors.as_slice() {
                [] => {}
                [error] => return Err(review.forbidden(object, error)),
                errors => return Err(review.forbidden(object, format!("[{}]", errors.join(", ")))),
            }
        }
        Ok(())
    }
}

type Check = fn(&Value, &Value, &mut Vec<String>);

/// Whether the write says what a pod uses: after its making that changes by resizing alone.
fn changes_pod(review: &Review<'_>) -> bool {
    let about = (review.kind.group, review.kind.plural, review.subresource, review.operation);
    matches!(about, ("", "pods", "", Operation::Create) | ("", "pods", "resize", Operation::Update))
}

/// What a claim asks for may change by any update.
fn check_of(review: &Review<'_>) -> Option<Check> {
    match (review.kind.group, review.kind.plural, review.subresource, review.operation) {
        _ if changes_pod(review) => Some(check_pod),
        ("", "persistentvolumeclaims", "", Operation::Create | Operation::Update) => Some(check_claim),
        _ => None,
    }
}

fn ranges(review: &Review<'_>) -> Vec<Value> {
    let kind = api::find("", "v1", "limitranges").map(|(kind, _)| kind);
    kind.map(|kind| review.server.registry.list(kind, review.namespace)).unwrap_or_default()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Fills in requests and limits of containers and notes in an annotation what was filled in.
fn set_defaults(range: &Value, pod: &mut Value) {
    let mut requests = BTreeMap::new();
    let mut limits = BTreeMap::new();
    for limit in object::list(range, "/spec/limits").iter().filter(|limit| text(limit, "type") == "Container") {
        collect(limit.get("defaultRequest"), &mut requests);
        collect(limit.get("default"), &mut limits);
    }
    let mut notes = Vec::new();
    for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
        let containers = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = text(container, "name").to_owned();
            for (which, defaults) in [("requests", &requests), ("limits", &limits)] {
                let set = merge(container, which, defaults);
                if !set.is_empty() {
                    let singular = which.trim_end_matches('s');
                    notes.push(format!("{} {singular} for {word} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        machinery::meta::set_annotation(pod, ANNOTATION, &note);
    }
}

fn collect(from: Option<&Value>, into: &mut BTreeMap<String, Value>) {
    for (name, quantity) in from.and_then(Value::as_object).into_iter().flatten() {
        into.entry(name.clone()).or_insert_with(|| quantity.clone());
    }
}

/// Adds the defaults that a container lacks; says which.
fn merge<'d>(container: &mut Value, which: &str, defaults: &'d BTreeMap<String, Value>) -> Vec<&'d str> {
    let mut set = Vec::new();
    for (name, quantity) in defaults {
        let has = container.pointer(&format!("/resources/{which}")).and_then(|map| map.get(name)).is_some();
        if has {
            continue;
        }
        let resources = object::map_mut(container, "resources");
        let map = resources.entry(which).or_insert_with(|| Value::Object(Map::new()));
        if !map.is_object() {
            *map = Value::Object(Map::new());
        }
        map[name] = quantity.clone();
        set.push(name.as_str());
    }
    set
}

fn check_pod(limit: &Value, pod: &Value, errors: &mut Vec<String>) {
    match text(limit, "type") {
        "Container" => {
            for list in ["containers", "initContainers"] {
                for container in object::list(pod, &format!("/spec/{list}")) {
                    let requests = quantities(container.pointer("/resources/requests"));
                    let limits = quantities(container.pointer("/resources/limits"));
                    check_usage(limit, "Container", &requests, &limits, errors);
                }
            }
        }
        "Pod" => check_usage(limit, "Pod", &of_pod(pod, "requests"), &of_pod(pod, "limits"), errors),
        _ => {}
    }
}

fn check_claim(limit: &Value, claim: &Value, errors: &mut Vec<String>) {
    const WHAT: &str = "PersistentVolumeClaim";
    if text(limit, "type") != WHAT {
        return;
    }
    // Limits of a claim mean nothing.
    let requests = quantities(claim.pointer("/spec/resources/requests"));
    check_min(limit, WHAT, &requests, &Usage::new(), errors);
    for (name, max) in quantities(limit.get("max")) {
        let rule = format!("maximum {name} usage per {WHAT} is {max}");
        match requests.get(&name) {
            None => errors.push(format!("{rule}.  No request is specified")),
            Some(request) if *request > max => errors.push(format!("{rule}, but request is {request}")),
            Some(_) => {}
        }
    }
}

fn check_usage(limit: &Value, what: &str, requests: &Usage, limits: &Usage, errors: &mut Vec<String>) {
    check_min(limit, what, requests, limits, errors);
    for (name, max) in quantities(limit.get("max")) {
        let rule = format!("maximum {name} usage per {what} is {max}");
        match limits.get(&name) {
            None => errors.push(format!("{rule}.  No limit is specified")),
            Some(limit) if *limit > max => errors.push(format!("{rule}, but limit is {limit}")),
            Some(_) => {
                if let Some(request) = requests.get(&name).filter(|request| **request > max) {
                    errors.push(format!("{rule}, but request is {request}"));
                }
            }
        }
    }
    for (name, ratio) in quantities(limit.get("maxLimitRequestRatio")) {
        check_ratio(&name, what, &ratio, requests, limits, errors);
    }
}

fn check_min(limit: &Value, what: &str, requests: &Usage, limits: &Usage, errors: &mut Vec<String>) {
    for (name, min) in quantities(limit.get("min")) {
        let rule = format!("minimum {name} usage per {what} is {min}");
        match requests.get(&name) {
            None => errors.push(format!("{rule}.  No request is specified")),
            Some(request) if *request < min => errors.push(format!("{rule}, but request is {request}")),
            Some(_) => {
                if let Some(limit) = limits.get(&name).filter(|limit| **limit < min) {
                    errors.push(format!("{rule}, but limit is {limit}"));
                }
            }
        }
    }
}

fn check_ratio(name: &str, what: &str, max: &Quantity, requests: &Usage, limits: &Usage, errors: &mut Vec<String>) {
    let rule = format!("{name} max limit to request ratio per {what} is {max}");
    let Some(request) = requests.get(name).filter(|request| !request.is_zero()) else {
        errors.push(format!("{rule}, but no request is specified or request is 0"));
        return;
    };
    let Some(limit) = limits.get(name).filter(|limit| !limit.is_zero()) else {
        errors.push(format!("{rule}, but no limit is specified or limit is 0"));
        return;
    };
    let ratio = limit.approximate() / request.approximate();
    if ratio > max.approximate() {
        errors.push(format!("{rule}, but provided ratio is {ratio:.6}"));
    }
}
