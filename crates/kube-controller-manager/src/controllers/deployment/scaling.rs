//! Scaling outside a rollout's steps: one active set takes the size as it is; several share it in proportion, so that a
//! rollout that is scaled half-way stays half-way.

use super::sets::{MAX, Set, Sets};

/// Brings the sets to the Deployment's size.
pub fn scale(sets: &mut Sets) {
    let wanted = sets.wanted();
    let active: Vec<usize> = (0..sets.old.len()).filter(|place| sets.old[*place].replicas() > 0).collect();
    let new_active = sets.new.as_ref().is_some_and(|new| new.replicas() > 0);
    match (active.as_slice(), new_active, sets.new.is_some()) {
        ([], _, true) => {
            sets.scale(None, wanted);
            return;
        }
        ([], false, false) => {
            if let Some(latest) = sets.old.len().checked_sub(1) {
                sets.scale(Some(latest), wanted);
            }
            return;
        }
        ([only], false, _) => {
            sets.scale(Some(*only), wanted);
            return;
        }
        _ => {}
    }
    if sets.new.as_ref().is_some_and(|new| saturated(new, wanted)) {
        for place in active {
            sets.scale(Some(place), 0);
        }
        return;
    }
    if !sets.recreates() {
        proportionally(sets, &active, new_active);
    }
}

fn saturated(new: &Set, wanted: i32) -> bool {
    new.replicas() == wanted && new.available() == wanted && new.number(super::sets::DESIRED) == Some(i64::from(wanted))
}

fn proportionally(sets: &mut Sets, active: &[usize], new_active: bool) {
    let wanted = sets.wanted();
    let allowed = if wanted > 0 { wanted.saturating_add(sets.max_surge()) } else { 0 };
    let total = sets.total();
    let to_add = allowed - total;
    let mut places: Vec<Option<usize>> = active.iter().copied().map(Some).collect();
    if new_active {
        places.push(None);
    }
    let get = |sets: &Sets, place: &Option<usize>| match place {
        Some(place) => sets.old.get(*place).cloned(),
        None => sets.new.clone(),
    };
    // The largest first; among equals the newer when growing, the older when shrinking.
    places.sort_by_key(|place| {
        let set = get(sets, place);
        let age = set.as_ref().and_then(|set| set.age_order().0).unwrap_or_default();
        let age = age.as_second();
        (std::cmp::Reverse(set.map_or(0, |set| set.replicas())), if to_add > 0 { -age } else { age })
    });
    let mut sizes = Vec::new();
    let mut added = 0;
    for place in &places {
        let Some(set) = get(sets, place) else { continue };
        let share = if to_add == 0 { 0 } else { share(sets, &set, to_add, added, wanted, allowed) };
        added += share;
        sizes.push(set.replicas() + share);
    }
    for (n, (place, size)) in places.into_iter().zip(sizes).enumerate() {
        let rest = if n == 0 { to_add - added } else { 0 };
        sets.scale(place, (size + rest).max(0));
    }
}

/// A set's part of what is to be added (or, negative, taken away).
fn share(sets: &Sets, set: &Set, to_add: i32, added: i32, wanted: i32, allowed: i32) -> i32 {
    let size = set.replicas();
    let fraction = if wanted == 0 {
        -size
    } else {
        let before = set.number(MAX).filter(|max| *max > 0).or_else(|| {
            let known = sets.deployment().status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
            (known > 0).then_some(i64::from(known))
        });
        match before {
            Some(before) => {
                let product = i64::from(size) * i64::from(allowed);
                let rounded = (2 * product + before).div_euclid(2 * before);
                i32::try_from(rounded - i64::from(size)).unwrap_or(0)
            }
            None => 0,
        }
    };
    let left = to_add - added;
    if to_add > 0 { fraction.min(left).max(0) } else { fraction.max(left).min(0) }
}
