mod hand;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use self::hand::Hand;
pub(super) use self::hand::{EntryIds, Room};
use super::entry::{Entry, EntryRef};
use crate::Priority;

/// All that this process holds: what waits, what runs, what is being settled.
pub(super) struct Board {
    state: Mutex<State>,
    concurrency: usize,
    /// Wakes runners.
    work: Notify,
    /// Wakes the reader of each lane when its buffer runs low.
    wanted: Vec<Notify>,
}

struct State {
    lanes: Vec<Hand>,
    queues: Vec<Share>,
    /// The lane that is served next.
    next: usize,
    running: usize,
    /// A suspect runs: no other may, in this process.
    suspect_running: bool,
    closed: bool,
}

impl State {
    /// Frees a slot; returns whether another runner may be asleep over it.
    fn ran(&mut self, lane: usize) -> bool {
        self.running -= 1;
        let queue = self.lanes[lane].queue;
        // Others have passed over what waits in a queue that is full.
        let passed_over = self.queues[queue].is_full()
            && (self.lanes.iter()).any(|hand| hand.queue == queue && !hand.is_empty());
        self.queues[queue].running -= 1;
        passed_over
    }
}

/// What the lanes of one queue, one for each partition, have together.
struct Share {
    /// Most jobs of the queue at once.
    limit: usize,
    running: usize,
    lanes: usize,
}

impl Share {
    fn is_full(&self) -> bool {
        self.running >= self.limit
    }
}

/// An entry to run now.
pub(super) struct Taken {
    pub(super) lane: usize,
    pub(super) entry: Entry,
    pub(super) suspect: bool,
}

/// Where entries queue up in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Before all that waits: they have waited elsewhere.
    Front,
    Back,
}

/// What a runner finds.
pub(super) enum Next {
    Run(Taken),
    Closed,
}

