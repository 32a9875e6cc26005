//! What `up` says when a start goes wrong: each failure is produced for real, and the stack heals.
//!
//! Those without Docker, and those of the machine, are in `xtask/tests/it`.

mod containers;
mod scratch;

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::{Run, Step};

/// Of both modes, on the stack itself.
pub(super) const STEPS: [(&str, Step); 2] = [
    (
        "a service that cannot start is told, and heals",
        refused_setting,
    ),
    (
        "a migration that fails is told, and heals",
        failing_migration,
    ),
];

/// In checkouts of their own, with the image of the stack.
pub(super) const IN_DOCKER: [(&str, Step); 6] = [
    ("an engine that does not run is told", containers::no_engine),
    ("an image that nobody has is told", containers::no_image),
    (
        "a service without memory is told",
        containers::out_of_memory,
    ),
    ("a disk that is full is told", containers::full_disk),
    (
        "a volume of other secrets is told, and opened",
        containers::lost_secrets,
    ),
    ("two checkouts run side by side", containers::two_checkouts),
];

/// How a call of this command ended, and what it said on standard error.
struct Said {
    code: Option<i32>,
    text: String,
}

impl Said {
    fn of(command: &mut Command) -> Result<Self> {
        let Output { status, stderr, .. } = command
            .stdin(Stdio::null())
            .output()
            .context("this command cannot be started")?;
        Ok(Self {
            code: status.code(),
            text: String::from_utf8_lossy(&stderr).into_owned(),
        })
    }

    /// That it failed with 1, and said all of these.
    fn failed(self, parts: &[&str]) -> Result<()> {
        ensure!(
            self.code == Some(1),
            "it ended with {:?}:\n{}",
            self.code,
            self.text
        );
        self.has(parts)?;
        // The last word is what to do.
        self.has(&["error: ", "next: "])
    }

    /// That it went well, and said all of these.
    fn succeeded(self, parts: &[&str]) -> Result<()> {
        ensure!(
            self.code == Some(0),
            "it ended with {:?}:\n{}",
            self.code,
            self.text
        );
        self.has(parts)
    }

    fn has(&self, parts: &[&str]) -> Result<()> {
        for part in parts {
            ensure!(
                self.text.contains(part),
                "{part:?} is not in what it said:\n{}",
                self.text
            );
        }
        Ok(())
    }
}

/// `up` of the stack's own checkout.
fn up(run: &Run, setting: Option<(&str, &str)>) -> Result<Said> {
    let mut command = Command::new(std::env::current_exe()?);
    let mode = format!("--{}", run.stack.mode());
    command
        .args(["up", &mode])
        .envs(setting)
        .current_dir(run.root);
    Said::of(&mut command)
}

/// One that only the API reads: of several, any could be the first to say it.
fn refused_setting(run: &Run) -> Result<String> {
    let refused = up(run, Some(("BODY_LIMIT_BYTES", "lots")));
    let healed = up(run, None);
    refused?.failed(&[
        "error: api exited with code 1",
        "it refuses the setting BODY_LIMIT_BYTES",
        "BODY_LIMIT_BYTES  \"lots\"",
    ])?;
    healed?.succeeded(&[])?;
    Ok(String::new())
}

/// The first migration fails when nobody knows that it was applied: its tables are there.
fn failing_migration(run: &Run) -> Result<String> {
    let sql = |sql: &str| run.command(&["psql", "-qAtc", sql]);
    sql("CREATE TABLE e2e_kept AS SELECT * FROM _sqlx_migrations; DELETE FROM _sqlx_migrations")?;
    let failed = up(run, None);
    sql("INSERT INTO _sqlx_migrations SELECT * FROM e2e_kept; DROP TABLE e2e_kept")?;
    let healed = up(run, None);
    failed?.failed(&["migrate", "failed and was rolled back", "already exists"])?;
    healed?.succeeded(&[])?;
    Ok(String::new())
}
