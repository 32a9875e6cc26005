//! Stopping in two phases.
//!
//! The first SIGTERM or SIGINT is *soft*: parts take no new work and finish what they have. When
//! the grace period is over, or on a second signal, it is *hard*: parts drop their work and leave
//! at once. A part that fails, panics or ends by itself also starts the soft phase, and makes
//! [`Tasks::run`] fail, so that the process exits with a code that its supervisor sees.

use std::{collections::HashMap, error::Error, fmt, io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::{Id, JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

/// What remains to a part after the hard signal, before it is cut off.
const LAST_MOMENTS: Duration = Duration::from_secs(3);

/// The two signals, as tokens that parts wait on.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Take no new work; finish what is in hand.
    pub soft: CancellationToken,
    /// Leave now.
    pub hard: CancellationToken,
}

impl Shutdown {
    /// Listens to SIGTERM and SIGINT from now on.
    ///
    /// The hard phase follows the soft one after `grace`, whatever began the soft one.
    ///
    /// # Errors
    /// When the operating system refuses the signal handlers.
    pub fn on_signals(grace: Duration) -> io::Result<Self> {
        let shutdown = Self::default();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let Self { soft, hard } = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                name = next(&mut terminate, &mut interrupt) => tracing::info!(
                    signal = name,
                    grace_seconds = grace.as_secs(),
                    "stopping; a second signal aborts",
                ),
                () = soft.cancelled() => {}
            }
            soft.cancel();
            tokio::select! {
                name = next(&mut terminate, &mut interrupt) => {
                    tracing::warn!(signal = name, "second signal, aborting");
                }
                () = tokio::time::sleep(grace) => tracing::warn!("grace period over, aborting"),
            }
            hard.cancel();
        });
        Ok(shutdown)
    }
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

type Failure = Box<dyn Error + Send + Sync>;

/// The parts of a process, started together and stopped together.
#[derive(Debug)]
pub struct Tasks {
    shutdown: Shutdown,
    running: JoinSet<Result<(), Failure>>,
    names: HashMap<Id, &'static str>,
    background: JoinSet<Result<(), Failure>>,
}

/// The parts that did not end as they should have.
#[derive(Debug)]
pub struct TasksError {
    failures: Vec<String>,
}

impl Tasks {
    /// No parts yet.
    pub fn new(shutdown: Shutdown) -> Self {
        Self {
            shutdown,
            running: JoinSet::new(),
            names: HashMap::new(),
            background: JoinSet::new(),
        }
    }

    /// Starts a part. It must end with `Ok` after the soft or the hard signal, and not before.
    pub fn spawn<E: Into<Failure>>(
        &mut self,
        name: &'static str,
        part: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let part = self
            .running
            .spawn(async move { part.await.map_err(Into::into) });
        self.names.insert(part.id(), name);
    }

    /// Starts a part that others outlive in no phase, such as the answers to probes.
    ///
    /// It goes on through the soft phase and is dropped when all other parts have ended.
    pub fn spawn_background<E: Into<Failure>>(
        &mut self,
        name: &'static str,
        part: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let part = self
            .background
            .spawn(async move { part.await.map_err(Into::into) });
        self.names.insert(part.id(), name);
    }

    /// Waits until every part has ended.
    ///
    /// # Errors
    /// The parts that failed, panicked, ended before they were asked to, or had to be cut off.
    pub async fn run(mut self) -> Result<(), TasksError> {
        let mut failures = Vec::new();
        let cut_off = async {
            self.shutdown.hard.cancelled().await;
            tokio::time::sleep(LAST_MOMENTS).await;
        };
        tokio::pin!(cut_off);
        while !self.running.is_empty() {
            let ended = tokio::select! {
                Some(ended) = self.running.join_next_with_id() => ended,
                Some(ended) = self.background.join_next_with_id() => ended,
                () = &mut cut_off => break,
            };
            let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            let name = self.names.remove(&id).unwrap_or("unnamed");
            let stopping = self.shutdown.soft.is_cancelled();
            if let Some(reason) = failure(ended, stopping) {
                tracing::error!(part = name, "{reason}");
                failures.push(format!("{name} {reason}"));
                self.shutdown.soft.cancel();
            }
        }
        self.background.abort_all();
        if !self.running.is_empty() {
            failures.push(format!("{} part(s) had to be cut off", self.running.len()));
        }
        self.running.shutdown().await;
        if failures.is_empty() {
            tracing::info!("stopped");
            Ok(())
        } else {
            Err(TasksError { failures })
        }
    }
}

/// Why the end of a part is a failure, if it is one.
fn failure(ended: Result<(Id, Result<(), Failure>), JoinError>, stopping: bool) -> Option<String> {
    match ended {
        Ok((_, Ok(()))) if stopping => None,
        Ok((_, Ok(()))) => Some("ended before it was asked to".to_owned()),
        Ok((_, Err(error))) => Some(format!("failed: {}", crate::telemetry::chain(&*error))),
        Err(error) => Some(format!("died: {error}")),
    }
}

impl Error for TasksError {}

impl fmt::Display for TasksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.failures.join("; "))
    }
}
