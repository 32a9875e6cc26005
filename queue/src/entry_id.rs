use std::{fmt, str::FromStr};

/// The id of a stream entry, `ms-seq`, small enough to be copied around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    ms: u64,
    seq: u64,
}

impl EntryId {
    pub(crate) fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// When the entry was written, in ms of the Unix epoch by the server's clock.
    #[must_use]
    pub fn ms(&self) -> u64 {
        self.ms
    }
}

/// A text is not the id of a stream entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an entry: two numbers with a '-' between are")]
pub struct InvalidEntryId;

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

impl FromStr for EntryId {
    type Err = InvalidEntryId;

    fn from_str(s: &str) -> Result<Self, InvalidEntryId> {
        let (ms, seq) = s.split_once('-').ok_or(InvalidEntryId)?;
        let number = |text: &str| text.parse().map_err(|_| InvalidEntryId);
        Ok(Self {
            ms: number(ms)?,
            seq: number(seq)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_as_they_are_read() {
        let id: EntryId = "1700000000000-7".parse().unwrap();
        assert_eq!(id.to_string(), "1700000000000-7");
        for wrong in ["7", "7-", "a-b", "1-2-3", "-"] {
            assert_eq!(wrong.parse::<EntryId>(), Err(InvalidEntryId), "{wrong}");
        }
    }
}
