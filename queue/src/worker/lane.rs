use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Mutex, Notify, mpsc};

use super::{
    board::{Board, Place, Room},
    entry::{Entry, EntryRef},
    gate::Gate,
    lease::Tenure,
    report::Progress,
    requests::Requests,
    settle::{Settled, Settlement},
    tally::Tally,
};
use crate::{
    connection::Connection, envelope::Header, holds::Holds, keys::Keys, settings::Settings,
};

/// One queue, or one partition of it, as this worker serves it: what its tasks share.
pub(super) struct Lane {
    /// Its place on the board.
    pub(super) number: usize,
    /// The partition's name, for the queue's first that of the queue.
    pub(super) queue: String,
    pub(super) keys: Arc<Keys>,
    pub(super) settings: Settings,
    /// For everything but the blocking read.
    pub(super) connection: Connection,
    pub(super) tenure: Arc<Tenure>,
    pub(super) board: Arc<Board>,
    pub(super) settle: mpsc::UnboundedSender<Settled>,
    pub(super) pace: Pace,
    pub(super) tally: Tally,
    pub(super) progress: Arc<Progress>,
    /// What the queue lets through, if it has a gate.
    pub(super) gate: Option<Gate>,
    /// Places behind the gate are free that this worker had.
    pub(super) freed: Notify,
    /// Held while entries get an owner outside the reader: reclaim and reconcile.
    pub(super) intake: Mutex<()>,
    /// Something was claimed and its answer lost: look at the own entries soon.
    pub(super) reconcile: AtomicBool,
    /// The blocking connection's id for `CLIENT UNBLOCK`; 0 while there is none.
    pub(super) reader: AtomicI64,
    /// Asks for a scan before its time.
    pub(super) scan: Notify,
    /// Counts looks at what others have left, for the priorities to take turns.
    pub(super) turn: AtomicUsize,
    /// Nothing may start: the queue is paused, or no tick has said that it is not.
    pub(super) held: AtomicBool,
    /// Jobs to cancel.
    pub(super) requests: Requests,
}

impl Lane {
    /// Puts entries that this worker owns to work; poison goes to the dead letters.
    pub(super) fn admit(&self, entries: impl IntoIterator<Item = Entry>, place: Place) {
        let tuning = &self.settings.tuning;
        let mut healthy = Vec::new();
        for entry in entries {
            if entry.deliveries <= tuning.poison_after {
                healthy.push(entry);
            } else if self.board.hold(self.number, entry.id) {
                self.bury_poison(entry);
            }
        }
        self.board
            .put(self.number, healthy, place, tuning.quarantine_at);
    }

    fn bury_poison(&self, entry: Entry) {
        let starts = entry.deliveries - 1;
        let error = format!("{starts} workers died or vanished while they held the job");
        let header = Header::read(&entry.envelope, self.settings.newest_envelope);
        let header = header.ok().map(|(header, _)| header);
        let job = header.map(|header| header.id());
        let once = header.is_some_and(|header| header.once());
        let holds = header.map(|header| Holds::new(&header.extras));
        tracing::error!(
            job.id = job.map(tracing::field::display),
            queue.name = self.queue,
            error,
            "job is dead"
        );
        self.settle(
            entry.id,
            &entry.consumer,
            Settlement::Dead {
                job,
                why: "crash",
                error,
                attempts: starts,
                envelope: entry.envelope,
                once,
                holds: holds.unwrap_or_default(),
            },
        );
    }

    /// Sends an outcome on its way.
    pub(super) fn settle(&self, id: EntryRef, consumer: &Arc<str>, what: Settlement) {
        let settled = Settled {
            id,
            consumer: Arc::clone(consumer),
            what,
        };
        // The receiver ends last, when nothing is left that could send.
        let _ = self.settle.send(settled);
    }

