//! What the last words of a service, or of a build, mean, where that is known.

use crate::stack::Mode;

/// A cause in words, and what to do about it.
#[derive(Debug, PartialEq)]
pub(crate) struct Diagnosis {
    /// Goes on after "exited with code 1": a clause without its full stop.
    pub(crate) cause: String,
    /// As a command where there is one.
    pub(crate) next_step: String,
}

/// Reads what was said last. None when nothing of it is known.
pub(crate) fn of(mode: Mode, lines: &[String]) -> Option<Diagnosis> {
    let find = |words: &[&str]| {
        lines
            .iter()
            .position(|line| words.iter().any(|words| line.contains(words)))
    };
    let diagnosis = |cause: &str, next_step: &str| {
        Some(Diagnosis {
            cause: cause.to_owned(),
            next_step: next_step.to_owned(),
        })
    };
    if find(&["No space left on device", "no space left on device"]).is_some() {
        let next_step = match mode {
            Mode::Docker => {
                "make room: `docker system df` says what Docker holds, `df -h` the rest"
            }
            Mode::Native => {
                "make room: `df -h .` says how full it is, `cargo clean` empties target/"
            }
        };
        return diagnosis("the disk is full", next_step);
    }
    if let Some(at) = find(&["settings are wrong:", "setting is wrong:"]) {
        let name = lines
            .get(at + 1)
            .and_then(|line| line.split_whitespace().next());
        let cause = match name.filter(|_| lines[at].contains("setting is wrong")) {
            Some(name) => format!("it refuses the setting {name}"),
            None => "it refuses its settings".to_owned(),
        };
        return diagnosis(
            &cause,
            "correct it in .env, where .env.example explains each; then `cargo xtask up`",
        );
    }
    if let Some(at) = find(&["failed and was rolled back"]) {
        let title = lines[at]
            .split("failed and was rolled back")
            .next()
            .unwrap_or_default()
            .rsplit("migrate: ")
            .next()
            .unwrap_or_default()
            .trim();
        return diagnosis(
            &format!("the migration {title} failed, and the schema is as it was before it"),
            "correct its file in migrations/; then `cargo xtask up`",
        );
    }
    if find(&["password authentication failed", "WRONGPASS"]).is_some() {
        return diagnosis(
            "the data was made with other passwords than those in secrets/",
            "`cargo xtask up`: it sets the passwords of the data to those in secrets/, and says which",
        );
    }
    if find(&[
        "Address already in use",
        "Address in use",
        "address already in use",
    ])
    .is_some()
    {
        return diagnosis(
            "another process has its port",
            "run `cargo xtask up` again: it takes another port",
        );
    }
    if find(&["database files are incompatible with server"]).is_some() {
        return diagnosis(
            "its data was made by another major version of Postgres",
            "set POSTGRES_IMAGE in .env to that version; `cargo xtask doctor` says more",
        );
    }
    if find(&["FATAL CONFIG FILE ERROR"]).is_some() {
        return diagnosis(
            "it refuses its configuration",
            "correct the line above in docker/redis.conf; then `cargo xtask up`",
        );
    }
    if find(&[
        "failed to resolve source metadata",
        "pull access denied",
        "failed to resolve reference",
        "dial tcp: lookup",
        "TLS handshake timeout",
    ])
    .is_some()
    {
        return diagnosis(
            "an image is not on this machine, and no registry gives it",
            "`cargo xtask doctor` names it; `cargo xtask up --native` needs none",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(line: &str) -> String {
        let lines = [
            "something else".to_owned(),
            line.to_owned(),
            "  LOG_LEVEL  x".to_owned(),
        ];
        of(Mode::Native, &lines).map_or_else(String::new, |known| known.cause)
    }

    #[test]
    fn known_words_have_a_cause() {
        for (line, expected) in [
            ("write: No space left on device", "the disk is full"),
            ("api: 1 setting is wrong:", "the setting LOG_LEVEL"),
            ("api: 2 settings are wrong:", "refuses its settings"),
            (
                "migrate: 7 x failed and was rolled back: syntax",
                "migration 7 x failed",
            ),
            (
                "FATAL: password authentication failed for user",
                "other passwords",
            ),
            (
                "cannot listen: Address already in use (os error 98)",
                "its port",
            ),
            (
                "*** FATAL CONFIG FILE ERROR (Redis 8.0) ***",
                "configuration",
            ),
            (
                "ERROR: rust:1: failed to resolve source metadata for",
                "no registry",
            ),
        ] {
            assert!(cause(line).contains(expected), "{line}: {}", cause(line));
        }
        assert_eq!(cause("all is well"), "");
    }
}
