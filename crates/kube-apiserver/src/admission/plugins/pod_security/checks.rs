//! The checks of both profiles, each in its revisions, and which of them apply to a level and version.
//!
//! A check's revision applies from its minor version on until the next. `restricted` runs the checks of `baseline` too,
//! but for those that a check of its own replaces in that version.

use super::policy::{Level, LevelVersion, Version};
use super::subject::Subject;
use super::{baseline, restricted};

/// What a check forbids: in brief, and with the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub reason: &'static str,
    pub detail: String,
}

pub type CheckPod = fn(&Subject) -> Option<Violation>;

pub struct Check {
    pub id: &'static str,
    /// (first minor version, check), rising.
    pub revisions: &'static [(u32, CheckPod)],
    /// The baseline check that this one is a stricter form of.
    pub replaces: Option<&'static str>,
}

impl Check {
    fn at(&self, version: Version) -> Option<CheckPod> {
        let applies = |from: u32| version >= Version::Minor(from);
        self.revisions.iter().rev().find(|(from, _)| applies(*from)).map(|(_, check)| *check)
    }
}

/// What of the pod the policy forbids, in the order of all messages.
pub fn evaluate(policy: LevelVersion, subject: &Subject) -> Vec<Violation> {
    if policy.level == Level::Privileged {
        return Vec::new();
    }
    let restricted: Vec<&Check> = match policy.level {
        Level::Restricted => restricted::CHECKS.iter().filter(|check| check.at(policy.version).is_some()).collect(),
        _ => Vec::new(),
    };
    let is_replaced = |id: &str| restricted.iter().any(|check| check.replaces == Some(id));
    let baseline = baseline::CHECKS.iter().filter(|check| !is_replaced(check.id));
    baseline
        .chain(restricted.iter().copied())
        .filter_map(|check| check.at(policy.version))
        .filter_map(|check| check(subject))
        .collect()
}

/// `host namespaces, hostPort`
pub fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|violation| violation.reason).collect::<Vec<_>>().join(", ")
}

/// `host namespaces (hostPID=true), hostPort (container "c" uses hostPort 80)`
pub fn details(violations: &[Violation]) -> String {
    let each = violations.iter().map(|violation| match violation.detail.as_str() {
        "" => violation.reason.to_owned(),
        detail => format!("{} ({detail})", violation.reason),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// `"a", "b"`
pub fn quoted<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("\"{}\"", name.as_ref())).collect();
    names.join(", ")
}

/// `container "a"`, or `containers "a", "b"`
pub fn containers(names: &[&str]) -> String {
    format!("{} {}", plural(names.len(), "container", "containers"), quoted(names))
}

pub fn plural(count: usize, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// `pod and container "a"`: who set what is forbidden; nothing when nobody did.
pub fn setters(pod: bool, names: &[&str]) -> Option<String> {
    let mut setters = Vec::new();
    if pod {
        setters.push("pod".to_owned());
    }
    if !names.is_empty() {
        setters.push(containers(names));
    }
    (!setters.is_empty()).then(|| setters.join(" and "))
}
