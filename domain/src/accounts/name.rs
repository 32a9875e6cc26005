//! What somebody wants to be called.

/// The most characters of a name.
pub const NAME_LENGTH: usize = 100;

/// A name in one line; it may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

/// Why a text is not a name we take. The message may be shown to whoever typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It has more than [`NAME_LENGTH`] characters.
    #[error("must be at most {NAME_LENGTH} characters long")]
    TooLong,
    /// It holds line breaks, null bytes or their like, which no name has and some attacks need.
    #[error("must not contain control characters")]
    Control,
}

impl Name {
    /// Takes a name of up to [`NAME_LENGTH`] characters, in any script.
    ///
    /// # Errors
    /// When it is longer, or holds control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.contains(char::is_control) {
            return Err(InvalidName::Control);
        }
        if text.chars().count() > NAME_LENGTH {
            return Err(InvalidName::TooLong);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_any_text_in_one_line() {
        for text in ["", "Ada Lovelace", "O'Neil <b>", "Zoë 李", &"ü".repeat(100)] {
            assert_eq!(Name::parse(text).unwrap().as_str(), text);
        }
        assert_eq!(Name::parse(&"ü".repeat(101)), Err(InvalidName::TooLong));
        for text in ["Ada\r\nBcc: eve@example.com", "Ada\0", "\u{85}", "a\tb"] {
            assert_eq!(Name::parse(text), Err(InvalidName::Control), "{text:?}");
        }
    }
}
