use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use super::entry::{Entry, EntryId};

/// Ids that Redis made, so nobody chooses them to collide: a quick hash will do.
pub(super) type EntryIds = HashSet<EntryId, RandomState>;

/// Entries whose outcome Redis has not confirmed; above it nothing is fetched.
const MAX_UNCONFIRMED: usize = 8192;

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
        let waits = |hand: &Hand| !(hand.ready.is_empty() && hand.suspects.is_empty());
        // Others have passed over what waits in a queue that is full.
        let passed_over = self.queues[queue].is_full()
            && (self.lanes.iter()).any(|hand| hand.queue == queue && waits(hand));
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

/// What is in hand from one lane.
struct Hand {
    /// Its queue's place among the shares.
    queue: usize,
    ready: VecDeque<Entry>,
    suspects: VecDeque<Entry>,
    /// Every entry from its arrival until Redis has confirmed its outcome.
    held: EntryIds,
    /// The reader wants to be woken at this number of ready entries.
    low: usize,
}

impl Hand {
    fn new(queue: usize) -> Self {
        Self {
            queue,
            ready: VecDeque::new(),
            suspects: VecDeque::new(),
            held: EntryIds::default(),
            low: 0,
        }
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
        let mut added = 0;
        {
            let mut state = self.state();
            let hand = &mut state.lanes[lane];
            let before = hand.ready.len();
            for entry in entries {
                if !hand.held.insert(entry.id) {
                    continue;
                }
                added += 1;
                if entry.deliveries >= suspect_at {
                    hand.suspects.push_back(entry);
                } else {
                    hand.ready.push_back(entry);
                }
            }
            if place == Place::Front {
                hand.ready.rotate_left(before);
            }
        }
        for _ in 0..added.min(self.concurrency) {
            self.work.notify_one();
        }
    }

