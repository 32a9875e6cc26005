//! A worker under way, and how it ends.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{board::Board, fetch, lane::Lane, lease::Heartbeat};

/// How long outcomes may take to reach Redis when the worker ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Beyond the handlers' own grace: who blocks his thread is left behind.
const HURRY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long fetches may take to end after an abort: with a live Redis, enough.
const ABORT_GRACE: Duration = Duration::from_millis(500);
/// Between two attempts to end a blocking read.
const UNBLOCK_EVERY: Duration = Duration::from_millis(20);

/// A started worker.
pub(super) struct Running {
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) board: Arc<Board>,
    pub(super) heartbeat: Heartbeat,
    pub(super) stop: CancellationToken,
    pub(super) hurry: CancellationToken,
    pub(super) finish: CancellationToken,
    /// All that brings entries in.
    pub(super) intake: JoinSet<()>,
    pub(super) runners: JoinSet<()>,
    pub(super) settling: JoinSet<()>,
}

impl Running {
    /// Waits until a part ends that should not.
    pub(super) async fn part_died(&mut self) -> String {
        tokio::select! {
            () = self.heartbeat.ended.cancelled() => "heartbeat".to_owned(),
            Some(end) = self.intake.join_next() => describe("intake", end),
            Some(end) = self.runners.join_next() => describe("runner", end),
            Some(end) = self.settling.join_next() => describe("settling", end),
        }
    }

    /// Ends in the order that loses nothing: intake, runs, outcomes, lease.
    ///
    /// Returns the part that died on the way, if one did.
    pub(super) async fn drain(
        mut self,
        drain_timeout: Duration,
        abort: &CancellationToken,
    ) -> Option<String> {
        let deadline = Instant::now() + drain_timeout;
        tracing::info!("worker drains");
        if self.heartbeat.ended.is_cancelled() {
            // The lease runs out, and nobody would tell the handlers.
            self.hurry.cancel();
        }
        self.stop.cancel();
        self.board.close();
        self.hand_back_waiting();
        let mut died = self.stop_intake(abort).await;
        self.hand_back_waiting();

        let finished = tokio::select! {
            () = join_all(&mut self.runners, "runner", &mut died) => true,
            () = sleep_until(deadline) => false,
            () = abort.cancelled() => false,
            () = self.heartbeat.ended.cancelled() => false,
        };
        if !finished {
            self.hurry.cancel();
            let all = join_all(&mut self.runners, "runner", &mut died);
            if timeout(HURRY_TIMEOUT, all).await.is_err() {
                tracing::error!("a handler blocks its thread; another worker takes its job");
                self.runners.abort_all();
            }
        }

        self.finish.cancel();
        let all = join_all(&mut self.settling, "settling", &mut died);
        if timeout(FLUSH_TIMEOUT, all).await.is_err() {
            tracing::warn!("Redis does not confirm the last outcomes; those jobs run again");
        }
        self.heartbeat.stop().await;
        tracing::info!("worker ended");
        died
    }

    /// Stops what brings entries in; readers are unblocked until they have ended.
    async fn stop_intake(&mut self, abort: &CancellationToken) -> Option<String> {
        let mut died = None;
        // As long as a fetch can take with a Redis that does not answer.
        let tuning = &self.lanes.first()?.settings.tuning;
        let limit = tuning.block + tuning.response_timeout + tuning.connect_timeout;
        tokio::select! {
            () = join_all(&mut self.intake, "intake", &mut died) => return died,
            () = unblock_all(&self.lanes) => {}
            () = sleep(limit) => {}
            () = async { abort.cancelled().await; sleep(ABORT_GRACE).await } => {}
        }
        tracing::error!("a fetch does not end; another worker takes its jobs");
        self.intake.abort_all();
        died
    }

    fn hand_back_waiting(&self) {
        for lane in &self.lanes {
            lane.hand_back_waiting();
        }
    }
}

async fn join_all(set: &mut JoinSet<()>, part: &str, died: &mut Option<String>) {
    while let Some(end) = set.join_next().await {
        if end.is_err() {
            died.get_or_insert(describe(part, end));
        }
    }
}

fn describe(part: &str, end: Result<(), JoinError>) -> String {
    match end {
        Ok(()) => format!("{part} ended"),
        Err(error) => format!("{part}: {error}"),
    }
}

/// Ends the blocking reads of all lanes, again and again: a reader may just have begun
/// another.
async fn unblock_all(lanes: &[Arc<Lane>]) {
    loop {
        // At once: with a Redis that does not answer, each takes its whole time-out.
        futures_util::future::join_all(lanes.iter().map(|lane| fetch::unblock(lane))).await;
        sleep(UNBLOCK_EVERY).await;
    }
}
