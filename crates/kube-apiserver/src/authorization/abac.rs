//! Policies from a file (`--authorization-policy-file`), one JSON object a line, read once at the start.
//!
//! `{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"bob","namespace":"ns",
//! "resource":"pods","apiGroup":"*","readonly":true}}` lets bob read the pods of `ns`. Lines without an apiVersion have
//! the older form, in which what is not said matches everything.

use std::path::{Path, PathBuf};

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde::Deserialize;
use serde_json::Value;

use super::{Attributes, Authorize, Decision};
use crate::UserInfo;
use crate::user::AUTHENTICATED_GROUP;

const API_VERSION: &str = "abac.authorization.kubernetes.io/v1beta1";
const READ: [&str; 3] = ["get", "list", "watch"];

#[derive(Debug, thiserror::Error)]
pub enum AbacError {
    #[error("failed to read the policy file {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("policy file {file}, line {line}: {reason}")]
    Line { file: PathBuf, line: usize, reason: String },
}

pub struct Abac(Vec<Policy>);

/// Each field matches what it equals, or everything when it is `*`; an empty one matches nothing.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, rename_all = "camelCase")]
struct Policy {
    user: String,
    group: String,
    readonly: bool,
    api_group: String,
    resource: String,
    namespace: String,
    #[serde(rename = "nonResourcePath")]
    path: String,
}

impl Abac {
    pub fn open(path: &Path) -> Result<Self, AbacError> {
        let text = std::fs::read_to_string(path).map_err(|error| AbacError::Read(path.to_owned(), error))?;
        Self::parse(&text).map_err(|(line, reason)| AbacError::Line { file: path.to_owned(), line, reason })
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut policies = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            policies.push(Policy::parse(line).map_err(|reason| (number + 1, reason))?);
        }
        Ok(Self(policies))
    }
}

impl Policy {
    fn parse(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let decode = |value: Value| serde_json::from_value::<Self>(value).map_err(|error| error.to_string());
        match value.get("apiVersion").and_then(Value::as_str) {
            Some(API_VERSION) if value.get("kind").and_then(Value::as_str) == Some("Policy") => {
                decode(value.get("spec").cloned().unwrap_or_else(|| serde_json::json!({})))
            }
            None => Ok(decode(value)?.of_old_form()),
            Some(other) => Err(format!("no kind Policy in {other}")),
        }
    }

    /// In the older form an absent field does not limit anything.
    fn of_old_form(mut self) -> Self {
        if self.user == "*" || (self.user.is_empty() && self.group.is_empty()) {
            self.user.clear();
            self.group = AUTHENTICATED_GROUP.to_owned();
        }
        if self.resource.is_empty() && self.namespace.is_empty() {
            self.path = "*".to_owned();
        }
        self.api_group = "*".to_owned();
        for field in [&mut self.resource, &mut self.namespace] {
            if field.is_empty() {
                *field = "*".to_owned();
            }
        }
        self
    }

    fn concerns(&self, user: &UserInfo) -> bool {
        let named = self.user.is_empty() || self.user == "*" || self.user == user.name;
        let grouped = self.group.is_empty() || self.group == "*" || user.in_group(&self.group);
        // A policy for nobody is for nobody, not for all.
        !(self.user.is_empty() && self.group.is_empty()) && named && grouped
    }

    fn allows(&self, attributes: &Attributes) -> bool {
        let is = |own: &str, wanted: &str| own == "*" || own == wanted;
        let covered = if attributes.resource_request {
            is(&self.namespace, attributes.namespace)
                && is(&self.resource, attributes.resource)
                && is(&self.api_group, attributes.api_group)
        } else {
            !self.path.is_empty()
                && (is(&self.path, attributes.path)
                    || self.path.strip_suffix('*').is_some_and(|prefix| attributes.path.starts_with(prefix)))
        };
        self.concerns(attributes.user) && (!self.readonly || attributes.is_read_only()) && covered
    }

    fn rules(&self) -> Vec<PolicyRule> {
        let verbs = if self.readonly { READ.map(str::to_owned).to_vec() } else { vec!["*".to_owned()] };
        let mut rules = Vec::new();
        if !self.resource.is_empty() {
            rules.push(PolicyRule {
                verbs: verbs.clone(),
                api_groups: Some(vec![self.api_group.clone()]),
                resources: Some(vec![self.resource.clone()]),
                ..PolicyRule::default()
            });
        }
        if !self.path.is_empty() {
            rules.push(PolicyRule { verbs, non_resource_urls: Some(vec![self.path.clone()]), ..PolicyRule::default() });
        }
        rules
    }
}

impl Authorize for Abac {
    fn authorize(&self, attributes: &Attributes) -> (Decision, String) {
        match self.0.iter().any(|policy| policy.allows(attributes)) {
            true => (Decision::Allow, String::new()),
            false => (Decision::NoOpinion, "No policy matched.".to_owned()),
        }
    }

    fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>, bool) {
        let here = |policy: &&Policy| policy.namespace == "*" || policy.namespace == namespace;
        let policies = self.0.iter().filter(|policy| policy.concerns(user)).filter(here);
        (policies.flat_map(Policy::rules).collect(), Vec::new(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"# policies
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"bob","namespace":"ns","resource":"pods","apiGroup":"","readonly":true}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"group":"system:authenticated","nonResourcePath":"/version*"}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"namespace":"*","resource":"*","apiGroup":"*"}}
{"user":"old","resource":"secrets"}
"#;

    fn allowed(user: &str, verb: &str, resource: &str, namespace: &str) -> bool {
        let user = UserInfo::new(user, [AUTHENTICATED_GROUP]);
        let attributes = Attributes { namespace, ..Attributes::resource(&user, verb, "", resource) };
        Abac::parse(FILE).ok().unwrap().authorize(&attributes).0 == Decision::Allow
    }

    #[test]
    fn a_policy_allows_what_each_of_its_fields_matches() {
        assert!(allowed("bob", "list", "pods", "ns"));
        for (user, verb, resource, namespace) in [
            ("bob", "delete", "pods", "ns"),
            ("bob", "list", "pods", "other"),
            ("bob", "list", "secrets", "ns"),
            ("eve", "list", "pods", "ns"),
        ] {
            assert!(!allowed(user, verb, resource, namespace), "{user} {verb} {resource} {namespace}");
        }
        assert!(allowed("old", "delete", "secrets", "any") && !allowed("old", "get", "pods", "any"));
    }

    #[test]
    fn paths_match_by_prefix_and_nobody_is_not_everybody() {
        let abac = Abac::parse(FILE).ok().unwrap();
        let eve = UserInfo::new("eve", [AUTHENTICATED_GROUP]);
        let ask = |path| {
            let attributes = Attributes { path, resource_request: false, ..Attributes::resource(&eve, "get", "", "") };
            abac.authorize(&attributes)
        };
        assert_eq!(ask("/version/x").0, Decision::Allow);
        assert_eq!(ask("/metrics"), (Decision::NoOpinion, "No policy matched.".to_owned()));
    }

    #[test]
    fn broken_lines_are_named() {
        assert_eq!(Abac::parse("\n{").err().unwrap().0, 2);
        assert_eq!(Abac::parse("{\"apiVersion\":\"v9\"}").err().unwrap(), (1, "no kind Policy in v9".to_owned()));
    }
}
