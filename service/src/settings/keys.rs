use std::{fmt, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret as _, SecretBox};

use super::Reader;

/// Keys that the payloads of jobs are encrypted with.
#[derive(Clone, Default)]
pub struct QueueKeys {
    /// The id of the one that encrypts, if one does.
    pub current: Option<u32>,
    secrets: Vec<(u32, Arc<SecretBox<[u8; 32]>>)>,
}

impl QueueKeys {
    /// Reads `QUEUE_KEYS`: a key in each line, as its id and 32 bytes in base64.
    ///
    /// The first one encrypts, unless the word `none` stands before it.
    pub fn read(reader: &mut Reader) -> Self {
        const NAME: &str = "QUEUE_KEYS";
        const RIGHT: &str =
            "write an id, a space and 32 random bytes, as `openssl rand -base64 32` makes them";
        let mut keys = Self::default();
        // What is too short is told line by line.
        let Some(text) = reader.optional_secret(NAME, 1) else {
            return keys;
        };
        let lines = text.expose_secret().lines().map(str::trim).enumerate();
        let mut lines = lines.filter(|(_, line)| !line.is_empty()).peekable();
        let encrypts = lines.next_if(|(_, line)| *line == "none").is_none();
        for (at, line) in lines {
            let number = at + 1;
            let Some((id, secret)) = key(line) else {
                // Without the line, which is secret.
                reader.problem(NAME, format!("line {number} is no key"), RIGHT);
                continue;
            };
            if keys.secrets.iter().any(|(other, _)| *other == id) {
                let wrong = format!("line {number} has the id {id} again");
                reader.problem(NAME, wrong, "give each key an id of its own");
            }
            keys.secrets.push((id, Arc::new(secret)));
        }
        let first = keys.secrets.first().filter(|_| encrypts);
        keys.current = first.map(|(id, _)| *id);
        keys
    }

    /// Ids and secrets of all keys.
    pub fn secrets(&self) -> impl Iterator<Item = (u32, &[u8; 32])> {
        let secrets = self.secrets.iter();
        secrets.map(|(id, secret)| (*id, secret.expose_secret()))
    }
}

fn key(line: &str) -> Option<(u32, SecretBox<[u8; 32]>)> {
    let (id, secret) = line.split_once(' ')?;
    let id = id.parse().ok()?;
    let mut read = false;
    let secret = SecretBox::init_with_mut(|bytes: &mut [u8; 32]| {
        read = BASE64_STANDARD.decode_slice(secret.trim(), bytes) == Ok(32);
    });
    read.then_some((id, secret))
}

/// The secrets are not told.
impl fmt::Debug for QueueKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.secrets().map(|(id, _)| id).collect();
        f.debug_struct("QueueKeys")
            .field("current", &self.current)
            .field("ids", &ids)
            .finish_non_exhaustive()
    }
}
