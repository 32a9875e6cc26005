//! Payloads compressed and encrypted, and back.
//!
//! A payload is JSON. It may be compressed, by LZ4 in blocks behind its length in 4 bytes,
//! and then encrypted, by XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) behind a nonce of 24
//! bytes. Its envelope says which, and with what key ([`Packing`]).
//!
//! Architecture invariant: what was packed once stays as it is. A retry, a dead letter, a
//! replay and a parked job carry the same bytes, so a key is needed by those that enqueue
//! and by those that run a job, and by nobody in between.

mod keyring;

use std::borrow::Cow;

use lz4_flex::block;

pub use self::keyring::{Keyring, MissingKey};
use crate::{
    Envelope, Packing,
    envelope::{Header, NEWEST},
};

/// What encryption adds to a payload: a nonce and a tag.
pub(crate) const OVERHEAD: usize = 24 + 16;
/// Version of what is authenticated beside the payload.
const FORMAT: u8 = 1;

/// What is done to payloads on their way into the queue, and undone for their handlers.
///
/// The default does nothing, and undoes compression.
#[derive(Debug, Clone, Default)]
pub struct Packer {
    /// Payloads of more bytes than this are compressed, where that makes them smaller.
    pub compress_above: Option<usize>,
    /// Keys to encrypt and decrypt with.
    pub keys: Keyring,
}

/// Why a payload cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// It was encrypted with a key of this id, which is not in the keyring.
    #[error("encrypted with key {0}, which is not here")]
    Key(u32),
    /// It is not what was encrypted for this job with the key of this id.
    #[error("damaged, or not encrypted for this job with key {0}")]
    Encryption(u32),
    /// What was compressed is damaged, or larger than any payload.
    #[error("the compressed payload is damaged")]
    Compression,
}

impl Packer {
    /// Packs the payload of a job, and those of the jobs that follow it in a chain; one that
    /// is packed already stays as it is.
    ///
    /// Afterwards its id, queue, name and version must not be changed: no other job can
    /// have a payload that was encrypted for this one.
    ///
    /// # Panics
    /// When the operating system has no random numbers.
    pub fn pack(&self, envelope: &mut Envelope) {
        if let Some(next) = self.active().and(envelope.next.as_deref()) {
            envelope.next = Some(self.pack_links(next));
        }
        if envelope.packing.is_none()
            && let Some((packing, payload)) = self.packed(&envelope.header(), &envelope.payload)
        {
            envelope.packing = Some(packing);
            envelope.payload = payload;
        }
    }

    /// Makes the payload of a job JSON again; one that is JSON stays as it is.
    ///
    /// # Errors
    /// [`UnpackError`]; the envelope is then unchanged.
    pub fn unpack(&self, envelope: &mut Envelope) -> Result<(), UnpackError> {
        if let Cow::Owned(payload) = self.unpacked(&envelope.header(), &envelope.payload)? {
            envelope.packing = None;
            envelope.payload = payload;
        }
        Ok(())
    }

    /// This one, if it does anything to payloads that are to be packed.
    pub(crate) fn active(&self) -> Option<&Self> {
        (self.compress_above.is_some() || self.keys.current().is_some()).then_some(self)
    }

    /// The bytes of a job as [`Envelope::encode`] makes them, with its payload packed.
    pub(crate) fn encode(&self, envelope: &Envelope) -> Vec<u8> {
        self.write(envelope.header(), &envelope.payload)
    }

    fn write(&self, header: Header<'_>, payload: &[u8]) -> Vec<u8> {
        let next = self.active().and(header.extras.next);
        let next = next.map(|next| self.pack_links(next));
        let mut header = header;
        if let Some(next) = &next {
            header.extras.next = Some(next);
        }
        self.write_link(header, payload)
    }

