//! Cancelling a job by its id, wherever it is.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};

use crate::{
    EntryId, Error, JobId, Queue, Tuning, UniqueHash,
    connection::first_error,
    envelope::{Header, NEWEST, whole_ms},
    keys::Keys,
    parked::kind_prefix,
    partitions::Partition,
    reply::number,
    scripts,
    worker::parse_entry,
};

/// How long a request to cancel is remembered, for a job that a worker has in hand.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// Entries looked at in each direction from where a job's entry should be.
const LOOK: usize = 2000;
/// Entries in one answer.
const PAGE: usize = 25;
/// Looks for a job that moves meanwhile; the request is remembered all the same.
const LOOKS: usize = 3;

/// What became of a request to cancel a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited, and is gone: it does not run any more.
    Removed,
    /// A worker has it, or it is somewhere in a long queue: it ends as soon as a worker
    /// that runs it, or is about to, is told.
    Asked,
    /// It is not in this queue: done, dead, cancelled before, or never there.
    Gone,
}

/// A job to cancel, with what goes when it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) job: JobId,
    pub(crate) unique: Option<UniqueHash>,
    /// The outbox has its row.
    pub(crate) once: bool,
}

impl Target {
    pub(crate) fn new(header: &Header<'_>) -> Self {
        Self {
            job: header.id(),
            unique: header.unique,
            once: header.once(),
        }
    }
}

/// Where a job was seen.
#[derive(Debug)]
enum Place {
    /// Delayed or parked.
    Aside {
        target: Target,
        parked: String,
    },
    Entry {
        target: Target,
        entry: EntryId,
    },
    /// Nowhere, in all of the queue or in a part of it.
    Nowhere {
        all: bool,
    },
}

impl Queue {
    /// Cancels a job of this queue: it is not run, or not to its end, and not again.
    ///
    /// One that waits is removed at once, and a unique job's key is free. Of one that
    /// runs, [`crate::JobContext::cancel`] is cancelled, and a second later its handler
    /// is dropped; only if it succeeds by then it is done. It is no dead letter. The
    /// request is remembered for a day, so that it holds for a job that is handed back
    /// or tried again, too.
    ///
    /// The row of a job of the outbox stays, and brings it back if Redis loses its data:
    /// spending its token is the better way to cancel one.
    ///
    /// # Errors
    /// [`Error::Redis`]; the job may be cancelled all the same.
    pub async fn cancel(&self, queue: &str, job: JobId) -> Result<Cancelled, Error> {
        let mut cancelled = Cancelled::Gone;
        for keys in self.all_partitions(queue) {
            match self.cancel_in(&keys, job).await? {
                Cancelled::Removed => return Ok(Cancelled::Removed),
                Cancelled::Asked => cancelled = Cancelled::Asked,
                Cancelled::Gone => {}
            }
        }
        Ok(cancelled)
    }

    async fn cancel_in(&self, keys: &Partition, job: JobId) -> Result<Cancelled, Error> {
        let tuning = &self.settings().tuning;
        let unseen = Target {
            job,
            unique: None,
            once: false,
        };
        for _ in 0..LOOKS {
            let place = self.look_for(keys, job).await?;
            let cmd = match &place {
                Place::Aside { target, parked } => {
                    command(keys, tuning, *target, ["aside", parked, ""])
                }
                Place::Entry { target, entry } => {
                    command(keys, tuning, *target, [&entry.to_string(), "", ""])
                }
                Place::Nowhere { all } => {
                    let place = if *all { "gone" } else { "" };
                    command(keys, tuning, unseen, [place, "", ""])
                }
            };
            match (keys.connection.one(&cmd).await?, place) {
                (Value::Int(1), _) => return Ok(Cancelled::Removed),
                (Value::Int(0), _) => return Ok(Cancelled::Asked),
                (Value::Int(-2), Place::Nowhere { all: true }) => return Ok(Cancelled::Gone),
                (Value::Int(-2), Place::Nowhere { all: false }) => return Ok(Cancelled::Asked),
                // It has moved since it was seen.
                (Value::Int(_), _) => {}
                _ => return Err(Error::Reply("cancel.lua")),
            }
        }
        Ok(Cancelled::Asked)
    }

