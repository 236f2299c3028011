//! What a rule of RBAC covers: a request, or another rule (so that nobody grants what they do not have).

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::Attributes;

/// Whether the rule allows what is asked.
pub fn allows(rule: &PolicyRule, attributes: &Attributes) -> bool {
    if !has(&rule.verbs, attributes.verb) {
        return false;
    }
    if !attributes.resource_request {
        return list(&rule.non_resource_urls).iter().any(|url| url_covers(url, attributes.path));
    }
    has(list(&rule.api_groups), attributes.api_group)
        && list(&rule.resources).iter().any(|own| resource_covers(own, attributes.resource, attributes.subresource))
        && names_allow(rule, attributes.name)
}

/// Each part of `wanted` that no rule of `owned` covers, put together again where they differ in verbs only, in the
/// order in which they are reported.
pub fn not_covered(owned: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    let missing = wanted.iter().flat_map(break_down).filter(|part| !owned.iter().any(|rule| covers(rule, part)));
    let mut missing = compact(missing);
    missing.sort_by_cached_key(describe);
    missing
}

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`
pub fn describe(rule: &PolicyRule) -> String {
    let fields = [
        ("APIGroups", list(&rule.api_groups)),
        ("Resources", list(&rule.resources)),
        ("NonResourceURLs", list(&rule.non_resource_urls)),
        ("ResourceNames", list(&rule.resource_names)),
        ("Verbs", &rule.verbs[..]),
    ];
    let fields = fields.iter().filter(|(_, values)| !values.is_empty());
    let fields: Vec<String> = fields.map(|(name, values)| format!("{name}:{}", quoted_list(values))).collect();
    format!("{{{}}}", fields.join(", "))
}

/// `["a" "b"]`
pub fn quoted_list(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| machinery::go_text::quote(value)).collect();
    format!("[{}]", values.join(" "))
}

fn list(values: &Option<Vec<String>>) -> &[String] {
    values.as_deref().unwrap_or_default()
}

fn has(values: &[String], wanted: &str) -> bool {
    values.iter().any(|value| value == wanted || value == "*")
}

fn has_all(values: &[String], wanted: &[String]) -> bool {
    values.iter().any(|value| value == "*") || wanted.iter().all(|wanted| values.contains(wanted))
}

/// `own` is `pods`, `pods/log`, `*`, or `*/scale`.
fn resource_covers(own: &str, resource: &str, subresource: &str) -> bool {
    if own == "*" {
        return true;
    }
    match own.split_once('/') {
        None => subresource.is_empty() && own == resource,
        Some((own, own_subresource)) => {
            !subresource.is_empty() && own_subresource == subresource && (own == "*" || own == resource)
        }
    }
}

fn url_covers(own: &str, path: &str) -> bool {
    own == path || own.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

fn names_allow(rule: &PolicyRule, name: &str) -> bool {
    let names = list(&rule.resource_names);
    names.is_empty() || names.iter().any(|own| own == name)
}

/// Whether `rule` allows everything that `part` does; `part` comes from [`break_down`].
fn covers(rule: &PolicyRule, part: &PolicyRule) -> bool {
    let resource_covered = |wanted: &String| {
        let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
        list(&rule.resources).iter().any(|own| own == wanted || resource_covers(own, resource, subresource))
    };
    let own_names = list(&rule.resource_names);
    let names_covered = own_names.is_empty()
        || (!list(&part.resource_names).is_empty()
            && list(&part.resource_names).iter().all(|name| own_names.contains(name)));
    has_all(&rule.verbs, &part.verbs)
        && has_all(list(&rule.api_groups), list(&part.api_groups))
        && list(&part.resources).iter().all(resource_covered)
        && list(&part.non_resource_urls)
            .iter()
            .all(|url| list(&rule.non_resource_urls).iter().any(|own| url_covers(own, url)))
        && names_covered
}

/// Every combination of one verb with one group and resource (and name), or with one path.
fn break_down(rule: &PolicyRule) -> Vec<PolicyRule> {
    let one = |value: &String| Some(vec![value.clone()]);
    let mut parts = Vec::new();
    for group in list(&rule.api_groups) {
        for resource in list(&rule.resources) {
            for verb in &rule.verbs {
                let part = PolicyRule {
                    api_groups: one(group),
                    resources: one(resource),
                    verbs: vec![verb.clone()],
                    ..PolicyRule::default()
                };
                match list(&rule.resource_names) {
                    [] => parts.push(part),
                    names => {
                        parts.extend(names.iter().map(|name| PolicyRule { resource_names: one(name), ..part.clone() }))
                    }
                }
            }
        }
    }
    for url in list(&rule.non_resource_urls) {
        for verb in &rule.verbs {
            parts.push(PolicyRule { non_resource_urls: one(url), verbs: vec![verb.clone()], ..PolicyRule::default() });
        }
    }
    parts
}

/// Puts parts about the same resource together; parts about paths stay as they are.
fn compact(parts: impl Iterator<Item = PolicyRule>) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    for part in parts {
        let same = rules.iter_mut().find(|rule| {
            part.non_resource_urls.is_none()
                && rule.api_groups == part.api_groups
                && rule.resources == part.resources
                && rule.resource_names == part.resource_names
                && rule.non_resource_urls.is_none()
        });
        match same {
            Some(rule) => {
                let new = part.verbs.into_iter().filter(|verb| !rule.verbs.contains(verb)).collect::<Vec<_>>();
                rule.verbs.extend(new);
            }
            None => rules.push(part),
        }
    }
    rules
}
