//! The question put to an authorizer, and its answer.

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
    /// The path of a request that is not about a resource.
    pub path: &'a str,
    pub resource_request: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// No, whatever others say.
    Deny,
    /// Not allowed by this authorizer.
    NoOpinion,
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
            path: "",
            resource_request: true,
        }
    }
}
