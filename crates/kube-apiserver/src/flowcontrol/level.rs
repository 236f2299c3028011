//! One priority level: its seats, who sits on them, who waits for one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::queues::{Queues, Queuing, Waiter};

/// How a level behaves, as its object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Nobody ever waits.
    pub exempt: bool,
    /// Requests that find no seat wait; without it they are refused.
    pub queuing: Option<Queuing>,
    /// How much of its seats others may have while it does not need them.
    pub lendable_percent: i32,
    /// How much it may have of others' seats; `None` is without limit.
    pub borrowing_limit_percent: Option<i32>,
}

impl Shape {
    pub const EXEMPT: Self =
        Self { exempt: true, queuing: None, lendable_percent: 0, borrowing_limit_percent: Some(0) };
    pub const REJECT: Self = Self { exempt: false, queuing: None, lendable_percent: 0, borrowing_limit_percent: None };
}

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The level has no seat left and does not queue.
    ConcurrencyLimit,
    /// All queues that it may wait in are full.
    QueueFull,
    /// It waited as long as it may.
    TimeOut,
}

impl Rejection {
    pub fn reason(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
        }
    }
}

/// A level's numbers of one moment, in seats unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub nominal: usize,
    pub lower: usize,
    pub upper: usize,
    pub current: usize,
    pub executing_seats: usize,
    pub executing_requests: usize,
    pub waiting_seats: usize,
    pub waiting_requests: usize,
}

pub struct Level {
    pub name: String,
    state: Mutex<State>,
}

struct State {
    uid: String,
    shape: Shape,
    counts: Counts,
    /// The most seats that were wanted at once since somebody asked.
    demand: usize,
    queues: Queues,
    next_id: u64,
}

/// Some seats of a level, given back when dropped.
pub struct Seat {
    level: Arc<Level>,
    /// Where it waited; nothing of a level that does not queue.
    queue: Option<usize>,
    width: usize,
    begun: Instant,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.level.clone().leave(self);
    }
}

/// Somebody in a queue, who leaves it when this is dropped.
struct Waiting<'l> {
    level: &'l Level,
    queue: usize,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.level.state.lock().queues.remove(self.queue, self.id);
    }
}

impl Level {
    pub fn new(name: &str) -> Self {
        let state = State {
            uid: String::new(),
            shape: Shape::REJECT,
            counts: Counts::default(),
            demand: 0,
            queues: Queues::default(),
            next_id: 0,
        };
        Self { name: name.to_owned(), state: Mutex::new(state) }
    }

    /// Takes over what the object says. `total` are the server's seats.
    pub fn configure(self: &Arc<Self>, uid: String, shape: Shape, nominal: usize, total: usize) {
        let grants = {
            let mut state = self.state.lock();
            let percent = |percent: i32| (nominal as f64 * f64::from(percent) / 100.0).round() as usize;
            let known = state.counts.nominal == nominal && state.shape == shape;
            (state.uid, state.shape) = (uid, shape);
            state.counts.nominal = nominal;
            state.counts.lower = nominal.saturating_sub(percent(shape.lendable_percent));
            state.counts.upper =
                shape.borrowing_limit_percent.map_or(total, |limit| (nominal + percent(limit)).min(total));
            if !known {
                state.counts.current = nominal;
            }
            self.grant(&mut state)
        };
        send(grants);
    }

    pub fn uid(&self) -> String {
        self.state.lock().uid.clone()
    }

    /// Whether it takes part in borrowing.
    pub fn is_limited(&self) -> bool {
        !self.state.lock().shape.exempt
    }

    pub fn counts(&self) -> Counts {
        let state = self.state.lock();
        Counts { waiting_seats: state.queues.waiting_seats(), waiting_requests: state.queues.waiting(), ..state.counts }
    }

    /// The most seats that were wanted at once since the last time; begins anew.
    pub fn take_demand(&self) -> usize {
        let mut state = self.state.lock();
        let now = state.counts.executing_seats + state.queues.waiting_seats();
        std::mem::replace(&mut state.demand, now).max(now)
    }

    pub fn set_current(self: &Arc<Self>, seats: usize) {
        let grants = {
            let mut state = self.state.lock();
            state.counts.current = seats;
            self.grant(&mut state)
        };
        send(grants);
    }

    /// Waits for `width` seats, until `limit` at the latest.
    pub async fn enter(self: &Arc<Self>, flow: u64, width: usize, limit: Instant) -> Result<Seat, Rejection> {
        let (queue, id, granted, grants) = {
            let mut state = self.state.lock();
            let wanted = state.counts.executing_seats + state.queues.waiting_seats() + width;
            state.demand = state.demand.max(wanted);
            let Some(queuing) = state.shape.queuing.filter(|_| !state.shape.exempt) else {
                return if state.shape.exempt || state.fits(width) {
                    Ok(self.seat(&mut state, None, width))
                } else {
                    Err(Rejection::ConcurrencyLimit)
                };
            };
            let queue = state.queues.choose(flow, queuing).ok_or(Rejection::QueueFull)?;
            let (seat, granted) = oneshot::channel();
            let id = state.next_id;
            state.next_id += 1;
            state.queues.push(queue, Waiter { id, width, seat });
            (queue, id, granted, self.grant(&mut state))
        };
        let _waiting = Waiting { level: self, queue, id };
        send(grants);
        match tokio::time::timeout_at(limit, granted).await {
            Ok(Ok(seat)) => Ok(seat),
            // A seat that was granted in this very moment goes back with the channel.
            _ => Err(Rejection::TimeOut),
        }
    }

    fn leave(self: Arc<Self>, seat: &Seat) {
        let grants = {
            let mut state = self.state.lock();
            state.counts.executing_seats -= seat.width;
            state.counts.executing_requests -= 1;
            if let Some(queue) = seat.queue {
                state.queues.done(queue, seat.width, seat.begun.elapsed());
            }
            self.grant(&mut state)
        };
        send(grants);
    }

    fn seat(self: &Arc<Self>, state: &mut State, queue: Option<usize>, width: usize) -> Seat {
        state.counts.executing_seats += width;
        state.counts.executing_requests += 1;
        Seat { level: self.clone(), queue, width, begun: Instant::now() }
    }

    /// Seats for those who are next, to be sent once the lock is open: a seat that nobody takes comes back here.
    fn grant(self: &Arc<Self>, state: &mut State) -> Vec<(oneshot::Sender<Seat>, Seat)> {
        let mut grants = Vec::new();
        loop {
            let counts = state.counts;
            let Some((queue, waiter)) = state.queues.pop(|width| fits(&counts, width)) else { return grants };
            grants.push((waiter.seat, self.seat(state, Some(queue), waiter.width)));
        }
    }
}

impl State {
    fn fits(&self, width: usize) -> bool {
        fits(&self.counts, width)
    }
}

/// One that is wider than the whole level is served alone.
fn fits(counts: &Counts, width: usize) -> bool {
    counts.current > 0 && (counts.executing_seats == 0 || counts.executing_seats + width <= counts.current)
}

fn send(grants: Vec<(oneshot::Sender<Seat>, Seat)>) {
    for (waiter, seat) in grants {
        // Whoever left in between drops it, which gives it back.
        let _ = waiter.send(seat);
    }
}

/// How long a request may wait, of the time that it has.
pub fn patience(timeout: Duration) -> Duration {
    (timeout / 4).min(Duration::from_secs(60))
}
