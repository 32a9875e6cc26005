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
}

/// A text is not a cursor, or another state's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of such a page: use the one that came with the page before")]
pub struct InvalidCursor;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            After::Entry(Priority::Normal, id) => id.fmt(f),
            After::Entry(priority, id) => write!(f, "{priority}:{id}"),
            After::Due(due, id) => write!(f, "{due}/{id}"),
            After::Member(member) | After::Waiter(member) => f.write_str(member),
        }
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(s: &str) -> Result<Self, InvalidCursor> {
        let (priority, id) = match s.split_once(':') {
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
        ] {
            let cursor: Cursor = text.parse().unwrap();
            assert_eq!(cursor.to_string(), text);
        }
        for wrong in ["", "soon", "x/y", "-", "urgent:1-7"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(InvalidCursor), "{wrong}");
        }
    }
}
