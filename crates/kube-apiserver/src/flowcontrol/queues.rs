//! Fairness between the flows of one priority level: start-time fair queuing over shuffle-sharded queues.
//!
//! Each flow is dealt a hand of queues and its request joins the shortest of them, so a heavy flow fills its own hand and
//! leaves others at least one queue. A queue's `start` is how much service (in seat seconds) it has had; the queue with the
//! least is served next. Service is guessed when a request is let in and corrected when it is done. A queue that comes back
//! from idling starts where the others are: nobody saves up.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;

use super::level::Seat;

/// How long a request is taken to need until it is known better, in seconds.
const SERVICE_GUESS: f64 = 0.003;

/// How a level queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queuing {
    pub queues: usize,
    pub hand: usize,
    pub length_max: usize,
}

/// Who waits.
pub struct Waiter {
    pub id: u64,
    pub width: usize,
    pub seat: oneshot::Sender<Seat>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiter>,
    executing_seats: usize,
    start: f64,
}

/// The queues that hold something or had some service lately; the others need no room.
#[derive(Default)]
pub struct Queues {
    queues: HashMap<usize, Queue>,
    /// The start of the queue that was served last.
    now: f64,
    waiting: usize,
    waiting_seats: usize,
}

impl Queues {
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    pub fn waiting_seats(&self) -> usize {
        self.waiting_seats
    }

    /// The queue that a request of this flow belongs into; `None` if even the shortest is full.
    pub fn choose(&self, flow: u64, queuing: Queuing) -> Option<usize> {
        let load = |queue: &usize| {
            self.queues.get(queue).map_or((0, 0), |queue| {
                let waiting: usize = queue.waiting.iter().map(|waiter| waiter.width).sum();
                (waiting + queue.executing_seats, queue.waiting.len())
            })
        };
        let best = deal(flow, queuing.queues, queuing.hand).into_iter().min_by_key(load)?;
        (load(&best).1 < queuing.length_max || load(&best) == (0, 0)).then_some(best)
    }

    pub fn push(&mut self, queue: usize, waiter: Waiter) {
        let now = self.now;
        let entry = self.queues.entry(queue).or_default();
        if entry.waiting.is_empty() && entry.executing_seats == 0 {
            entry.start = entry.start.max(now);
        }
        self.waiting += 1;
        self.waiting_seats += waiter.width;
        entry.waiting.push_back(waiter);
    }

    /// Takes somebody out who waits no longer.
    pub fn remove(&mut self, queue: usize, id: u64) {
        let Some(entry) = self.queues.get_mut(&queue) else { return };
        if let Some(at) = entry.waiting.iter().position(|waiter| waiter.id == id)
            && let Some(waiter) = entry.waiting.remove(at)
        {
            self.waiting -= 1;
            self.waiting_seats -= waiter.width;
        }
        self.forget(queue);
    }

    /// The next to be served, if it fits.
    pub fn pop(&mut self, fits: impl Fn(usize) -> bool) -> Option<(usize, Waiter)> {
        let next = self.queues.iter().filter_map(|(at, queue)| Some((queue.start, queue.waiting.front()?.id, *at)));
        let (start, _, at) = next.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
        let queue = self.queues.get_mut(&at)?;
        // Whoever is next and does not fit is waited for; letting others pass would starve wide requests.
        if !fits(queue.waiting.front()?.width) {
            return None;
        }
        let waiter = queue.waiting.pop_front()?;
        self.now = self.now.max(start);
        queue.executing_seats += waiter.width;
        queue.start += waiter.width as f64 * SERVICE_GUESS;
        self.waiting -= 1;
        self.waiting_seats -= waiter.width;
        Some((at, waiter))
    }

    /// A request is done.
    pub fn done(&mut self, queue: usize, width: usize, took: Duration) {
        if let Some(entry) = self.queues.get_mut(&queue) {
            entry.executing_seats = entry.executing_seats.saturating_sub(width);
            entry.start += width as f64 * (took.as_secs_f64() - SERVICE_GUESS);
        }
        self.forget(queue);
    }