impl Board {
    /// `queues`: most jobs at once of each queue, and how many lanes it has, which come one
    /// after another; `concurrency`: jobs of all together.
    pub(super) fn new(queues: &[(usize, usize)], concurrency: usize) -> Self {
        let share = |&(limit, lanes)| Share {
            limit,
            running: 0,
            lanes,
        };
        let lanes = queues.iter().enumerate();
        let lanes: Vec<Hand> = lanes
            .flat_map(|(queue, &(_, lanes))| (0..lanes).map(move |_| Hand::new(queue)))
            .collect();
        Self {
            wanted: lanes.iter().map(|_| Notify::new()).collect(),
            state: Mutex::new(State {
                lanes,
                queues: queues.iter().map(share).collect(),
                next: 0,
                running: 0,
                suspect_running: false,
                closed: false,
            }),
            concurrency,
            work: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts entries into a lane, the suspects apart; those already held are dropped.
    pub(super) fn put(&self, lane: usize, entries: Vec<Entry>, place: Place, suspect_at: u32) {
        let added = self.state().lanes[lane].put(entries, place, suspect_at);
        for _ in 0..added.min(self.concurrency) {
            self.work.notify_one();
        }
    }

    /// Marks an entry as held that goes to settlement without a run.
    pub(super) fn hold(&self, lane: usize, id: EntryRef) -> bool {
        self.state().lanes[lane].held.insert(id)
    }

    /// The next entry to run, from the lanes in turn; waits until there is one.
    ///
    /// `ended` is the lane of the caller's last entry: one lock for both.
    pub(super) async fn next(
        &self,
        mut ended: Option<usize>,
        usable: impl Fn(usize) -> bool,
    ) -> Next {
        loop {
            if let Some(next) = self.try_next(ended.take(), &usable) {
                return next;
            }
            let woken = self.work.notified();
            tokio::pin!(woken);
            // Listening before the second look, so that no wake-up falls between.
            woken.as_mut().enable();
            if let Some(next) = self.try_next(None, &usable) {
                return next;
            }
            // Nothing waits here, whoever took it: the readers shall know.
            for wanted in &self.wanted {
                wanted.notify_one();
            }
            woken.await;
        }
    }

    fn try_next(&self, ended: Option<usize>, usable: &impl Fn(usize) -> bool) -> Option<Next> {
        let mut state = self.state();
        if ended.is_some_and(|lane| state.ran(lane)) {
            self.work.notify_one();
        }
        if state.closed {
            return Some(Next::Closed);
        }
        let lanes = state.lanes.len();
        for step in 0..lanes {
            let lane = (state.next + step) % lanes;
            if !usable(lane) {
                continue;
            }
            let may_suspect = !state.suspect_running;
            let queue = state.lanes[lane].queue;
            if state.queues[queue].is_full() {
                continue;
            }
            let hand = &mut state.lanes[lane];
            let suspect = hand.suspects.pop_front_if(|_| may_suspect);
            let (entry, low, suspect) = match suspect {
                Some(entry) => (entry, false, true),
                None => match hand.pop() {
                    Some((entry, low)) => (entry, low, false),
                    None => continue,
                },
            };
            state.queues[queue].running += 1;
            state.next = (lane + 1) % lanes;
            state.running += 1;
            state.suspect_running |= suspect;
            drop(state);
            if low {
                self.wanted[lane].notify_one();
            }
            return Some(Next::Run(Taken {
                lane,
                entry,
                suspect,
            }));
        }
        None
    }

    /// A suspect has ended; its slot is free before its outcome lands.
    pub(super) fn suspect_ran(&self, lane: usize) {
        let mut state = self.state();
        state.ran(lane);
        state.suspect_running = false;
        drop(state);
        self.work.notify_one();
    }

    /// Redis has confirmed these outcomes.
    pub(super) fn release(&self, lane: usize, ids: impl IntoIterator<Item = EntryRef>) {
        let mut state = self.state();
        let hand = &mut state.lanes[lane];
        let full = hand.is_unconfirmed();
        for id in ids {
            hand.held.remove(&id);
        }
        drop(state);
        if full {
            self.wanted[lane].notify_one();
        }
    }

    /// How many entries to fetch for a lane, with `window` beyond the free slots.
    pub(super) fn room(&self, lane: usize, window: usize, look: bool) -> Room {
        let mut state = self.state();
        let free = self.concurrency.saturating_sub(state.running);
        let share = &state.queues[state.lanes[lane].queue];
        let free = free.min(share.limit.saturating_sub(share.running));
        let lanes = share.lanes;
        let hand = &mut state.lanes[lane];
        // The lanes of a queue divide what it may fetch, or each would fetch it all.
        hand.room((free + window).div_ceil(lanes), look)
    }

    /// How many jobs could start now in a lane that is alone in its queue, beyond those
    /// that wait for it here; one in any case where none waits: it has the lane's next turn,
    /// or others that have more at hand would always have it.
    pub(super) fn free(&self, lane: usize) -> usize {
        let state = self.state();
        let hand = &state.lanes[lane];
        if hand.is_unconfirmed() {
            return 0;
        }
        let free = self.concurrency.saturating_sub(state.running);
        let share = &state.queues[hand.queue];
        let queue_free = share.limit.saturating_sub(share.running);
        let next = usize::from(hand.is_empty() && queue_free > 0);
        free.min(queue_free).saturating_sub(hand.len()).max(next)
    }

    /// A fetch for a lane that asked for this has brought entries of these levels.
    pub(super) fn fetched(&self, lane: usize, asked: Room, brought: [bool; Priority::LEVELS]) {
        self.state().lanes[lane].fetched(asked, brought);
    }

    /// How many entries to take over from others for a lane.
    ///
    /// A full buffer is no reason to leave them: under a backlog it is always full.
    pub(super) fn claimable(&self, lane: usize, window: usize) -> usize {
        let slots = {
            let state = self.state();
            let hand = &state.lanes[lane];
            if hand.is_unconfirmed() {
                return 0;
            }
            state.queues[hand.queue].limit.min(self.concurrency)
        };
        self.room(lane, window, false).most().max(slots)
    }

    /// Waits until [`Board::room`] may have grown.
    pub(super) async fn wanted(&self, lane: usize) {
        self.wanted[lane].notified().await;
    }

    /// Whether another suspect may be taken up: none runs, none waits.
    pub(super) fn may_suspect(&self) -> bool {
        let state = self.state();
        !state.suspect_running && state.lanes.iter().all(|hand| hand.suspects.is_empty())
    }

    pub(super) fn held(&self, lane: usize) -> EntryIds {
        self.state().lanes[lane].held.clone()
    }

    /// Removes what waits in a lane for longer than `age`.
    pub(super) fn take_stale(&self, lane: usize, age: Duration) -> Vec<Entry> {
        let now = Instant::now();
        let mut state = self.state();
        let hand = &mut state.lanes[lane];
        let mut stale = Vec::new();
        // Suspects, too: one that runs for long keeps the others from running here.
        for waiting in hand.waiting() {
            let (old, fresh) = waiting
                .drain(..)
                .partition::<VecDeque<_>, _>(|entry| now.duration_since(entry.since) > age);
            *waiting = fresh;
            stale.extend(old);
        }
        stale
    }

    /// Removes all that waits in a lane.
    pub(super) fn take_waiting(&self, lane: usize) -> Vec<Entry> {
        let mut state = self.state();
        let waiting = state.lanes[lane].waiting();
        waiting.flat_map(|entries| entries.drain(..)).collect()
    }

    /// Forgets what waits in a lane under another consumer: it is somebody else's.
    pub(super) fn forget_others(&self, lane: usize, consumer: &Arc<str>) -> usize {
        self.state().lanes[lane].forget_others(consumer)
    }

    /// Lets all runners look again.
    pub(super) fn wake(&self) {
        self.work.notify_waiters();
        for wanted in &self.wanted {
            wanted.notify_one();
        }
    }

    /// Starts nothing any more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.wake();
    }
}

#[cfg(test)]
mod tests;
