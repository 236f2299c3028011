//! The one order of all operations, if there is one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Operation, Seen, State};
use crate::{EventKind, Precondition, Revision};

fn holds(kind: EventKind, precondition: Precondition, current: Option<Revision>) -> bool {
    let asked = match precondition {
        Precondition::Any => true,
        Precondition::Absent => current.is_none(),
        Precondition::Exists => current.is_some(),
        Precondition::Revision(revision) => current == Some(revision),
    };
    asked && (kind == EventKind::Put || current.is_some())
}

/// The states that the writes make one after the other, from revision 1 on.
fn states(history: &[Operation]) -> (Vec<State>, Vec<(EventKind, Arc<str>)>) {
    let mut writes: Vec<_> = history
        .iter()
        .filter_map(|operation| match &operation.seen {
            Seen::Written { kind, key, precondition, created, revision } => {
                Some((*revision, *kind, key, *precondition, *created))
            }
            _ => None,
        })
        .collect();
    writes.sort_unstable_by_key(|write| write.0);
    let (mut states, mut steps) = (vec![State::new()], Vec::new());
    for (at, (revision, kind, key, precondition, created)) in (2..).zip(writes) {
        assert_eq!(revision, at, "one revision for each write, none twice");
        let mut state = states.last().expect("the first").clone();
        let current = state.get(key).copied();
        assert!(holds(kind, precondition, current.map(|own| own.1)), "{revision}: {precondition:?} with {current:?}");
        assert_eq!(created, current.map_or(revision, |own| own.0), "{revision}: the creation of {key}");
        match kind {
            EventKind::Put => state.insert(key.clone(), (created, revision)),
            EventKind::Delete => state.remove(key),
        };
        states.push(state);
        steps.push((kind, key.clone()));
    }
    (states, steps)
}

/// Whether the operations have an order as the module says.
pub(super) fn check(mut history: Vec<Operation>) {
    let (states, steps) = states(&history);
    let newest = states.len() as Revision;
    let current = |at: Revision, key: &str| states[at as usize - 1].get(key).map(|own| own.1);
    let first = |from: Revision, fits: &dyn Fn(Revision) -> bool| (from..=newest).find(|at| fits(*at));
    history.sort_unstable_by_key(|operation| operation.asked);
    // Answered and where they stand, in the order of answers, for those that were asked before the one that is looked at.
    let mut placed: BTreeMap<u64, (Revision, bool)> = BTreeMap::new();
    let (mut floor, mut floor_written) = (1, 1);
    for Operation { asked, answered, seen } in &history {
        let later = placed.split_off(asked);
        for (at, is_write) in std::mem::replace(&mut placed, later).into_values() {
            floor = floor.max(at);
            floor_written = floor_written.max(if is_write { at } else { 0 });
        }
        let at = match seen {
            Seen::Written { revision, .. } => Some(*revision).filter(|revision| *revision > floor),
            Seen::Refused { kind, key, precondition, current: seen } => {
                first(floor, &|at| current(at, key) == *seen && !holds(*kind, *precondition, *seen))
            }
            Seen::Read { key, current: seen } => first(floor, &|at| current(at, key) == *seen),
            Seen::Whole { revision, state } => {
                assert_eq!(*state, states[*revision as usize - 1], "the snapshot at {revision}");
                Some(*revision).filter(|revision| *revision >= floor)
            }
            Seen::Told { prefix, after, events, progress } => {
                let due = (after + 1..=(*progress).min(newest)).map(|at| (at, &steps[at as usize - 2]));
                let due = due.filter(|(_, (_, key))| key.starts_with(prefix));
                let due: Vec<_> = due.map(|(at, (kind, key))| (at, *kind, key.clone())).collect();
                assert_eq!(*events, due, "{prefix} after {after}: lost, repeated, out of order or too early");
                // A watch on a future revision stands there from the beginning.
                Some((*progress).min(newest)).filter(|_| *progress >= floor_written)
            }
        };
        let at = at.unwrap_or_else(|| panic!("nothing from {floor} to {newest} fits {seen:?}"));
        // A watch from the future says nothing of how far the store is.
        if !matches!(seen, Seen::Told { events, .. } if events.is_empty()) {
            placed.insert(*answered, (at, matches!(seen, Seen::Written { .. })));
        }
    }
}
