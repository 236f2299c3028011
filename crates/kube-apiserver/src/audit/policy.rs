//! The audit policy: the first rule that matches a request says at which level it is recorded. What no rule matches is
//! not recorded.

use std::path::{Path, PathBuf};

use machinery::codec::{self, Limits};
use serde::Deserialize;

use super::Stage;
use crate::{RequestInfo, UserInfo};

/// How much is recorded; each level holds what those before it hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde_json::Value,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What the policy says of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub level: Level,
    pub omit_stages: Vec<Stage>,
    pub omit_managed_fields: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("failed to read file path {0:?}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("failed decoding file {0:?}: {1}")]
    Decode(PathBuf, String),
    #[error("file {0:?}: {1}")]
    Invalid(PathBuf, String),
}

impl Policy {
    /// Reads and checks a policy file (YAML or JSON). Unknown fields are refused: a rule with a misspelt condition would
    /// match more than it says.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let text = std::fs::read(path).map_err(|error| PolicyError::Read(path.to_owned(), error))?;
        let value = codec::yaml::parse(&text, Limits::default())
            .map_err(|error| PolicyError::Decode(path.to_owned(), error.to_string()))?;
        let policy: Self = serde_json::from_value(value.value)
            .map_err(|error| PolicyError::Decode(path.to_owned(), error.to_string()))?;
        match policy.fault() {
            None => Ok(policy),
            Some(fault) => Err(PolicyError::Invalid(path.to_owned(), fault)),
        }
    }

    fn fault(&self) -> Option<String> {
        if (self.api_version.as_str(), self.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            return Some(format!("unknown group version field {{{} {}}} in policy", self.api_version, self.kind));
        }
        if self.rules.is_empty() {
            return Some("loaded illegal policy with 0 rules".to_owned());
        }
        self.rules.iter().enumerate().find_map(|(i, rule)| Some(format!("rules[{i}].{}", rule.fault()?)))
    }

    /// What is recorded of a request.
    pub fn decide(&self, user: Option<&UserInfo>, info: &RequestInfo) -> Decision {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(user, info)) else {
            return Decision { level: Level::None, omit_stages: Vec::new(), omit_managed_fields: false };
        };
        Decision {
            level: rule.level,
            omit_stages: self.omit_stages.iter().chain(&rule.omit_stages).copied().collect(),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    fn fault(&self) -> Option<String> {
        let about_resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if !self.non_resource_urls.is_empty() && about_resources {
            return Some(
                "nonResourceURLs: Invalid value: rules cannot apply to both regular resources and non-resource URLs"
                    .to_owned(),
            );
        }
        for (i, url) in self.non_resource_urls.iter().enumerate() {
            if url != "*" && !url.starts_with('/') {
                return Some(format!(
                    "nonResourceURLs[{i}]: Invalid value: {url:?}: non-resource URL rules must begin with a '/' character"
                ));
            }
            if url.len() > 1 && url[..url.len() - 1].contains('*') {
                return Some(format!(
                    "nonResourceURLs[{i}]: Invalid value: {url:?}: non-resource URL wildcards '*' must be the final character of the rule"
                ));
            }
        }
        self.resources.iter().enumerate().find_map(|(i, group)| {
            let fault = group.fault()?;
            Some(format!("resources[{i}].{fault}"))
        })
    }

    fn matches(&self, user: Option<&UserInfo>, info: &RequestInfo) -> bool {
        let is_one_of = |list: &[String], wanted: &str| list.is_empty() || list.iter().any(|one| one == wanted);
        if let Some(user) = user {
            let in_group = self.user_groups.is_empty() || self.user_groups.iter().any(|group| user.in_group(group));
            if !is_one_of(&self.users, &user.name) || !in_group {
                return false;
            }
        } else if !self.users.is_empty() || !self.user_groups.is_empty() {
            return false;
        }
        if !is_one_of(&self.verbs, &info.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return info.is_resource
                && is_one_of(&self.namespaces, &info.namespace)
                && (self.resources.is_empty() || self.resources.iter().any(|group| group.matches(info)));
        }
        if !self.non_resource_urls.is_empty() {
            return !info.is_resource && self.non_resource_urls.iter().any(|url| is_below(url, &info.path));
        }
        true
    }
}

/// `/healthz*` holds `/healthz/ping`.
fn is_below(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

impl GroupResources {
    fn fault(&self) -> Option<String> {
        let group_fault = |text: &str| format!("group: Invalid value: {:?}: {text}", self.group);
        if self.group.contains('/') {
            return Some(group_fault("group must not include a version"));
        }
        if !self.group.is_empty() && !machinery::names::is_dns1123_subdomain(&self.group).is_empty() {
            return Some(group_fault("must be a DNS name"));
        }
        if !self.resource_names.is_empty() && self.resources.is_empty() {
            return Some("resourceNames: Invalid value: using resourceNames requires at least one resource".to_owned());
        }
        None
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        if self.group != info.api_group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        let named = self.resource_names.is_empty() || self.resource_names.contains(&info.name);
        named && self.resources.iter().any(|wanted| is_resource(wanted, info))
    }
}

/// `pods`, `pods/log`, `pods/*`, `*/scale` or `*`.
fn is_resource(wanted: &str, info: &RequestInfo) -> bool {
    match wanted.split_once('/') {
        None if wanted == "*" => true,
        None => info.subresource.is_empty() && wanted == info.resource,
        Some(("*", subresource)) => subresource == info.subresource,
        Some((resource, "*")) => resource == info.resource,
        Some((resource, subresource)) => resource == info.resource && subresource == info.subresource,
    }
}