    fn forget(&mut self, queue: usize) {
        let idle = |queue: &Queue| queue.waiting.is_empty() && queue.executing_seats == 0;
        if self.queues.get(&queue).is_some_and(|entry| idle(entry) && entry.start <= self.now) {
            self.queues.remove(&queue);
        }
        // When nothing is under way nobody has had more than others.
        if self.queues.values().all(idle) {
            self.queues.clear();
            self.now = 0.0;
        }
    }
}

/// `hand` different cards out of `deck`, as the flow's number says.
fn deal(mut flow: u64, deck: usize, hand: usize) -> Vec<usize> {
    let mut dealt: Vec<usize> = Vec::with_capacity(hand.min(deck));
    for left in (1..=deck as u64).rev().take(hand) {
        let mut card = (flow % left) as usize;
        flow /= left;
        // The card's place among those that are left.
        let mut sorted = dealt.clone();
        sorted.sort_unstable();
        for taken in sorted {
            if card >= taken {
                card += 1;
            }
        }
        dealt.push(card);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_have_different_cards_and_differ() {
        let hands: std::collections::HashSet<Vec<usize>> = (0..1000u64)
            .map(|flow| {
                let mut hand = deal(flow.wrapping_mul(0x9e37_79b9_7f4a_7c15), 64, 6);
                hand.sort_unstable();
                hand.dedup();
                assert_eq!(hand.len(), 6, "{flow}");
                assert!(hand.iter().all(|card| *card < 64));
                hand
            })
            .collect();
        assert!(hands.len() > 990, "{}", hands.len());
        assert_eq!(deal(7, 3, 8).len(), 3);
    }

    fn waiter(id: u64, width: usize) -> Waiter {
        Waiter { id, width, seat: oneshot::channel().0 }
    }

    #[test]
    fn a_flow_that_has_had_much_waits_for_those_that_have_not() {
        let mut queues = Queues::default();
        for id in 0..10 {
            queues.push(1, waiter(id, 1));
        }
        let (queue, _) = queues.pop(|_| true).expect("somebody waits");
        queues.done(queue, 1, Duration::from_secs(1));
        for id in 10..13 {
            queues.push(2, waiter(id, 1));
        }
        let order: Vec<u64> = std::iter::from_fn(|| {
            let (queue, waiter) = queues.pop(|_| true)?;
            queues.done(queue, 1, Duration::from_millis(10));
            Some(waiter.id)
        })
        .collect();
        assert_eq!(order[..3], [10, 11, 12], "the second queue has had nothing");
        assert_eq!(order.len(), 12);
        assert_eq!((queues.waiting(), queues.waiting_seats(), queues.queues.len()), (0, 0, 0));
    }

    #[test]
    fn a_wide_request_at_the_front_is_not_passed() {
        let mut queues = Queues::default();
        queues.push(1, waiter(1, 5));
        queues.push(2, waiter(2, 1));
        assert!(queues.pop(|width| width <= 3).is_none());
        assert_eq!(queues.pop(|width| width <= 5).expect("it fits now").1.id, 1);
        queues.remove(2, 2);
        assert!(queues.pop(|_| true).is_none());
        assert_eq!(queues.waiting(), 0);
    }

    #[test]
    fn the_shortest_queue_of_the_hand_is_joined_until_all_are_full() {
        let queuing = Queuing { queues: 8, hand: 2, length_max: 3 };
        let mut queues = Queues::default();
        for id in 0..6 {
            let queue = queues.choose(42, queuing).expect("room");
            queues.push(queue, waiter(id, 1));
        }
        assert_eq!(queues.choose(42, queuing), None);
        assert_eq!(queues.queues.len(), 2);
        assert!((0..100).any(|flow| queues.choose(flow, queuing).is_some()), "other flows still have room");
    }
}
