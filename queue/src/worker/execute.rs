//! The runners: each takes one entry after the other and runs its handler.

mod conclude;
mod contain;
#[cfg(feature = "testing")]
pub(super) mod perform;

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, field};

use self::{
    conclude::{bury, conclude, ended, park, refuse},
    contain::{Contained, contain, text_of},
};
use super::{
    board::{Board, Next, Taken},
    entry::Entry,
    lane::Lane,
    lease::Lease,
    report::{Page, Report},
    requests::Requests,
    settle::Settlement,
    slots,
};
use crate::{
    Attempt, Ended, JobContext, JobError, Observer, OnSpan, Registry, Slot, Unknown, UnpackError,
    cancel::Target,
    envelope::Header,
    registry::{Kind, Outcome},
    trace,
};

/// How long a handler may go on after its token was cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// What all runners of a worker share.
pub(super) struct Runners<C> {
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) board: Arc<Board>,
    pub(super) registry: Registry<C>,
    pub(super) app: C,
    pub(super) on_span: Option<OnSpan>,
    /// Running handlers must end, with [`CANCEL_GRACE`].
    pub(super) hurry: CancellationToken,
    /// Running handlers must end now.
    pub(super) abort: CancellationToken,
}

/// What a run has to do with besides its job.
struct Around<'a> {
    lease: &'a Lease,
    requests: &'a Requests,
    report: Report,
}

/// How a run ended.
enum End {
    Returned(Outcome),
    Panicked(String),
    TimedOut,
    /// Somebody has asked for it.
    Cancelled,
    /// The worker ends before the job.
    HandBack,
    /// The entry belongs to another worker.
    Lost,
}

