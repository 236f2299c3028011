//! ControllerRevision: the state that a controller may go back to. Nothing but its number ever changes.

use k8s_openapi::api::apps::v1::ControllerRevision;
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::{integer, list, text};
use crate::{cells, checks, names};

const SCHEMA: &str = "io.k8s.api.apps.v1.ControllerRevision";
const REPLACEMENT: &str = "apps/v1 ControllerRevision";

pub static KIND: Kind = Kind {
    group: "apps",
    kind: "ControllerRevision",
    list_kind: "ControllerRevisionList",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "apps",
            "v1beta2",
            SCHEMA,
            Deprecated { since: "1.9", removed: Some("1.16"), replacement: REPLACEMENT },
            |_| {},
        ),
        Version::old(
            "apps",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.8", removed: Some("1.16"), replacement: REPLACEMENT },
            |_| {},
        ),
    ],
    columns: &[
        Column::NAME,
        Column::new("Controller", "string", 0, "Controller of the object"),
        Column::new("Revision", "string", 0, "Revision indicates the revision of the state represented by Data."),
        Column::AGE,
    ],
    cells: |v, now| {
        vec![cells::name(v), cells::or_none(controller(v)), integer(v, "/revision").into(), cells::age(v, now)]
    },
    hooks: hooks!(
        ControllerRevision,
        true,
        names::subdomain,
        full { validate: validate, validate_update: validate_update }
    ),
    ..Kind::BASE
};

/// `daemonset.apps/name` of the owner that controls the object; empty without one.
fn controller(object: &Value) -> String {
    let owners = list(object, "/metadata/ownerReferences");
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) else { return String::new() };
    let kind = text(owner, "/kind").to_lowercase();
    match text(owner, "/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text(owner, "/name")),
        None => format!("{kind}/{}", text(owner, "/name")),
    }
}

fn validate(revision: &ControllerRevision) -> ErrorList {
    let mut errors = ErrorList::new();
    if revision.data.as_ref().is_none_or(|data| data.0.is_null()) {
        errors.push(Error::required(&Path::new("data"), "data is mandatory"));
    }
    errors.extend(checks::non_negative(revision.revision, &Path::new("revision")));
    errors
}

fn validate_update(new: &ControllerRevision, old: &ControllerRevision) -> ErrorList {
    let mut errors = validate(new);
    errors.extend(checks::immutable(&new.data, &old.data, &Path::new("data")));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_controller_is_named_with_its_group() {
        let owned = |owner: Value| json!({"metadata": {"ownerReferences": [{"kind": "Node", "name": "n"}, owner]}});
        let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": true});
        assert_eq!(controller(&owned(owner)), "daemonset.apps/d");
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "controller": true});
        assert_eq!(controller(&owned(owner)), "pod/p");
        assert_eq!(controller(&owned(json!({"kind": "Pod", "name": "p"}))), "");
    }
}
