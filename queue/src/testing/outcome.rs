use std::{fmt, time::Duration};

use crate::{Envelope, Job, Registry, envelope::Header, worker};

/// How one attempt of a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The job is done.
    Done,
    /// It is to be tried again.
    Retry {
        /// How long it waits before that.
        after: Duration,
        /// The error with its sources; a panic and a time-out are errors too.
        error: String,
    },
    /// It is a dead letter.
    Dead {
        /// `attempts` used up, `discarded` by its handler, or an `envelope` that is damaged.
        why: &'static str,
        /// The error with its sources.
        error: String,
    },
    /// It was cancelled, and is neither tried again nor a dead letter.
    Cancelled,
    /// There is no handler for its name and version, or no key for its payload; only
    /// [`perform`] tells of it.
    Parked,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Retry { after, error } => write!(f, "again after {after:.1?} ({error})"),
            Self::Dead { why, error } => write!(f, "dead: {why} ({error})"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Parked => f.write_str("parked: no handler or key here"),
        }
    }
}

/// Is told of each attempt that a worker has ended.
pub(crate) type Watch = Box<dyn Fn(&Header<'_>, Outcome) + Send + Sync>;

/// Runs the first attempt of a job, here and now, without Redis.
///
/// It is what a worker does with the job: the payload is written and read back,
/// its handler runs under the job's time-out, and a panic is a failed attempt. What
/// the handler enqueues goes where its queue is. Under `tokio::time::pause` a
/// time-out takes no time; but then a handler must wait for no socket, because time
/// leaps while it does.
///
/// # Panics
/// When the job could not be enqueued: its payload is too large, or no JSON.
pub async fn perform<C, J>(registry: &Registry<C>, app: C, job: &J) -> Outcome
where
    C: Clone + Send + Sync + 'static,
    J: Job,
{
    let envelope = Envelope::new(job).expect("the job can be enqueued");
    perform_envelope(registry, app, &envelope).await
}

/// Runs one attempt of the job in an envelope, as [`perform`] does.
///
/// Its fields are open, for whatever the test is about: the number of the attempt,
/// the version of an older payload, the id, a trace context. An encrypted payload is parked,
/// because there is no key here: [`Packer::unpack`](crate::Packer::unpack) comes before.
pub async fn perform_envelope<C>(registry: &Registry<C>, app: C, envelope: &Envelope) -> Outcome
where
    C: Clone + Send + Sync + 'static,
{
    Box::pin(worker::perform(registry, app, envelope)).await
}