impl<C: Clone + Send + Sync + 'static> Runners<C> {
    /// Runs entries until the board is closed.
    pub(super) async fn run(&self) {
        let mut ended = None;
        let mut page = Page::new(&self.lanes);
        loop {
            let usable = |lane: usize| self.lanes[lane].may_start();
            let Next::Run(Taken {
                lane,
                entry,
                suspect,
            }) = self.board.next(ended.take(), usable).await
            else {
                return;
            };
            let lane = &self.lanes[lane];
            self.handle(lane, entry, &mut page).await;
            if suspect {
                self.board.suspect_ran(lane.number);
                lane.scan.notify_one();
            } else {
                ended = Some(lane.number);
            }
        }
    }

    async fn handle(&self, lane: &Lane, entry: Entry, page: &mut Arc<Page>) {
        let lease = lane.tenure.current();
        let Some(lease) = lease.filter(|lease| lease.consumer == entry.consumer) else {
            // Fetched under a name that was declared dead since.
            lane.let_go([entry.id]);
            return;
        };
        let newest = lane.settings.newest_envelope;
        let (header, payload) = match Header::read(&entry.envelope, newest) {
            Ok(parts) => parts,
            Err(error) => return refuse(lane, entry, &error),
        };
        if lane.requests.name(header.id()) {
            tracing::info!(job.id = %header.id(), queue.name = lane.queue, "job cancelled before its start");
            return lane.settle(
                entry.id,
                &entry.consumer,
                Settlement::Cancelled(Target::new(&header)),
            );
        }
        let Some(kind) = self.registry.find(header.name, header.version) else {
            let name = header.name.to_owned();
            let version = header.version;
            return park(lane, &header, &entry, &Unknown::Kind { name, version });
        };
        let json = match lane.settings.packing.unpacked(&header, payload) {
            Ok(json) => json,
            Err(UnpackError::Key(id)) => return park(lane, &header, &entry, &Unknown::Key { id }),
            Err(error) => return bury(lane, &header, &entry, &error),
        };
        if let Some(slot) = header.extras.slot {
            if !self.admits(lane, &header, slot, &entry).await {
                return;
            }
            // The answer took its time: it may not be ours to run any more.
            if !lane.may_start() {
                return lane.settle(entry.id, &entry.consumer, Settlement::HandBack);
            }
        }
        // At the highest level, so that a filter of `warn` or `error` leaves the ids in its lines.
        let span = tracing::error_span!(
            "job",
            job.id = %header.id(),
            job.name = kind.name,
            job.attempt = header.attempt,
            queue.name = lane.queue,
            trace.id = header.traceparent.and_then(trace::id),
            error.type = field::Empty,
        );
        let own = self
            .on_span
            .and_then(|on_span| on_span(&span, header.traceparent));
        let attempt = Attempt {
            queue: &lane.queue,
            kind: kind.name,
            number: header.attempt,
        };
        self.observe(|observer| observer.began(attempt));
        let started = Instant::now();
        let around = Around {
            lease: &lease,
            requests: &lane.requests,
            report: Report {
                page: Arc::clone(page),
                lane: lane.number,
            },
        };
        // In its place: what goes around it would move it, and it is large.
        let run = pin!(self.attempt(kind, &header, &json, around, started));
        let run = trace::inherit(own.as_deref().or(header.traceparent), run);
        let end = run.instrument(span.clone()).await;
        let took = started.elapsed();
        lane.pace.served(took);
        lane.tally.ran(took);
        let mut settlement = span.in_scope(|| conclude(kind, &header, payload, end));
        if let Some(left) = Page::turn(page) {
            settlement = settlement.map(|settlement| settlement.leaving(header.id(), left));
        }
        let how = ended(settlement.as_ref());
        // The lines of log are written; whoever keeps the span sees how it ended.
        if matches!(how, Ended::Retried | Ended::Dead) {
            span.record("error.type", how.name());
        }
        self.observe(|observer| observer.ended(attempt, how, took));
        #[cfg(feature = "testing")]
        self.tell(&header, settlement.as_ref());
        match settlement {
            Some(settlement) => lane.settle(entry.id, &entry.consumer, settlement),
            None => lane.let_go([entry.id]),
        }
    }

    /// Tells the observer, if there is one; its panic is not the job's.
    fn observe(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.registry.observer
            && let Err(panic) = contain(|| tell(&**observer))
        {
            tracing::error!(panic, "the observer panicked");
        }
    }

    /// Whether the job has its slot; a worker that ends does not wait to hear it.
    async fn admits(&self, lane: &Lane, header: &Header<'_>, slot: Slot, entry: &Entry) -> bool {
        tokio::select! {
            biased;
            admitted = slots::admits(lane, header, slot, entry) => admitted,
            () = self.hurry.cancelled() => {
                lane.settle(entry.id, &entry.consumer, Settlement::HandBack);
                false
            }
        }
    }

    /// Runs the handler once, within its time and the lease.
    async fn attempt(
        &self,
        kind: &Kind<C>,
        header: &Header<'_>,
        json: &[u8],
        around: Around<'_>,
        started: Instant,
    ) -> End {
        let Around {
            lease,
            requests,
            report,
        } = around;
        let cancel = CancellationToken::new();
        let work = async {
            let context = JobContext {
                app: self.app.clone(),
                id: header.id(),
                name: kind.name,
                attempt: header.attempt,
                max_attempts: header.max_attempts,
                batch: header.extras.batch,
                follows: header.extras.follows,
                traceparent: header.traceparent.map(ToOwned::to_owned),
                cancel: cancel.clone(),
                report,
            };
            match (kind.run)(header.version, json, context) {
                Ok(handler) => Contained(handler).await,
                // What was encrypted must not stand in a dead letter, or in logs.
                Err(misfit) if header.extras.is_encrypted() => {
                    Err(JobError::discard(misfit.of_secret()))
                }
                Err(misfit) => Err(JobError::discard(misfit)),
            }
        };
        let work = AssertUnwindSafe(work).catch_unwind();
        tokio::pin!(work);
        // A job that never waits needs neither a timer nor a look at the tokens.
        if let Poll::Ready(result) = futures_util::poll!(&mut work) {
            return returned(result);
        }
        let timeout = tokio::time::sleep_until(deadline(started, header.timeout_ms));
        tokio::pin!(timeout);
        let named = requests.named(header.id());
        tokio::pin!(named);
        let mut doubted = false;
        let why = loop {
            tokio::select! {
                biased;
                result = &mut work => {
                    return match returned(result) {
                        // The handler did as its token asked.
                        End::Returned(Err(_)) if doubted => End::HandBack,
                        end => end,
                    };
                }
                () = &mut timeout => break End::TimedOut,
                () = &mut named => break End::Cancelled,
                () = self.hurry.cancelled() => break End::HandBack,
                () = lease.lost.cancelled(), if !header.once() => break End::Lost,
                () = lease.doubt.cancelled(), if !doubted && !header.once() => {
                    doubted = true;
                    cancel.cancel();
                }
            }
        };
        cancel.cancel();
        if matches!(why, End::Lost) {
            return why;
        }
        tokio::select! {
            biased;
            result = &mut work => match returned(result) {
                // It was done after all.
                End::Returned(Ok(())) => End::Returned(Ok(())),
                _ => why,
            },
            () = self.abort.cancelled() => End::HandBack,
            () = tokio::time::sleep(CANCEL_GRACE) => why,
        }
    }
}

/// When the attempt has taken too long: practically never, for a time-out too long
/// to count.
fn deadline(started: Instant, timeout_ms: u64) -> tokio::time::Instant {
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    let timeout = Duration::from_millis(timeout_ms).min(NEVER);
    (started + timeout).into()
}

fn returned(result: Result<Outcome, Box<dyn Any + Send>>) -> End {
    match result {
        Ok(outcome) => End::Returned(outcome),
        Err(panic) => End::Panicked(text_of(panic)),
    }
}
