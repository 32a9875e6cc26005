//! Secrets that no longer fit what was made with them: told in words, before anything breaks.
//!
//! A data volume keeps the passwords that it was made with, so a file that was removed, changed or
//! brought along from elsewhere refuses at the next log-in. The remedy loses nothing: the roles'
//! passwords are set to what `secrets/` has now. It is said, and where `.env` says staging or
//! production it is asked for, because others may still use the old ones.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::WORDS;
use crate::project::Project;
use crate::stack::{Mode, Stack};
use crate::terminal;
use crate::verbose::Shown as _;

/// Somebody who logs in to Postgres.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Role {
    /// As Postgres knows it.
    pub(crate) name: &'static str,
    /// The file of its password.
    pub(crate) secret: &'static str,
}

/// All of them; the superuser first, who sets the others' passwords.
pub(crate) const ROLES: [Role; 3] = [
    Role {
        name: "postgres",
        secret: "postgres_superuser_password",
    },
    Role {
        name: "slipway_owner",
        secret: "postgres_owner_password",
    },
    Role {
        name: "slipway_app",
        secret: "postgres_app_password",
    },
];

/// What a new file breaks, of the secrets that no server keeps a copy of.
const BREAKS: [(&str, &str); 2] = [
    (
        "jwt_secret",
        "access tokens of before are refused; clients get new ones for their refresh tokens",
    ),
    (
        "webhook_secret",
        "the signing secrets of webhooks were made from the old one: until their owners rotate them, \
         nothing is delivered",
    ),
];

/// Whether this psql is let in; the password is its input, if it wants one.
///
/// # Errors
/// When it fails for another reason than the password.
pub(crate) fn lets_in(mut psql: Command, password: Option<String>) -> Result<bool> {
    let mut child = psql
        .args(["-X", "-q", "-d", "postgres", "-c", "SELECT 1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .shown()
        .spawn()
        .context("psql cannot be started")?;
    if let (Some(mut stdin), Some(password)) = (child.stdin.take(), password) {
        stdin.write_all(password.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(true),
        false if is_refusal(&said) => Ok(false),
        false => bail!("the passwords cannot be tried: {}", said.trim()),
    }
}

/// Whether a server's or a service's words mean that a password was refused.
pub(crate) fn is_refusal(said: &str) -> bool {
    ["password authentication failed", "28P01", "WRONGPASS"]
        .iter()
        .any(|words| said.contains(words))
}

/// The roles that are not let in with what `secrets/` has. Postgres must run.
///
/// One that is not there yet is none of them, and is not tried: the server would write down a failed
/// log-in, and its words are those for a wrong password.
pub(crate) fn misfits(stack: &dyn Stack) -> Result<Vec<&'static Role>> {
    let (superusers, others): (Vec<&Role>, _) =
        ROLES.iter().partition(|role| role.name == "postgres");
    let mut misfits = refused(stack, superusers)?;
    let candidates = if misfits.is_empty() {
        let there = crate::db::superuser(stack, "postgres", "SELECT rolname FROM pg_roles;")?;
        let is_there = |role: &&Role| there.lines().any(|name| name == role.name);
        others.into_iter().filter(is_there).collect()
    } else {
        others
    };
    misfits.extend(refused(stack, candidates)?);
    Ok(misfits)
}

fn refused<'a>(stack: &dyn Stack, roles: Vec<&'a Role>) -> Result<Vec<&'a Role>> {
    let mut refused = Vec::new();
    for role in roles {
        if !stack.takes_password(role)? {
            refused.push(role);
        }
    }
    Ok(refused)
}

/// Says which passwords do not fit and that they are about to be set.
///
/// # Errors
/// In staging and production without a yes: the sentence has the three ways out.
pub(crate) fn permit_settling(project: &Project, misfits: &[&Role], yes: bool) -> Result<()> {
    if misfits.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = misfits
        .iter()
        .map(|role| format!("secrets/{} (role {})", role.secret, role.name))
        .collect();
    let what = format!(
        "the database has other passwords than secrets/:\n    {}",
        listed.join("\n    ")
    );
    permit(
        project,
        yes,
        &what,
        "`cargo xtask up --yes` sets them to those of secrets/; no data is lost, but whoever uses \
         the old ones is locked out",
    )?;
    terminal::warn(&format!(
        "{what}\n  they are set to those of secrets/ now; no data is lost\n  \
         to go back, put the old files into secrets/ and run `cargo xtask up` again; \
         `cargo xtask down --volumes` begins with empty data"
    ));
    Ok(())
}

