//! Which objects a list, a watch or a deletecollection is about: label selector, field selector, one name.

use std::sync::Arc;

use api::{Custom, Kind, Version};
use machinery::status::Status;
use machinery::{fields, labels};
use store::{Entry, Narrow, ReadError, Revision, Snapshot, Store, Watch};

use super::Scope;
use crate::registry::{Attrs, encode};

const METADATA_FIELDS: [&str; 2] = ["metadata.name", "metadata.namespace"];

/// Both selectors of a request, checked against the kind.
pub struct Selector {
    kind: &'static Kind,
    version: &'static Version,
    labels: labels::Selector,
    fields: fields::Selector,
    /// Field labels of this version with the values of the stored form; empty when they are the kind's own.
    renamed: &'static [api::SelectableField],
}

impl Selector {
    pub fn parse(scope: &Scope) -> Result<Self, Status> {
        let labels = labels::Selector::parse(scope.query.get("labelSelector").unwrap_or_default());
        let labels = labels.map_err(Status::bad_request)?;
        let fields = fields::Selector::parse(scope.query.get("fieldSelector").unwrap_or_default());
        let fields = fields.map_err(Status::bad_request)?;
        let selectable = scope.version.selectable(scope.kind);
        let own = scope.kind.custom.map(|custom| custom.selectable(scope.version.name)).unwrap_or_default();
        for requirement in fields.requirements() {
            let label = requirement.field.as_str();
            let known = METADATA_FIELDS.contains(&label)
                || selectable.iter().any(|field| field.label == label)
                || own.iter().any(|field| field == label);
            if !known {
                return Err(Status::bad_request(scope.kind.field_selector_style.message(scope.kind, label)));
            }
        }
        let renamed = scope.version.selectable_fields.unwrap_or_default();
        Ok(Self { kind: scope.kind, version: scope.version, labels, fields, renamed })
    }

    /// Narrows to one object.
    pub fn and_name(mut self, name: &str) -> Self {
        if !name.is_empty() {
            self.fields = fields::Selector::equals("metadata.name", name);
        }
        self
    }

    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The only name that can match, if the selector says so.
    pub fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// The value that the kind's indexed field must have.
    fn indexed(&self) -> Option<&str> {
        let field = self.kind.indexed_field.as_ref().filter(|_| self.renamed.is_empty())?;
        self.fields.exact(field.label)
    }

    /// Among the entries below `prefix` those that may match, found without looking at more than is needed.
    pub fn range<'s>(
        &self,
        snapshot: &'s Snapshot<Attrs>,
        prefix: &'s str,
        start_after: Option<&str>,
    ) -> Box<dyn Iterator<Item = &'s Arc<Entry<Attrs>>> + Send + 's> {
        match self.indexed() {
            Some(value) => Box::new(snapshot.indexed(value, prefix, start_after)),
            None => Box::new(snapshot.range(prefix, start_after)),
        }
    }

    /// The events below `prefix` that may concern what matches. `namespace` is that of the request.
    pub fn watch(
        &self,
        store: &Store<Attrs>,
        namespace: &str,
        prefix: &str,
        after: Revision,
    ) -> Result<Watch<Attrs>, ReadError> {
        if let (Some(name), true) = (self.name(), !self.kind.namespaced || !namespace.is_empty()) {
            return store.watch_narrow(prefix, Narrow::Key(&format!("{prefix}{name}")), after);
        }
        match self.indexed() {
            Some(value) => store.watch_narrow(prefix, Narrow::Value(value), after),
            None => store.watch(prefix, after),
        }
    }

    pub fn matches(&self, entry: &Arc<Entry<Attrs>>) -> bool {
        if self.is_everything() {
            return true;
        }
        let attrs = entry.attrs(|entry| Attrs::of(self.kind, entry));
        if !self.labels.matches(|key| attrs.label(key)) {
            return false;
        }
        if let Some(custom) = self.kind.custom {
            return self.fields_match(custom, entry, attrs);
        }
        if self.renamed.is_empty() {
            return self.fields.matches(|label| Some(attrs.field(label)));
        }
        // A version with field labels of its own reads them off the object: rare enough not to be kept.
        let object = crate::registry::encode::decode(&entry.value).unwrap_or_default();
        self.fields.matches(|label| {
            let field = self.renamed.iter().find(|field| field.label == label);
            Some(field.map_or_else(|| attrs.field(label).to_owned(), |field| (field.value)(&object)))
        })
    }

    /// Fields of custom kinds are read off the version that the request asks for.
    fn fields_match(&self, custom: &dyn Custom, entry: &Arc<Entry<Attrs>>, attrs: &Attrs) -> bool {
        let needs_object = |field: &str| !METADATA_FIELDS.contains(&field);
        if !self.fields.requirements().iter().any(|requirement| needs_object(&requirement.field)) {
            return self.fields.matches(|label| Some(attrs.field(label)));
        }
        let object =
            encode::decode(&entry.value).and_then(|stored| encode::in_version(self.kind, self.version, stored));
        // What cannot be brought into the version has no fields there.
        let object = object.unwrap_or_default();
        self.fields.matches(|label| {
            let metadata = METADATA_FIELDS.contains(&label).then(|| attrs.field(label).to_owned());
            Some(metadata.unwrap_or_else(|| custom.selected(self.version.name, label, &object)))
        })
    }
}
