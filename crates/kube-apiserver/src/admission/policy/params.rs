//! Parameters: the objects that a binding hands to a policy. The policy is evaluated once for each.

use api::{Kind, Version};
use machinery::labels::Selector;
use serde_json::Value;

use super::spec::{ParamKind, ParamRef};
use crate::registry::{Attrs, Registry, encode, keys};

/// The kind of a policy's parameters.
#[derive(Clone, Copy)]
pub struct Source {
    kind: &'static Kind,
    version: &'static Version,
}

impl ParamKind {
    /// What is wrong with a kind that nobody serves fails the whole policy.
    pub fn resolve(&self, registry: &Registry) -> Result<Source, String> {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        let kinds = registry.kinds();
        let found = kinds
            .served()
            .find(|(kind, own)| kind.kind == self.kind && own.name == version && own.group_of(kind) == group);
        let (kind, version) = found.ok_or_else(|| {
            let kind = format!("{group}/{version}, Kind={}", self.kind);
            format!("failed to find resource referenced by paramKind: '{kind}'")
        })?;
        Ok(Source { kind, version })
    }
}

/// The parameters of a binding; one that is none where the policy has no parameters or the binding names none.
pub fn collect(
    registry: &Registry,
    source: Option<Source>,
    reference: Option<&ParamRef>,
    namespace: &str,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(source), Some(reference)) = (source, reference) else { return Ok(vec![None]) };
    let namespace = match (source.kind.namespaced, reference.namespace.as_str()) {
        (false, "") => "",
        (false, _) => return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()),
        (true, "") if namespace.is_empty() => {
            let reason = "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
            return Err(reason.to_owned());
        }
        (true, "") => namespace,
        (true, own) => own,
    };
    let found = match (&reference.selector, reference.name.as_str()) {
        (Some(_), name) if !name.is_empty() => {
            return Err("paramRef.name and paramRef.selector are mutually exclusive".to_owned());
        }
        (Some(selector), _) => source.list(registry, namespace, selector.as_ref().map_err(Clone::clone)?)?,
        (None, "") => return Err("one of name or selector must be provided".to_owned()),
        (None, name) => match registry.entry(source.kind, namespace, name) {
            Ok(entry) => vec![source.read(&entry.value)?],
            Err(_) => Vec::new(),
        },
    };
    if found.is_empty() && reference.parameter_not_found_action.as_deref() == Some("Deny") {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found.into_iter().map(Some).collect())
}

impl Source {
    fn list(self, registry: &Registry, namespace: &str, selector: &Selector) -> Result<Vec<Value>, String> {
        let snapshot = registry.store().snapshot();
        let prefix = keys::namespace_prefix(self.kind, namespace);
        let entries = snapshot.range(&prefix, None);
        let selected = entries.filter(|entry| {
            let attrs = entry.attrs(|entry| Attrs::of(self.kind, entry));
            selector.matches(|key| attrs.label(key))
        });
        selected.map(|entry| self.read(&entry.value)).collect()
    }

    /// As the policy's version has it.
    fn read(self, stored: &[u8]) -> Result<Value, String> {
        let read = encode::decode(stored).and_then(|stored| encode::in_version(self.kind, self.version, stored));
        let mut object = read.map_err(|status| status.message().to_owned())?;
        if let Some(convert) = &self.version.convert {
            (convert.from_storage)(&mut object);
        }
        object["apiVersion"] = self.version.api_version(self.kind).into();
        Ok(object)
    }
}
