//! Which thresholds are passed, since when, and what follows: the node's conditions, and what is short enough to act on.
//!
//! A condition holds from the first moment, also for a soft threshold, and stays for a while after the last, so that a node
//! at the edge does not flap. Acting begins when a threshold has been passed for its grace period.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{Pressure, Settings, Signal, Stats, Threshold};

/// What a look at the node led to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// Conditions that hold.
    pub conditions: BTreeSet<Pressure>,
    /// Thresholds that have been passed for long enough, the most urgent first.
    pub starved: Vec<Threshold>,
}

/// Remembers from look to look.
#[derive(Debug, Clone)]
pub struct Manager {
    settings: Settings,
    acted_on: Vec<Threshold>,
    first_seen: Vec<(Threshold, Timestamp)>,
    last_seen: HashMap<Pressure, Timestamp>,
}

impl Manager {
    /// Nothing has been seen yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, acted_on: Vec::new(), first_seen: Vec::new(), last_seen: HashMap::new() }
    }

    /// Takes a look in.
    pub fn look(&mut self, stats: &Stats, now: Timestamp) -> Decision {
        let met: Vec<Threshold> = (self.settings.thresholds.iter())
            .filter(|threshold| {
                let reclaiming = self.acted_on.iter().any(|known| known.is_same(threshold));
                let seen = stats.node.get(&threshold.signal);
                seen.is_some_and(|seen| threshold.is_met(*seen, reclaiming))
            })
            .cloned()
            .collect();
        let since = |threshold: &Threshold| {
            let known = self.first_seen.iter().find(|(known, _)| known.is_same(threshold));
            known.map_or(now, |(_, at)| *at)
        };
        self.first_seen = met.iter().map(|threshold| (threshold.clone(), since(threshold))).collect();
        for threshold in &met {
            self.last_seen.insert(threshold.signal.pressure(), now);
        }
        let stays = signed(self.settings.pressure_transition);
        self.last_seen.retain(|_, at| *at == now || now.duration_since(*at) < stays);
        let long_enough = |(threshold, at): &(Threshold, Timestamp)| {
            now.duration_since(*at) >= signed(threshold.grace.unwrap_or_default())
        };
        let mut starved: Vec<Threshold> =
            self.first_seen.iter().filter(|seen| long_enough(seen)).map(|(threshold, _)| threshold.clone()).collect();
        // Without memory nothing else can be done; of the same signal the hard threshold is the more urgent.
        starved
            .sort_by_key(|threshold| (threshold.signal != Signal::MemoryAvailable, threshold.signal, threshold.grace));
        self.acted_on.clone_from(&starved);
        Decision { conditions: self.last_seen.keys().copied().collect(), starved }
    }

    /// The seconds that a pod gets to end because of `threshold`; `own` is what it asks for.
    pub fn grace_period_seconds(&self, threshold: &Threshold, own: i64) -> i64 {
        match threshold.grace {
            None => 1,
            Some(_) => own.min(self.settings.max_pod_grace_period_seconds).max(1),
        }
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Amount, Observation};
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn stats(memory: u64, disk: u64) -> Stats {
        let of = |available| Observation { available, capacity: 1000 };
        let node = BTreeMap::from([(Signal::MemoryAvailable, of(memory)), (Signal::NodefsAvailable, of(disk))]);
        Stats { node, ..Stats::default() }
    }

    fn manager(grace: Option<u64>, min_reclaim: Option<Amount>) -> Manager {
        let grace = grace.map(Duration::from_secs);
        let threshold = |signal, grace| Threshold { signal, amount: Amount::Absolute(100), grace, min_reclaim };
        Manager::new(Settings {
            thresholds: vec![threshold(Signal::NodefsAvailable, None), threshold(Signal::MemoryAvailable, grace)],
            pressure_transition: Duration::from_secs(60),
            max_pod_grace_period_seconds: 20,
            ..Settings::default()
        })
    }

    fn signals(decision: &Decision) -> Vec<Signal> {
        decision.starved.iter().map(|threshold| threshold.signal).collect()
    }

    #[test]
    fn memory_comes_first_and_conditions_stay_for_a_while() {
        let mut manager = manager(None, None);
        assert_eq!(manager.look(&stats(100, 100), at(0)), Decision::default());
        let both = manager.look(&stats(99, 99), at(10));
        assert_eq!(signals(&both), [Signal::MemoryAvailable, Signal::NodefsAvailable]);
        assert_eq!(both.conditions, BTreeSet::from([Pressure::Memory, Pressure::Disk]));
        let over = manager.look(&stats(500, 99), at(60));
        assert_eq!((signals(&over).len(), over.conditions.len()), (1, 2));
        let memory_over = manager.look(&stats(500, 500), at(70));
        assert_eq!((memory_over.starved.len(), memory_over.conditions), (0, BTreeSet::from([Pressure::Disk])));
        assert_eq!(manager.look(&stats(500, 500), at(120)), Decision::default());
    }

    #[test]
    fn a_soft_threshold_is_acted_on_after_its_grace_period_without_a_break() {
        let mut manager = manager(Some(30), None);
        let first = manager.look(&stats(50, 500), at(0));
        assert_eq!((first.starved.len(), first.conditions), (0, BTreeSet::from([Pressure::Memory])));
        assert!(manager.look(&stats(50, 500), at(29)).starved.is_empty());
        assert!(manager.look(&stats(150, 500), at(30)).starved.is_empty());
        assert!(manager.look(&stats(50, 500), at(40)).starved.is_empty(), "the time begins anew");
        let soft = manager.look(&stats(50, 500), at(70));
        assert_eq!(signals(&soft), [Signal::MemoryAvailable]);
        let seconds = |own| manager.grace_period_seconds(&soft.starved[0], own);
        assert_eq!((seconds(5), seconds(600)), (5, 20));
    }

    #[test]
    fn once_begun_the_minimum_is_reclaimed() {
        let mut manager = manager(None, Some(Amount::Absolute(50)));
        assert!(manager.look(&stats(120, 500), at(0)).starved.is_empty());
        assert_eq!(manager.look(&stats(90, 500), at(10)).starved.len(), 1);
        assert_eq!(manager.look(&stats(120, 500), at(20)).starved.len(), 1);
        assert!(manager.look(&stats(150, 500), at(30)).starved.is_empty());
        assert!(manager.look(&stats(120, 500), at(40)).starved.is_empty());
    }
}
