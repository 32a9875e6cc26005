#![doc = include_str!("../README.md")]

use std::time::{Duration, SystemTime};

use queue::{Chain, Envelope, Job, JobId, KeyLimit, Packer};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

mod backlog;
mod done;
mod passed_over;
mod relay;
mod sweep;
#[cfg(feature = "testing")]
pub mod testing;

pub use backlog::{Backlog, backlog};
pub use done::mark_done;
pub use relay::{Nudge, Relay, Settings};

/// Why the outbox could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job cannot be encoded, or is too large for the queue.
    #[error("the job cannot be enqueued")]
    Enqueue(#[from] queue::EnqueueError),
    /// Redis is away.
    #[error("Redis cannot be reached")]
    Redis(#[from] queue::Error),
    /// Postgres refused or is away.
    #[error("the outbox cannot be reached")]
    Database(#[from] sqlx::Error),
    /// A step of the relay took too long.
    #[error("Postgres or Redis did not answer within {0:?}")]
    TimedOut(Duration),
}

/// What the row is for once Redis has the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// It stays as the job's token until the job spends it with [`once`].
    #[default]
    Once,
    /// It is deleted; the job may run more than once and is only as durable as Redis.
    AtLeastOnce,
}

/// How to enqueue. The default is: once, and as soon as possible.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// What the row is for once Redis has the job.
    pub delivery: Delivery,
    /// Not before this time.
    pub run_at: Option<SystemTime>,
    /// Packs the payload, so that nobody can read it in the database either; [`queue::Queue::packer`]
    /// has one. Without it the payload is JSON here, and the relay packs it on its way to Redis.
    pub packer: Option<&'a Packer>,
    /// How many jobs with the same key run at once, as [`queue::Options::slot`].
    pub slot: Option<&'a KeyLimit>,
}

/// Enqueues `job` as part of the caller's transaction, once and as soon as possible.
///
/// # Errors
/// When the job is too large or the statement fails. The transaction is then lost.
pub async fn enqueue<J: Job>(conn: &mut PgConnection, job: &J) -> Result<JobId, Error> {
    enqueue_with(conn, job, Options::default()).await
}

/// Like [`enqueue`], but not before `run_at`.
///
/// # Errors
/// As [`enqueue`].
pub async fn enqueue_at<J: Job>(
    conn: &mut PgConnection,
    job: &J,
    run_at: SystemTime,
) -> Result<JobId, Error> {
    let options = Options {
        run_at: Some(run_at),
        ..Options::default()
    };
    enqueue_with(conn, job, options).await
}

/// Like [`enqueue`], with the choice in `options`.
///
/// # Errors
/// As [`enqueue`].
pub async fn enqueue_with<J: Job>(
    conn: &mut PgConnection,
    job: &J,
    options: Options<'_>,
) -> Result<JobId, Error> {
    let ids = enqueue_many_with(conn, std::slice::from_ref(job), options).await?;
    Ok(ids[0])
}

/// Enqueues many jobs in one statement, once and as soon as possible. Ids come in the same order.
///
/// # Errors
/// As [`enqueue`].
pub async fn enqueue_many<J: Job>(
    conn: &mut PgConnection,
    jobs: &[J],
) -> Result<Vec<JobId>, Error> {
    enqueue_many_with(conn, jobs, Options::default()).await
}

/// Enqueues a chain as part of the caller's transaction; returns the ids of all its jobs.
///
/// The choice in `options` is for the first job, which has the row and the token, but for the
/// packer and the slot, which are for all. The others come when it is done: they run at least once, and are
/// only as durable as Redis.
///
/// # Errors
/// As [`enqueue`].
pub async fn enqueue_chain(
    conn: &mut PgConnection,
    mut chain: Chain,
    options: Options<'_>,
) -> Result<Vec<JobId>, Error> {
    let ids = chain.ids();
    if let Some(limit) = options.slot {
        chain = chain.with_slot(limit);
    }
    let mut first = chain.into_envelope()?;
    if let Some(packer) = options.packer {
        packer.pack(&mut first);
    }
    first.once = options.delivery == Delivery::Once;
    let queue = first.queue.clone();
    Rows::encoded(&queue, &[first], options)
        .insert(conn)
        .await?;
    Ok(ids)
}

/// Like [`enqueue_many`], with the choice in `options`.
///
/// # Errors
/// As [`enqueue`].
pub async fn enqueue_many_with<J: Job>(
    conn: &mut PgConnection,
    jobs: &[J],
    options: Options<'_>,
) -> Result<Vec<JobId>, Error> {
    insert_all(conn, jobs.iter().map(|job| (job, options.slot)), options).await
}

/// Like [`enqueue_many_with`], where each job has the slot beside it instead of the one in
/// `options`: one statement for jobs of many keys.
///
/// # Errors
/// As [`enqueue`].
pub async fn enqueue_many_slotted<J: Job>(
    conn: &mut PgConnection,
    jobs: &[(J, KeyLimit)],
    options: Options<'_>,
) -> Result<Vec<JobId>, Error> {
    let jobs = jobs.iter().map(|(job, slot)| (job, Some(slot)));
    insert_all(conn, jobs, options).await
}

/// Jobs as rows of the outbox, for a statement of the caller's own.
///
/// A statement that stores something together with its jobs needs no transaction around it, which
/// is two round trips less: worth it where requests come by the thousand. It has to contain
///
/// ```sql
/// INSERT INTO job_outbox (id, envelope, queue, run_at, once)
/// SELECT id, envelope, $3, $4, $5 FROM unnest($1::uuid[], $2::bytea[]) AS job (id, envelope)
/// ```
///
/// with the fields as its parameters, in this order.
#[derive(Debug)]
#[must_use = "what is in no table is never run"]
pub struct Rows {
    /// The jobs' ids.
    pub ids: Vec<Uuid>,
    /// The jobs themselves, encoded.
    pub envelopes: Vec<Vec<u8>>,
    /// Their queue.
    pub queue: String,
    /// Not before this time.
    pub run_at: Option<OffsetDateTime>,
    /// Whether the row stays as the job's token.
    pub once: bool,
}

