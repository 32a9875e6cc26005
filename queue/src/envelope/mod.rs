//! A job as bytes: one version byte, a header in postcard, the payload in JSON.
//!
//! Version 1 is a plain job. Version 2 is a unique one: the hash of its key, 16
//! bytes, stands between the header and the payload. Version 3 is a job with anything
//! else that is not usual: its priority's level is the second byte, and between the
//! header and the payload stand the extras, in postcard too.
//!
//! Architecture invariant: a change of the header's fields is a new version byte,
//! and the versions before it stay readable, because releases overlap. A job is
//! written in the oldest version that can express it: the release before runs what
//! it can, and parks only what it does not know.

mod header;
mod sealer;

use std::{
    num::NonZeroU16,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub(crate) use self::{
    header::{Extras, Header},
    sealer::Sealer,
};
use crate::{
    DecodeError, EnqueueError, Job, JobId, KeyLimit, Priority, chain, holds::Holds, job::is_name,
    packing::OVERHEAD, trace,
};

/// Version byte of a job that is not unique, the oldest there is.
pub(crate) const PLAIN: u8 = 1;
/// Version byte of a unique job.
const UNIQUE: u8 = 2;
/// Version byte of a job with a priority, or with extras beyond a key.
const EXTENDED: u8 = 3;
/// The newest version that this release reads and writes.
pub(crate) const NEWEST: u8 = EXTENDED;
/// Bytes to begin an envelope with, so that that of a usual job need not grow.
const USUAL_ENVELOPE: usize = 400;
/// Longest trace context in bytes; that of today's version has 55.
const MAX_TRACEPARENT: usize = 512;
/// Bit of [`Header::flags`]: the outbox holds a token for this job.
const ONCE: u8 = 1;

/// A job with all that a worker needs to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Identity of the job.
    pub id: JobId,
    /// The queue it belongs to.
    pub queue: String,
    /// Its [`Job::NAME`].
    pub name: String,
    /// Its [`Job::VERSION`].
    pub version: u16,
    /// Number of the next attempt; 1 is the first.
    pub attempt: u16,
    /// Attempts in all.
    pub max_attempts: u16,
    /// When it was enqueued, by the producer's clock, in ms of the Unix epoch.
    pub enqueued_at_ms: u64,
    /// How long an attempt may take, in ms.
    pub timeout_ms: u64,
    /// Whether the outbox holds a token that makes its effects happen once.
    pub once: bool,
    /// How soon it starts, compared with others that wait.
    pub priority: Priority,
    /// Hash of the key that it holds until it is done or dead, of a unique job.
    pub unique: Option<UniqueHash>,
    /// Whether a later job with its key may be kept while a worker has it in hand.
    pub replaceable: bool,
    /// The slot that it needs to run, of a job with a limit for its key.
    pub slot: Option<Slot>,
    /// The batch that it belongs to.
    pub batch: Option<Uuid>,
    /// The batch whose end it follows.
    pub follows: Option<Uuid>,
    /// The envelope of the job that follows it in a chain.
    pub next: Option<Vec<u8>>,
    /// How the payload was packed; none for plain JSON.
    pub packing: Option<Packing>,
    /// W3C trace context of what enqueued it.
    pub traceparent: Option<String>,
    /// The job as JSON, or what became of it when it was packed.
    pub payload: Vec<u8>,
}

/// What two unique jobs must not share: half a SHA-256 of the kind's name and the key.
///
/// Half of it is short, and no two keys of an application ever meet in 128 bits.
pub type UniqueHash = [u8; 16];

/// What a job needs one of to run: there are `limit` for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Hash of the key.
    pub key: [u8; 16],
    /// Jobs with this key that may run at once.
    pub limit: NonZeroU16,
}

/// How a payload was packed, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    /// It was compressed.
    pub compressed: bool,
    /// It was encrypted with the key of this id.
    pub key: Option<u32>,
}

/// The hash of a key among the jobs of one kind.
pub(crate) fn unique_hash(name: &str, key: &str) -> UniqueHash {
    // No name has a NUL, so no other pair of name and key gives the same bytes.
    let hash = Sha256::new()
        .chain_update(name)
        .chain_update([0])
        .chain_update(key)
        .finalize();
    std::array::from_fn(|at| hash[at])
}

impl Envelope {
    /// Largest payload in bytes of JSON.
    pub const MAX_PAYLOAD: usize = 256 * 1024;

    /// An envelope for the first attempt of a job, with a new id, in the trace of its
    /// [`scope`](crate::trace::scope).
    ///
    /// # Errors
    /// [`EnqueueError::Serialize`] and [`EnqueueError::TooLarge`].
    pub fn new<J: Job>(job: &J) -> Result<Self, EnqueueError> {
        check_names::<J>();
        let payload = serde_json::to_vec(job)?;
        check_size(payload.len())?;
        Ok(Self {
            id: JobId::new(),
            queue: J::QUEUE.to_owned(),
            name: J::NAME.to_owned(),
            version: J::VERSION,
            attempt: 1,
            max_attempts: J::MAX_ATTEMPTS,
            enqueued_at_ms: epoch_ms(SystemTime::now()),
            timeout_ms: whole_ms(J::TIMEOUT),
            once: false,
            priority: J::PRIORITY,
            unique: None,
            replaceable: false,
            slot: None,
            batch: None,
            follows: None,
            next: None,
            packing: None,
            traceparent: trace::current(),
            payload,
        })
    }

