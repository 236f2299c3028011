//! RBAC rules taken apart and put together for people: one row a resource, with all of its verbs.

use serde_json::Value;

use crate::value::{list, show};

#[derive(Clone, PartialEq)]
struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    urls: Vec<String>,
}

impl Rule {
    /// Rows stand in the order of this text, in which upstream prints a rule.
    fn key(&self) -> String {
        let joined = |values: &[String]| values.join(" ");
        format!(
            "Verbs:[{}],APIGroups:[{}],Resources:[{}],ResourceNames:[{}],NonResourceURLs:[{}]",
            joined(&self.verbs),
            joined(&self.groups),
            joined(&self.resources),
            joined(&self.names),
            joined(&self.urls)
        )
    }
}

/// `pods.group/status<tab>[urls]<tab>[names]<tab>[verbs]` of each rule.
pub fn rows(rules: &[Value]) -> Vec<String> {
    let mut simple: Vec<Rule> = Vec::new();
    for rule in rules {
        for part in parts(rule) {
            // Rules about the same thing are one row; the verbs stay in their order.
            let same = |other: &&mut Rule| {
                !part.resources.is_empty()
                    && other.groups == part.groups
                    && other.resources == part.resources
                    && other.names == part.names
            };
            match simple.iter_mut().find(same) {
                Some(known) => known
                    .verbs
                    .extend(part.verbs.into_iter().filter(|verb| !known.verbs.contains(verb)).collect::<Vec<_>>()),
                None => simple.push(part),
            }
        }
    }
    simple.sort_by_key(Rule::key);
    simple
        .iter()
        .map(|rule| {
            let shown = |values: &[String]| format!("[{}]", values.join(" "));
            format!("{}\t{}\t{}\t{}", title(rule), shown(&rule.urls), shown(&rule.names), shown(&rule.verbs))
        })
        .collect()
}

fn parts(rule: &Value) -> Vec<Rule> {
    let strings = |field: &str| -> Vec<String> { list(rule, field).iter().map(show).collect() };
    let verbs = strings("verbs");
    let mut found = Vec::new();
    for group in strings("apiGroups") {
        for resource in strings("resources") {
            let names = strings("resourceNames");
            let each: Vec<Vec<String>> =
                if names.is_empty() { vec![names] } else { names.into_iter().map(|name| vec![name]).collect() };
            for names in each {
                found.push(Rule {
                    verbs: verbs.clone(),
                    groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    names,
                    urls: Vec::new(),
                });
            }
        }
    }
    for url in strings("nonResourceURLs") {
        found.push(Rule {
            verbs: verbs.clone(),
            groups: Vec::new(),
            resources: Vec::new(),
            names: Vec::new(),
            urls: vec![url],
        });
    }
    found
}

/// `deployments.apps/scale`
fn title(rule: &Rule) -> String {
    let (Some(resource), Some(group)) = (rule.resources.first(), rule.groups.first()) else { return String::new() };
    match (group.as_str(), resource.split_once('/')) {
        ("", _) => resource.clone(),
        (group, None) => format!("{resource}.{group}"),
        (group, Some((base, subresource))) => format!("{base}.{group}/{subresource}"),
    }
}

#[cfg(test)]
mod tests {
    use super::rows;
    use serde_json::json;

    #[test]
    fn rules_about_one_thing_are_one_row() {
        let rules = json!([
            {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments/scale", "deployments"]},
            {"verbs": ["get", "list"], "apiGroups": ["apps"], "resources": ["deployments"]},
            {"verbs": ["get"], "nonResourceURLs": ["/x", "/y"]}
        ]);
        let rules = rules.as_array().expect("is a list");
        assert_eq!(
            rows(rules),
            [
                "deployments.apps\t[]\t[]\t[get list]",
                "\t[/x]\t[]\t[get]",
                "\t[/y]\t[]\t[get]",
                "deployments.apps/scale\t[]\t[]\t[get]",
            ]
        );
    }
}
