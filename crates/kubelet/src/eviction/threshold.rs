//! Thresholds: how little of something may be left, and for how long.

use std::{collections::BTreeMap, time::Duration};

use machinery::quantity::Quantity;

use super::{Observation, Signal};

/// An amount of something, or a part of all of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// So much.
    Absolute(u64),
    /// So many hundredths of the capacity.
    Percent(f64),
}

impl Amount {
    /// Reads `100Mi`, `1000` or `10%`.
    pub fn parse(signal: &str, text: &str) -> Result<Self, String> {
        if let Some(number) = text.strip_suffix('%') {
            let percent: f64 =
                number.parse().map_err(|_| format!("failed to parse the eviction threshold {text:?} of {signal}"))?;
            if !(0.0..=100.0).contains(&percent) {
                let bound = if percent < 0.0 { ">= 0%" } else { "<= 100%" };
                return Err(format!("eviction percentage threshold {signal} must be {bound}: {text}"));
            }
            return Ok(Self::Percent(percent));
        }
        let quantity = Quantity::parse(text)
            .map_err(|error| format!("failed to parse the eviction threshold {text:?} of {signal}: {error}"))?;
        match u64::try_from(quantity.value()) {
            Ok(amount) if amount > 0 => Ok(Self::Absolute(amount)),
            _ => Err(format!("eviction threshold {signal} must be positive: {text}")),
        }
    }

    /// The amount where there is `capacity` in all.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a disk need not be exact to the byte; the product is not negative"
    )]
    pub fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Absolute(amount) => amount,
            Self::Percent(percent) => (capacity as f64 * percent / 100.0) as u64,
        }
    }
}

/// How little is too little.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// Of what.
    pub signal: Signal,
    /// How little.
    pub amount: Amount,
    /// For how long, if not even for a moment (a soft threshold).
    pub grace: Option<Duration>,
    /// How much more than the threshold must be free before reclaiming ends.
    pub min_reclaim: Option<Amount>,
}

impl Threshold {
    /// Whether less is left than must be; `reclaiming` goes on until the minimum has been reclaimed as well.
    pub fn is_met(&self, seen: Observation, reclaiming: bool) -> bool {
        let more = self.min_reclaim.filter(|_| reclaiming).map_or(0, |amount| amount.of(seen.capacity));
        seen.available < self.amount.of(seen.capacity).saturating_add(more)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.signal, self.grace) == (other.signal, other.grace)
    }
}

/// What decides over evictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// In the order of signals.
    pub thresholds: Vec<Threshold>,
    /// How long a condition stays after its threshold was last passed.
    pub pressure_transition: Duration,
    /// The most time that a pod gets when a soft threshold ends it.
    pub max_pod_grace_period_seconds: i64,
    /// How often the node is looked at.
    pub interval: Duration,
    /// How often the files of a pod are counted, at most.
    pub volume_stats_period: Duration,
}

type Texts = BTreeMap<String, String>;

impl Default for Settings {
    fn default() -> Self {
        let usual = [
            (Signal::MemoryAvailable, Amount::Absolute(100 << 20)),
            (Signal::NodefsAvailable, Amount::Percent(10.0)),
            (Signal::NodefsInodesFree, Amount::Percent(5.0)),
            (Signal::ImagefsAvailable, Amount::Percent(15.0)),
            (Signal::ImagefsInodesFree, Amount::Percent(5.0)),
        ];
        let hard = |(signal, amount)| Threshold { signal, amount, grace: None, min_reclaim: None };
        Self {
            thresholds: usual.into_iter().map(hard).collect(),
            pressure_transition: Duration::from_secs(300),
            max_pod_grace_period_seconds: 0,
            interval: Duration::from_secs(10),
            volume_stats_period: Duration::from_secs(60),
        }
    }
}

impl Settings {
    /// The amount below which pods are ended at once.
    pub fn hard(&self, signal: Signal) -> Option<Amount> {
        self.thresholds.iter().find(|own| own.signal == signal && own.grace.is_none()).map(|own| own.amount)
    }
}

/// Thresholds from the maps of a configuration.
pub fn parse(
    hard: &Texts,
    soft: &Texts,
    soft_grace: &BTreeMap<String, Duration>,
    min_reclaim: &Texts,
) -> Result<Vec<Threshold>, String> {
    let known = |name: &str| Signal::of(name).ok_or_else(|| format!("unsupported eviction signal {name}"));
    for name in soft_grace.keys().chain(min_reclaim.keys()) {
        known(name)?;
    }
    let mut thresholds = Vec::new();
    for (texts, is_soft) in [(hard, false), (soft, true)] {
        for (name, text) in texts {
            let signal = known(name)?;
            // This is how a default is switched off.
            if matches!(text.as_str(), "0%" | "100%") {
                continue;
            }
            let grace = match (is_soft, soft_grace.get(name)) {
                (false, _) => None,
                (true, Some(grace)) => Some(*grace),
                (true, None) => {
                    return Err(format!("grace period must be specified for the soft eviction threshold {name}"));
                }
            };
            let min_reclaim = min_reclaim.get(name).filter(|text| *text != "0").map(|text| Amount::parse(name, text));
            let min_reclaim = min_reclaim.transpose()?;
            thresholds.push(Threshold { signal, amount: Amount::parse(name, text)?, grace, min_reclaim });
        }
    }
    thresholds.sort_by_key(|threshold| (threshold.signal, threshold.grace));
    Ok(thresholds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> Texts {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn thresholds_are_read_and_bad_ones_refused() {
        let grace = BTreeMap::from([("memory.available".to_owned(), Duration::from_secs(90))]);
        let none = Texts::new();
        let read = parse(
            &texts(&[("nodefs.available", "10%"), ("imagefs.available", "0%")]),
            &texts(&[("memory.available", "1Gi")]),
            &grace,
            &texts(&[("nodefs.available", "5%")]),
        )
        .unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].signal, read[0].grace), (Signal::MemoryAvailable, Some(Duration::from_secs(90))));
        assert_eq!((read[1].amount, read[1].min_reclaim), (Amount::Percent(10.0), Some(Amount::Percent(5.0))));
        for (hard, soft, error) in [
            (&[("x.available", "1")][..], &[][..], "unsupported eviction signal x.available"),
            (&[("memory.available", "-1%")], &[], "eviction percentage threshold memory.available must be >= 0%: -1%"),
            (&[("memory.available", "0")], &[], "eviction threshold memory.available must be positive: 0"),
            (
                &[],
                &[("pid.available", "10")],
                "grace period must be specified for the soft eviction threshold pid.available",
            ),
        ] {
            assert_eq!(parse(&texts(hard), &texts(soft), &grace, &none).unwrap_err(), error);
        }
    }

    #[test]
    fn reclaiming_goes_on_until_the_minimum_is_free() {
        let (amount, min_reclaim) = (Amount::Percent(10.0), Some(Amount::Absolute(50)));
        let threshold = Threshold { signal: Signal::NodefsAvailable, amount, grace: None, min_reclaim };
        let met = |available, reclaiming| threshold.is_met(Observation { available, capacity: 1000 }, reclaiming);
        assert_eq!((met(99, false), met(100, false), met(149, true), met(150, true)), (true, false, true, false));
    }
}
