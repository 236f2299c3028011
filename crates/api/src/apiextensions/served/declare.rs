//! The declaration of a custom kind: what of a definition stands in discovery, in routes and in messages.

use machinery::status::Status;
use serde_json::Value;

use super::{Behaviour, Served};
use crate::apiextensions::spec::texts;
use crate::kind::{FieldSelectorStyle, Hooks, Kind, Verb, Version};
use crate::value::{boolean, list, text};

/// The order in which upstream lists the verbs of custom kinds.
const VERBS: &[Verb] = &[
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Create,
    Verb::Update,
    Verb::Watch,
];
/// The same while the definition is being deleted.
const TERMINATING_VERBS: &[Verb] = &[Verb::Delete, Verb::DeleteCollection, Verb::Get, Verb::List, Verb::Watch];

/// What a declaration is made from; two definitions that agree in it can share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    pub group: String,
    pub kind: String,
    pub list_kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Name and whether it is served; the one that is stored comes first.
    pub versions: Vec<(String, bool)>,
    pub terminating: bool,
}

impl Declared {
    /// Of a definition whose names have been accepted.
    pub fn of(definition: &Value) -> Option<Self> {
        let names = definition.pointer("/status/acceptedNames")?;
        let own = |key: &str| text(names, key).to_owned();
        let strings = |key: &str| texts(names, key).into_iter().map(str::to_owned).collect();
        let mut versions: Vec<_> = list(definition, "/spec/versions").iter().collect();
        versions.sort_by_key(|version| !boolean(version, "/storage"));
        let versions: Vec<(String, bool)> = versions
            .into_iter()
            .map(|version| (text(version, "/name").to_owned(), boolean(version, "/served")))
            .collect();
        if versions.is_empty() || text(names, "/plural").is_empty() {
            return None;
        }
        Some(Self {
            group: text(definition, "/spec/group").to_owned(),
            kind: own("/kind"),
            list_kind: own("/listKind"),
            plural: own("/plural"),
            singular: own("/singular"),
            short_names: strings("/shortNames"),
            categories: strings("/categories"),
            namespaced: text(definition, "/spec/scope") == "Namespaced",
            versions,
            terminating: super::super::custom_resource_definition::is_true(definition, "Terminating"),
        })
    }

    /// Makes the kind. It lasts as long as the process: whoever calls this keeps it for the next time.
    pub fn leak(self, behaviour: Behaviour) -> &'static Kind {
        let custom: &'static Served = Box::leak(Box::new(Served::new(behaviour)));
        let versions: Vec<Version> = self
            .versions
            .iter()
            .enumerate()
            .map(|(index, (name, served))| Version {
                storage: index == 0,
                served: *served,
                ..Version::stored(leak(name), leak(&schema_name(&self.group, name, &self.kind)))
            })
            .collect();
        Box::leak(Box::new(Kind {
            group: leak(&self.group),
            kind: leak(&self.kind),
            list_kind: leak(&self.list_kind),
            plural: leak(&self.plural),
            singular: leak(&self.singular),
            short_names: leak_all(&self.short_names),
            categories: leak_all(&self.categories),
            namespaced: self.namespaced,
            versions: Box::leak(versions.into_boxed_slice()),
            verbs: if self.terminating { TERMINATING_VERBS } else { VERBS },
            field_selector_style: FieldSelectorStyle::NotSupported,
            create_on_update: false,
            unconditional_update: false,
            generation: true,
            hooks: Hooks { prepare_create: refuse, ..Hooks::NONE },
            custom: Some(custom),
            ..Kind::BASE
        }))
    }
}

/// Nothing calls the hooks of a custom kind past its `custom`; if something did, it must not write unchecked.
fn refuse(_: &mut Value) -> Result<(), Status> {
    Err(Status::internal("a custom kind was asked by its hooks"))
}

/// What OpenAPI calls the type: the group turned around, the version, the kind.
fn schema_name(group: &str, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = group.split('.').collect();
    parts.reverse();
    format!("{}.{version}.{kind}", parts.join("."))
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

fn leak_all(texts: &[String]) -> &'static [&'static str] {
    let texts: Vec<&'static str> = texts.iter().map(|text| leak(text)).collect();
    Box::leak(texts.into_boxed_slice())
}
