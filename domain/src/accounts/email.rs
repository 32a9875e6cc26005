//! An e-mail address that can be written to.

use std::fmt;

use email_address::{EmailAddress, Options};

/// A checked address: as it was typed, and the key by which it is unique.
#[derive(Clone, PartialEq, Eq)]
pub struct Email(String);

/// Why a text is not an address we take. The message may be shown to whoever typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmail {
    /// It is not of the form `name@domain.tld`.
    #[error("must be an e-mail address like name@example.com")]
    Malformed,
    /// It is longer than a mail server has to take (RFC 5321, 4.5.3.1.3).
    #[error("must be at most 254 characters long")]
    TooLong,
    /// It holds characters outside of ASCII.
    #[error("must be in ASCII; write an international domain in its xn-- form")]
    NotAscii,
}

impl Email {
    /// Reads an address, without the white space around it.
    ///
    /// ASCII only: two addresses that look alike would be two accounts, and not every mail server
    /// takes the others (RFC 6531). Quoted names (`"a b"@…`) are refused: nobody has one, and
    /// they allow line breaks and angle brackets.
    ///
    /// # Errors
    /// When it is none, too long or not ASCII.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        let text = text.trim();
        if !text.is_ascii() {
            return Err(InvalidEmail::NotAscii);
        }
        if text.len() > 254 {
            return Err(InvalidEmail::TooLong);
        }
        let options = Options::default()
            .with_required_tld()
            .without_domain_literal()
            .without_display_text();
        let quoted_or_spaced = text.contains(|c: char| c == '"' || c.is_ascii_whitespace());
        // The library takes every character of a name in a domain, too; those of hosts are fewer.
        let domain = text.rsplit_once('@').map_or("", |(_, domain)| domain);
        let of_a_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if quoted_or_spaced
            || !domain.chars().all(of_a_host)
            || EmailAddress::parse_with_options(text, options).is_err()
        {
            return Err(InvalidEmail::Malformed);
        }
        Ok(Self(text.to_owned()))
    }

    /// The address as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What makes it unique: the address in lower case.
    ///
    /// The part before the `@` may tell cases apart by the standard; no provider does.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// Personal data: the domain is enough for a log line.
impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = self.0.rsplit_once('@').map_or("", |(_, domain)| domain);
        write!(f, "Email(…@{domain})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_spelling_and_is_unique_without_it() {
        let email = Email::parse("  Ada.Lovelace+x@Example.COM ").unwrap();
        assert_eq!(email.as_str(), "Ada.Lovelace+x@Example.COM");
        assert_eq!(email.key(), "ada.lovelace+x@example.com");
        assert_eq!(format!("{email:?}"), "Email(…@Example.COM)");
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@localhost",
            "a b@example.com",
            "ada@example.com, eve@example.com",
            "Ada <ada@example.com>",
            "ada@[127.0.0.1]",
            "ada@example.com\r\nBcc: eve@example.com",
            "\"a\r\nb\"@example.com",
            "a..b@example.com",
            "ada@example_.com",
            "ada@exa!mple.com",
        ] {
            assert_eq!(Email::parse(text), Err(InvalidEmail::Malformed), "{text:?}");
        }
        let long = format!("ada@{}.com", "a.".repeat(130));
        assert_eq!(Email::parse(&long), Err(InvalidEmail::TooLong));
        assert_eq!(Email::parse("ädä@example.com"), Err(InvalidEmail::NotAscii));
    }
}
