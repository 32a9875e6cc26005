//! `secrets/`: are they there, closed to others, random, and those of the data.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::finding::{Finding, fail, ok, warn};
use super::fix::Fix;
use crate::project::Project;
use crate::secrets::{REDIS_USERS, WORDS, fit};
use crate::stack::{self, ServiceState};

/// All of them.
pub(super) fn all(project: &Project) -> Vec<Finding> {
    let mut findings: Vec<Finding> = [missing(project), fit(project)]
        .into_iter()
        .flatten()
        .collect();
    let asked = before_up(project);
    let is_well = findings.is_empty() && asked.is_empty();
    findings.extend(asked);
    if is_well {
        findings.push(ok(
            "secrets",
            "are there, random, and closed to other users",
        ));
    }
    findings
}

/// What a start needs. What is missing has been made by then.
pub(super) fn before_up(project: &Project) -> Vec<Finding> {
    let folder = project.secrets_dir();
    let mut findings = Vec::new();
    findings.extend(open_folder(&folder));
    findings.extend(closed_files(&folder));
    findings.extend(WORDS.iter().filter_map(|name| weak(&folder, name)));
    findings
}

fn missing(project: &Project) -> Option<Finding> {
    let folder = project.secrets_dir();
    let names = || WORDS.into_iter().chain([REDIS_USERS]);
    let missing: Vec<&str> = names().filter(|name| !folder.join(name).exists()).collect();
    if missing.len() == names().count() {
        // Of what cannot be asked, the worse is assumed.
        if stack::has_data(project).unwrap_or(true) {
            let finding = "secrets/ is gone, and the data here has its passwords and keys";
            let remedy = "put it back from where it was kept; or `cargo xtask up` makes new ones, which \
                          loses no data, but ends what the old keys have signed; or `cargo xtask down \
                          --volumes` begins with empty data";
            return Some(warn("secrets", finding, remedy));
        }
        let finding = "not there yet: `up` makes them";
        return Some(ok("secrets", finding).fixed_by(Fix::Secrets));
    }
    if missing.is_empty() {
        return None;
    }
    let finding = format!("missing in secrets/: {}", missing.join(", "));
    let remedy = "put them back if you have them: `up` makes new ones, which data of the old ones may refuse";
    Some(warn("secrets", finding, remedy))
}

fn open_folder(folder: &Path) -> Option<Finding> {
    let mode = mode(folder)?;
    (mode & 0o077 != 0).then(|| {
        let finding =
            format!("secrets/ has the mode {mode:04o}: other users of this machine can read it");
        warn("secrets", finding, "`chmod 700 secrets`").fixed_by(Fix::SecretModes)
    })
}

/// Containers read them with a user id of their own.
fn closed_files(folder: &Path) -> Option<Finding> {
    let mut names = WORDS.into_iter().chain([REDIS_USERS]);
    let (name, mode) = names.find_map(|name| {
        let mode = mode(&folder.join(name))?;
        (mode & 0o444 != 0o444).then_some((name, mode))
    })?;
    let finding =
        format!("secrets/{name} has the mode {mode:04o}: a container's user cannot read it");
    Some(fail("secrets", finding, "`chmod 444 secrets/*`").fixed_by(Fix::SecretModes))
}

fn mode(path: &Path) -> Option<u32> {
    Some(fs::metadata(path).ok()?.permissions().mode() & 0o7777)
}

/// What the services would refuse: too short, or copied from an example.
fn weak(folder: &Path, name: &str) -> Option<Finding> {
    let path = folder.join(name);
    if !path.exists() {
        return None;
    }
    let Ok(text) = fs::read_to_string(&path) else {
        let finding = format!("secrets/{name} cannot be read by this user");
        return Some(fail(
            "secrets",
            finding,
            "`sudo chown -R \"$(id -u)\" secrets`",
        ));
    };
    // Those two may hold several, one in each line.
    let least = if matches!(name, "jwt_secret" | "webhook_secret") {
        32
    } else {
        16
    };
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .peekable();
    let why = if lines.peek().is_none() {
        "is empty".to_owned()
    } else {
        lines.find_map(|line| weakness(line, least))?
    };
    let remedy = format!("`rm secrets/{name}`, and `cargo xtask up` makes a random one");
    Some(fail("secrets", format!("secrets/{name} {why}"), remedy))
}

/// The rules of the services' own settings, so that they need not refuse it.
fn weakness(secret: &str, least: usize) -> Option<String> {
    const WORDS: [&str; 9] = [
        "changeme",
        "change-me",
        "change_me",
        "change me",
        "placeholder",
        "example",
        "password",
        "replace",
        "secret",
    ];
    let lower = secret.to_lowercase();
    let mut distinct: Vec<char> = lower.chars().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let length = secret.chars().count();
    if length < least {
        Some(format!("has only {length} characters of {least}"))
    } else if distinct.len() < 6 || WORDS.iter().any(|word| lower.contains(word)) {
        Some("looks like a placeholder".to_owned())
    } else {
        None
    }
}

/// Whether the data were made with them: asked of the database while it runs, and else of the times
/// of the last start.
fn fit(project: &Project) -> Option<Finding> {
    const REMEDY: &str = "`cargo xtask up` sets the passwords to those of secrets/, and loses nothing; \
                          or put the old files back";
    let stack = stack::current(project).ok()?;
    let is_running = |state: &ServiceState| state.name == "postgres" && state.state == "running";
    if !stack.ps().ok()?.iter().any(is_running) {
        let changed = fit::require_settled(project, stack.mode())
            .err()?
            .to_string();
        let finding = changed.lines().next().unwrap_or_default().to_owned();
        return Some(warn("secrets", finding, REMEDY));
    }
    let misfits = fit::misfits(stack.as_ref()).ok()?;
    let names: Vec<&str> = misfits.iter().map(|role| role.secret).collect();
    (!names.is_empty()).then(|| {
        let finding = format!(
            "the database has other passwords than secrets/: {}",
            names.join(", ")
        );
        warn("secrets", finding, REMEDY)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_services_would_refuse_is_weak() {
        let good = "x7Qk2mPv9sLw4nRt8yBz3cDf6gHj1aEu";
        assert_eq!(weakness(good, 32), None);
        assert!(
            weakness(&good[..20], 32)
                .unwrap()
                .contains("20 characters of 32")
        );
        for placeholder in [
            "changeme-changeme-changeme",
            "xxxxxxxxxxxxxxxxxxxx",
            "my Secret word 1",
        ] {
            assert_eq!(
                weakness(placeholder, 16).unwrap(),
                "looks like a placeholder"
            );
        }
    }

    /// The services cannot be asked: this crate depends on none of ours.
    #[test]
    fn the_words_are_those_that_the_services_refuse() {
        let words = |source: &str| {
            let from = source.find("const WORDS: [&str; 9]").unwrap();
            let list = &source[from..];
            list[..list.find("];").unwrap()]
                .split('"')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let theirs = words(include_str!("../../../service/src/settings/reader.rs"));
        assert_eq!(words(include_str!("secrets.rs")), theirs);
        assert_eq!(theirs.len(), 9);
    }
}
