//! How far a job is, while it runs.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, JobContext, JobId, Queue, ReportError, result::json};

/// How long after it was written it can be read.
pub(crate) const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

impl<C> JobContext<C> {
    /// Largest value for [`JobContext::set_progress`] in bytes of JSON.
    pub const MAX_PROGRESS: usize = 1024;

    /// Says how far the job is: a percentage, or any value, for [`Queue::progress`].
    ///
    /// The latest counts. A worker writes it about once a second, with that of its other
    /// jobs, so a call costs no round trip. What Redis refuses is dropped. It can be read
    /// for a day, also when the job has ended.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub fn set_progress<T: Serialize>(&self, value: &T) -> Result<(), ReportError> {
        let json = json(value, Self::MAX_PROGRESS)?;
        self.report.progress(self.id, json);
        Ok(())
    }
}

impl Queue {
    /// What a job has said last of how far it is, if it has within a day.
    ///
    /// # Errors
    /// [`Error::Redis`], and [`Error::Shape`] for a value that is no `T`.
    pub async fn progress<T: DeserializeOwned>(
        &self,
        queue: &str,
        job: JobId,
    ) -> Result<Option<T>, Error> {
        self.read(queue, |keys| keys.progress(job)).await
    }
}
