//! Passwords: their limits and their hash.

use std::sync::LazyLock;

use argon2::password_hash::Error::PasswordInvalid;
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use crate::Error;

/// Memory in KiB, passes and lanes: the first choice of OWASP's Password Storage Cheat Sheet.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// The hash of no password, at the same cost. Log-in checks it where there is no account.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2xpcHdheS9ub2JvZHk$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// One hash per core at a time: each takes 19 MiB and a core for some 20 ms, so more at once would
/// only make all of them late and take the blocking threads from everything else.
static HASHERS: LazyLock<Semaphore> = LazyLock::new(|| {
    Semaphore::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
});

/// A password of acceptable length. `Debug` does not show it.
#[derive(Debug, Clone)]
pub struct Password(SecretString);

/// Why a text cannot be a password. The message may be shown to whoever typed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    /// Fewer characters than NIST SP 800-63B asks for.
    #[error("must be at least 8 characters long")]
    TooShort,
    /// More than anybody types; hashing has to be bounded.
    #[error("must be at most 256 characters long")]
    TooLong,
    /// U+0000, which no text of ours has: log-in would refuse it before it is compared.
    #[error("must not contain the character U+0000")]
    Null,
}

impl Password {
    /// Takes a password of 8 to 256 characters. Every character but U+0000 is allowed.
    ///
    /// # Errors
    /// When it is shorter or longer, or has that one.
    pub fn parse(text: impl Into<SecretString>) -> Result<Self, InvalidPassword> {
        let secret = text.into();
        if secret.expose_secret().contains('\0') {
            return Err(InvalidPassword::Null);
        }
        match secret.expose_secret().chars().take(257).count() {
            0..8 => Err(InvalidPassword::TooShort),
            8..=256 => Ok(Self(secret)),
            _ => Err(InvalidPassword::TooLong),
        }
    }

    /// Its argon2id hash as a PHC string, with a new salt.
    pub(crate) async fn hash(self) -> Result<String, Error> {
        hashing(move || {
            let hash: PasswordHash = argon2()?.hash_password(self.0.expose_secret().as_bytes())?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether it is the one that `stored` was made from.
    ///
    /// Without `stored` the answer is no, after the same work.
    pub(crate) async fn matches(self, stored: Option<String>) -> Result<bool, Error> {
        hashing(move || {
            let known = stored.is_some();
            let hash = PasswordHash::new(stored.as_deref().unwrap_or(NOBODY))
                .map_err(argon2::password_hash::Error::from)?;
            match argon2()?.verify_password(self.0.expose_secret().as_bytes(), &hash) {
                Ok(()) => Ok(known),
                Err(PasswordInvalid) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}

fn argon2() -> Result<Argon2<'static>, Error> {
    let (memory, passes, lanes) = COST;
    let params = Params::new(memory, passes, lanes, None)
        .map_err(|_| argon2::password_hash::Error::ParamsInvalid)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Runs `work` off the async threads, when it is its turn.
///
/// A caller who gives up while waiting leaves the line; work that has begun keeps its place until
/// it ends, although nobody waits for it any more.
async fn hashing<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let permit = HASHERS.acquire().await;
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    })
    .await?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    #[test]
    fn length_counts_characters() {
        assert_eq!(
            Password::parse("1234567").unwrap_err(),
            InvalidPassword::TooShort
        );
        assert!(Password::parse("12345678").is_ok());
        assert_eq!(
            Password::parse("1234567\08").unwrap_err(),
            InvalidPassword::Null
        );
        assert!(Password::parse("ü".repeat(256)).is_ok());
        assert_eq!(
            Password::parse("ü".repeat(257)).unwrap_err(),
            InvalidPassword::TooLong
        );
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_and_its_cost() {
        let hash = password("correct horse").hash().await.unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        assert_ne!(hash, password("correct horse").hash().await.unwrap());
        assert!(
            password("correct horse")
                .matches(Some(hash.clone()))
                .await
                .unwrap()
        );
        assert!(
            !password("battery staple")
                .matches(Some(hash))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn nobody_has_a_hash_of_the_same_cost() {
        let real = password("correct horse").hash().await.unwrap();
        let (real, nobody) = (
            PasswordHash::new(&real).unwrap(),
            PasswordHash::new(NOBODY).unwrap(),
        );
        assert_eq!(real.params, nobody.params);
        assert_eq!(real.hash.unwrap().len(), nobody.hash.unwrap().len());
        assert!(!password("correct horse").matches(None).await.unwrap());
    }
}