    /// Carries the W3C trace context of the request on to the handler.
    #[must_use]
    pub fn with_traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// Lets the job run only while it has a slot of this key.
    #[must_use]
    pub fn with_slot(mut self, limit: &KeyLimit) -> Self {
        self.slot = Some(limit.slot(&self.queue));
        self
    }

    /// Marks the job as one whose token is in the outbox.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Checks what the types of a [`Job`] ensure, because the fields are open to all.
    pub(crate) fn check(&self) -> Result<(), EnqueueError> {
        let key = self.packing.and_then(|packing| packing.key);
        let overhead = key.map_or(0, |_| OVERHEAD);
        check_size(self.payload.len().saturating_sub(overhead))?;
        let traceparent = self.traceparent.as_ref().map_or(0, String::len);
        let rules = [
            (is_name(&self.queue), "queue: use a-z, 0-9, '_', '-', '.'"),
            (is_name(&self.name), "name: use a-z, 0-9, '_', '-', '.'"),
            (self.attempt > 0, "attempt: at least 1"),
            (self.max_attempts > 0, "max_attempts: at least 1"),
            (self.timeout_ms > 0, "timeout_ms: at least 1"),
            (
                traceparent <= MAX_TRACEPARENT,
                "traceparent: at most 512 bytes",
            ),
        ];
        match rules.iter().find(|(right, _)| !right) {
            Some((_, rule)) => Err(EnqueueError::Envelope(rule)),
            None => chain::check_next(self),
        }
    }

    /// The bytes that go to Redis, or into the outbox; [`crate::Packer::pack`] comes before.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.header().write(&self.payload)
    }

    pub(crate) fn header(&self) -> Header<'_> {
        Header {
            id: *self.id.as_uuid().as_bytes(),
            queue: &self.queue,
            name: &self.name,
            version: self.version,
            attempt: self.attempt,
            max_attempts: self.max_attempts,
            enqueued_at_ms: self.enqueued_at_ms,
            timeout_ms: self.timeout_ms,
            flags: if self.once { ONCE } else { 0 },
            traceparent: self.traceparent.as_deref(),
            priority: self.priority,
            extras: self.extras(),
        }
    }

    fn extras(&self) -> Extras<'_> {
        Extras {
            unique: self.unique,
            replaceable: self.replaceable,
            slot: self.slot,
            batch: self.batch,
            follows: self.follows,
            packing: self.packing,
            next: self.next.as_deref(),
        }
    }

    pub(crate) fn holds(&self) -> Holds {
        Holds::new(&self.extras())
    }

    /// Reads the bytes back.
    ///
    /// # Errors
    /// [`DecodeError::Version`] for a newer release's envelope, else damaged bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (header, payload) = Header::read(bytes, NEWEST)?;
        let extras = header.extras;
        Ok(Self {
            id: header.id(),
            queue: header.queue.to_owned(),
            name: header.name.to_owned(),
            version: header.version,
            attempt: header.attempt,
            max_attempts: header.max_attempts,
            enqueued_at_ms: header.enqueued_at_ms,
            timeout_ms: header.timeout_ms,
            once: header.once(),
            priority: header.priority,
            unique: extras.unique,
            replaceable: extras.replaceable,
            slot: extras.slot,
            batch: extras.batch,
            follows: extras.follows,
            next: extras.next.map(<[u8]>::to_vec),
            packing: extras.packing,
            traceparent: header.traceparent.map(ToOwned::to_owned),
            payload: payload.to_vec(),
        })
    }
}

fn check_names<J: Job>() {
    const {
        assert!(is_name(J::NAME), "Job::NAME: use a-z, 0-9, '_', '-', '.'");
        assert!(is_name(J::QUEUE), "Job::QUEUE: use a-z, 0-9, '_', '-', '.'");
        assert!(J::MAX_ATTEMPTS > 0, "Job::MAX_ATTEMPTS: at least 1");
        assert!(J::TIMEOUT.as_millis() > 0, "Job::TIMEOUT: at least 1 ms");
    }
}

fn check_size(size: usize) -> Result<(), EnqueueError> {
    let limit = Envelope::MAX_PAYLOAD;
    if size > limit {
        return Err(EnqueueError::TooLarge { size, limit });
    }
    Ok(())
}

/// The slot that a job needs, of an envelope that this release can read.
pub(crate) fn slot_of(envelope: &[u8]) -> Option<Slot> {
    // No older version has room for one, so most need not be read.
    if envelope.first() != Some(&EXTENDED) {
        return None;
    }
    let (header, _) = Header::read(envelope, NEWEST).ok()?;
    header.extras.slot
}

/// Whole milliseconds; all that fit where there are more.
pub(crate) fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the Unix epoch; 0 for a time before it.
pub(crate) fn epoch_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