/// Says what breaks when new keys take the place of those that are missing beside existing data.
///
/// # Errors
/// In staging and production without a yes.
pub(crate) fn permit_new_keys(project: &Project, yes: bool) -> Result<()> {
    let folder = project.secrets_dir();
    let missing: Vec<String> = BREAKS
        .iter()
        .filter(|(name, _)| !folder.join(name).exists())
        .map(|(name, breaks)| format!("secrets/{name}: {breaks}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!(
        "there are data, and keys that they may need are missing:\n    {}",
        missing.join("\n    ")
    );
    permit(project, yes, &what, "`cargo xtask up --yes` makes new ones")?;
    terminal::warn(&format!(
        "{what}\n  new ones are made; an old one still works when its line is put below the new one"
    ));
    Ok(())
}

/// Goes on by itself in development, and elsewhere with a yes.
fn permit(project: &Project, yes: bool, what: &str, otherwise: &str) -> Result<()> {
    let Some(env) = project.settings()?.is_protected().filter(|_| !yes) else {
        return Ok(());
    };
    if terminal::is_interactive() {
        terminal::warn(&format!("{what}\n  {otherwise}"));
        if terminal::confirm(&format!("APP_ENV is {env}: go on?"))? {
            return Ok(());
        }
    }
    bail!(
        "{what}\n  next: put the old files back into secrets/ and run `cargo xtask up` again\n  \
         or: {otherwise}\n  \
         or: remove the volume by hand, with all data: this command does not where APP_ENV is {env}"
    )
}

/// Whether the files are those that the stack was last started with.
pub(crate) fn are_settled(project: &Project, mode: Mode) -> Result<bool> {
    Ok(project.recall(&key(mode)) == Some(marks(project)?))
}

/// Remembers the files as those that the stack runs with.
pub(crate) fn settled(project: &Project, mode: Mode) -> Result<()> {
    project.remember(&key(mode), marks(project)?)
}

/// Forgets it, because the data are gone or somebody else has changed them.
pub(crate) fn unsettle(project: &Project, mode: Mode) -> Result<()> {
    project.remember(&key(mode), Value::Null)
}

/// Refuses to start anything with files that the running stack does not have yet.
///
/// # Errors
/// Names the files that changed since the last `up`, or whose change was interrupted.
pub(crate) fn require_settled(project: &Project, mode: Mode) -> Result<()> {
    if let Some(name) = super::unfinished(project) {
        bail!("the change of secrets/{name} was interrupted\n  next: `cargo xtask up` finishes it");
    }
    let Some(before) = project.recall(&key(mode)) else {
        return Ok(());
    };
    let now = marks(project)?;
    let changed: Vec<&str> = WORDS
        .into_iter()
        .filter(|name| now[*name] != before[*name])
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    bail!(
        "secrets/ changed since the last start: {}\n  \
         next: `cargo xtask up` brings servers and services in line with it",
        changed.join(", ")
    )
}

fn key(mode: Mode) -> String {
    format!("{mode}_secrets")
}

/// Length and time of the last change of each file. Nothing that is made of their contents: the
/// state file is not as closed as they are.
fn marks(project: &Project) -> Result<Value> {
    let mut marks = Map::new();
    for name in WORDS {
        let Ok(meta) = std::fs::metadata(project.secrets_dir().join(name)) else {
            continue;
        };
        let changed = meta.modified()?.duration_since(UNIX_EPOCH)?.as_nanos();
        marks.insert(name.to_owned(), json!(format!("{}.{changed}", meta.len())));
    }
    Ok(Value::Object(marks))
}

/// Sets passwords of roles, all of them or none. By the input, and past the server's log.
pub(crate) fn set_passwords(stack: &dyn Stack, roles: &[(&Role, String)]) -> Result<()> {
    let mut script =
        String::from("SET log_min_error_statement = panic;\nSET log_statement = none;\nBEGIN;\n");
    for (role, password) in roles {
        let password = password.replace('\'', "''");
        script.push_str(&format!(
            "ALTER ROLE {} PASSWORD '{password}';\n",
            role.name
        ));
    }
    script.push_str("COMMIT;\n");
    crate::db::superuser(stack, "postgres", &script).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_password_of_postgres_has_a_role_and_every_key_a_consequence() {
        for name in WORDS {
            let has_role = ROLES.iter().any(|role| role.secret == name);
            let breaks = BREAKS.iter().any(|(key, _)| *key == name);
            // Redis keeps no password: its users are made from the file at every start.
            assert!(has_role ^ breaks || name == "redis_password", "{name}");
        }
    }

    #[test]
    fn refusals_are_told_from_other_troubles() {
        assert!(is_refusal(
            "FATAL:  password authentication failed for user \"a\""
        ));
        assert!(is_refusal(
            "AUTH failed: WRONGPASS invalid username-password pair"
        ));
        assert!(!is_refusal("Connection refused"));
    }
}
