//! Seats that levels lend each other: every few seconds each level's limit follows what it wanted lately, between what it
//! never lends and what it may borrow at most, so that together they fill the server and no more.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::level::Level;

struct Want {
    lower: f64,
    upper: f64,
    target: f64,
}

pub fn adjust(levels: &BTreeMap<String, Arc<Level>>, seats: usize) {
    let limited: Vec<&Arc<Level>> = levels.values().filter(|level| level.is_limited()).collect();
    let wants: Vec<Want> = limited
        .iter()
        .map(|level| {
            let counts = level.counts();
            let (lower, upper) = (counts.lower as f64, counts.upper.max(counts.lower) as f64);
            // Nobody falls below a tenth of its own at once: the next wave should not find closed doors.
            let floor = counts.nominal as f64 / 10.0;
            Want { lower, upper, target: (level.take_demand() as f64).max(lower).max(floor).max(1.0) }
        })
        .collect();
    for (level, limit) in limited.iter().zip(share(&wants, seats as f64)) {
        level.set_current(limit);
    }
}

/// One factor for all targets, each result kept between its bounds, such that the sum is the number of seats.
fn share(wants: &[Want], seats: f64) -> Vec<usize> {
    let at = |factor: f64| wants.iter().map(move |want| (want.target * factor).clamp(want.lower, want.upper));
    let (mut low, mut high) = (0.0, seats.max(1.0));
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at(middle).sum::<f64>() < seats { low = middle } else { high = middle }
    }
    at(high).map(|limit| limit.round() as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_levels_get_what_idle_ones_lend() {
        let idle = || Want { lower: 50.0, upper: 600.0, target: 50.0 };
        let limits = share(&[idle(), idle(), Want { lower: 100.0, upper: 600.0, target: 700.0 }], 600.0);
        assert!(limits[2] > 400 && limits[0] >= 50, "{limits:?}");
        assert!((595..=605).contains(&limits.iter().sum::<usize>()), "{limits:?}");
        let capped = share(&[idle(), Want { lower: 100.0, upper: 200.0, target: 900.0 }], 600.0);
        assert_eq!(capped[1], 200);
        assert_eq!(share(&[], 600.0), Vec::<usize>::new());
    }
}
