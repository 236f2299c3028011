//! The question put to an authorizer, and its answer.

use machinery::{fields, labels};

use crate::{RequestInfo, UserInfo};

/// What is asked for. Borrowed: a question costs no allocation.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    pub user: &'a UserInfo,
    pub verb: &'a str,
    pub api_group: &'a str,
    pub api_version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    /// What a list, watch or deletecollection is limited to; empty when it is not, or when nobody could read it.
    pub field_selector: &'a [fields::Requirement],
    pub label_selector: &'a [labels::Requirement],
    /// The path of a request that is not about a resource.
    pub path: &'a str,
    pub resource_request: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// No, whatever others say.
    Deny,
    /// Not allowed by this authorizer.
    #[default]
    NoOpinion,
}

/// What an authorizer says, or all of them together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub decision: Decision,
    pub reason: String,
    /// What went wrong on the way; the decision holds nonetheless.
    pub error: Option<String>,
}

impl Answer {
    pub fn is_allowed(&self) -> bool {
        self.decision == Decision::Allow
    }
}

impl From<Decision> for Answer {
    fn from(decision: Decision) -> Self {
        Self { decision, ..Self::default() }
    }
}

impl<'a> Attributes<'a> {
    /// The question that a request itself poses.
    pub fn of_request(user: &'a UserInfo, info: &'a RequestInfo) -> Self {
        Self {
            user,
            verb: &info.verb,
            api_group: &info.api_group,
            api_version: &info.api_version,
            resource: &info.resource,
            subresource: &info.subresource,
            namespace: &info.namespace,
            name: &info.name,
            field_selector: info.field_selector.requirements(),
            label_selector: info.label_selector.as_ref().map_or(&[], labels::Selector::requirements),
            path: &info.path,
            resource_request: info.is_resource,
        }
    }

    /// A question about a resource of any version.
    pub fn resource(user: &'a UserInfo, verb: &'a str, api_group: &'a str, resource: &'a str) -> Self {
        Self {
            user,
            verb,
            api_group,
            api_version: "*",
            resource,
            subresource: "",
            namespace: "",
            name: "",
            field_selector: &[],
            label_selector: &[],
            path: "",
            resource_request: true,
        }
    }

    /// Whether the request is limited to objects whose field has this value.
    pub fn selects_field(&self, field: &str, value: &str) -> bool {
        self.field_selector.iter().any(|own| !own.negated && own.field == field && own.value == value)
    }

    pub fn is_read_only(&self) -> bool {
        matches!(self.verb, "get" | "list" | "watch")
    }
}
