//! Trace context, so that a request and the jobs it starts share one trace id.
//!
//! The `traceparent` header of W3C Trace Context, level 1 (<https://www.w3.org/TR/trace-context/>):
//! `00-<trace id, 32 hex digits>-<parent id, 16 hex digits>-<flags, 2 hex digits>`.

use std::fmt;

/// The bit of the flags that says that the parent is recorded.
const SAMPLED: u8 = 1;

/// Which trace some work belongs to, and which part of it asked for the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: u128,
    parent_id: u64,
    flags: u8,
}

impl TraceContext {
    /// A new trace.
    pub fn root() -> Self {
        Self {
            // Zero is the invalid id in both places.
            trace_id: fastrand::u128(1..),
            parent_id: fastrand::u64(1..),
            flags: 0,
        }
    }

    /// Reads a `traceparent`; `None` when it breaks the format.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let version = u8::try_from(hex(parts.next()?, 2)?).ok()?;
        let context = Self {
            trace_id: hex(parts.next()?, 32)?,
            parent_id: u64::try_from(hex(parts.next()?, 16)?).ok()?,
            flags: u8::try_from(hex(parts.next()?, 2)?).ok()?,
        };
        // A later version may add parts; version 0 has four, and 255 is forbidden.
        let length_fits = version != 0 || parts.next().is_none();
        let valid = version != u8::MAX && context.trace_id != 0 && context.parent_id != 0;
        (length_fits && valid).then_some(context)
    }

    /// The same trace with a parent id of its own: what is handed on to the next part.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            parent_id: fastrand::u64(1..),
            ..self
        }
    }

    /// The trace's id as it stands in logs: 32 hex digits.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The trace's id and the parent's, as numbers.
    pub(crate) fn ids(self) -> (u128, u64) {
        (self.trace_id, self.parent_id)
    }

    /// Whether the parent is recorded somewhere, by its own account.
    pub(crate) fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same with another answer to [`Self::is_sampled`].
    pub(crate) fn with_sampled(self, sampled: bool) -> Self {
        let flags = if sampled {
            self.flags | SAMPLED
        } else {
            self.flags & !SAMPLED
        };
        Self { flags, ..self }
    }
}

/// The value of the `traceparent` header.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            parent_id,
            flags,
        } = self;
        write!(f, "00-{trace_id:032x}-{parent_id:016x}-{flags:02x}")
    }
}

/// Exactly `digits` hex digits; the format wants them in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let valid = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(valid))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_example_of_the_standard() {
        let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::parse(header).unwrap();
        assert_eq!(context.to_string(), header);
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        let child = context.child();
        assert_eq!(child.trace_id(), context.trace_id());
        assert_ne!(child, context);
    }

    #[test]
    fn a_later_version_may_be_longer() {
        let header = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-else";
        assert!(TraceContext::parse(header).is_some());
    }

    #[test]
    fn refuses_what_breaks_the_format() {
        for header in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(header), None, "{header}");
        }
    }

    #[test]
    fn a_new_trace_is_valid() {
        let root = TraceContext::root();
        assert_eq!(TraceContext::parse(&root.to_string()), Some(root));
    }
}
