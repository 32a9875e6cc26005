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
use crate::{DecodeError, EnqueueError, Job, JobId, KeyLimit, Priority, holds::Holds, job::is_name, trace};

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
    /// Whether a later job with its key may take its place before it runs.
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
    /// The job as JSON.
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
        check_size(self.payload.len())?;
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
            None => Ok(()),
        }
    }

    /// The bytes that go to Redis, or into the outbox.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
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
        .write(&self.payload)
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_envelope()(
            id: u128,
            queue in "[a-z]{1,9}",
            name in ".{0,20}",
            numbers: (u16, u16, u16, u64, u64),
            flags: (bool, bool),
            priority in proptest::sample::select(Priority::ALL.to_vec()),
            unique: Option<UniqueHash>,
            slot: Option<([u8; 16], NonZeroU16)>,
            batches: (Option<u128>, Option<u128>),
            next: Option<Vec<u8>>,
            packing: Option<(bool, Option<u32>)>,
            traceparent in proptest::option::of(".{0,60}"),
            payload: Vec<u8>,
        ) -> Envelope {
            let (version, attempt, max_attempts, enqueued_at_ms, timeout_ms) = numbers;
            let (once, replaceable) = flags;
            Envelope {
                id: Uuid::from_u128(id).into(),
                queue, name, version, attempt, max_attempts,
                enqueued_at_ms, timeout_ms, once, priority, unique, replaceable,
                slot: slot.map(|(key, limit)| Slot { key, limit }),
                batch: batches.0.map(Uuid::from_u128),
                follows: batches.1.map(Uuid::from_u128),
                next,
                packing: packing.map(|(compressed, key)| Packing { compressed, key }),
                traceparent, payload,
            }
        }
    }

    proptest! {
        #[test]
        fn survives_the_round_trip(envelope in any_envelope()) {
            prop_assert_eq!(Envelope::decode(&envelope.encode()), Ok(envelope));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Envelope::decode(&bytes);
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Ping(u8);

    impl Job for Ping {
        const NAME: &'static str = "ping";
        const QUEUE: &'static str = "net";
    }

    #[test]
    fn the_short_way_makes_the_same_bytes() {
        for unique in [None, Some(unique_hash(Ping::NAME, "a"))] {
            let extras = Extras {
                unique,
                ..Extras::default()
            };
            let mut sealer = Sealer::new(Priority::Normal, extras);
            // Some of the same millisecond, and some of the next.
            for number in 0..50 {
                let (id, bytes) = sealer.seal(&Ping(number)).unwrap();
                let sealed = Envelope::decode(bytes).unwrap();
                let mut long = Envelope::new(&Ping(number)).unwrap();
                long.id = id;
                long.unique = unique;
                assert!(long.enqueued_at_ms.abs_diff(sealed.enqueued_at_ms) < 60_000);
                assert_eq!(sealed.enqueued_at_ms, id.made_at_ms());
                long.enqueued_at_ms = sealed.enqueued_at_ms;
                assert_eq!(sealed, long);
                if number == 40 {
                    std::thread::park_timeout(Duration::from_millis(2));
                }
            }
        }
    }

    /// The bytes that each release must read for ever, and write for such a job.
    #[test]
    fn the_bytes_of_each_version_stay_as_they_are() {
        let plain = Envelope {
            id: Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00ff).into(),
            queue: "net".to_owned(),
            name: "ping".to_owned(),
            version: 300,
            attempt: 2,
            max_attempts: 20,
            enqueued_at_ms: 1_700_000_000_000,
            timeout_ms: 60_000,
            once: true,
            traceparent: Some("00-ab".to_owned()),
            payload: b"7".to_vec(),
            ..Envelope::new(&Ping(7)).unwrap()
        };
        let unique = Envelope {
            unique: Some(unique_hash("ping", "a")),
            ..plain.clone()
        };
        let header = b"\x01\x92\0\0\0\0\x70\0\x80\0\0\0\0\0\0\xff\
            \x03net\x04ping\xac\x02\x02\x14\x80\xd0\x95\xff\xbc\x31\xe0\xd4\x03\x01\x01\x0500-ab";
        // printf 'ping\0a' | sha256sum
        let hash = b"\x60\x4e\x34\x91\x5e\x76\x42\xc8\x24\xbb\x8d\x8b\x87\x73\xb9\xcb";
        let extended = Envelope {
            priority: Priority::High,
            replaceable: true,
            slot: Some(Slot {
                key: *b"0123456789abcdef",
                limit: NonZeroU16::new(300).unwrap(),
            }),
            batch: Some(Uuid::from_bytes(*b"0123456789ABCDEF")),
            follows: None,
            packing: Some(Packing {
                compressed: true,
                key: Some(300),
            }),
            next: Some(b"next".to_vec()),
            ..unique.clone()
        };
        let extras = [
            &b"\x01"[..],
            hash,
            b"\x01",
            b"\x010123456789abcdef\xac\x02",
            b"\x01\x100123456789ABCDEF",
            b"\x00",
            b"\x01\x01\x01\xac\x02",
            b"\x01\x04next",
        ]
        .concat();
        let versions = [
            (plain, &b"\x01"[..], &[][..]),
            (unique, b"\x02", hash),
            (extended, b"\x03\x01", &extras),
        ];
        for (envelope, version, extras) in versions {
            let golden = [version, &header[..], extras, b"7"].concat();
            assert_eq!(envelope.encode(), golden);
            assert_eq!(Envelope::decode(&golden), Ok(envelope));
        }
    }

    #[test]
    fn names_and_keys_do_not_run_into_each_other() {
        assert_ne!(unique_hash("a", "bc"), unique_hash("ab", "c"));
        assert_ne!(unique_hash("a", ""), unique_hash("a", "\0"));
    }

    #[test]
    fn newer_versions_are_told_from_damage() {
        assert_eq!(Envelope::decode(&[]), Err(DecodeError::Empty));
        assert_eq!(Envelope::decode(&[0, 0]), Err(DecodeError::Foreign));
        let newer = Err(DecodeError::Version(4));
        assert_eq!(Envelope::decode(&[4, 0]), newer);
        for known in [1, 2, 3] {
            let damaged = Envelope::decode(&[known, 0]);
            assert!(matches!(damaged, Err(DecodeError::Header(_))));
        }
        let extras = Extras {
            unique: Some(UniqueHash::default()),
            ..Extras::default()
        };
        let mut sealer = Sealer::new(Priority::Normal, extras);
        let (_, unique) = sealer.seal(&Ping(7)).unwrap();
        let seen_before = Header::read(unique, PLAIN).map(drop);
        assert_eq!(seen_before, Err(DecodeError::Version(UNIQUE)));
    }
}
