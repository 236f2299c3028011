//! What ReplicationController, ReplicaSet and Deployment have in common: a number of pods made from a template and
//! found by a selector.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use machinery::field::{Error, ErrorList, Path};
use machinery::labels::Selector;
use machinery::meta_validation::NameRule;
use machinery::names as text_names;
use serde_json::Value;

use crate::checks;
use crate::core::pod::{self, validate};
use crate::erase;

/// A label selector of a workload: given, well formed, and selecting something. `kind` is for the words.
pub fn selector(selector: Option<&LabelSelector>, kind: &str, path: &Path) -> (ErrorList, Option<Selector>) {
    let Some(selector) = selector else { return (vec![Error::required(path, "")], Some(Selector::nothing())) };
    let mut errors = checks::label_selector(selector, path);
    let is_empty = selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
    if is_empty {
        errors.push(Error::invalid(path, selector, format!("empty selector is invalid for {kind}")));
    }
    let value = serde_json::to_value(selector).unwrap_or(Value::Null);
    match Selector::from_label_selector(&value) {
        Ok(parsed) => (errors, Some(parsed)),
        Err(_) => {
            errors.push(Error::invalid(path, selector, "invalid label selector"));
            (errors, None)
        }
    }
}

/// A template whose pods the selector finds, and which run for ever. `kind` is for the words.
pub fn template(template: &PodTemplateSpec, selector: &Selector, kind: &str, path: &Path) -> ErrorList {
    let mut errors: ErrorList = unmatched_labels(template, selector, path).into_iter().collect();
    errors.extend(lasting_template(template, kind, path));
    errors
}

/// Pods of the template that the selector would not find.
pub fn unmatched_labels(template: &PodTemplateSpec, selector: &Selector, path: &Path) -> Option<Error> {
    let labels = template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    let finds =
        selector.is_everything() || selector.matches(|key: &str| labels.and_then(|labels| labels.get(key).cloned()));
    let metadata = path.child("metadata");
    let labels_path = metadata.child("labels");
    (!finds).then(|| Error::invalid(&labels_path, labels, "`selector` does not match template `labels`"))
}

/// A template whose pods run for ever.
pub fn lasting_template(template: &PodTemplateSpec, kind: &str, path: &Path) -> ErrorList {
    let mut errors = validate::template(template, path);
    let default = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&default);
    let at = path.child("spec");
    let policy = spec.restart_policy.as_deref().unwrap_or("");
    // A policy that does not exist at all has been reported.
    if matches!(policy, "OnFailure" | "Never") {
        errors.push(Error::not_supported(&at.child("restartPolicy"), policy, &["Always"]));
    }
    if spec.active_deadline_seconds.is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(Error::forbidden(&at.child("activeDeadlineSeconds"), detail));
    }
    errors
}

/// Warnings about the pods that a template makes.
pub fn template_warnings(new: &PodTemplateSpec, old: Option<&PodTemplateSpec>) -> Vec<String> {
    pod::warnings::template(new, old, &Path::new("spec.template"))
}

/// A number of pods, or a share of them.
pub fn positive_or_percent(value: &IntOrString, path: &Path) -> ErrorList {
    match value {
        IntOrString::Int(number) => checks::non_negative((*number).into(), path).into_iter().collect(),
        IntOrString::String(text) => checks::each(path, text, text_names::percent(text)),
    }
}

/// A share is at most everything.
pub fn at_most_all(value: &IntOrString, path: &Path) -> Option<Error> {
    let IntOrString::String(text) = value else { return None };
    percent(text).filter(|percent| *percent > 100)?;
    Some(Error::invalid(path, value, "must not be greater than 100%"))
}

/// Whether a number or share is none at all; what cannot be read is none.
pub fn is_zero(value: &IntOrString) -> bool {
    match value {
        IntOrString::Int(number) => *number == 0,
        IntOrString::String(text) => percent(text).unwrap_or(0) == 0,
    }
}

fn percent(text: &str) -> Option<i64> {
    text.strip_suffix('%')?.parse().ok()
}

