use std::{collections::BTreeMap, fmt, sync::Arc};

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, KeyInit, Payload},
};

use super::UnpackError;

/// Secrets by their ids: one of them encrypts, all of them decrypt.
///
/// A clone shares the secrets, which are wiped from memory with the last one.
#[derive(Clone, Default)]
pub struct Keyring {
    current: Option<u32>,
    keys: BTreeMap<u32, Arc<XChaCha20Poly1305>>,
}

/// The key that is to encrypt is none of the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key {0} is to encrypt, and is none of the keys")]
pub struct MissingKey(pub u32);

impl Keyring {
    /// A keyring that decrypts with all of these keys and encrypts with that of the id
    /// `current`; with none, it does not encrypt.
    ///
    /// An id stands for one secret for ever.
    ///
    /// # Errors
    /// [`MissingKey`]: what was to be encrypted must not go out in the clear.
    pub fn new<'a>(
        current: Option<u32>,
        keys: impl IntoIterator<Item = (u32, &'a [u8; 32])>,
    ) -> Result<Self, MissingKey> {
        let cipher = |secret: &[u8; 32]| Arc::new(XChaCha20Poly1305::new(secret.into()));
        let keys = keys.into_iter();
        let keys: BTreeMap<_, _> = keys.map(|(id, secret)| (id, cipher(secret))).collect();
        match current {
            Some(id) if !keys.contains_key(&id) => Err(MissingKey(id)),
            _ => Ok(Self { current, keys }),
        }
    }

    /// The id of the key that encrypts.
    #[must_use]
    pub fn current(&self) -> Option<u32> {
        self.current
    }

    /// The ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.keys.keys().copied()
    }

    /// A nonce of its own, and behind it the text, encrypted; none without a current key.
    pub(super) fn encrypt(&self, authenticated: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let cipher = self.keys.get(&self.current?)?;
        // At random: 192 bits of it do not meet twice, however many processes draw them.
        let nonce = XNonce::generate();
        Some(encrypt_with(cipher, &nonce, authenticated, text))
    }

    pub(super) fn decrypt(
        &self,
        id: u32,
        authenticated: &[u8],
        bytes: &[u8],
    ) -> Result<Vec<u8>, UnpackError> {
        let cipher = self.keys.get(&id).ok_or(UnpackError::Key(id))?;
        let refused = UnpackError::Encryption(id);
        let (nonce, text) = bytes.split_first_chunk::<24>().ok_or(refused)?;
        let text = Payload {
            msg: text,
            aad: authenticated,
        };
        cipher.decrypt(nonce.into(), text).map_err(|_| refused)
    }
}

pub(super) fn encrypt_with(
    cipher: &XChaCha20Poly1305,
    nonce: &XNonce,
    authenticated: &[u8],
    text: &[u8],
) -> Vec<u8> {
    let text = Payload {
        msg: text,
        aad: authenticated,
    };
    let encrypted = cipher.encrypt(nonce, text);
    let encrypted = encrypted.expect("a payload is far below what a nonce is good for");
    [nonce.as_slice(), &encrypted].concat()
}

/// The secrets are not told.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("current", &self.current)
            .field("keys", &self.keys.keys())
            .finish()
    }
}
