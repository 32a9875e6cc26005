//! `--verbose`: each command that is run, as a line that could be pasted.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::terminal::{self, DIM};

static IS_ON: AtomicBool = AtomicBool::new(false);

/// Switches it on.
pub(crate) fn switch_on() {
    IS_ON.store(true, Ordering::Relaxed);
}

/// Says which command is about to be run. What asks for a state again and again does not call it.
pub(crate) trait Shown {
    /// The command itself, to be started.
    fn shown(&mut self) -> &mut Self;
}

impl Shown for Command {
    fn shown(&mut self) -> &mut Self {
        if IS_ON.load(Ordering::Relaxed) {
            let here = std::env::current_dir().unwrap_or_default();
            terminal::note(&terminal::mark(DIM, &format!("+ {}", line(self, &here))));
        }
        self
    }
}

/// `cd FOLDER && NAME=value program word 'two words'`, as far as it differs from how we were started.
fn line(command: &Command, here: &Path) -> String {
    let mut words = Vec::new();
    if let Some(folder) = command.get_current_dir().filter(|folder| *folder != here) {
        words.push(format!("cd {} &&", quoted(folder.as_os_str())));
    }
    for (name, value) in command.get_envs() {
        // One that is taken away would not be there in another shell either.
        let Some(value) = value.filter(|value| !is_ours(name, value)) else {
            continue;
        };
        let value = if is_secret(name) {
            "'...'".to_owned()
        } else {
            quoted(value)
        };
        words.push(format!("{}={value}", name.display()));
    }
    words.push(quoted(command.get_program()));
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

#[expect(
    clippy::disallowed_methods,
    reason = "only what differs from the shell's own environment is worth showing"
)]
fn is_ours(name: &OsStr, value: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|own| own == value)
}

/// Whether a value is one that nobody may see; the path of a secret's file may be seen.
fn is_secret(name: &OsStr) -> bool {
    const WORDS: [&str; 5] = ["PASSWORD", "SECRET", "TOKEN", "AUTH", "KEY"];
    let name = name.to_string_lossy().to_uppercase();
    !name.ends_with("_FILE") && WORDS.iter().any(|word| name.contains(word))
}

/// As a shell reads it.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_line_to_paste() {
        let mut command = Command::new("docker");
        command
            .args(["compose", "exec", "it's", "", "$HOME"])
            .current_dir("/a b")
            .env("API_PORT", "8001");
        assert_eq!(
            line(&command, Path::new("/")),
            r"cd '/a b' && API_PORT=8001 docker compose exec 'it'\''s' '' '$HOME'"
        );
        assert_eq!(
            line(&command, Path::new("/a b")),
            r"API_PORT=8001 docker compose exec 'it'\''s' '' '$HOME'"
        );
    }

    #[test]
    fn a_secret_is_never_shown() {
        let mut command = Command::new("psql");
        command
            .env("DATABASE_PASSWORD", "hush")
            .env("JWT_SECRET_FILE", "/s/jwt")
            .env("REDISCLI_AUTH", "hush")
            .env("pgpassword", "hush");
        let line = line(&command, Path::new(""));
        assert!(!line.contains("hush") && line.contains("/s/jwt"), "{line}");
    }
}
