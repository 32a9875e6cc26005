//! Cancelling a job by its id, wherever it is.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};

use crate::{
    Envelope, Error, JobId, Priority, Queue, Tuning, Unknown,
    connection::first_error,
    envelope::{Header, whole_ms},
    holds::Holds,
    inspect::{Place, Search},
    keys::Keys,
    queue::Partition,
    scripts,
    slot::waiter,
};

/// How long a request to cancel is remembered, for a job that a worker has in hand.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
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
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) job: JobId,
    pub(crate) holds: Holds,
    /// The outbox has its row.
    pub(crate) once: bool,
}

impl Target {
    pub(crate) fn new(header: &Header<'_>) -> Self {
        Self {
            job: header.id(),
            holds: Holds::new(&header.extras),
            once: header.once(),
        }
    }
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
        for look in 1..=LOOKS {
            let before = newest(keys).await?;
            let search = self.find_in(keys, job).await?;
            let mut all_seen = search == Search::Absent;
            if all_seen && newest(keys).await? != before {
                // What went aside and came back meanwhile was seen at neither place.
                all_seen = false;
                if look < LOOKS {
                    continue;
                }
            }
            let seen = search.found();
            let envelope = seen.as_ref().map(|seen| Envelope::decode(&seen.envelope));
            let envelope = envelope.and_then(Result::ok);
            let target = Target {
                job,
                holds: envelope.as_ref().map(Envelope::holds).unwrap_or_default(),
                once: envelope.as_ref().is_some_and(|job| job.once),
            };
            let mut stream = keys.stream(Priority::Normal);
            // Where its member is, if it has one.
            let mut index = &*keys.parked;
            let (place, member) = match seen.map(|seen| seen.place) {
                Some(Place::Dead { .. }) => return Ok(Cancelled::Gone),
                Some(Place::Delayed { .. }) => ("aside".to_owned(), String::new()),
                Some(Place::Parked {
                    reason: reason @ (Unknown::Kind { .. } | Unknown::Key { .. }),
                }) => {
                    let member = format!("{}{job}", reason.prefix());
                    ("aside".to_owned(), member)
                }
                Some(Place::Blocked { slot }) => {
                    index = &keys.blocked;
                    ("aside".to_owned(), waiter(slot, job))
                }
                Some(
                    Place::Ready { entry, priority }
                    | Place::InHand {
                        entry, priority, ..
                    },
                ) => {
                    stream = keys.stream(priority);
                    (entry.to_string(), String::new())
                }
                // The second is never found by its id.
                None | Some(Place::Parked { .. }) if all_seen => ("gone".to_owned(), String::new()),
                None | Some(Place::Parked { .. }) => Default::default(),
            };
            let cmd = command(keys, tuning, &target, [stream, &place, index, &member, ""]);
            match keys.connection.one(&cmd).await? {
                Value::Int(1) => return Ok(Cancelled::Removed),
                Value::Int(0) => return Ok(Cancelled::Asked),
                Value::Int(-2) if place == "gone" => return Ok(Cancelled::Gone),
                Value::Int(-2) if place.is_empty() => return Ok(Cancelled::Asked),
                // It has moved since it was seen.
                Value::Int(_) => {}
                _ => return Err(Error::Reply("cancel.lua")),
            }
        }
        Ok(Cancelled::Asked)
    }
}

/// The newest entry of each stream.
async fn newest(keys: &Partition) -> Result<Vec<Value>, Error> {
    let mut pipeline = Pipeline::with_capacity(keys.streams.len());
    for stream in &keys.streams {
        let newest = pipeline.cmd("XREVRANGE").arg(stream);
        newest.arg("+").arg("-").arg("COUNT").arg(1);
    }
    let newest = keys.connection.all(&pipeline).await?;
    first_error(&newest)?;
    Ok(newest)
}

/// The script's call for a job that was seen there; `consumer` is the worker that has
/// stopped it.
pub(crate) fn command(
    keys: &Keys,
    tuning: &Tuning,
    target: &Target,
    [stream, place, index, member, consumer]: [&str; 5],
) -> Cmd {
    let marker = keys.once(target.job);
    let (letters, held) = target.holds.named(keys);
    let mut named = vec![
        stream,
        &keys.payloads,
        &keys.delayed,
        index,
        &keys.requests,
        &keys.meta,
        &marker,
    ];
    named.extend(held.iter().map(String::as_str));
    let mut cmd = scripts::call(&scripts::CANCEL, &named);
    cmd.arg(target.job.to_string());
    cmd.arg(place).arg(member).arg(consumer);
    match target.once {
        // As long as that of a dead letter.
        true => cmd.arg(whole_ms(tuning.dead_max_age)),
        false => cmd.arg(""),
    };
    cmd.arg(letters);
    cmd
}
