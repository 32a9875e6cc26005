//! What stands before the payload.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EXTENDED, ONCE, PLAIN, Packing, Slot, UNIQUE, UniqueHash};
use crate::{DecodeError, JobId, Priority};

/// The header as it stands in the bytes, borrowed from them where it is text.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Header<'a> {
    /// Before the other fields, as it is: postcard would take each byte by itself.
    #[serde(skip)]
    pub(crate) id: [u8; 16],
    pub(crate) queue: &'a str,
    pub(crate) name: &'a str,
    pub(crate) version: u16,
    pub(crate) attempt: u16,
    pub(crate) max_attempts: u16,
    pub(crate) enqueued_at_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) flags: u8,
    pub(crate) traceparent: Option<&'a str>,
    /// Not among the fields of version 1, which are the header in every version; scripts
    /// read it, so it is the second byte of version 3.
    #[serde(skip)]
    pub(crate) priority: Priority,
    /// Behind the header, in the versions that have any.
    #[serde(skip)]
    pub(crate) extras: Extras<'a>,
}

/// What only some jobs have. Its fields are those of version 3, in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extras<'a> {
    pub(crate) unique: Option<UniqueHash>,
    pub(crate) replaceable: bool,
    pub(crate) slot: Option<Slot>,
    pub(crate) batch: Option<Uuid>,
    pub(crate) follows: Option<Uuid>,
    pub(crate) packing: Option<Packing>,
    #[serde(borrow)]
    pub(crate) next: Option<&'a [u8]>,
}

impl Extras<'_> {
    /// Whether there are none.
    pub(crate) fn is_plain(&self) -> bool {
        self.unique.is_none() && self.is_unique_only()
    }

    /// Whether there are none but for a key.
    pub(crate) fn is_unique_only(&self) -> bool {
        let Extras {
            unique: _,
            replaceable,
            slot,
            batch,
            follows,
            packing,
            next,
        } = self;
        let neither = slot.is_none() && batch.is_none() && follows.is_none();
        !replaceable && neither && packing.is_none() && next.is_none()
    }

    /// Whether the payload is, or was, a secret.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.packing.is_some_and(|packing| packing.key.is_some())
    }

    /// The oldest version of the envelope that can express a job.
    fn version(&self, priority: Priority) -> u8 {
        if priority != Priority::Normal || !self.is_unique_only() {
            EXTENDED
        } else if self.unique.is_some() {
            UNIQUE
        } else {
            PLAIN
        }
    }
}

impl<'a> Header<'a> {
    /// The header and the payload behind it, without a copy.
    ///
    /// `newest` is [`super::NEWEST`], but in tests of the release before.
    pub(crate) fn read(bytes: &'a [u8], newest: u8) -> Result<(Self, &'a [u8]), DecodeError> {
        let (&version, rest) = bytes.split_first().ok_or(DecodeError::Empty)?;
        if version < PLAIN {
            return Err(DecodeError::Foreign);
        }
        if version > newest {
            return Err(DecodeError::Version(version));
        }
        let short = postcard::Error::DeserializeUnexpectedEnd;
        let (priority, rest) = match version {
            EXTENDED => {
                let (&level, rest) = rest.split_first().ok_or(short.clone())?;
                let unknown = postcard::Error::SerdeDeCustom;
                (Priority::of_level(level).ok_or(unknown)?, rest)
            }
            _ => (Priority::Normal, rest),
        };
        let (id, rest) = rest.split_first_chunk().ok_or(short)?;
        let (mut header, rest): (Self, _) = postcard::take_from_bytes(rest)?;
        header.id = *id;
        header.priority = priority;
        let payload = match version {
            PLAIN => rest,
            UNIQUE => {
                let (unique, payload) = postcard::take_from_bytes(rest)?;
                header.extras.unique = Some(unique);
                payload
            }
            _ => {
                let (extras, payload) = postcard::take_from_bytes(rest)?;
                header.extras = extras;
                payload
            }
        };
        Ok((header, payload))
    }

    pub(crate) fn write(&self, payload: &[u8]) -> Vec<u8> {
        let next = self.extras.next.map_or(0, <[u8]>::len);
        let mut bytes = Vec::with_capacity(payload.len() + next + 256);
        self.write_to(&mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    /// Appends all that stands before the payload; returns where the id is.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) -> usize {
        let version = self.extras.version(self.priority);
        out.push(version);
        if version == EXTENDED {
            out.push(self.priority.level());
        }
        let id = out.len();
        out.extend_from_slice(&self.id);
        let plain = "a header is plain data, and memory takes all";
        postcard::to_io(self, &mut *out).expect(plain);
        match (version, &self.extras.unique) {
            (UNIQUE, Some(hash)) => out.extend_from_slice(hash),
            (EXTENDED, _) => {
                postcard::to_io(&self.extras, &mut *out).expect(plain);
            }
            _ => {}
        }
        id
    }

    pub(crate) fn id(&self) -> JobId {
        Uuid::from_bytes(self.id).into()
    }

    pub(crate) fn once(&self) -> bool {
        self.flags & ONCE != 0
    }
}
