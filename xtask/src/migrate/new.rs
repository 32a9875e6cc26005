//! `migrate new`: the two files of a new migration.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::clock;
use crate::project::Project;
use crate::terminal;

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
-- `-- no-transaction`. `cargo xtask migrate check` finds what would hurt, and says what to write.
";

const DOWN: &str = "\
-- Undoes the file of the same name that ends in .up.sql. What that added may hold data by now: say
-- here what is lost.
";

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
    let newest = newest(&project.root().join("migrations"))?;
    Ok(version_after(newest, timestamp(clock::now())))
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
fn timestamp(at: clock::Nanos) -> u64 {
    let (year, month, day) = clock::date(at);
    let (hour, minute, second, _) = clock::time_of_day(at);
    [month, day, hour, minute, second]
        .iter()
        .fold(year, |number, part| number * 100 + part)
        .unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_a_date() {
        assert_eq!(timestamp(0), 19_700_101_000_000);
        assert_eq!(timestamp(1_796_083_199 * clock::SECOND), 20_261_130_235_959);
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
