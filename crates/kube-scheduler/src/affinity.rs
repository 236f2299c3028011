//! Node selectors and node affinity, compiled once a pod and evaluated against a node's name and labels.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// What a pod demands of its node's labels and what it would like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NodeAffinity {
    selector: BTreeMap<String, String>,
    required: Option<Terms>,
    preferred: Vec<(i64, Term)>,
}

/// Alternatives of which one must hold, as a pod or a volume demands them of its node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Terms(Vec<Term>);

impl Terms {
    pub fn of(selector: &NodeSelector) -> Self {
        Self(selector.node_selector_terms.iter().map(Term::of).collect())
    }

    /// Whether the node will do.
    pub fn admit(&self, node: &str, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().any(|term| term.matches(node, labels))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Term {
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
    Greater(i64),
    Less(i64),
    /// An operator or operand that cannot be evaluated matches nothing.
    Never,
}

impl NodeAffinity {
    pub fn of(spec: &PodSpec) -> Self {
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required =
            affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        let preferred =
            affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
        Self {
            selector: spec.node_selector.clone().unwrap_or_default(),
            required: required.map(Terms::of),
            preferred: preferred
                .into_iter()
                .flatten()
                .map(|preferred| (i64::from(preferred.weight), Term::of(&preferred.preference)))
                .collect(),
        }
    }

    /// Whether a pod with this affinity may run on the node.
    pub fn admits(&self, node: &str, labels: &BTreeMap<String, String>) -> bool {
        self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.required.as_ref().is_none_or(|terms| terms.admit(node, labels))
    }

    /// The sum of the weights of the preferences that the node meets.
    pub fn preference(&self, node: &str, labels: &BTreeMap<String, String>) -> i64 {
        self.preferred.iter().filter(|(_, term)| term.matches(node, labels)).map(|(weight, _)| weight).sum()
    }

    pub fn has_preferences(&self) -> bool {
        !self.preferred.is_empty()
    }
}

impl Term {
    fn of(term: &NodeSelectorTerm) -> Self {
        let compile =
            |list: &Option<Vec<NodeSelectorRequirement>>| list.iter().flatten().map(Requirement::of).collect();
        Self { labels: compile(&term.match_expressions), fields: compile(&term.match_fields) }
    }

    /// An empty term matches no node.
    fn matches(&self, node: &str, labels: &BTreeMap<String, String>) -> bool {
        !(self.labels.is_empty() && self.fields.is_empty())
            && self
                .labels
                .iter()
                .all(|requirement| requirement.matches(labels.get(&requirement.key).map(String::as_str)))
            && self
                .fields
                .iter()
                .all(|requirement| requirement.key == "metadata.name" && requirement.matches(Some(node)))
    }
}

impl Requirement {
    fn of(requirement: &NodeSelectorRequirement) -> Self {
        let values = requirement.values.clone().unwrap_or_default();
        let number = || values.first().and_then(|value| value.parse().ok());
        let operator = match requirement.operator.as_str() {
            "In" => Operator::In(values),
            "NotIn" => Operator::NotIn(values),
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            "Gt" => number().map_or(Operator::Never, Operator::Greater),
            "Lt" => number().map_or(Operator::Never, Operator::Less),
            _ => Operator::Never,
        };
        Self { key: requirement.key.clone(), operator }
    }

    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.iter().any(|listed| listed == value)),
            Operator::NotIn(values) => value.is_none_or(|value| !values.iter().any(|listed| listed == value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Greater(than) => number().is_some_and(|number| number > *than),
            Operator::Less(than) => number().is_some_and(|number| number < *than),
            Operator::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn affinity(spec: serde_json::Value) -> NodeAffinity {
        let mut spec = spec;
        spec["containers"] = json!([]);
        NodeAffinity::of(&serde_json::from_value(spec).unwrap())
    }

    fn required(expression: serde_json::Value) -> NodeAffinity {
        affinity(json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}}))
    }

    #[test]
    fn operators_mean_what_the_api_says() {
        let labels = BTreeMap::from([("disk".to_owned(), "ssd".to_owned()), ("cores".to_owned(), "8".to_owned())]);
        let holds = |expression| required(expression).admits("n", &labels);
        assert!(holds(json!({"key": "disk", "operator": "In", "values": ["hdd", "ssd"]})));
        assert!(!holds(json!({"key": "disk", "operator": "NotIn", "values": ["ssd"]})));
        assert!(holds(json!({"key": "absent", "operator": "NotIn", "values": ["ssd"]})));
        assert!(holds(json!({"key": "absent", "operator": "DoesNotExist"})));
        assert!(holds(json!({"key": "cores", "operator": "Gt", "values": ["7"]})));
        assert!(!holds(json!({"key": "cores", "operator": "Lt", "values": ["8"]})));
        assert!(!holds(json!({"key": "disk", "operator": "Gt", "values": ["1"]})));
    }

    #[test]
    fn selector_and_terms_must_both_hold_and_an_empty_term_never_does() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        assert!(affinity(json!({"nodeSelector": {"a": "1"}})).admits("n", &labels));
        assert!(!affinity(json!({"nodeSelector": {"a": "2"}})).admits("n", &labels));
        let by_name = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
            [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}, {}]}}}});
        assert!(affinity(by_name.clone()).admits("n", &labels));
        assert!(!affinity(by_name).admits("other", &labels));
    }
}