    /// The envelope of a job that follows another, with all that follow it: each lies in the
    /// one before, and there may be many.
    fn pack_links(&self, next: &[u8]) -> Vec<u8> {
        let mut links = Vec::new();
        let mut left = Some(next);
        let mut last = None;
        while let Some(bytes) = left.take() {
            match Header::read(bytes, NEWEST) {
                Ok((header, payload)) => {
                    left = header.extras.next;
                    links.push((header, payload));
                }
                Err(_) => last = Some(bytes.to_vec()),
            }
        }
        let links = links.into_iter().rev();
        let packed = links.fold(last, |next, (header, payload)| {
            let mut header = header;
            header.extras.next = next.as_deref();
            Some(self.write_link(header, payload))
        });
        packed.unwrap_or_default()
    }

    fn write_link(&self, mut header: Header<'_>, payload: &[u8]) -> Vec<u8> {
        if header.extras.packing.is_none()
            && let Some((packing, payload)) = self.packed(&header, payload)
        {
            header.extras.packing = Some(packing);
            return header.write(&payload);
        }
        header.write(payload)
    }

    /// The same envelope with its payload packed, where it is not, and the envelope of a
    /// version that is known here.
    pub(crate) fn pack_encoded<'a>(&self, envelope: &'a [u8]) -> Cow<'a, [u8]> {
        if self.active().is_none() {
            return envelope.into();
        }
        match Header::read(envelope, NEWEST) {
            Ok((header, payload)) => self.write(header, payload).into(),
            // That of a newer release, which knows itself what to do.
            Err(_) => envelope.into(),
        }
    }

    /// The payload packed, and how; none where it is to stay as it is.
    pub(crate) fn packed(&self, header: &Header<'_>, json: &[u8]) -> Option<(Packing, Vec<u8>)> {
        let compressed = self.compressed(json);
        let mut packing = Packing {
            compressed: compressed.is_some(),
            key: self.keys.current(),
        };
        let text = compressed.as_deref().unwrap_or(json);
        match self.keys.encrypt(&authenticated(header, &packing), text) {
            Some(encrypted) => Some((packing, encrypted)),
            None => {
                packing.key = None;
                Some((packing, compressed?))
            }
        }
    }

    /// The payload as JSON.
    pub(crate) fn unpacked<'a>(
        &self,
        header: &Header<'_>,
        payload: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, UnpackError> {
        let Some(packing) = header.extras.packing else {
            return Ok(payload.into());
        };
        let text: Cow<'a, [u8]> = match packing.key {
            None => payload.into(),
            Some(id) => {
                let authenticated = authenticated(header, &packing);
                self.keys.decrypt(id, &authenticated, payload)?.into()
            }
        };
        Ok(if packing.compressed {
            decompressed(&text).ok_or(UnpackError::Compression)?.into()
        } else {
            // Owned also where nothing was done, for it is no packed payload any more.
            text.into_owned().into()
        })
    }

    fn compressed(&self, json: &[u8]) -> Option<Vec<u8>> {
        let above = self.compress_above?;
        if json.len() <= above {
            return None;
        }
        let compressed = block::compress_prepend_size(json);
        (compressed.len() < json.len()).then_some(compressed)
    }
}

/// What goes with the payload as it is, so that it is worth nothing to another job: the
/// length before each text keeps two jobs from having the same bytes.
fn authenticated(header: &Header<'_>, packing: &Packing) -> Vec<u8> {
    let mut bytes = vec![FORMAT, u8::from(packing.compressed)];
    bytes.extend_from_slice(&header.id);
    bytes.extend_from_slice(&header.version.to_le_bytes());
    for text in [header.queue, header.name] {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// No byte more than a payload may have, whatever the length says.
fn decompressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (length, block) = block::uncompressed_size(bytes).ok()?;
    if length > Envelope::MAX_PAYLOAD {
        return None;
    }
    let mut json = vec![0; length];
    let written = block::decompress_into(block, &mut json).ok()?;
    (written == length).then_some(json)
}

#[cfg(test)]
mod tests;
