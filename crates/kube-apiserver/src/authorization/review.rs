//! Reviews: somebody asks whether a user may do something, or what they themselves may do.

use std::collections::BTreeMap;

use machinery::field::{Error, ErrorList, Path};
use machinery::gvk::GroupKind;
use machinery::status::Status;
use serde_json::{Map, Value, json};

use super::review_selectors::{self, Selectors};
use super::{Answer, Attributes, Authorizer, Decision};
use crate::UserInfo;

/// The group of the reviews.
pub const GROUP: &str = "authorization.k8s.io";

/// Answers a review of `kind` in `namespace` ("" for those without), asked by `user`: the object with its status.
pub async fn review(
    authorizer: &Authorizer,
    kind: &str,
    user: &UserInfo,
    namespace: &str,
    mut object: Value,
) -> Result<Value, Status> {
    let status = match kind {
        "SelfSubjectRulesReview" => {
            let namespace = text(&object, "/spec/namespace").to_owned();
            let status = rules(authorizer, user, &namespace)?;
            object["spec"] = json!({});
            object["metadata"] = json!({});
            status
        }
        _ => {
            let errors = validate(kind, namespace, &object);
            if !errors.is_empty() {
                return Err(Status::invalid(&GroupKind::new(GROUP, ""), "", errors));
            }
            if kind == "SelfSubjectAccessReview" {
                access(authorizer, user, &object["spec"]).await
            } else {
                access(authorizer, &subject(&object["spec"]), &object["spec"]).await
            }
        }
    };
    object["status"] = status;
    Ok(object)
}

async fn access(authorizer: &Authorizer, user: &UserInfo, spec: &Value) -> Value {
    let selectors = Selectors::of(spec);
    let Answer { decision, reason, error } = authorizer.authorize(&attributes(user, spec, &selectors)).await;
    let mut status = Map::new();
    status.insert("allowed".to_owned(), (decision == Decision::Allow).into());
    if decision == Decision::Deny {
        status.insert("denied".to_owned(), true.into());
    }
    if !reason.is_empty() {
        status.insert("reason".to_owned(), reason.into());
    }
    if let Some(error) = error {
        status.insert("evaluationError".to_owned(), error.into());
    }
    Value::Object(status)
}

fn attributes<'a>(user: &'a UserInfo, spec: &'a Value, selectors: &'a Selectors) -> Attributes<'a> {
    match spec.get("resourceAttributes").filter(|attributes| !attributes.is_null()) {
        Some(resource) => Attributes {
            user,
            verb: text(resource, "/verb"),
            api_group: text(resource, "/group"),
            api_version: text(resource, "/version"),
            resource: text(resource, "/resource"),
            subresource: text(resource, "/subresource"),
            namespace: text(resource, "/namespace"),
            name: text(resource, "/name"),
            field_selector: &selectors.fields,
            label_selector: &selectors.labels,
            path: "",
            resource_request: true,
        },
        None => Attributes {
            verb: text(spec, "/nonResourceAttributes/verb"),
            api_group: "",
            api_version: "",
            path: text(spec, "/nonResourceAttributes/path"),
            resource_request: false,
            ..Attributes::resource(user, "", "", "")
        },
    }
}

/// The user that a SubjectAccessReview asks about.
fn subject(spec: &Value) -> UserInfo {
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra: BTreeMap<String, Vec<String>> = spec
        .get("extra")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.to_lowercase(), strings(values)))
        .collect();
    UserInfo {
        name: text(spec, "/user").to_owned(),
        uid: Some(text(spec, "/uid").to_owned()).filter(|uid| !uid.is_empty()),
        groups: spec.get("groups").map(strings).unwrap_or_default(),
        extra,
    }
}

fn validate(kind: &str, namespace: &str, object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = Path::new("spec");
    let spec = object.get("spec").unwrap_or(&Value::Null);
    let given = |field| spec.get(field).filter(|value| !value.is_null());
    let (resource, path) = (given("resourceAttributes"), given("nonResourceAttributes"));
    let path_value = path.map(|path| json!({"Path": text(path, "/path"), "Verb": text(path, "/verb")}));
    if let Some(resource) = resource {
        review_selectors::validate(&root.child("resourceAttributes"), resource, &mut errors);
    }
    if resource.is_some() && path.is_some() {
        let detail = "cannot be specified in combination with resourceAttributes";
        errors.push(Error::invalid(&root.child("nonResourceAttributes"), &path_value, detail));
    }
    if resource.is_none() && path.is_none() {
        let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(Error::invalid(&root.child("resourceAttributes"), Value::Null, detail));
    }
    let nobody =
        text(spec, "/user").is_empty() && spec.get("groups").and_then(Value::as_array).is_none_or(Vec::is_empty);
    if kind != "SelfSubjectAccessReview" && nobody {
        errors.push(Error::invalid(&root.child("user"), "", "at least one of user or group must be specified"));
    }
    let local = kind == "LocalSubjectAccessReview";
    let metadata = object.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    // The server itself fills in these.
    let own = |field: &str| matches!(field, "creationTimestamp" | "managedFields") || (local && field == "namespace");
    if metadata.iter().any(|(field, value)| !own(field) && !value.is_null()) {
        let detail = if local { "must be empty except for namespace" } else { "must be empty" };
        errors.push(Error::invalid(&Path::new("metadata"), Value::Object(metadata), detail));
    }
    if local {
        if let Some(resource) = resource
            && text(resource, "/namespace") != namespace
        {
            let path = root.child("resourceAttributes");
            let path = path.child("namespace");
            errors.push(Error::invalid(&path, text(resource, "/namespace"), "must match metadata.namespace"));
        }
        if path.is_some() {
            let detail = "disallowed on this kind of request";
            errors.push(Error::invalid(&root.child("nonResourceAttributes"), &path_value, detail));
        }
    }
    errors
}

fn rules(authorizer: &Authorizer, user: &UserInfo, namespace: &str) -> Result<Value, Status> {
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let owned = authorizer.rules_for(user, namespace);
    let (mut resource_rules, mut path_rules) = (Vec::new(), Vec::new());
    for rule in &owned.rules {
        if let Some(resources) = rule.resources.as_deref().filter(|resources| !resources.is_empty()) {
            let groups = rule.api_groups.as_deref().unwrap_or_default();
            let mut entry = json!({"verbs": rule.verbs, "apiGroups": groups, "resources": resources});
            if let Some(names) = rule.resource_names.as_ref().filter(|names| !names.is_empty()) {
                entry["resourceNames"] = json!(names);
            }
            resource_rules.push(entry);
        }
        if let Some(urls) = rule.non_resource_urls.as_ref().filter(|urls| !urls.is_empty()) {
            path_rules.push(json!({"verbs": rule.verbs, "nonResourceURLs": urls}));
        }
    }
    let mut status =
        json!({"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": owned.incomplete});
    if !owned.errors.is_empty() {
        status["evaluationError"] = owned.errors.join(", ").into();
    }
    Ok(status)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
