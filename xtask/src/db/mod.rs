//! `cargo xtask db`: the database's data, its passwords, and what is derived from its schema.
//!
//! | file | what it holds |
//! |---|---|
//! | `prepare` | `.sqlx/`, which the SQL macros check against |
//! | `backup`, `backups`, `verify`, `restore`, `reset`, `rotate` | a verb each |
//! | `archive` | a dump's file, and what is written down beside it |
//! | `census` | the rows of every table, counted in one snapshot |
//! | `scratch` | a database beside the other: filled, compared, swapped in or dropped |
//! | `users` | who uses the database, and how they let go of it |
//!
//! What these verbs need of a mode is a client program that is logged in:
//! [`Stack::postgres_client`]. A Postgres that is managed elsewhere is none of theirs.

mod archive;
mod backup;
mod backups;
mod census;
pub(crate) mod prepare;
mod reset;
mod restore;
mod rotate;
mod scratch;
mod users;
mod verify;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::docker;
use crate::exec;
use crate::interrupt;
use crate::project::{Project, no_access};
use crate::stack::{self, Mode, Stack};
use crate::verbose::Shown as _;

/// The stack's database.
const DATABASE: &str = "slipway";

/// The role that owns the schema: it makes dumps and fills what is restored.
const OWNER: &str = "slipway_owner";

/// Verbs of `db`.
#[derive(Subcommand)]
pub(crate) enum Db {
    /// Write .sqlx/ anew from the SQL in the code, against a throw-away database
    Prepare,
    /// Make demo accounts with webhooks; what is there stays (development alone)
    Seed,
    Backup(backup::Backup),
    Backups(backups::Backups),
    Verify(verify::Verify),
    Restore(restore::Restore),
    Reset(reset::Reset),
    RotatePassword(rotate::RotatePassword),
    /// Drops a database and removes a file when its input ends
    #[command(hide = true)]
    Discard {
        /// One that a verb has made for itself
        #[arg(long)]
        database: Option<String>,
        /// One that is not whole yet
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

/// Does what was asked for.
pub(crate) fn run(project: &Project, action: Db) -> Result<()> {
    match action {
        Db::Prepare => prepare::run(project),
        Db::Seed => exec::seed(project),
        Db::Backup(args) => backup::run(project, &args),
        Db::Backups(args) => backups::run(project, &args),
        Db::Verify(args) => verify::run(project, &args),
        Db::Restore(args) => restore::run(project, &args),
        Db::Reset(args) => reset::run(project, &args),
        Db::RotatePassword(args) => rotate::run(project, &args),
        Db::Discard { database, file } => scratch::discard(project, database.as_deref(), file),
    }
}

/// The stack with a Postgres that runs.
fn running(project: &Project) -> Result<Box<dyn Stack + '_>> {
    let stack = stack::current(project)?;
    if stack.mode() == Mode::Docker {
        docker::require_own(project)?;
    }
    let services = stack.ps()?;
    if services.iter().all(|service| service.state == "exited") {
        return Err(stack::nothing_runs());
    }
    let is_up = |name: &str| {
        let mut named = services.iter().filter(|service| service.name == name);
        named.any(|service| service.state == "running")
    };
    if !is_up("postgres") {
        return Err(stack::does_not_run("postgres"));
    }
    Ok(stack)
}

/// Held while a verb makes and drops databases: two at once would take each other's away.
fn lock(project: &Project) -> Result<File> {
    let lock = project.make_state_dir()?.join("db.lock");
    let lock = File::create(&lock).map_err(|error| no_access(&lock, &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => {
            bail!("another `cargo xtask db` works here\n  next: wait until it is done")
        }
        Err(fs::TryLockError::Error(error)) => Err(error).context("the lock cannot be had"),
    }
}

/// A psql that reads SQL from its input, prints without headings and with tabs, and ends at the first
/// statement that fails.
fn psql(stack: &dyn Stack, role: &str, database: &str) -> Result<Child> {
    interrupt::apart(&mut stack.postgres_client("psql", role)?)
        .args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1"])
        .args(["-d", database, "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .shown()
        .spawn()
        .context("psql cannot be started")
}

/// Runs SQL as the superuser and returns what it printed, without headings and with tabs.
///
/// # Errors
/// At the first statement that fails, with the server's words.
pub(crate) fn superuser(stack: &dyn Stack, database: &str, sql: &str) -> Result<String> {
    let mut child = psql(stack, "postgres", database)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(sql.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", last_words(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Reads what a child complains of while somebody else reads its output: neither may fill up.
fn listen(child: &mut Child) -> Option<JoinHandle<String>> {
    let mut stderr = child.stderr.take()?;
    Some(thread::spawn(move || {
        let mut said = Vec::new();
        // What could not be read was not said.
        let _ = stderr.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    }))
}

/// Waits for a child to end well.
///
/// # Errors
/// With the last of what it said.
fn finish(mut child: Child, said: Option<JoinHandle<String>>, program: &str) -> Result<()> {
    let status = child.wait()?;
    let said = said.and_then(|said| said.join().ok()).unwrap_or_default();
    if !status.success() {
        bail!("{program}: {}", last_words(&said));
    }
    Ok(())
}

/// The first complaint, without the program's name: those after it follow from it.
fn last_words(said: &str) -> String {
    let is_complaint = |line: &&str| line.contains("error:") || line.contains("ERROR:");
    let line = said.lines().find(is_complaint).or(said.lines().last());
    let line = line.unwrap_or("it ended without a word").trim();
    let start = line.find("ERROR:").or_else(|| line.find("error:"));
    line[start.unwrap_or(0)..]
        .trim_start_matches("ERROR:")
        .trim_start_matches("error:")
        .trim()
        .to_owned()
}

/// Bytes as people read them: `12.3 MB`.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn megabytes(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        100_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_complaint_is_what_is_told() {
        let said = "pg_restore: error: could not execute query: ERROR:  relation \"a\" does not exist\n\
                    pg_restore: error: aborted\n";
        assert_eq!(last_words(said), "relation \"a\" does not exist");
        assert_eq!(last_words("psql:<stdin>:3: ERROR:  no\n"), "no");
        assert_eq!(last_words("Killed\n"), "Killed");
        assert_eq!(last_words(""), "it ended without a word");
    }

    #[test]
    fn sizes_have_a_digit_behind_the_point() {
        assert_eq!(megabytes(1234), "1.2 kB");
        assert_eq!(megabytes(12_340_000), "12.3 MB");
        assert_eq!(megabytes(1_234_000_000), "1.23 GB");
    }
}
