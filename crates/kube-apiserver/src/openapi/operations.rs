//! The operations of the API: which path, which method, which parameters and bodies. Both dialects are written from here.

use std::collections::{BTreeMap, BTreeSet};

use api::{Kind, Verb, Version};
use machinery::schema;

use super::schemas::{self, Homes, PATCH};
use crate::apiextensions::KindSet;
use crate::discovery::model as discovery_model;

/// Parameters in the query: name and JSON type.
pub type Parameter = (&'static str, &'static str);

const DRY_RUN: Parameter = ("dryRun", "string");
const FIELD_MANAGER: Parameter = ("fieldManager", "string");
const FIELD_VALIDATION: Parameter = ("fieldValidation", "string");
const FORCE: Parameter = ("force", "boolean");
pub const PRETTY: Parameter = ("pretty", "string");
const LIST: &[Parameter] = &[
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
const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH_PARAMETERS: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
const DELETE: &[Parameter] =
    &[DRY_RUN, ("gracePeriodSeconds", "integer"), ("orphanDependents", "boolean"), ("propagationPolicy", "string")];
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
const PATCH_TYPES: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];
const ANY_TYPE: &[&str] = &["*/*"];

/// One operation.
pub struct Operation {
    pub method: &'static str,
    pub id: String,
    /// `core_v1`, `apps_v1`
    pub tag: String,
    /// `x-kubernetes-action`
    pub action: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub parameters: &'static [Parameter],
    /// The type of the body and whether it must be there.
    pub body: Option<(&'static str, bool)>,
    pub consumes: &'static [&'static str],
    /// The type of the answer.
    pub answer: String,
    /// Codes of success.
    pub codes: &'static [&'static str],
}

/// A path, the names in it, and its operations.
pub struct Item {
    pub path: String,
    /// `name`, `namespace`
    pub names: Vec<&'static str>,
    pub operations: Vec<Operation>,
}

/// All paths of one version of a group.
pub fn items(kinds: &KindSet, group: &str, version: &str) -> Vec<Item> {
    let kinds = discovery_model::kinds(kinds, group, version);
    kinds.into_iter().flat_map(|(kind, version)| of_kind(kind, version)).collect()
}

/// The types that a group's version needs, to be followed further.
pub fn roots(kinds: &KindSet, group: &str, version: &str) -> BTreeSet<String> {
    let types = schema::builtin();
    let mut roots = BTreeSet::from([PATCH.to_owned()]);
    for item in items(kinds, group, version) {
        for operation in item.operations {
            roots.insert(operation.answer);
            roots.extend(operation.body.map(|(name, _)| name.to_owned()));
        }
    }
    roots.retain(|name| name == PATCH || types.id(name).is_some());
    roots
}

/// Old homes of types, so that a client finds the schema of what it sends.
pub fn homes(kinds: &KindSet) -> Homes {
    let types = schema::builtin();
    let mut homes: Homes = BTreeMap::new();
    for (kind, version) in kinds.served().filter(|(kind, version)| schemas::old_name(kind, version).is_none()) {
        let group_version = (version.group_of(kind).to_owned(), version.name.to_owned());
        for (name, kind) in [(version.schema.to_owned(), kind.kind), (list_schema(version), kind.list_kind)] {
            if let Some(id) = types.id(&name).filter(|_| !kind.is_empty()) {
                let (group, version) = group_version.clone();
                homes.entry(id).or_default().insert((group, version, kind.to_owned()));
            }
        }
    }
    homes
}

fn list_schema(version: &Version) -> String {
    format!("{}List", version.schema)
}

