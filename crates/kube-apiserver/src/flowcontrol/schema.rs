//! FlowSchemas: who asks for what, and by what the requests of one schema are told apart.

use std::sync::Arc;

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use super::level::Level;
use crate::{RequestInfo, UserInfo};

const ALL: &str = "*";

/// A FlowSchema with the level it names.
pub struct Schema {
    pub name: String,
    pub uid: String,
    pub precedence: i32,
    pub rules: Vec<PolicyRulesWithSubjects>,
    pub distinguisher: Distinguisher,
    pub level: Arc<Level>,
}

/// By what the flows of a schema differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distinguisher {
    None,
    ByUser,
    ByNamespace,
}

impl Schema {
    pub fn new(object: &FlowSchema, level: Arc<Level>) -> Self {
        let spec = object.spec.as_ref();
        let method = spec.and_then(|spec| spec.distinguisher_method.as_ref());
        Self {
            name: object.metadata.name.clone().unwrap_or_default(),
            uid: object.metadata.uid.clone().unwrap_or_default(),
            precedence: spec.and_then(|spec| spec.matching_precedence).unwrap_or(1000),
            rules: spec.and_then(|spec| spec.rules.clone()).unwrap_or_default(),
            distinguisher: match method.map(|method| method.type_.as_str()) {
                Some("ByUser") => Distinguisher::ByUser,
                Some("ByNamespace") => Distinguisher::ByNamespace,
                _ => Distinguisher::None,
            },
            level,
        }
    }

    pub fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rule| rule_matches(rule, user, info))
    }

    /// What tells this request's flow from the schema's others.
    pub fn distinguisher<'r>(&self, user: &'r UserInfo, info: &'r RequestInfo) -> &'r str {
        match self.distinguisher {
            Distinguisher::None => "",
            Distinguisher::ByUser => &user.name,
            Distinguisher::ByNamespace => &info.namespace,
        }
    }
}

fn rule_matches(rule: &PolicyRulesWithSubjects, user: &UserInfo, info: &RequestInfo) -> bool {
    if !rule.subjects.iter().any(|subject| subject_matches(subject, user)) {
        return false;
    }
    if info.is_resource {
        rule.resource_rules.iter().flatten().any(|rule| resource_matches(rule, info))
    } else {
        rule.non_resource_rules.iter().flatten().any(|rule| path_matches(rule, info))
    }
}

fn subject_matches(subject: &Subject, user: &UserInfo) -> bool {
    match (&subject.user, &subject.group, &subject.service_account) {
        (Some(wanted), _, _) if subject.kind == "User" => wanted.name == ALL || wanted.name == user.name,
        (_, Some(wanted), _) if subject.kind == "Group" => wanted.name == ALL || user.in_group(&wanted.name),
        (_, _, Some(wanted)) if subject.kind == "ServiceAccount" => {
            user.as_service_account().is_some_and(|(namespace, name)| {
                namespace == wanted.namespace && (wanted.name == ALL || name == wanted.name)
            })
        }
        _ => false,
    }
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|entry| entry == ALL || entry == value)
}

fn resource_matches(rule: &ResourcePolicyRule, info: &RequestInfo) -> bool {
    let scope = if info.namespace.is_empty() {
        rule.cluster_scope == Some(true)
    } else {
        has(rule.namespaces.as_deref().unwrap_or_default(), &info.namespace)
    };
    let resource = |entry: &String| match entry.split_once('/') {
        _ if entry == ALL => true,
        Some((resource, subresource)) => resource == info.resource && subresource == info.subresource,
        None => *entry == info.resource && info.subresource.is_empty(),
    };
    scope
        && has(&rule.verbs, &info.verb)
        && has(&rule.api_groups, &info.api_group)
        && rule.resources.iter().any(resource)
}

fn path_matches(rule: &NonResourcePolicyRule, info: &RequestInfo) -> bool {
    let path = |entry: &String| match entry.strip_suffix('*') {
        Some(prefix) => info.path.starts_with(prefix),
        None => *entry == info.path,
    };
    has(&rule.verbs, &info.verb) && rule.non_resource_urls.iter().any(path)
}
