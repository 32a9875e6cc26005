use std::{fmt, str::FromStr};

use crate::{EntryId, Priority, parked::member, slot::read_waiter};

/// Where the next page begins; as a text, for an address or a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub(super) After);

/// What the page before ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum After {
    /// Of the stream of this priority, or of the dead letters, which have none.
    Entry(Priority, EntryId),
    /// Due time in ms, and the job.
    Due(u64, String),
    Member(String),
    /// The member of a job that waits for a slot.
    Waiter(String),
    /// A page of a further partition, by its number; the beginning of it, or after this.
    In(u16, Option<Box<Self>>),
}

/// A text is not a cursor, or another state's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of such a page: use the one that came with the page before")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(partition, None) => write!(f, "{partition}:"),
            Self::In(partition, Some(after)) => write!(f, "{partition}:{after}"),
            Self::Entry(Priority::Normal, id) => id.fmt(f),
            Self::Entry(priority, id) => write!(f, "{priority}:{id}"),
            Self::Due(due, id) => write!(f, "{due}/{id}"),
            Self::Member(member) | Self::Waiter(member) => f.write_str(member),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(s: &str) -> Result<Self, InvalidCursor> {
        let prefix = s.split_once(':');
        // No priority's name is a number.
        if let Some((Ok(partition), after)) = prefix.map(|(at, after)| (at.parse(), after)) {
            if after.is_empty() {
                return Ok(Self(After::In(partition, None)));
            }
            return match after.parse()? {
                Self(After::In(..)) => Err(InvalidCursor),
                Self(after) => Ok(Self(After::In(partition, Some(Box::new(after))))),
            };
        }
        let (priority, id) = match prefix {
            Some((priority, id)) => (priority.parse().map_err(|_| InvalidCursor)?, id),
            None => (Priority::Normal, s),
        };
        if let Ok(id) = id.parse() {
            return Ok(Self(After::Entry(priority, id)));
        }
        if let Some((due, id)) = s.split_once('/') {
            let due = due.parse().map_err(|_| InvalidCursor)?;
            return Ok(Self(After::Due(due, id.to_owned())));
        }
        if read_waiter(s).is_some() {
            return Ok(Self(After::Waiter(s.to_owned())));
        }
        let known = member(s).ok_or(InvalidCursor)?;
        Ok(Self(After::Member(known.text)))
    }
}

impl Cursor {
    /// After this entry, if the page was full: one that is not is the last.
    pub(super) fn after_entry(last: Option<(Priority, EntryId)>, full: bool) -> Option<Self> {
        let last = last.filter(|_| full);
        last.map(|(priority, id)| Self(After::Entry(priority, id)))
    }

    /// The partition in which it goes on, and where there.
    pub(super) fn split(after: Option<&Self>) -> (u16, Option<Self>) {
        match after {
            Some(Self(After::In(partition, after))) => {
                (*partition, after.as_deref().cloned().map(Self))
            }
            after => (0, after.cloned()),
        }
    }

    /// The same place in this partition; without one, the beginning of it.
    pub(super) fn within(partition: u16, after: Option<Self>) -> Option<Self> {
        match (partition, after) {
            (0, after) => after,
            (partition, after) => {
                let after = after.map(|Self(after)| Box::new(after));
                Some(Self(After::In(partition, after)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_print_as_they_are_read() {
        for text in [
            "1700000000000-7",
            "high:1700000000000-7",
            "1700000000000/0192",
            "task 1 0192",
            "0192a0b1c2d3e4f50192a0b1c2d3e4f5 0192a0b1-c2d3-7000-8000-0192a0b1c2d3 1",
            "3:",
            "3:low:1700000000000-7",
            "3:1700000000000/0192",
        ] {
            let cursor: Cursor = text.parse().unwrap();
            assert_eq!(cursor.to_string(), text);
        }
        for wrong in ["", "soon", "x/y", "-", "urgent:1-7", "1:2:", ":", "99999:"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(InvalidCursor), "{wrong}");
        }
    }
}
