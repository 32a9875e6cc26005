//! Secrets that we hand out once and recognise later: mail links, refresh tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// Bytes of randomness in a token.
const BYTES: usize = 32;

/// A random secret of 256 bits, written as 43 characters of base64url.
///
/// The database holds only its SHA-256. A slow hash is for secrets that can be guessed; this one
/// cannot, and a plain hash can be looked up by index.
#[derive(Debug, Clone)]
pub struct Token(SecretString);

/// The text is not a token of ours: not 43 characters of base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a token")]
pub struct InvalidToken;

impl Token {
    /// A new one from the operating system's generator (by way of a seeded ChaCha stream).
    pub(crate) fn generate() -> Self {
        let bytes: [u8; BYTES] = rand::random();
        Self(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// Reads a token that came from outside.
    ///
    /// # Errors
    /// When it does not have the form of one.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        match URL_SAFE_NO_PAD.decode(text) {
            Ok(bytes) if bytes.len() == BYTES => Ok(Self(text.into())),
            _ => Err(InvalidToken),
        }
    }

    /// The token itself, to be sent to its owner and nowhere else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What the database knows of it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.expose()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_can_be_read_back() {
        let token = Token::generate();
        assert_ne!(token.expose(), Token::generate().expose());
        assert_eq!(token.expose().len(), 43);
        assert_eq!(Token::parse(token.expose()).unwrap().hash(), token.hash());
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "abc",
            "a b",
            &"A".repeat(42),
            &"A".repeat(44),
            &"=".repeat(43),
        ] {
            assert_eq!(Token::parse(text).unwrap_err(), InvalidToken, "{text:?}");
        }
    }

    #[test]
    fn debug_output_hides_the_token() {
        let token = Token::generate();
        assert!(!format!("{token:?}").contains(token.expose()));
    }
}