    /// Sets whether jobs may start.
    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }

    /// Whether jobs may start: the lease is sure, and the queue is not paused.
    pub(super) fn may_start(&self) -> bool {
        self.tenure.is_trusted() && !self.held.load(Ordering::Acquire)
    }

    /// Gives what waits here to another worker, or to this one later.
    pub(super) fn hand_back_waiting(&self) {
        for entry in self.board.take_waiting(self.number) {
            self.settle(entry.id, &entry.consumer, Settlement::HandBack);
        }
    }

    /// Entries to ask for now; with `look`, also where nothing came last time.
    pub(super) fn room(&self, look: bool) -> Room {
        if self.held.load(Ordering::Acquire) {
            return Room::default();
        }
        if self.gate.is_some() {
            return Room::even(self.board.free(self.number));
        }
        let window = self.pace.window(self.settings.tuning.prefetch_max);
        self.board.room(self.number, window, look)
    }

    /// Entries to take over from others now, also when the buffer is full.
    pub(super) fn claimable(&self) -> usize {
        if self.held.load(Ordering::Acquire) {
            return 0;
        }
        if self.gate.is_some() {
            return self.board.free(self.number);
        }
        let window = self.pace.window(self.settings.tuning.prefetch_max);
        self.board.claimable(self.number, window)
    }

    /// Forgets entries whose outcome Redis has confirmed.
    pub(super) fn release(&self, ids: impl IntoIterator<Item = EntryRef>) {
        self.board.release(self.number, ids);
        if self.gate.is_some() {
            self.freed.notify_one();
        }
    }

    /// Forgets entries that went another way than to their end; one that has come
    /// back to this worker meanwhile was passed over, and is now taken up.
    pub(super) fn let_go(&self, ids: impl IntoIterator<Item = EntryRef>) {
        self.release(ids);
        self.reconcile.store(true, Ordering::Release);
    }
}

/// How fast jobs are run, and how far Redis is: it sizes the prefetch.
pub(super) struct Pace {
    slots: usize,
    /// Moving average of a job's run, in ns.
    service: AtomicU64,
    /// Moving average of a round trip, in ns.
    trip: AtomicU64,
}

impl Pace {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            slots,
            service: AtomicU64::new(1_000_000),
            trip: AtomicU64::new(300_000),
        }
    }

    pub(super) fn served(&self, took: Duration) {
        average(&self.service, took);
    }

    pub(super) fn tripped(&self, sent: Instant) {
        average(&self.trip, sent.elapsed());
    }

    /// Jobs to hold beyond the free slots: what two round trips could use up.
    pub(super) fn window(&self, most: usize) -> usize {
        let service = self.service.load(Ordering::Relaxed).max(1);
        let trip = self.trip.load(Ordering::Relaxed);
        let slots = u64::try_from(self.slots).unwrap_or(u64::MAX);
        let jobs = 2u64.saturating_mul(slots).saturating_mul(trip) / service;
        usize::try_from(jobs).unwrap_or(most).clamp(1, most)
    }
}

/// An exponential moving average with a weight of 1/16.
///
/// Two writers may lose one sample between them; the average does not mind.
fn average(cell: &AtomicU64, sample: Duration) {
    let sample = u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX);
    let old = cell.load(Ordering::Relaxed);
    cell.store(old - old / 16 + sample / 16, Ordering::Relaxed);
}

/// Growing pauses between attempts to reach Redis, with jitter.
pub(super) struct Pause {
    next: Duration,
    longest: Duration,
}

impl Pause {
    /// Pauses from 20 ms on, but short enough to be back well within a lease.
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            next: Duration::from_millis(20),
            longest: Duration::from_secs(1).min(lease / 4),
        }
    }

    pub(super) fn reset(&mut self) {
        self.next = Duration::from_millis(20);
    }

    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(self.take()).await;
    }

    /// The next pause, for who does something else meanwhile.
    pub(super) fn take(&mut self) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause * 2;
        jittered(pause)
    }
}

/// The time, up to a tenth longer or shorter.
pub(super) fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.9 + fastrand::f64() * 0.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_jobs_prefetch_one_and_quick_ones_many() {
        let pace = Pace::new(16);
        for _ in 0..200 {
            pace.served(Duration::from_millis(100));
        }
        assert_eq!(pace.window(512), 1);
        for _ in 0..400 {
            pace.served(Duration::from_micros(2));
        }
        assert_eq!(pace.window(512), 512);
    }
}
