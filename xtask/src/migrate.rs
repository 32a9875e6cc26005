//! `cargo xtask migrate`: moves the schema, or makes the files for a move.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::project::Project;
use crate::stack;
use crate::terminal;

/// Verbs of `migrate`.
#[derive(Subcommand)]
pub(crate) enum Migrate {
    /// Apply what is not applied yet
    #[command(trailing_var_arg = true)]
    Run {
        /// Passed on to the `migrate` binary
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Which migrations there are and which are applied
    #[command(trailing_var_arg = true)]
    Status {
        /// Passed on to the `migrate` binary
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Take back the last one
    #[command(trailing_var_arg = true)]
    Revert {
        /// Passed on to the `migrate` binary
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Find edited, out-of-order and CRLF files
    #[command(trailing_var_arg = true)]
    Check {
        /// Passed on to the `migrate` binary
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Make the two files of a new migration; needs no database
    New {
        /// In words: add_orders
        name: String,
    },
}

/// The beginning of each new file: what a first-time writer should know.
const UP: &str = "\
-- What this changes, and why:
--
-- The release before this one still runs while this is applied, so a change that it could not live
-- with goes in two steps, one release apart:
--   expand    add the new column or table, nullable or with a default; write both, read the old
--   contract  once every running release reads the new, drop the old
-- Adding is safe. Renaming, dropping, and adding NOT NULL to a column in use are contractions.
-- An index on a large table: CREATE INDEX CONCURRENTLY alone in its file, after the first line
-- `-- no-transaction`.
";

const DOWN: &str = "\
-- Undoes the file of the same name that ends in .up.sql. What that added may hold data by now: say
-- here what is lost.
";

/// `new` needs no database; the others run the `migrate` binary as the schema's owner.
pub(crate) fn run(project: &Project, action: Migrate) -> Result<()> {
    let (word, args) = match action {
        Migrate::Run { args } => ("run", args),
        Migrate::Status { args } => ("status", args),
        Migrate::Revert { args } => ("revert", args),
        Migrate::Check { args } => ("check", args),
        Migrate::New { name } => return create(project, &name),
    };
    let words: Vec<String> = [word.to_owned()].into_iter().chain(args).collect();
    stack::current(project)?.migrate(&words)
}

/// Makes the two files of a new migration.
///
/// # Errors
/// When the name is none, or they cannot be written.
pub(crate) fn create(project: &Project, name: &str) -> Result<()> {
    let is_plain = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_plain {
        bail!(
            "`{name}` is no name for a migration: use lower case and underscores, like add_orders"
        );
    }
    let folder = project.root().join("migrations");
    let version = next_version(project)?;
    for (kind, text) in [("up", UP), ("down", DOWN)] {
        let path = folder.join(format!("{version}_{name}.{kind}.sql"));
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
        terminal::print(&format!(
            "{}",
            path.strip_prefix(project.root()).unwrap_or(&path).display()
        ));
    }
    Ok(())
}

/// What the name of a migration that is made now begins with.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn next_version(project: &Project) -> Result<u64> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock is before 1970")?;
    let newest = newest(&project.root().join("migrations"))?;
    Ok(version_after(newest, timestamp(now.as_secs())))
}

/// The largest version among the files.
fn newest(folder: &Path) -> Result<u64> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let version = |name: &str| name.split_once('_')?.0.parse::<u64>().ok();
    Ok(entries
        .flatten()
        .filter_map(|entry| version(&entry.file_name().to_string_lossy()))
        .max()
        .unwrap_or(0))
}

/// The time, unless a file already has a later one (a clock that is ahead, two in one second):
/// a new migration always comes last.
fn version_after(newest: u64, now: u64) -> u64 {
    now.max(newest + 1)
}

/// `20261130235959`, in UTC.
///
/// Days become a date by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>), here for days since 1970 only.
fn timestamp(seconds: u64) -> u64 {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years begin in March here, so that the leap day is the last.
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let date = (year * 100 + month) * 100 + day;
    ((date * 100 + second / 3600) * 100 + second / 60 % 60) * 100 + second % 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_a_date() {
        // As `date -u -d @N +%Y%m%d%H%M%S` prints them.
        assert_eq!(timestamp(0), 19_700_101_000_000);
        assert_eq!(timestamp(951_782_399), 20_000_228_235_959);
        assert_eq!(timestamp(951_782_400), 20_000_229_000_000);
        assert_eq!(timestamp(1_796_083_199), 20_261_130_235_959);
        assert_eq!(timestamp(4_107_542_400), 21_000_301_000_000);
    }

    #[test]
    fn a_new_migration_comes_last() {
        assert_eq!(
            version_after(20_260_101_000_000, 20_261_130_000_000),
            20_261_130_000_000
        );
        assert_eq!(
            version_after(20_261_130_000_000, 20_261_130_000_000),
            20_261_130_000_001
        );
    }
}
