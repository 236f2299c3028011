//! Groups of the Kubernetes project: whoever defines kinds in them says in an annotation that this was agreed on.

use machinery::field::{Error, Path};
use serde_json::Value;

use crate::structural::is_absolute_url;
use crate::value::text;

const ANNOTATION: &str = "api-approved.kubernetes.io";
const ABOUT: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// What the annotation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    Missing,
    Bypassed,
    Approved,
    Invalid,
}

/// Refuses a definition of a protected group without approval; an update may leave it as it was.
pub fn validate(new: &Value, old: Option<&Value>) -> Option<Error> {
    if !is_protected(text(new, "/spec/group")) {
        return None;
    }
    let approval = approval(new);
    if old.is_some_and(|old| self::approval(old) == approval) {
        return None;
    }
    let (metadata, annotations) = (Path::new("metadata"), "annotations");
    let path = metadata.child(annotations);
    let path = path.key(ANNOTATION);
    let needed = format!("protected groups must have approval annotation \"{ANNOTATION}\"");
    match approval {
        Approval::Approved | Approval::Bypassed => None,
        Approval::Missing => Some(Error::required(&path, format!("{needed}, {ABOUT}"))),
        Approval::Invalid => {
            let detail = format!("{needed} with either a URL or a reason starting with \"unapproved\", {ABOUT}");
            Some(Error::invalid(&path, annotation(new), detail))
        }
    }
}

/// What a definition of a protected group says, and that in words; none for other groups.
pub fn state(definition: &Value) -> Option<(Approval, String)> {
    if !is_protected(text(definition, "/spec/group")) {
        return None;
    }
    let needed = format!("protected groups must have approval annotation \"{ANNOTATION}\"");
    let state = approval(definition);
    let words = match state {
        Approval::Missing => format!("{needed}, {ABOUT}"),
        Approval::Bypassed => format!("not approved: {}", machinery::go_text::quote(annotation(definition))),
        Approval::Approved => format!("approved in {}", annotation(definition)),
        Approval::Invalid => {
            format!("{needed} with either a URL or a reason starting with \"unapproved\", {ABOUT}")
        }
    };
    Some((state, words))
}

fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

fn annotation(object: &Value) -> &str {
    let annotations = object.pointer("/metadata/annotations");
    annotations.and_then(|annotations| annotations.get(ANNOTATION)).and_then(Value::as_str).unwrap_or_default()
}

fn approval(object: &Value) -> Approval {
    match annotation(object) {
        "" => Approval::Missing,
        reason if reason.starts_with("unapproved") => Approval::Bypassed,
        url if is_absolute_url(url) => Approval::Approved,
        _ => Approval::Invalid,
    }
}
