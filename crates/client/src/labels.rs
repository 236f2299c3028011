//! Label selectors as typed objects carry them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

type Labels = BTreeMap<String, String>;

/// A selector that objects' labels are matched with. One without requirements matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    equal: Labels,
    expressions: Vec<Expression>,
}

#[derive(Clone, Debug, PartialEq)]
enum Expression {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
    Never,
}

impl Selector {
    /// A selector of exact labels (Service, ReplicationController).
    pub fn of_labels(labels: &Labels) -> Self {
        Self { equal: labels.clone(), expressions: Vec::new() }
    }

    /// A selector that nothing satisfies.
    pub fn nothing() -> Self {
        Self { equal: Labels::new(), expressions: vec![Expression::Never] }
    }

    /// A `metav1.LabelSelector`. An operator that the API does not have matches nothing.
    pub fn of(selector: &LabelSelector) -> Self {
        let expressions = selector.match_expressions.iter().flatten().map(|requirement| {
            let (key, values) = (requirement.key.clone(), requirement.values.clone().unwrap_or_default());
            match requirement.operator.as_str() {
                "In" => Expression::In(key, values),
                "NotIn" => Expression::NotIn(key, values),
                "Exists" => Expression::Exists(key),
                "DoesNotExist" => Expression::DoesNotExist(key),
                _ => Expression::Never,
            }
        });
        Self { equal: selector.match_labels.clone().unwrap_or_default(), expressions: expressions.collect() }
    }

    /// Whether it has no requirement at all.
    pub fn is_empty(&self) -> bool {
        self.equal.is_empty() && self.expressions.is_empty()
    }

    /// The labels that must be there with exactly this value: what an index can answer.
    pub fn exact(&self) -> &Labels {
        &self.equal
    }

    /// Whether these labels satisfy every requirement.
    pub fn matches(&self, labels: Option<&Labels>) -> bool {
        let get = |key: &str| labels.and_then(|labels| labels.get(key));
        self.equal.iter().all(|(key, value)| get(key) == Some(value))
            && self.expressions.iter().all(|expression| match expression {
                Expression::In(key, values) => get(key).is_some_and(|value| values.contains(value)),
                Expression::NotIn(key, values) => get(key).is_none_or(|value| !values.contains(value)),
                Expression::Exists(key) => get(key).is_some(),
                Expression::DoesNotExist(key) => get(key).is_none(),
                Expression::Never => false,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requirements_match_as_the_api_defines_them() {
        let cases = [
            (json!({}), json!({}), true),
            (json!({"matchLabels": {"a": "1"}}), json!({"a": "1", "b": "2"}), true),
            (json!({"matchLabels": {"a": "1"}}), json!({"a": "2"}), false),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}),
                json!({"a": "2"}),
                true,
            ),
            (json!({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}), json!({}), false),
            (json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}), json!({}), true),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}),
                json!({"a": "1"}),
                false,
            ),
            (json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}), json!({"a": ""}), true),
            (json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}), json!({"a": ""}), false),
            (json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}), json!({"a": ""}), false),
        ];
        for (selector, labels, expected) in cases {
            let parsed = Selector::of(&serde_json::from_value(selector.clone()).unwrap());
            let labels: Labels = serde_json::from_value(labels).unwrap();
            assert_eq!(parsed.matches(Some(&labels)), expected, "{selector} on {labels:?}");
        }
    }
}
