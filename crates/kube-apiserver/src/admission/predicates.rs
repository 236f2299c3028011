//! Whether a request is one that a webhook or a policy is about: rules, the versions that mean the same, selectors.

use api::Version;
use machinery::labels::Selector;
use machinery::status::Status;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::attributes::Gvr;
use super::{Operation, Review};
use crate::registry::Attrs;

const ALL: &str = "*";

/// One rule of a webhook or a policy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    pub operations: Vec<String>,
    pub api_groups: Vec<String>,
    pub api_versions: Vec<String>,
    pub resources: Vec<String>,
    pub scope: Option<String>,
    /// Names of objects, in rules of policies; none means any.
    pub resource_names: Vec<String>,
}

impl Rule {
    fn matches(&self, review: &Review<'_>, name: &str, resource: Gvr) -> bool {
        let in_scope = match self.scope.as_deref() {
            Some("Cluster") => !review.kind.namespaced,
            Some("Namespaced") => review.kind.namespaced,
            _ => true,
        };
        in_scope
            && has(&self.operations, review.operation.as_str())
            && has(&self.api_groups, resource.group)
            && has(&self.api_versions, resource.version)
            && self.resources.iter().any(|wanted| covers(wanted, resource.resource, review.subresource))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|own| own == name))
    }
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|own| own == ALL || own == value)
}

/// `pods` covers pods alone, `pods/*` all their subresources, `*/scale` all scales, `*` all resources, `*/*` everything.
fn covers(wanted: &str, resource: &str, subresource: &str) -> bool {
    let (wanted, wanted_sub) = wanted.split_once('/').unwrap_or((wanted, ""));
    (wanted == ALL || wanted == resource) && (wanted_sub == ALL || wanted_sub == subresource)
}

/// The version in which a request is to be shown, if one of the rules is about it: its own, or, where versions that mean
/// the same count alike, the first that a rule names.
pub fn version_for(
    review: &Review<'_>,
    object: Option<&Value>,
    rules: &[Rule],
    equivalent: bool,
) -> Option<&'static Version> {
    let name = review.object_name(object);
    let is_about = |rule: &Rule, version| rule.matches(review, name, Gvr::of(review.kind, version));
    let asked = review.version();
    if rules.iter().any(|rule| is_about(rule, asked)) {
        return Some(asked);
    }
    if !equivalent {
        return None;
    }
    rules.iter().find_map(|rule| review.versions().skip(1).find(|version| is_about(rule, version)))
}

/// A selector as it was written; what cannot be read is an error when it is asked.
#[derive(Clone, Debug)]
pub struct LabelSelector(Result<Selector, String>);

impl Default for LabelSelector {
    fn default() -> Self {
        Self(Ok(Selector::everything()))
    }
}

impl<'de> Deserialize<'de> for LabelSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        // Absent means everything here.
        if value.is_null() { Ok(Self::default()) } else { Ok(Self(Selector::from_label_selector(&value))) }
    }
}

impl LabelSelector {
    fn get(&self) -> Result<&Selector, Status> {
        self.0.as_ref().map_err(Status::internal)
    }

    /// Whether the namespace of a request is selected. What is in no namespace is always meant; a Namespace that is
    /// written is judged by the labels it will have.
    pub fn matches_namespace(&self, review: &Review<'_>, object: Option<&Value>) -> Result<bool, Status> {
        if !review.kind.namespaced && !review.is_namespace() {
            return Ok(true);
        }
        let selector = self.get()?;
        if selector.is_everything() {
            return Ok(true);
        }
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        if review.is_namespace() && review.subresource.is_empty() && written {
            return Ok(object.is_some_and(|object| selector.matches_object(object)));
        }
        let (namespaces, _) = api::find("", "v1", "namespaces").ok_or_else(Status::not_found_path)?;
        let name = review.namespace_name(object);
        let entry = review.server.registry.entry(namespaces, "", name)?;
        let attrs = entry.attrs(|entry| Attrs::of(namespaces, entry));
        Ok(selector.matches(|key| attrs.label(key)))
    }

    /// Whether the object is selected, as it is or as it will be. What has no metadata has no labels to select by.
    pub fn matches_object(&self, review: &Review<'_>, object: Option<&Value>) -> Result<bool, Status> {
        let selector = self.get()?;
        if selector.is_everything() {
            return Ok(true);
        }
        let objects = [object, review.old];
        let mut objects = objects.into_iter().flatten().filter(|object| object.get("metadata").is_some());
        Ok(objects.any(|object| selector.matches_object(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn wildcards_cover_what_they_say() {
        let table = [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/*", "pods", "status", true),
            ("pods/*", "pods", "", true),
            ("*", "pods", "", true),
            ("*", "pods", "status", false),
            ("*/scale", "deployments", "scale", true),
            ("*/scale", "deployments", "", false),
            ("*/*", "pods", "exec", true),
            ("services", "pods", "", false),
        ];
        for (wanted, resource, subresource, expected) in table {
            assert_eq!(covers(wanted, resource, subresource), expected, "{wanted} {resource}/{subresource}");
        }
    }
}