/// A count of collisions only ever grows.
pub fn collisions(now: Option<i32>, was: Option<i32>, path: &Path) -> Option<Error> {
    was.filter(|was| now.is_none_or(|now| now < *was))?;
    Some(Error::invalid(&path.child("collisionCount"), now, "cannot be decremented"))
}

/// Replica counts of a status: none negative, none larger than what it is a part of.
pub struct Counts<'a> {
    pub path: Path<'a>,
    pub errors: ErrorList,
}

impl<'a> Counts<'a> {
    pub fn new(path: Path<'a>) -> Self {
        Counts { path, errors: ErrorList::new() }
    }

    pub fn non_negative(&mut self, field: &str, count: Option<i64>) {
        if let Some(count) = count {
            self.errors.extend(checks::non_negative(count, &self.path.child(field)));
        }
    }

    pub fn at_most(&mut self, field: &str, count: Option<i32>, most: Option<i32>, of: &str) {
        let (count, most) = (count.unwrap_or(0), most.unwrap_or(0));
        if count > most {
            let error = Error::invalid(&self.path.child(field), count, format!("cannot be greater than {of}"));
            self.errors.push(error);
        }
    }
}

/// The labels of a template become the selector, where a version let it out, and the workload's own labels.
pub fn selector_from_template(object: &mut Value, as_label_selector: bool) {
    let Some(labels) = object.pointer("/spec/template/metadata/labels").filter(|l| has_entries(l)).cloned() else {
        return;
    };
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if !spec.get("selector").is_some_and(has_entries)
        && (!as_label_selector || spec.get("selector").is_none_or(Value::is_null))
    {
        let selector = if as_label_selector { serde_json::json!({"matchLabels": labels}) } else { labels.clone() };
        spec.insert("selector".to_string(), selector);
    }
    if let Some(object) = object.as_object_mut() {
        let metadata = object.entry("metadata").or_insert_with(|| serde_json::json!({}));
        if let Some(metadata) = metadata.as_object_mut()
            && !metadata.get("labels").is_some_and(has_entries)
        {
            metadata.insert("labels".to_string(), labels);
        }
    }
}

fn has_entries(value: &Value) -> bool {
    value.as_object().is_some_and(|map| !map.is_empty())
}

/// Sets a field of the spec that is absent.
pub fn default_in_spec(object: &mut Value, field: &str, value: Value) {
    let Some(object) = object.as_object_mut() else { return };
    let spec = object.entry("spec").or_insert_with(|| serde_json::json!({}));
    if let Some(spec) = spec.as_object_mut()
        && spec.get(field).is_none_or(Value::is_null)
    {
        spec.insert(field.to_string(), value);
    }
}

/// What a new workload has against it: its metadata, then its kind's own rules.
pub fn checked(value: &Value, name: NameRule, validate: fn(&Value) -> ErrorList) -> ErrorList {
    let mut errors = erase::metadata(value, true, name);
    errors.extend(validate(value));
    errors
}

/// The same of an update, which also must not change what is `frozen`.
pub fn checked_update<E: IntoIterator<Item = Error>>(
    new: &Value,
    old: &Value,
    validate: fn(&Value) -> ErrorList,
    frozen: fn(&Value, &Value) -> E,
) -> ErrorList {
    let mut errors = erase::metadata_update(new, old, true, None);
    errors.extend(validate(new));
    errors.extend(frozen(new, old));
    errors
}

/// Whether a workload has a selector, be it an empty one: the typed form cannot tell.
pub fn states_selector(value: &Value) -> bool {
    value.pointer("/spec/selector").is_some_and(|selector| !selector.is_null())
}

/// Runs `default`, for types whose selector is always there in the typed form but tells absent from empty in JSON.
pub fn keeping_absent_selector<E>(
    object: &mut Value,
    default: impl FnOnce(&mut Value) -> Result<(), E>,
) -> Result<(), E> {
    let given = states_selector(object);
    default(object)?;
    if !given && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.shift_remove("selector");
    }
    Ok(())
}

/// The selector of an object whose `spec.selector` is a label selector, as a scale shows it.
pub fn scale_selector(object: &Value) -> String {
    let selector = object.pointer("/spec/selector").map(Selector::from_label_selector);
    selector.and_then(Result::ok).map(|s| s.to_string()).unwrap_or_default()
}
