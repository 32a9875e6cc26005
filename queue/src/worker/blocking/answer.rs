//! Reads `XREADGROUP`'s answer, in RESP2 (<https://redis.io/docs/latest/develop/reference/protocol-spec/>),
//! as it comes in.

use crate::{
    Priority,
    entry_id::EntryId,
    keys::ENVELOPE,
    worker::entry::{EntryRef, Raw},
};

/// The longest value that Redis can send.
const MAX_LENGTH: usize = 512 * 1024 * 1024;

/// The longest line: lengths and error texts are far below.
const MAX_LINE: usize = 64 * 1024;

/// Bytes that are no answer to what was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// An entry and its envelope.
pub(in crate::worker) type Fetched = (EntryRef, Vec<u8>);

/// How far an answer has been read.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Streams to come; unknown until the first bytes are there.
    streams: Option<usize>,
    /// That of the stream whose entries come, and how many.
    priority: Priority,
    left: usize,
    entries: Vec<Fetched>,
}

/// What is to be done for an answer to go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is complete.
    Entries(Vec<Fetched>),
    /// It needs more bytes; as many at least, as far as that is known.
    Incomplete { missing: usize },
    /// It is none, but a single value.
    Single,
}

/// Why a part cannot be read.
enum Stop {
    Incomplete { missing: usize },
    Malformed,
}

impl Answer {
    /// Reads what is in the buffer from `at` on, and moves that to what is next.
    pub(super) fn read(&mut self, buffer: &[u8], at: &mut usize) -> Result<Step, Malformed> {
        match self.read_on(buffer, at) {
            Ok(step) => Ok(step),
            Err(Stop::Incomplete { missing }) => Ok(Step::Incomplete { missing }),
            Err(Stop::Malformed) => Err(Malformed),
        }
    }

    fn read_on(&mut self, buffer: &[u8], at: &mut usize) -> Result<Step, Stop> {
        let mut part = Part { buffer, at: *at };
        let streams = if let Some(streams) = &mut self.streams {
            streams
        } else {
            match part.peek()? {
                b'*' => {}
                _ => return Ok(Step::Single),
            }
            // Null is what `BLOCK` ends with when nothing came.
            let streams = part.length(b'*')?.unwrap_or(0);
            *at = part.at;
            self.streams.insert(streams)
        };
        loop {
            while self.left > 0 {
                if let Some((id, envelope)) = part.entry()? {
                    let priority = self.priority;
                    self.entries.push((EntryRef { id, priority }, envelope));
                }
                self.left -= 1;
                *at = part.at;
            }
            if *streams == 0 {
                return Ok(Step::Entries(std::mem::take(&mut self.entries)));
            }
            // A stream: its name, and the entries.
            part.expect(b'*', 2)?;
            self.priority = priority(part.bulk()?).ok_or(Stop::Malformed)?;
            self.left = part.length(b'*')?.ok_or(Stop::Malformed)?;
            *streams -= 1;
            *at = part.at;
            self.entries.reserve(self.left.min(1024));
        }
    }
}

/// The length of a single value at the beginning of these bytes; none while it is incomplete.
pub(super) fn single(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut part = Part {
        buffer: bytes,
        at: 0,
    };
    let read = part.peek().and_then(|kind| match kind {
        b'$' => part.bulk_or_null(),
        b'*' => match part.length(b'*')? {
            None => Ok(()),
            Some(_) => Err(Stop::Malformed),
        },
        b'+' | b'-' | b':' => part.line().map(drop),
        _ => Err(Stop::Malformed),
    });
    match read {
        Ok(()) => Ok(Some(part.at)),
        Err(Stop::Incomplete { .. }) => Ok(None),
        Err(Stop::Malformed) => Err(Malformed),
    }
}

struct Part<'a> {
    buffer: &'a [u8],
    at: usize,
}

impl<'a> Part<'a> {
    fn peek(&self) -> Result<u8, Stop> {
        let first = self.buffer.get(self.at).copied();
        first.ok_or(Stop::Incomplete { missing: 1 })
    }

    /// Up to the end of the line, without it.
    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.buffer[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\r');
        match end.and_then(|end| Some((end, rest.get(end + 1)?))) {
            Some((end, b'\n')) => {
                self.at += end + 2;
                Ok(&rest[..end])
            }
            Some(_) => Err(Stop::Malformed),
            None if rest.len() > MAX_LINE => Err(Stop::Malformed),
            None => Err(Stop::Incomplete { missing: 1 }),
        }
    }

    /// A line with a length: none for what is null.
    fn length(&mut self, kind: u8) -> Result<Option<usize>, Stop> {
        if self.peek()? != kind {
            return Err(Stop::Malformed);
        }
        match &self.line()?[1..] {
            b"-1" => Ok(None),
            digits => match number(digits).map(usize::try_from) {
                Some(Ok(length)) if length <= MAX_LENGTH => Ok(Some(length)),
                _ => Err(Stop::Malformed),
            },
        }
    }

    fn expect(&mut self, kind: u8, length: usize) -> Result<(), Stop> {
        match self.length(kind)? {
            Some(found) if found == length => Ok(()),
            _ => Err(Stop::Malformed),
        }
    }

    fn bulk(&mut self) -> Result<&'a [u8], Stop> {
        let length = self.length(b'$')?.ok_or(Stop::Malformed)?;
        let rest = &self.buffer[self.at..];
        let Some(end) = rest.get(length..length + 2) else {
            let missing = length + 2 - rest.len();
            return Err(Stop::Incomplete { missing });
        };
        if end != b"\r\n" {
            return Err(Stop::Malformed);
        }
        self.at += length + 2;
        Ok(&rest[..length])
    }

    fn bulk_or_null(&mut self) -> Result<(), Stop> {
        let from = self.at;
        if self.length(b'$')?.is_some() {
            self.at = from;
            self.bulk()?;
        }
        Ok(())
    }

    /// `[id, [field, value, ...]]`; none for an entry that is gone.
    ///
    /// Without an envelope it is somebody else's writing: it gets an empty one, which
    /// no decoder takes, so it ends among the dead letters and not in limbo.
    fn entry(&mut self) -> Result<Option<Raw>, Stop> {
        self.expect(b'*', 2)?;
        let id = entry_id(self.bulk()?).ok_or(Stop::Malformed)?;
        let Some(parts) = self.length(b'*')? else {
            return Ok(None);
        };
        let mut envelope = None;
        for _ in 0..parts / 2 {
            let field = self.bulk()?;
            let value = self.bulk()?;
            if field == ENVELOPE.as_bytes() && envelope.is_none() {
                envelope = Some(value);
            }
        }
        Ok(Some((id, envelope.unwrap_or_default().to_vec())))
    }
}

/// That of the stream with this name, which ends with its level.
fn priority(stream: &[u8]) -> Option<Priority> {
    let digit = stream.last()?;
    Priority::of_level(digit.checked_sub(b'0')?)
}

fn entry_id(text: &[u8]) -> Option<EntryId> {
    let dash = text.iter().position(|byte| *byte == b'-')?;
    Some(EntryId::new(
        number(&text[..dash])?,
        number(&text[dash + 1..])?,
    ))
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests;
