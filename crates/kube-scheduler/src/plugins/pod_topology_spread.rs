//! Pods of a kind spread over zones, nodes or any topology: hard constraints bound the difference between the fullest and
//! the emptiest place, soft ones and the defaults for services and sets only prefer emptier places.

use std::collections::HashMap;

use super::{Event, Plugin, Rejection, SCORE_MAX};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;
use crate::topology_spread::{Constraint, HOST_NAME};

pub struct PodTopologySpread;

/// For each hard constraint of a pod, how many pods there are in each place.
#[derive(Debug, Default)]
pub struct Spread(Vec<Places>);

#[derive(Debug, Default)]
struct Places {
    counts: HashMap<String, i64>,
    least: i64,
}

impl Spread {
    pub fn of(pod: &PodInfo, nodes: &Nodes) -> Self {
        let hard: Vec<&Constraint> = hard(pod).collect();
        let mut places: Vec<Places> = hard.iter().map(|_| Places::default()).collect();
        if hard.is_empty() {
            return Self(places);
        }
        for row in 0..nodes.len() {
            let labels = &nodes.labels[row];
            if !hard.iter().all(|constraint| labels.contains_key(&constraint.topology_key)) {
                continue;
            }
            for (constraint, places) in hard.iter().zip(&mut places) {
                if constraint.includes(pod, nodes, row) {
                    let found = constraint.count_on(&pod.key.namespace, nodes, row);
                    *places.counts.entry(labels[&constraint.topology_key].clone()).or_default() += found;
                }
            }
        }
        for (constraint, places) in hard.iter().zip(&mut places) {
            // With fewer places than there shall be, one that is empty is thought to exist.
            let enough = places.counts.len() >= constraint.domains_min;
            places.least = if enough { places.counts.values().copied().min().unwrap_or(0) } else { 0 };
        }
        Self(places)
    }
}

fn hard(pod: &PodInfo) -> impl Iterator<Item = &Constraint> {
    pod.spread.iter().filter(|constraint| constraint.hard)
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize, cycle: &Cycle) -> Option<Rejection> {
        for (constraint, places) in hard(pod).zip(&cycle.spread.0) {
            let Some(value) = nodes.labels[row].get(&constraint.topology_key) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Some(Rejection::unresolvable(reason));
            };
            let found = places.counts.get(value).copied().unwrap_or(0);
            if found + i64::from(constraint.selects(pod)) - places.least > constraint.skew_max {
                return Some(Rejection::new("node(s) didn't match pod topology spread constraints"));
            }
        }
        None
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, nodes: &Nodes, rows: &[usize], scores: &mut [i64]) {
        let own: Vec<Constraint> = pod.spread.iter().filter(|constraint| !constraint.hard).cloned().collect();
        let defaults = if pod.spread.is_empty() { nodes.workloads.default_constraints(pod) } else { Vec::new() };
        // A node without the labels of one's own constraints is no place at all; zones that nobody labelled are no matter.
        let (constraints, strict) = if own.is_empty() { (defaults, false) } else { (own, true) };
        if constraints.is_empty() {
            return;
        }
        let labelled = |row: usize| {
            !strict || constraints.iter().all(|constraint| nodes.labels[row].contains_key(&constraint.topology_key))
        };
        let counts = soft_counts(pod, nodes, rows, &constraints, &labelled);
        let raw: Vec<Option<i64>> =
            rows.iter().map(|row| labelled(*row).then(|| raw_score(pod, nodes, *row, &constraints, &counts))).collect();
        let (least, most) = (raw.iter().flatten().min().copied(), raw.iter().flatten().max().copied());
        let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
        for (score, raw) in scores.iter_mut().zip(raw) {
            *score = match raw {
                None => 0,
                Some(_) if most == 0 => SCORE_MAX,
                Some(raw) => SCORE_MAX * (most + least - raw) / most,
            };
        }
    }

    fn compares_nodes(&self) -> bool {
        true
    }

    fn is_concerned_by(&self, event: &Event<'_>) -> bool {
        match event {
            Event::Node(_, change) => change.added || change.labels || change.taints,
            Event::NodeGone | Event::PodGone(..) | Event::PodCame(_) | Event::PodChanged { .. } => true,
            Event::Own(change) => change.labels,
            Event::Storage(_) => false,
        }
    }

    fn may_help(&self, event: &Event<'_>, pod: &PodInfo, nodes: &Nodes) -> bool {
        let counts = |other: &PodInfo| hard(pod).any(|constraint| constraint.counts(&pod.key.namespace, other));
        match event {
            Event::PodCame(other) | Event::PodGone(_, other) => counts(other),
            Event::PodChanged { before, now, .. } => counts(before) != counts(now),
            Event::Node(row, _) => {
                hard(pod).any(|constraint| nodes.labels[*row].contains_key(&constraint.topology_key))
            }
            _ => true,
        }
    }
}

/// For each constraint, the weight of its topology and the pods in each place where a feasible node is.
type Counts<'a> = Vec<(f64, HashMap<&'a str, i64>)>;

fn soft_counts<'a>(
    pod: &PodInfo,
    nodes: &'a Nodes,
    rows: &[usize],
    constraints: &[Constraint],
    labelled: &dyn Fn(usize) -> bool,
) -> Counts<'a> {
    let feasible: Vec<usize> = rows.iter().copied().filter(|row| labelled(*row)).collect();
    let count = |constraint: &Constraint| {
        if constraint.topology_key == HOST_NAME {
            // Counted node by node when they are scored.
            return (weight(feasible.len()), HashMap::new());
        }
        let value = |row: usize| nodes.labels[row].get(&constraint.topology_key).map(String::as_str);
        let mut places: HashMap<&str, i64> =
            feasible.iter().filter_map(|row| value(*row)).map(|place| (place, 0)).collect();
        for row in (0..nodes.len()).filter(|row| labelled(*row) && constraint.includes(pod, nodes, *row)) {
            if let Some(found) = value(row).and_then(|place| places.get_mut(place)) {
                *found += constraint.count_on(&pod.key.namespace, nodes, row);
            }
        }
        (weight(places.len()), places)
    };
    constraints.iter().map(count).collect()
}

/// A topology of many places has fewer pods in each, so each counts more.
fn weight(places: usize) -> f64 {
    (places as f64 + 2.0).ln()
}

fn raw_score(pod: &PodInfo, nodes: &Nodes, row: usize, constraints: &[Constraint], counts: &Counts<'_>) -> i64 {
    let mut score = 0.0;
    for (constraint, (weight, places)) in constraints.iter().zip(counts) {
        let Some(value) = nodes.labels[row].get(&constraint.topology_key) else { continue };
        let found = match constraint.topology_key == HOST_NAME {
            true => constraint.count_on(&pod.key.namespace, nodes, row),
            false => places.get(value.as_str()).copied().unwrap_or(0),
        };
        // With a larger skew allowed, small differences matter less.
        score += found as f64 * weight + (constraint.skew_max - 1) as f64;
    }
    score.round() as i64
}

#[cfg(test)]
mod tests;
