//! The operations of the API: which path, which method, which parameters and bodies. Both dialects are written from here.

use std::collections::{BTreeMap, BTreeSet};

use api::{Kind, Verb, Version};
use machinery::schema;

use super::custom;
use super::parameters::{DELETE, LIST, PATCH_PARAMETERS, Parameter, WRITE};
use super::schemas::{self, Homes, PATCH};
use crate::apiextensions::KindSet;
use crate::discovery::model as discovery_model;

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const CUSTOM_PATCH_TYPES: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
const ANY_TYPE: &[&str] = &["*/*"];

/// One operation.
pub struct Operation {
    pub method: &'static str,
    pub id: String,
    pub description: String,
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
    /// Whether the kind is a custom one.
    pub custom: bool,
}

impl Operation {
    /// Whether a type that the operation names has a schema.
    pub fn knows(&self, name: &str) -> bool {
        name == PATCH || self.custom || schema::builtin().id(name).is_some()
    }
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
    let mut roots = BTreeSet::from([PATCH.to_owned()]);
    for operation in items(kinds, group, version).into_iter().flat_map(|item| item.operations) {
        if operation.custom {
            roots.extend([custom::OBJECT_META, custom::LIST_META].map(str::to_owned));
        }
        let body = operation.body.map(|(name, _)| name);
        let names = [body, Some(operation.answer.as_str())].into_iter().flatten();
        roots.extend(names.filter(|name| operation.knows(name)).map(str::to_owned));
    }
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
        let mut operation =
            make.operation("delete", "delete", "deletecollection", DELETE, Some((DELETE_OPTIONS, false)), &["200"]);
        operation.answer = STATUS.to_owned();
        // The word stands before the scope.
        let at = operation.id.len() - kind.kind.len() - if kind.namespaced { "Namespaced".len() } else { 0 };
        operation.id.insert_str(at, "Collection");
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
            operation.description = described(operation.action, part, kind);
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
            "" => "core".to_owned(),
            group => {
                let mut words = group.strip_suffix(".k8s.io").unwrap_or(group).split('.');
                words.next().unwrap_or_default().to_owned() + &words.map(capitalized).collect::<String>()
            }
        };
        let scope = if self.kind.namespaced { "Namespaced" } else { "" };
        Operation {
            method,
            id: format!("{word}{}{}{scope}{}", capitalized(&group), capitalized(self.version.name), self.kind.kind),
            description: described(action, "", self.kind),
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
            custom: self.kind.custom.is_some(),
        }
    }

    fn list(&self, word: &str) -> Operation {
        let custom = self.kind.custom.is_some();
        let answer = if custom { custom::list_name(self.kind, self.version) } else { list_schema(self.version) };
        Operation { answer, ..self.operation("get", word, "list", LIST, None, &["200"]) }
    }

    fn patch(&self, answer: &str) -> Operation {
        let operation =
            self.operation("patch", "patch", "patch", PATCH_PARAMETERS, Some((PATCH, true)), &["200", "201"]);
        let consumes = if self.kind.custom.is_some() { CUSTOM_PATCH_TYPES } else { PATCH_TYPES };
        Operation { consumes, answer: answer.to_owned(), ..operation }
    }
}

/// What an operation does, in upstream's words.
fn described(action: &str, part: &str, kind: &Kind) -> String {
    let noun = kind.kind;
    let object =
        if part.is_empty() { format!("the specified {noun}") } else { format!("{part} of the specified {noun}") };
    let article = match noun.chars().next() {
        _ if noun.ends_with('s') && !noun.ends_with("ss") => "",
        Some('A' | 'E' | 'I' | 'O' | 'U') => "an ",
        _ => "a ",
    };
    match action {
        "get" => format!("read {object}"),
        "put" => format!("replace {object}"),
        "patch" => format!("partially update {object}"),
        "list" if kind.verbs.contains(&Verb::Watch) => format!("list or watch objects of kind {noun}"),
        "list" => format!("list objects of kind {noun}"),
        "post" => format!("create {article}{noun}"),
        "delete" => format!("delete {article}{noun}"),
        _ => format!("delete collection of {noun}"),
    }
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
