//! Signing secrets: derived from the service's keys, so that no table holds one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::{Digest as _, Sha256};

/// The service's keys. The first makes new secrets, all of them derive.
pub struct Keys {
    keys: Vec<(String, SecretString)>,
}

/// What an endpoint's owner checks signatures with.
///
/// Only the owner has it: it is shown when it is made, and afterwards derived again whenever
/// something has to be signed.
#[derive(Debug)]
pub struct Secret(SecretSlice<u8>);

impl Keys {
    /// These keys, the first of which makes new secrets.
    ///
    /// # Panics
    /// When there is none, which no settings allow.
    pub fn new(keys: &[SecretString]) -> Self {
        assert!(!keys.is_empty(), "webhooks need a key");
        let keys = keys.iter().map(|key| (id(key), key.clone())).collect();
        Self { keys }
    }

    /// A new secret, with what it is derived from: the key's id and a salt.
    pub fn generate(&self) -> (String, [u8; 32], Secret) {
        let (id, key) = &self.keys[0];
        let salt: [u8; 32] = rand::random();
        (id.clone(), salt, secret(key, &salt))
    }

    /// The secret that was made of these two; `None` when the key is there no more.
    pub fn derive(&self, key_id: &str, salt: &[u8]) -> Option<Secret> {
        let (_, key) = self.keys.iter().find(|(id, _)| id == key_id)?;
        Some(secret(key, salt))
    }
}

impl Secret {
    /// The secret as its owner gets it: `whsec_` and base64.
    pub fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0.expose_secret()))
    }

    /// The signature of a body that is sent at `timestamp`, in seconds since 1970.
    ///
    /// Version 1 of Standard Webhooks: HMAC-SHA256 of `id.timestamp.body`, written `v1,BASE64`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mac = keyed(self.0.expose_secret())
            .chain_update(format!("{id}.{timestamp}."))
            .chain_update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// How rows name a key: the beginning of its SHA-256, which gives nothing away.
fn id(key: &SecretString) -> String {
    let hash = Sha256::digest(key.expose_secret());
    hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn secret(key: &SecretString, salt: &[u8]) -> Secret {
    let mac = keyed(key.expose_secret().as_bytes()).chain_update(salt);
    Secret(mac.finalize().into_bytes().to_vec().into())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of every length")
}

/// The keys are not told.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.keys.iter().map(|(id, _)| id);
        f.debug_list().entries(ids).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use standardwebhooks::Webhook;
    use time::OffsetDateTime;

    const OLD: &str = "q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T";
    const NEW: &str = "Zp7Lw2Qx9Rt4Yb6Nk3Vx8aPq0ZtR5mWy";

    fn keys(lines: &[&str]) -> Keys {
        let lines: Vec<SecretString> = lines.iter().map(|line| (*line).into()).collect();
        Keys::new(&lines)
    }

    #[test]
    fn the_published_library_checks_what_we_sign() {
        let (_, _, secret) = keys(&[NEW]).generate();
        let receiver = Webhook::new(&secret.expose()).unwrap();
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let body = r#"{"type":"invoice.paid","data":{"name":"Zoë"}}"#;
        let signature = secret.sign("0197-id", now, body.as_bytes());
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", "0197-id".parse().unwrap());
        headers.insert("webhook-timestamp", now.into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        receiver.verify(body.as_bytes(), &headers).unwrap();
        receiver.verify(b"{}", &headers).unwrap_err();
        headers.insert("webhook-id", "another".parse().unwrap());
        receiver.verify(body.as_bytes(), &headers).unwrap_err();
    }

    /// The example that the libraries of Standard Webhooks are tested with.
    #[test]
    fn a_signature_is_that_of_the_standard() {
        let key = STANDARD.decode("C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        let secret = Secret(key.into());
        assert_eq!(secret.expose(), "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = secret.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body);
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn a_secret_comes_back_from_its_key_and_salt_and_from_nothing_else() {
        let before = keys(&[OLD]);
        let (id, salt, secret) = before.generate();
        let after = keys(&[NEW, OLD]);
        let derived = after.derive(&id, &salt).unwrap();
        assert_eq!(derived.expose(), secret.expose());
        let (new_id, new_salt, _) = after.generate();
        assert_ne!(new_id, id);
        let other = after.derive(&id, &new_salt).unwrap();
        assert_ne!(other.expose(), secret.expose());
        assert!(before.derive(&new_id, &new_salt).is_none());
        assert_eq!(id.len(), 8);
    }

    #[test]
    fn debug_output_tells_no_secret() {
        let keys = keys(&[OLD]);
        let (id, _, secret) = keys.generate();
        assert_eq!(format!("{keys:?}"), format!("[{id:?}]"));
        let shown = format!("{secret:?}");
        assert!(shown.contains("REDACTED"), "{shown}");
    }
}
