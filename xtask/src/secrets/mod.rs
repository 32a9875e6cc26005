//! `secrets/`: made on the first run, one file per secret.
//!
//! A secret is overwritten by `db rotate-password` alone. The file of Redis' users is derived, so it
//! follows its password and this code. What happens when a file no longer fits: see [`fit`].
//!
//! The folder is closed (0700) and its files are open inside it (0444): containers read them with
//! a user id of their own. The alphabet is `[A-Za-z0-9]`, because `$`, `@` or `#` break in URLs,
//! in `.env` and in Compose's interpolation.

pub(crate) mod fit;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub(crate) use self::fit::{ROLES, Role, lets_in};
use crate::project::{Project, write_whole};
use crate::terminal;

/// Files with one random word each.
pub(crate) const WORDS: [&str; 6] = [
    "jwt_secret",
    "postgres_app_password",
    "postgres_owner_password",
    "postgres_superuser_password",
    "redis_password",
    "webhook_secret",
];

/// The Redis users, made from `redis_password`.
pub(crate) const REDIS_USERS: &str = "redis_users.acl";

/// Characters of a secret: 62^48 is 285 bits.
const LENGTH: usize = 48;

/// Makes the secrets that are missing and returns their names.
pub(crate) fn ensure(project: &Project) -> Result<Vec<String>> {
    let folder = project.secrets_dir();
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    set_mode(&folder, 0o700)?;
    let mut made = Vec::new();
    for name in WORDS {
        let path = folder.join(name);
        if fresh(&path).exists() {
            terminal::note(&format!(
                "finishing the change of secrets/{name}, which was interrupted"
            ));
            adopt(project, name)?;
        }
        if !path.exists() {
            write_secret(&path, &word()?)?;
            made.push(name.to_owned());
        }
    }
    let users = users(&read(project, "redis_password")?);
    let path = folder.join(REDIS_USERS);
    if fs::read_to_string(&path).ok().as_deref() != Some(users.as_str()) {
        write_secret(&path, &users)?;
        made.push(REDIS_USERS.to_owned());
    }
    Ok(made)
}

/// One secret's value.
pub(crate) fn read(project: &Project, name: &str) -> Result<String> {
    let path = project.secrets_dir().join(name);
    let text = fs::read_to_string(&path).with_context(|| {
        format!(
            "{} cannot be read: `cargo xtask up` makes the secrets",
            path.display()
        )
    })?;
    let value = text.trim_end();
    if value.is_empty() {
        bail!(
            "{} is empty\n  next: put its content back, or remove it and run `cargo xtask up`, \
             which makes a new one",
            path.display()
        );
    }
    Ok(value.to_owned())
}

/// Writes a new word beside a secret and returns it. It is on the disk before anybody is told of
/// it: whatever happens then, [`ensure`] finds it and puts it in its place.
pub(crate) fn propose(project: &Project, name: &str) -> Result<String> {
    let word = word()?;
    let path = fresh(&project.secrets_dir().join(name));
    write_secret(&path, &word)?;
    fs::File::open(&path)?.sync_all()?;
    Ok(word)
}

/// Puts what [`propose`] has written into the secret's place.
pub(crate) fn adopt(project: &Project, name: &str) -> Result<()> {
    let path = project.secrets_dir().join(name);
    fs::rename(fresh(&path), &path)
        .with_context(|| format!("{} cannot be replaced", path.display()))
}

/// A secret that has a new word beside it, which nobody has put in its place.
fn unfinished(project: &Project) -> Option<&'static str> {
    let is_fresh = |name: &&str| fresh(&project.secrets_dir().join(name)).exists();
    WORDS.into_iter().find(is_fresh)
}

fn fresh(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// The ACL file. `slipway` may what queues and caches need, and nothing that configures, flushes
/// or shuts down the server; `health` may only PING, so that its having no password is harmless.
///
/// Nobody can be the default user, which is off. It still may everything, because Redis replays its
/// append-only file in that user's name: without rights, a restart drops whatever a script wrote.
fn users(password: &str) -> String {
    format!(
        "user default off resetpass ~* &* +@all\n\
         user slipway on >{password} ~* &* +@all -@admin -@dangerous +info +config|get +client|list +client|info +client|unblock\n\
         user health on nopass -@all +ping\n"
    )
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    // A file of 0444 cannot be opened for writing, but it can be replaced.
    write_whole(path, text)?;
    set_mode(path, 0o444)?;
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("the mode of {} cannot be set", path.display()))
}

/// A random word from the operating system's generator.
pub(crate) fn word() -> Result<String> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut word = String::with_capacity(LENGTH);
    while word.len() < LENGTH {
        for byte in random_bytes()? {
            // 248 is the largest multiple of 62 in a byte: above it, some letters would be likelier.
            if byte < 248 && word.len() < LENGTH {
                word.push(char::from(ALPHABET[usize::from(byte % 62)]));
            }
        }
    }
    Ok(word)
}

fn random_bytes() -> Result<[u8; 64]> {
    let mut bytes = [0; 64];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("/dev/urandom cannot be read")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_long_plain_and_never_the_same() {
        let (one, two) = (word().unwrap(), word().unwrap());
        assert_eq!(one.len(), LENGTH);
        assert!(one.chars().all(|c| c.is_ascii_alphanumeric()));
        assert_ne!(one, two);
    }

    #[test]
    fn the_acl_closes_the_default_user_but_lets_redis_replay_its_file() {
        let acl = users("pw");
        assert!(acl.starts_with("user default off resetpass ~* &* +@all\n"));
        assert!(acl.contains("user slipway on >pw "));
    }
}