    /// Marks an entry as held that goes to settlement without a run.
    pub(super) fn hold(&self, lane: usize, id: EntryId) -> bool {
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
            let (entry, suspect) = match hand.suspects.pop_front() {
                Some(entry) if may_suspect => (entry, true),
                other => {
                    if let Some(entry) = other {
                        hand.suspects.push_front(entry);
                    }
                    match hand.ready.pop_front() {
                        Some(entry) => (entry, false),
                        None => continue,
                    }
                }
            };
            let low = hand.ready.len() <= hand.low;
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
    pub(super) fn release(&self, lane: usize, ids: impl IntoIterator<Item = EntryId>) {
        let mut state = self.state();
        let hand = &mut state.lanes[lane];
        let full = hand.held.len() >= MAX_UNCONFIRMED;
        for id in ids {
            hand.held.remove(&id);
        }
        drop(state);
        if full {
            self.wanted[lane].notify_one();
        }
    }

    /// How many entries to fetch for a lane, with `window` beyond the free slots.
    ///
    /// Zero until half of the buffer is used up, so that fetches come in batches.
    pub(super) fn room(&self, lane: usize, window: usize) -> usize {
        let mut state = self.state();
        let free = self.concurrency.saturating_sub(state.running);
        let share = &state.queues[state.lanes[lane].queue];
        let free = free.min(share.limit.saturating_sub(share.running));
        let lanes = share.lanes;
        let hand = &mut state.lanes[lane];
        if hand.held.len() >= MAX_UNCONFIRMED {
            hand.low = 0;
            return 0;
        }
        // The lanes of a queue divide what it may fetch, or each would fetch it all.
        let target = (free + window).div_ceil(lanes);
        hand.low = target / 2;
        let have = hand.ready.len();
        if have > hand.low {
            return 0;
        }
        target - have
    }

    /// How many entries to take over from others for a lane.
    ///
    /// A full buffer is no reason to leave them: under a backlog it is always full.
    pub(super) fn claimable(&self, lane: usize, window: usize) -> usize {
        let slots = {
            let state = self.state();
            let hand = &state.lanes[lane];
            if hand.held.len() >= MAX_UNCONFIRMED {
                return 0;
            }
            state.queues[hand.queue].limit.min(self.concurrency)
        };
        self.room(lane, window).max(slots)
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
        for waiting in [&mut hand.ready, &mut hand.suspects] {
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
        let hand = &mut state.lanes[lane];
        hand.ready
            .drain(..)
            .chain(hand.suspects.drain(..))
            .collect()
    }

    /// Forgets what waits in a lane under another consumer: it is somebody else's.
    pub(super) fn forget_others(&self, lane: usize, consumer: &Arc<str>) -> usize {
        let mut state = self.state();
        let hand = &mut state.lanes[lane];
        let held = &mut hand.held;
        let mut forgotten = 0;
        for waiting in [&mut hand.ready, &mut hand.suspects] {
            waiting.retain(|entry| {
                let ours = entry.consumer == *consumer;
                if !ours {
                    held.remove(&entry.id);
                    forgotten += 1;
                }
                ours
            });
        }
        forgotten
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
mod tests {
    use super::*;

    fn entry(id: &str, deliveries: u32) -> Entry {
        Entry {
            id: id.parse().unwrap(),
            deliveries,
            consumer: "me".into(),
            envelope: Vec::new(),
            since: Instant::now(),
        }
    }

    fn run(board: &Board) -> Option<Taken> {
        match board.try_next(None, &|_| true) {
            Some(Next::Run(taken)) => Some(taken),
            _ => None,
        }
    }

    #[test]
    fn suspects_run_one_at_a_time() {
        let board = Board::new(&[(4, 1)], 4);
        board.put(0, vec![entry("1-0", 3), entry("1-1", 3)], Place::Back, 3);
        assert!(run(&board).unwrap().suspect);
        assert!(run(&board).is_none());
        board.suspect_ran(0);
        assert!(run(&board).unwrap().suspect);
    }

    #[test]
    fn a_suspect_that_waits_behind_another_grows_stale() {
        let board = Board::new(&[(4, 1)], 4);
        board.put(0, vec![entry("1-0", 3), entry("1-1", 3)], Place::Back, 3);
        assert!(run(&board).unwrap().suspect);
        assert!(board.take_stale(0, Duration::from_secs(60)).is_empty());
        let stale = board.take_stale(0, Duration::ZERO);
        let ids: Vec<_> = stale.iter().map(|entry| entry.id.to_string()).collect();
        assert_eq!(ids, ["1-1"]);
    }

    #[test]
    fn lanes_take_turns() {
        let board = Board::new(&[(4, 1), (4, 1)], 4);
        board.put(0, vec![entry("1-0", 1), entry("1-1", 1)], Place::Back, 3);
        board.put(1, vec![entry("2-0", 1), entry("2-1", 1)], Place::Back, 3);
        let lanes: Vec<_> = std::iter::from_fn(|| run(&board))
            .map(|taken| taken.lane)
            .collect();
        assert_eq!(lanes, [0, 1, 0, 1]);
    }

    #[test]
    fn a_full_lane_is_passed_over_until_one_of_its_jobs_ends() {
        let board = Board::new(&[(1, 1), (4, 1)], 4);
        board.put(0, vec![entry("1-0", 1), entry("1-1", 1)], Place::Back, 3);
        board.put(1, vec![entry("2-0", 1), entry("2-1", 1)], Place::Back, 3);
        let lanes: Vec<_> = std::iter::from_fn(|| run(&board))
            .map(|taken| taken.lane)
            .collect();
        assert_eq!(lanes, [0, 1, 1], "the second of the full lane waits");
        assert_eq!(board.room(0, 1), 0);
        let next = board.try_next(Some(0), &|_| true);
        assert!(matches!(next, Some(Next::Run(taken)) if taken.lane == 0));
    }

    #[test]
    fn the_lanes_of_a_queue_share_its_limit_and_what_it_fetches() {
        let board = Board::new(&[(2, 3), (4, 1)], 8);
        assert_eq!(
            board.room(0, 4),
            2,
            "a third of the two slots and four ahead"
        );
        for (lane, id) in [(0, "1-0"), (1, "2-0"), (2, "3-0"), (3, "4-0")] {
            board.put(lane, vec![entry(id, 1)], Place::Back, 3);
        }
        let lanes: Vec<_> = std::iter::from_fn(|| run(&board))
            .map(|taken| taken.lane)
            .collect();
        assert_eq!(lanes, [0, 1, 3]);
        assert_eq!(board.room(0, 1), 1);
        let next = board.try_next(Some(1), &|_| true);
        assert!(matches!(next, Some(Next::Run(taken)) if taken.lane == 2));
    }

    #[test]
    fn what_is_held_is_not_taken_twice() {
        let board = Board::new(&[(4, 1)], 4);
        board.put(0, vec![entry("1-0", 1)], Place::Back, 3);
        board.put(0, vec![entry("1-0", 1)], Place::Back, 3);
        assert!(run(&board).is_some());
        assert!(run(&board).is_none());
        board.release(0, ["1-0".parse().unwrap()]);
        assert!(board.held(0).is_empty());
    }

    #[test]
    fn what_was_taken_over_runs_first_in_its_order() {
        let board = Board::new(&[(4, 1)], 4);
        board.put(0, vec![entry("2-0", 1), entry("2-1", 1)], Place::Back, 3);
        board.put(0, vec![entry("1-0", 2), entry("1-1", 2)], Place::Front, 3);
        let order: Vec<_> = std::iter::from_fn(|| run(&board))
            .map(|taken| taken.entry.id.to_string())
            .collect();
        assert_eq!(order, ["1-0", "1-1", "2-0", "2-1"]);
    }

    #[test]
    fn fetches_come_in_batches() {
        let board = Board::new(&[(2, 1)], 2);
        assert_eq!(board.room(0, 8), 10);
        board.put(
            0,
            (0..10).map(|n| entry(&format!("1-{n}"), 1)).collect(),
            Place::Back,
            3,
        );
        assert_eq!(board.room(0, 8), 0);
        for _ in 0..2 {
            run(&board).unwrap();
        }
        while board.room(0, 8) == 0 {
            assert!(board.try_next(Some(0), &|_| true).is_some());
        }
        assert_eq!(
            board.room(0, 8),
            4,
            "half of the window, with all slots taken"
        );
    }
}