fn of_kind(kind: &'static Kind, version: &'static Version) -> Vec<Item> {
    let group = version.group_of(kind);
    let base =
        if group.is_empty() { format!("/api/{}", version.name) } else { format!("/apis/{group}/{}", version.name) };
    let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let names = |named: bool| {
        let name = named.then_some("name");
        name.into_iter().chain(kind.namespaced.then_some("namespace")).collect::<Vec<_>>()
    };
    let make = Maker { kind, version, group };
    let collection = format!("{base}{scope}/{}", kind.plural);
    let has = |verb: Verb| kind.verbs.contains(&verb);
    let mut items = Vec::new();
    let mut operations = Vec::new();
    if has(Verb::List) {
        operations.push(make.list("list"));
    }
    if has(Verb::Create) {
        operations.push(make.operation(
            "post",
            "create",
            "post",
            WRITE,
            Some((version.schema, true)),
            &["200", "201", "202"],
        ));
    }
    if has(Verb::DeleteCollection) {
        let mut operation = make.operation(
            "delete",
            "deletecollection",
            "deletecollection",
            DELETE,
            Some((DELETE_OPTIONS, false)),
            &["200"],
        );
        operation.answer = STATUS.to_owned();
        operation.id = operation.id.replacen("deletecollection", "deleteCollection", 1);
        operations.push(operation);
    }
    items.push(Item { path: collection.clone(), names: names(false), operations });
    if kind.namespaced && has(Verb::List) {
        let mut operation = make.list("list");
        operation.id = format!("{}ForAllNamespaces", operation.id.replacen("Namespaced", "", 1));
        items.push(Item { path: format!("{base}/{}", kind.plural), names: Vec::new(), operations: vec![operation] });
    }
    let mut operations = Vec::new();
    if has(Verb::Get) {
        operations.push(make.operation("get", "read", "get", &[], None, &["200"]));
    }
    if has(Verb::Update) {
        operations.push(make.operation("put", "replace", "put", WRITE, Some((version.schema, true)), &["200", "201"]));
    }
    if has(Verb::Delete) {
        let mut operation =
            make.operation("delete", "delete", "delete", DELETE, Some((DELETE_OPTIONS, false)), &["200", "202"]);
        operation.answer = STATUS.to_owned();
        operations.push(operation);
    }
    if has(Verb::Patch) {
        operations.push(make.patch(version.schema));
    }
    if !operations.is_empty() {
        items.push(Item { path: format!("{collection}/{{name}}"), names: names(true), operations });
    }
    let parts = [(version.has_status(kind), "status", version.schema), (version.scale(kind).is_some(), "scale", SCALE)];
    for (_, part, schema) in parts.into_iter().filter(|(there, ..)| *there) {
        let mut operations = vec![
            make.operation("get", "read", "get", &[], None, &["200"]),
            make.operation("put", "replace", "put", WRITE, Some((schema, true)), &["200", "201"]),
            make.patch(schema),
        ];
        let suffix = if part == "status" { "Status" } else { "Scale" };
        for operation in &mut operations {
            operation.id.push_str(suffix);
            operation.answer = schema.to_owned();
            if schema == SCALE {
                (operation.group, operation.version, operation.kind) = ("autoscaling", "v1", "Scale");
            }
        }
        items.push(Item { path: format!("{collection}/{{name}}/{part}"), names: names(true), operations });
    }
    items
}

struct Maker {
    kind: &'static Kind,
    version: &'static Version,
    group: &'static str,
}

impl Maker {
    fn operation(
        &self,
        method: &'static str,
        word: &str,
        action: &'static str,
        parameters: &'static [Parameter],
        body: Option<(&'static str, bool)>,
        codes: &'static [&'static str],
    ) -> Operation {
        let group = match self.group {
            "" => "core",
            group => group.split('.').next().unwrap_or(group),
        };
        let scope = if self.kind.namespaced { "Namespaced" } else { "" };
        Operation {
            method,
            id: format!("{word}{}{}{scope}{}", capitalized(group), capitalized(self.version.name), self.kind.kind),
            tag: format!("{group}_{}", self.version.name),
            action,
            group: self.group,
            version: self.version.name,
            kind: self.kind.kind,
            parameters,
            body,
            consumes: ANY_TYPE,
            answer: self.version.schema.to_owned(),
            codes,
        }
    }

    fn list(&self, word: &str) -> Operation {
        let answer = list_schema(self.version);
        Operation { answer, ..self.operation("get", word, "list", LIST, None, &["200"]) }
    }

    fn patch(&self, answer: &str) -> Operation {
        let operation =
            self.operation("patch", "patch", "patch", PATCH_PARAMETERS, Some((PATCH, true)), &["200", "201"]);
        Operation { consumes: PATCH_TYPES, answer: answer.to_owned(), ..operation }
    }
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
