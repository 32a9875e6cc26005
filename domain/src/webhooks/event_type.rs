//! What kind of thing has happened, and which kinds an endpoint is told of.

use std::fmt;

/// The most characters of a type and of a filter.
const LONGEST: usize = 128;

/// What the types of events begin with that we send ourselves: a receiver may trust them.
const OURS: &str = "webhook.";

/// The type of an event: `invoice.paid`.
///
/// Words of lower case letters, digits and `_`, joined by dots, as Standard Webhooks recommends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventType(String);

/// Why a text is no type of an event. The message may be shown to whoever typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be words of a-z, 0-9 and _ joined by dots, like invoice.paid, of at most 128 characters"
)]
pub struct InvalidEventType;

/// Why a client sends no event of a type. The message may be shown to whoever typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotToBeSent {
    /// It is no type.
    #[error(transparent)]
    Invalid(#[from] InvalidEventType),
    /// It is one of ours, such as that of a test.
    #[error("must not begin with webhook., as the types of the service itself do")]
    Ours,
}

impl EventType {
    /// Reads the type of an event that a client sends.
    ///
    /// # Errors
    /// When it is none, or one that only we send.
    pub fn parse_sent(text: &str) -> Result<Self, NotToBeSent> {
        let kind = Self::parse(text)?;
        if text.starts_with(OURS) {
            return Err(NotToBeSent::Ours);
        }
        Ok(kind)
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidEventType> {
        if text.len() <= LONGEST && is_type(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidEventType)
        }
    }

    /// As it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every filter that this type passes: itself, and each beginning of it with `.*`.
    ///
    /// So "does any filter of this endpoint let it pass" is whether two lists overlap.
    pub(super) fn filters(&self) -> Vec<String> {
        let beginnings = self.0.match_indices('.').map(|(at, _)| &self.0[..at]);
        let prefixes = beginnings.map(|beginning| format!("{beginning}.*"));
        std::iter::once(self.0.clone()).chain(prefixes).collect()
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which events an endpoint wants: a type, or all below one, as `invoice.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter(String);

/// Why a text is no filter. The message may be shown to whoever typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an event's type like invoice.paid, or all below one like invoice.*")]
pub struct InvalidEventFilter;

impl EventFilter {
    /// Reads one.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidEventFilter> {
        if text.len() <= LONGEST && is_type(text.strip_suffix(".*").unwrap_or(text)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidEventFilter)
        }
    }

    /// As it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether it has the form that the database demands of a type too.
fn is_type(text: &str) -> bool {
    let is_word = |word: &str| {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        !word.is_empty() && word.bytes().all(plain)
    };
    text.split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_words_joined_by_dots() {
        for good in ["a", "invoice.paid", "v2.user_1.created", &"x".repeat(128)] {
            assert_eq!(EventType::parse(good).unwrap().as_str(), good);
            assert_eq!(EventFilter::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "A",
            "a b",
            "a\n",
            "ä",
            "a-b",
            &"x".repeat(129),
        ] {
            assert_eq!(EventType::parse(bad), Err(InvalidEventType), "{bad:?}");
            assert_eq!(EventFilter::parse(bad), Err(InvalidEventFilter), "{bad:?}");
        }
        assert!(EventFilter::parse("invoice.*").is_ok());
        for bad in ["*", ".*", "invoice*", "invoice.*.paid", "invoice.*.*"] {
            assert_eq!(EventFilter::parse(bad), Err(InvalidEventFilter), "{bad:?}");
        }
        assert_eq!(EventType::parse("invoice.*"), Err(InvalidEventType));
    }

    #[test]
    fn types_of_ours_are_not_sent_by_clients() {
        for ours in ["webhook.test", "webhook.a.b"] {
            assert_eq!(EventType::parse_sent(ours), Err(NotToBeSent::Ours));
            assert!(EventType::parse(ours).is_ok() && EventFilter::parse(ours).is_ok());
        }
        for theirs in ["webhook", "webhooks.sent", "a.webhook.test"] {
            assert_eq!(EventType::parse_sent(theirs).unwrap().as_str(), theirs);
        }
        let invalid = NotToBeSent::Invalid(InvalidEventType);
        assert_eq!(EventType::parse_sent("webhook."), Err(invalid));
    }

    #[test]
    fn a_type_passes_itself_and_each_beginning() {
        let filters = EventType::parse("a.b.c").unwrap().filters();
        assert_eq!(filters, ["a.b.c", "a.*", "a.b.*"]);
    }
}
