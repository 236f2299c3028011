//! Pods that want to be with others or apart from them. A pod that is placed keeps away those that its own anti-affinity
//! means, although they ask for nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Event, Plugin, Rejection, SCORE_MAX};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_affinity::Term;
use crate::pod_info::PodInfo;

pub struct InterPodAffinity;

/// A node label and its value: one place of a topology.
type Place = (Arc<str>, Arc<str>);

/// How often pods are where it matters to one pod, counted over all nodes once a decision.
#[derive(Debug, Default)]
pub struct Neighbours {
    /// Pods that satisfy all required affinity terms, at each term's place.
    wanted: HashMap<Place, usize>,
    /// Pods that a required anti-affinity term means, at its place.
    unwanted: HashMap<Place, usize>,
    /// Pods whose own required anti-affinity means the pod, at its place.
    unwilling: HashMap<Place, usize>,
}

impl Neighbours {
    pub fn of(pod: &PodInfo, nodes: &Nodes) -> Self {
        let mut neighbours = Self::default();
        for (row, other) in nodes.pods_with_anti_affinity() {
            for term in other.pod_affinity.iter().flat_map(|affinity| &affinity.anti_required) {
                if term.matches(pod, &nodes.namespaces) {
                    count(&mut neighbours.unwilling, term, nodes, row);
                }
            }
        }
        let Some(affinity) = pod.pod_affinity.as_deref() else { return neighbours };
        if affinity.required.is_empty() && affinity.anti_required.is_empty() {
            return neighbours;
        }
        for row in 0..nodes.len() {
            for other in nodes.pods[row].values() {
                if !affinity.required.is_empty() && all_match(&affinity.required, other, nodes) {
                    affinity.required.iter().for_each(|term| count(&mut neighbours.wanted, term, nodes, row));
                }
                for term in affinity.anti_required.iter().filter(|term| term.matches(other, &nodes.namespaces)) {
                    count(&mut neighbours.unwanted, term, nodes, row);
                }
            }
        }
        neighbours
    }
}

fn all_match(terms: &[Term], pod: &PodInfo, nodes: &Nodes) -> bool {
    terms.iter().all(|term| term.matches(pod, &nodes.namespaces))
}

fn place(term: &Term, nodes: &Nodes, row: usize) -> Option<Place> {
    let value = nodes.labels[row].get(&term.topology_key)?;
    Some((term.topology_key.as_str().into(), value.as_str().into()))
}

fn count(counts: &mut HashMap<Place, usize>, term: &Term, nodes: &Nodes, row: usize) {
    if let Some(place) = place(term, nodes, row) {
        *counts.entry(place).or_default() += 1;
    }
}

fn counted(counts: &HashMap<Place, usize>, term: &Term, nodes: &Nodes, row: usize) -> bool {
    !counts.is_empty() && place(term, nodes, row).is_some_and(|place| counts.contains_key(&place))
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize, cycle: &Cycle) -> Option<Rejection> {
        let neighbours = &cycle.neighbours;
        if let Some(affinity) = pod.pod_affinity.as_deref() {
            let labelled = affinity.required.iter().all(|term| nodes.labels[row].contains_key(&term.topology_key));
            let there = affinity.required.iter().all(|term| counted(&neighbours.wanted, term, nodes, row));
            // The first of a group that wants to be together finds nobody, and that is no reason to wait for ever.
            let first = || neighbours.wanted.is_empty() && all_match(&affinity.required, pod, nodes);
            if !labelled || !(there || first()) {
                return Some(Rejection::unresolvable("node(s) didn't match pod affinity rules"));
            }
            if affinity.anti_required.iter().any(|term| counted(&neighbours.unwanted, term, nodes, row)) {
                return Some(Rejection::new("node(s) didn't match pod anti-affinity rules"));
            }
        }
        let is_here = |(key, value): &Place| nodes.labels[row].get(&**key).is_some_and(|label| **label == **value);
        let kept_away = neighbours.unwilling.keys().any(is_here);
        kept_away.then(|| Rejection::new("node(s) didn't satisfy existing pods anti-affinity rules"))
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, nodes: &Nodes, rows: &[usize], scores: &mut [i64]) {
        let liked = liking(pod, nodes);
        if liked.is_empty() {
            return;
        }
        for (score, row) in scores.iter_mut().zip(rows) {
            let here = liked
                .iter()
                .filter(|((key, value), _)| nodes.labels[*row].get(&**key).is_some_and(|label| **label == **value));
            *score = here.map(|(_, weight)| weight).sum();
        }
        let (lowest, highest) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            *score = if highest == lowest { 0 } else { SCORE_MAX * (*score - lowest) / (highest - lowest) };
        }
    }

    fn compares_nodes(&self) -> bool {
        true
    }

    fn is_concerned_by(&self, event: &Event<'_>) -> bool {
        match event {
            Event::Node(_, change) => change.added || change.labels,
            Event::NodeGone | Event::Storage(_) => false,
            Event::PodGone(..) | Event::PodCame(_) | Event::PodChanged { .. } => true,
            Event::Own(change) => change.labels,
        }
    }

    fn may_help(&self, event: &Event<'_>, pod: &PodInfo, nodes: &Nodes) -> bool {
        let means = |terms: &[Term], other: &PodInfo| terms.iter().any(|term| term.matches(other, &nodes.namespaces));
        let wants = |other: &PodInfo| pod.pod_affinity.iter().any(|affinity| means(&affinity.required, other));
        let blocks = |other: &PodInfo| {
            pod.pod_affinity.iter().any(|affinity| means(&affinity.anti_required, other))
                || other.pod_affinity.iter().any(|affinity| means(&affinity.anti_required, pod))
        };
        match event {
            Event::PodCame(came) => wants(came),
            Event::PodGone(_, gone) => blocks(gone),
            Event::PodChanged { before, now, .. } => {
                before.labels() != now.labels() && (wants(now) && !wants(before) || blocks(before) && !blocks(now))
            }
            _ => true,
        }
    }
}

/// How much the pod likes each place, and the pods there like it. A required affinity of theirs counts a little as well.
fn liking(pod: &PodInfo, nodes: &Nodes) -> HashMap<Place, i64> {
    const OF_REQUIRED_AFFINITY: i64 = 1;
    let mut liked: HashMap<Place, i64> = HashMap::new();
    let mut add = |term: &Term, means: &PodInfo, row: usize, weight: i64| {
        if term.matches(means, &nodes.namespaces)
            && let Some(place) = place(term, nodes, row)
        {
            *liked.entry(place).or_default() += weight;
        }
    };
    let own = pod.pod_affinity.as_deref().filter(|own| !own.preferred.is_empty() || !own.anti_preferred.is_empty());
    if let Some(own) = own {
        for (row, pods) in nodes.pods.iter().enumerate() {
            for other in pods.values() {
                own.preferred.iter().for_each(|(weight, term)| add(term, other, row, *weight));
                own.anti_preferred.iter().for_each(|(weight, term)| add(term, other, row, -weight));
            }
        }
    }
    for (row, other) in nodes.pods_with_affinity() {
        let Some(theirs) = other.pod_affinity.as_deref() else { continue };
        theirs.required.iter().for_each(|term| add(term, pod, row, OF_REQUIRED_AFFINITY));
        theirs.preferred.iter().for_each(|(weight, term)| add(term, pod, row, *weight));
        theirs.anti_preferred.iter().for_each(|(weight, term)| add(term, pod, row, -weight));
    }
    liked.retain(|_, weight| *weight != 0);
    liked
}

#[cfg(test)]
mod tests;