    /// Looks where a job can be, as far as a bounded number of entries tells.
    ///
    /// The stream has no index by job. An entry was made about when its job's id was, but
    /// that of a job that waited elsewhere before was made later.
    async fn look_for(&self, keys: &Partition, job: JobId) -> Result<Place, Error> {
        let mut pipeline = Pipeline::new();
        pipeline
            .cmd("HGET")
            .arg(&keys.payloads)
            .arg(job.to_string());
        pipeline.cmd("XLEN").arg(&keys.stream);
        let answers = keys.connection.all(&pipeline).await?;
        first_error(&answers)?;
        let [payload, length] = answers.as_slice() else {
            return Err(Error::Reply("a pipeline"));
        };
        if let Value::BulkString(envelope) = payload
            && let Ok((header, _)) = Header::read(envelope, NEWEST)
        {
            return Ok(Place::Aside {
                target: Target::new(&header),
                parked: format!("{}{job}", kind_prefix(header.name, header.version)),
            });
        }
        let all = number(length) <= LOOK as u64;
        let made = job.made_at_ms().to_string();
        let ranges = match all {
            true => &[("XRANGE", "-", "+")][..],
            false => &[("XRANGE", &*made, "+"), ("XREVRANGE", &*made, "-")][..],
        };
        let mut ended = false;
        for (command, from, to) in ranges {
            let seen = self.look_in(keys, command, from, to, job).await?;
            match seen {
                (Some(place), _) => return Ok(place),
                (None, end) => ended = end,
            }
        }
        // It may have grown since its length was read.
        Ok(Place::Nowhere { all: all && ended })
    }

    /// The job's place, and whether there are no more entries this way.
    async fn look_in(
        &self,
        keys: &Partition,
        command: &'static str,
        from: &str,
        to: &str,
        job: JobId,
    ) -> Result<(Option<Place>, bool), Error> {
        let mut from = from.to_owned();
        for _ in 0..LOOK / PAGE {
            let mut cmd = redis::cmd(command);
            cmd.arg(&keys.stream).arg(&from).arg(to);
            cmd.arg("COUNT").arg(PAGE);
            let Value::Array(rows) = keys.connection.one(&cmd).await? else {
                return Err(Error::Reply(command));
            };
            let full = rows.len() == PAGE;
            for (entry, envelope) in rows.into_iter().filter_map(parse_entry) {
                from = format!("({entry}");
                if let Ok((header, _)) = Header::read(&envelope, NEWEST)
                    && header.id() == job
                {
                    let target = Target::new(&header);
                    return Ok((Some(Place::Entry { target, entry }), true));
                }
            }
            if !full {
                return Ok((None, true));
            }
        }
        Ok((None, false))
    }
}

/// The script's call for a job that was seen there; `consumer` is the worker that has
/// stopped it.
pub(crate) fn command(
    keys: &Keys,
    tuning: &Tuning,
    target: Target,
    [place, parked, consumer]: [&str; 3],
) -> Cmd {
    let marker = keys.once(target.job);
    let lock = target.unique.map(|unique| keys.lock(unique));
    let mut named = vec![
        &keys.stream[..],
        &keys.payloads,
        &keys.delayed,
        &keys.parked,
        &keys.requests,
        &keys.meta,
        &marker,
    ];
    named.extend(lock.as_deref());
    let mut cmd = scripts::call(&scripts::CANCEL, &named);
    cmd.arg(target.job.to_string());
    cmd.arg(place).arg(parked).arg(consumer);
    match target.once {
        // As long as that of a dead letter.
        true => cmd.arg(whole_ms(tuning.dead_max_age)),
        false => cmd.arg(""),
    };
    cmd
}
