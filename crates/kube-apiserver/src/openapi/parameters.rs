//! Parameters in the query and in the path, and what is said of them.

use super::descriptions::Descriptions;

/// A parameter in the query: its name and JSON type.
pub type Parameter = (&'static str, &'static str);

const DRY_RUN: Parameter = ("dryRun", "string");
const FIELD_MANAGER: Parameter = ("fieldManager", "string");
const FIELD_VALIDATION: Parameter = ("fieldValidation", "string");
const FORCE: Parameter = ("force", "boolean");
pub const PRETTY: Parameter = ("pretty", "string");
pub const LIST: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
pub const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
pub const PATCH_PARAMETERS: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
pub const DELETE: &[Parameter] =
    &[DRY_RUN, ("gracePeriodSeconds", "integer"), ("orphanDependents", "boolean"), ("propagationPolicy", "string")];
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// What a parameter in the query is for. What DeleteOptions has too is described there.
pub fn described(name: &str, descriptions: &Descriptions) -> String {
    let text = match name {
        "allowWatchBookmarks" => {
            "Whether a watch may send events of type BOOKMARK, which tell the resourceVersion alone."
        }
        "continue" => "Where to go on: the metadata.continue of the page before. It is good for some minutes.",
        "fieldManager" => "Who makes the change, for managedFields: at most 128 printable characters.",
        "fieldSelector" => "Only objects whose fields have these values.",
        "fieldValidation" => {
            "What becomes of unknown and of duplicate fields: Ignore drops them, Warn (the default) also says so in a \
             warning, Strict refuses the request."
        }
        "force" => "Whether an apply takes fields over from their other managers. Only applies may say it.",
        "labelSelector" => "Only objects whose labels fit.",
        "limit" => "The largest number of objects in one answer; metadata.continue then leads to the next page.",
        "pretty" => "'true' indents the answer.",
        "resourceVersion" => "How new the answer has to be, or where a watch begins.",
        "resourceVersionMatch" => "How the resourceVersion of a list is meant: NotOlderThan or Exact.",
        "sendInitialEvents" => "Whether a watch begins with all objects there are, ended by a bookmark.",
        "timeoutSeconds" => "After how many seconds the list or the watch ends, whatever happens.",
        "watch" => "Whether changes are sent as they happen instead of a list.",
        _ => return descriptions.of_field(DELETE_OPTIONS, name).unwrap_or_default(),
    };
    text.to_owned()
}

/// What a name in the path stands for.
pub fn described_in_path(name: &str, kind: &str) -> String {
    match name {
        "namespace" => "The namespace of the objects.".to_owned(),
        _ => format!("name of the {kind}"),
    }
}