impl Rows {
    /// Of jobs with the slots beside them, as [`enqueue_many_slotted`] would store them.
    ///
    /// # Errors
    /// When a job is too large.
    pub fn slotted<J: Job>(jobs: &[(J, KeyLimit)], options: Options<'_>) -> Result<Self, Error> {
        Self::of(jobs.iter().map(|(job, slot)| (job, Some(slot))), options)
    }

    fn of<'j, J: Job>(
        jobs: impl Iterator<Item = (&'j J, Option<&'j KeyLimit>)>,
        options: Options<'_>,
    ) -> Result<Self, Error> {
        let once = options.delivery == Delivery::Once;
        let mut envelopes = Vec::with_capacity(jobs.size_hint().0);
        for (job, slot) in jobs {
            let mut envelope = Envelope::new(job)?;
            envelope.once = once;
            if let Some(limit) = slot {
                envelope = envelope.with_slot(limit);
            }
            if let Some(packer) = options.packer {
                packer.pack(&mut envelope);
            }
            envelopes.push(envelope);
        }
        Ok(Self::encoded(J::QUEUE, &envelopes, options))
    }

    fn encoded(queue: &str, jobs: &[Envelope], options: Options<'_>) -> Self {
        Self {
            ids: jobs.iter().map(|job| job.id.into()).collect(),
            envelopes: jobs.iter().map(Envelope::encode).collect(),
            queue: queue.to_owned(),
            run_at: options.run_at.map(OffsetDateTime::from),
            once: options.delivery == Delivery::Once,
        }
    }

    async fn insert(&self, conn: &mut PgConnection) -> Result<(), Error> {
        sqlx::query!(
            "INSERT INTO job_outbox (id, envelope, queue, run_at, once)
         SELECT id, envelope, $3, $4, $5 FROM unnest($1::uuid[], $2::bytea[]) AS job (id, envelope)",
            &self.ids,
            &self.envelopes,
            self.queue,
            self.run_at,
            self.once,
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

async fn insert_all<'j, J: Job>(
    conn: &mut PgConnection,
    jobs: impl Iterator<Item = (&'j J, Option<&'j KeyLimit>)>,
    options: Options<'_>,
) -> Result<Vec<JobId>, Error> {
    let rows = Rows::of(jobs, options)?;
    rows.insert(conn).await?;
    Ok(rows.ids.into_iter().map(JobId::from).collect())
}

/// Spends the job's token. `false`: it was spent before, there is nothing left to do.
///
/// Call it first, in the transaction that holds the job's effects. A duplicate waits here until
/// that transaction has ended.
///
/// ```
/// # use queue::{JobContext, JobError};
/// # struct CloseMonth;
/// # struct App { pool: sqlx::PgPool }
/// async fn run(job: CloseMonth, cx: JobContext<App>) -> Result<(), JobError> {
///     let mut tx = cx.app.pool.begin().await?;
///     if !outbox::once(&mut tx, cx.id).await? {
///         return Ok(()); // Somebody has done it.
///     }
///     // The effects, in `tx`.
///     tx.commit().await?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// When the statement fails.
pub async fn once(conn: &mut PgConnection, id: JobId) -> Result<bool, Error> {
    let spent = sqlx::query!("DELETE FROM job_outbox WHERE id = $1", Uuid::from(id))
        .execute(conn)
        .await?;
    Ok(spent.rows_affected() == 1)
}

/// Whether a once-job of this queue that was enqueued before is not done yet, nor set aside.
///
/// `before` is an id of version 7: what is compared is its time.
///
/// # Errors
/// When the statement fails.
pub async fn is_any_pending(pool: &PgPool, queue: &str, before: Uuid) -> Result<bool, Error> {
    // In the order of the key, or a plan that is made without the id would read the whole table.
    let oldest = sqlx::query_scalar!(
        "SELECT id FROM job_outbox WHERE queue = $1 AND state <> 2 AND once AND id < $2
         ORDER BY id LIMIT 1",
        queue,
        before,
    )
    .fetch_optional(pool)
    .await?;
    Ok(oldest.is_some())
}

/// Whether the job's token is still there, for jobs whose effects are not in Postgres.
///
/// ```
/// # use queue::{JobContext, JobError, JobId};
/// # struct SendEmail;
/// # struct App { pool: sqlx::PgPool }
/// # async fn send(job: &SendEmail, message_id: JobId) -> std::io::Result<()> { Ok(()) }
/// async fn run(job: SendEmail, cx: JobContext<App>) -> Result<(), JobError> {
///     if !outbox::is_pending(&cx.app.pool, cx.id).await? {
///         return Ok(());
///     }
///     send(&job, cx.id).await?; // The id is the same in every attempt.
///     outbox::once(&mut *cx.app.pool.acquire().await?, cx.id).await?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// When the statement fails.
pub async fn is_pending(pool: &PgPool, id: JobId) -> Result<bool, Error> {
    let pending = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM job_outbox WHERE id = $1) AS "pending!""#,
        Uuid::from(id)
    )
    .fetch_one(pool)
    .await?;
    Ok(pending)
}

/// A transaction for statements that take the front of an index.
///
/// Postgres mostly finds an empty outbox when it gathers statistics. By those it would, where there
/// is a backlog, read and sort all of it for each batch. This leaves it nothing but the index.
async fn begin(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let statement = "BEGIN; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off;
                     SET LOCAL jit = off";
    pool.begin_with(statement).await
}
