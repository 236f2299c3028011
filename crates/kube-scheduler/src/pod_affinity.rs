//! Affinity and anti-affinity between pods, compiled once a pod: which other pods a term means, and within which topology
//! ("the same value of this node label") it wants to be with them or apart from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use client::Selector;
use k8s_openapi::api::core::v1::{PodAffinityTerm, PodSpec, WeightedPodAffinityTerm};

use crate::pod_info::PodInfo;

/// Labels of namespaces by name.
pub type Namespaces = HashMap<String, BTreeMap<String, String>>;

/// What a pod demands of and would like about its neighbours.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodAffinity {
    pub required: Vec<Term>,
    pub preferred: Vec<(i64, Term)>,
    pub anti_required: Vec<Term>,
    pub anti_preferred: Vec<(i64, Term)>,
}

/// Pods of some namespaces with some labels, and a topology.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    pub topology_key: String,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<Selector>,
    /// None selects nothing.
    selector: Option<Selector>,
}

impl PodAffinity {
    /// That of a pod in this namespace; None where it has no term at all.
    pub fn of(spec: &PodSpec, namespace: &str) -> Option<Self> {
        let affinity = spec.affinity.as_ref()?;
        let (with, apart) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
        let terms = |list: Option<&Vec<PodAffinityTerm>>| -> Vec<Term> {
            list.into_iter().flatten().map(|term| Term::of(term, namespace)).collect()
        };
        let weighted = |list: Option<&Vec<WeightedPodAffinityTerm>>| -> Vec<(i64, Term)> {
            let list = list.into_iter().flatten();
            list.map(|term| (i64::from(term.weight), Term::of(&term.pod_affinity_term, namespace))).collect()
        };
        let compiled = Self {
            required: terms(with.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())),
            preferred: weighted(with.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref())),
            anti_required: terms(apart.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())),
            anti_preferred: weighted(
                apart.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
            ),
        };
        (compiled != Self::default()).then_some(compiled)
    }
}

impl Term {
    fn of(term: &PodAffinityTerm, namespace: &str) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Self {
            topology_key: term.topology_key.clone(),
            namespaces,
            namespace_selector: term.namespace_selector.as_ref().map(Selector::of),
            selector: term.label_selector.as_ref().map(Selector::of),
        }
    }

    /// Whether the term means this pod.
    pub fn matches(&self, pod: &PodInfo, namespaces: &Namespaces) -> bool {
        let namespace = &pod.key.namespace;
        let in_scope = self.namespaces.contains(namespace)
            || self.namespace_selector.as_ref().is_some_and(|selector| selector.matches(namespaces.get(namespace)));
        in_scope && self.selector.as_ref().is_some_and(|selector| selector.matches(pod.labels()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::pod_info::tests::pod;

    #[test]
    fn a_term_means_pods_by_namespace_and_labels() {
        let other = pod("other", json!({"labels": {"app": "web"}}));
        let namespaces = Namespaces::from([("default".into(), [("team".to_owned(), "a".to_owned())].into())]);
        let matches = |more: Value| {
            let mut term = json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}});
            term.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let term: PodAffinityTerm = serde_json::from_value(term).unwrap();
            (
                Term::of(&term, "default").matches(&other, &namespaces),
                Term::of(&term, "elsewhere").matches(&other, &namespaces),
            )
        };
        assert_eq!(matches(json!({})), (true, false));
        assert_eq!(matches(json!({"namespaces": ["default"]})), (true, true));
        assert_eq!(matches(json!({"namespaces": ["elsewhere"]})), (false, false));
        assert_eq!(matches(json!({"namespaceSelector": {}})), (true, true));
        assert_eq!(matches(json!({"namespaceSelector": {"matchLabels": {"team": "b"}}})), (false, false));
        assert_eq!(matches(json!({"labelSelector": {"matchLabels": {"app": "db"}}})), (false, false));
        assert_eq!(matches(json!({"labelSelector": null})), (false, false));
    }
}
