//! MatchResources: whether a request is one that a policy or a binding is about.

use api::Version;
use machinery::status::Status;
use serde::Deserialize;
use serde_json::Value;

use super::spec::{Binding, Policy};
use crate::admission::Review;
use crate::admission::predicates::{LabelSelector, Rule, version_for};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchResources {
    match_policy: Option<String>,
    namespace_selector: LabelSelector,
    object_selector: LabelSelector,
    resource_rules: Vec<Rule>,
    exclude_resource_rules: Vec<Rule>,
}

impl MatchResources {
    /// The version in which the request is meant; none where it is not.
    fn version_for(&self, review: &Review<'_>, object: Option<&Value>) -> Result<Option<&'static Version>, Status> {
        // A selector that cannot be asked is no reason to fail requests that are not meant anyway.
        let namespace = self.namespace_selector.matches_namespace(review, object);
        if matches!(namespace, Ok(false)) {
            return Ok(None);
        }
        let selected = self.object_selector.matches_object(review, object);
        if matches!(selected, Ok(false)) {
            return Ok(None);
        }
        let equivalent = self.match_policy.as_deref() != Some("Exact");
        if version_for(review, object, &self.exclude_resource_rules, equivalent).is_some() {
            return Ok(None);
        }
        let version = match self.resource_rules.as_slice() {
            [] => Some(review.version()),
            rules => version_for(review, object, rules, equivalent),
        };
        if version.is_some() {
            namespace?;
            selected?;
        }
        Ok(version)
    }
}

impl Policy {
    /// The version in which the policy is to be shown the request; none when it is not about it.
    pub fn version_for(&self, review: &Review<'_>, object: Option<&Value>) -> Result<Option<&'static Version>, Status> {
        match &self.spec.match_constraints {
            Some(constraints) => constraints.version_for(review, object),
            None => Err(Status::internal("policy contained no match constraints, a required field")),
        }
    }
}

impl Binding {
    pub fn matches(&self, review: &Review<'_>, object: Option<&Value>) -> Result<bool, Status> {
        match &self.spec.match_resources {
            Some(resources) => Ok(resources.version_for(review, object)?.is_some()),
            None => Ok(true),
        }
    }
}
