//! What a process has in hand of one queue, and which of it comes next.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{
    super::entry::{Entry, EntryRef},
    Place,
};
use crate::Priority;

/// Ids that Redis made, so nobody chooses them to collide: a quick hash will do.
pub(in crate::worker) type EntryIds = HashSet<EntryRef, RandomState>;

/// Entries whose outcome Redis has not confirmed; above it nothing is fetched.
const MAX_UNCONFIRMED: usize = 8192;

/// What is in hand from one lane.
pub(super) struct Hand {
    /// Its queue's place among the shares.
    pub(super) queue: usize,
    /// What waits, by level of priority.
    ready: [VecDeque<Entry>; Priority::LEVELS],
    pub(super) suspects: VecDeque<Entry>,
    /// Every entry from its arrival until Redis has confirmed its outcome.
    pub(super) held: EntryIds,
    /// The reader wants to be woken when a level has this number of ready entries.
    low: [usize; Priority::LEVELS],
    /// Levels whose last fetch brought something: there may be more.
    busy: [bool; Priority::LEVELS],
    /// The place in [`Priority::TURNS`] that comes next.
    turn: usize,
}

impl Hand {
    pub(super) fn new(queue: usize) -> Self {
        Self {
            queue,
            ready: Default::default(),
            suspects: VecDeque::new(),
            held: EntryIds::default(),
            low: [0; Priority::LEVELS],
            busy: [false; Priority::LEVELS],
            turn: 0,
        }
    }

    pub(super) fn is_unconfirmed(&self) -> bool {
        self.held.len() >= MAX_UNCONFIRMED
    }

    /// Whether nothing waits here.
    pub(super) fn is_empty(&self) -> bool {
        self.suspects.is_empty() && self.ready.iter().all(VecDeque::is_empty)
    }

    /// How many wait here.
    pub(super) fn len(&self) -> usize {
        let ready = self.ready.iter().map(VecDeque::len);
        ready.sum::<usize>() + self.suspects.len()
    }

    /// Takes entries in, the suspects apart; returns how many were not held already.
    pub(super) fn put(&mut self, mut entries: Vec<Entry>, place: Place, suspect_at: u32) -> usize {
        entries.retain(|entry| self.held.insert(entry.id));
        let added = entries.len();
        let mut put = |entry: Entry| {
            let ready = &mut self.ready[level(entry.id.priority)];
            match place {
                _ if entry.deliveries >= suspect_at => self.suspects.push_back(entry),
                Place::Front => ready.push_front(entry),
                Place::Back => ready.push_back(entry),
            }
        };
        match place {
            Place::Front => entries.into_iter().rev().for_each(&mut put),
            Place::Back => entries.into_iter().for_each(&mut put),
        }
        added
    }

    /// The next entry in its turn; and whether the reader shall bring more.
    ///
    /// A level without work is passed over, and has lost its turn: the others have it.
    pub(super) fn pop(&mut self) -> Option<(Entry, bool)> {
        for step in 0..Priority::TURNS.len() {
            let turn = (self.turn + step) % Priority::TURNS.len();
            let level = level(Priority::TURNS[turn]);
            let ready = &mut self.ready[level];
            if let Some(entry) = ready.pop_front() {
                self.turn = turn + 1;
                return Some((entry, ready.len() <= self.low[level]));
            }
        }
        None
    }

    /// How many entries to fetch of each level, with `target` of it in hand then; of
    /// several that have more to come, each its share of that.
    ///
    /// None of a level until half of that is used up, so that fetches come in batches;
    /// and none of any while only such levels have room that brought nothing last time,
    /// which would be a question each time that the others are full: they are looked at
    /// now and then, when the caller says `look`.
    pub(super) fn room(&mut self, target: usize, look: bool) -> Room {
        if self.is_unconfirmed() {
            self.low = [0; Priority::LEVELS];
            return Room::default();
        }
        let busy = self.busy;
        let busy = || Priority::ALL.into_iter().filter(|one| busy[level(*one)]);
        let shared = busy().count() > 1;
        let most = busy().map(Priority::weight).max().unwrap_or(1);
        let mut levels = [0; Priority::LEVELS];
        for priority in Priority::ALL {
            let level = level(priority);
            let target = match shared {
                true => (target * priority.weight() / most).clamp(1, target),
                false => target,
            };
            self.low[level] = target / 2;
            let have = self.ready[level].len();
            if have <= self.low[level] {
                levels[level] = target - have;
            }
        }
        let all = levels.iter().all(|room| *room > 0);
        if all || look || busy().any(|priority| levels[level(priority)] > 0) {
            Room { levels, shared }
        } else {
            Room::default()
        }
    }

    /// A fetch that asked for this has brought entries of these levels.
    pub(super) fn fetched(&mut self, asked: Room, brought: [bool; Priority::LEVELS]) {
        let asked = asked.levels.map(|room| room > 0);
        for ((busy, asked), brought) in self.busy.iter_mut().zip(asked).zip(brought) {
            *busy = if asked { brought } else { *busy };
        }
    }

    /// Everything that waits.
    pub(super) fn waiting(&mut self) -> impl Iterator<Item = &mut VecDeque<Entry>> {
        self.ready.iter_mut().chain([&mut self.suspects])
    }

    /// Forgets what waits under another consumer; returns how much that was.
    pub(super) fn forget_others(&mut self, consumer: &Arc<str>) -> usize {
        let mut forgotten = 0;
        for waiting in self.ready.iter_mut().chain([&mut self.suspects]) {
            waiting.retain(|entry| {
                let ours = entry.consumer == *consumer;
                if !ours {
                    self.held.remove(&entry.id);
                    forgotten += 1;
                }
                ours
            });
        }
        forgotten
    }
}

/// Entries to fetch, by level of priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::worker) struct Room {
    levels: [usize; Priority::LEVELS],
    /// Several of them have more to come, so each shall bring its own number.
    shared: bool,
}

impl Room {
    /// So many, of whatever level.
    pub(in crate::worker) fn even(most: usize) -> Self {
        Self {
            levels: [most; Priority::LEVELS],
            shared: false,
        }
    }

    /// Most entries of one level.
    pub(in crate::worker) fn most(&self) -> usize {
        self.levels.into_iter().max().unwrap_or(0)
    }

    pub(in crate::worker) fn of(&self, priority: Priority) -> usize {
        self.levels[level(priority)]
    }

    /// The levels that have any.
    pub(in crate::worker) fn priorities(self) -> impl Iterator<Item = Priority> {
        let all = Priority::ALL.into_iter();
        all.filter(move |priority| self.of(*priority) > 0)
    }

    /// Whether one question for all levels will do, which may wait for any of them.
    pub(in crate::worker) fn is_for_all(&self) -> bool {
        !self.shared && self.levels.iter().all(|room| *room > 0)
    }
}

fn level(priority: Priority) -> usize {
    usize::from(priority.level())
}
