//! `cargo xtask db restore`: a backup in the place of what is there, or nothing changed.

use std::cmp::Ordering;
use std::fs;

use anyhow::{Result, bail};
use clap::Args;

use super::archive::Archive;
use super::census;
use super::scratch::Scratch;
use super::users::{Start, Users};
use super::{lock, running, verify};
use crate::permission::{Removal, permit_removal, refuse_protected};
use crate::project::Project;
use crate::terminal::{self, GREEN};

/// Put a backup in the place of the database; asks for the project's name first
///
/// It is restored into a new database while everything runs on, compared with what was counted when
/// it was taken, and then swapped in by a rename: a file that is damaged changes nothing. What was
/// written since the backup is lost. For the swap, api and worker are stopped, and started again.
///
/// Jobs in Redis are no part of a backup: those that wait stay, and find the rows of then; those that
/// the restored outbox has as sent and Redis does not know any more are sent again, so that a mail
/// may come twice.
///
///   cargo xtask db backups
///   cargo xtask db restore latest
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Restore {
    /// A file of `db backup`, or `latest`
    file: String,
    /// Do not ask for the name
    #[arg(long, short)]
    yes: bool,
    /// Stop api and worker, and end other connections, without asking
    #[arg(long)]
    force: bool,
}

/// Restores, compares, swaps.
pub(super) fn run(project: &Project, args: &Restore) -> Result<()> {
    refuse_protected(project)?;
    let archive = Archive::find(project, &args.file)?;
    let command = format!("cargo xtask db restore {} --yes", args.file);
    let taken_at = archive
        .census
        .as_ref()
        .map_or("a time that is not known", |census| &census.taken_at);
    let what = format!(
        "replaces the database by {} of {taken_at} (schema {}); what was written since is lost",
        archive.path.display(),
        archive.migration()
    );
    let removal = Removal {
        what: &what,
        command: &command,
        yes: args.yes,
    };
    permit_removal(project, &removal)?;
    let stack = running(project)?;
    let stack = stack.as_ref();
    let _lock = lock(project)?;
    archive.check(stack)?;
    // Before the long part; those who come meanwhile are sent away with them.
    Users::of(stack)?.permit(args.force, &format!("{command} --force"))?;

    let scratch = Scratch::make(project, stack, "restored")?;
    scratch.fill(&archive)?;
    let restored = census::take(stack, &scratch.name)?;
    if archive.census.is_none() {
        if restored.migration.is_none() {
            bail!(
                "{} has no list of migrations, so it is no backup of this product; the database is \
                 as it was\n  \
                 next: take another one, `cargo xtask db backups` lists them",
                archive.path.display()
            );
        }
        terminal::warn(&format!(
            "nothing is written down beside {}: it is restored uncompared",
            archive.path.display()
        ));
    }
    let different = archive
        .census
        .as_ref()
        .map(|counted| verify::differences(counted, &restored));
    if let Some(different) = different.filter(|different| !different.is_empty()) {
        bail!(
            "{} is not what it was when it was taken: {} differ; the database is as it was\n  \
             next: take another backup, `cargo xtask db backups` lists them",
            archive.path.display(),
            different.join(", ")
        );
    }
    scratch.give_rights()?;
    let newest = newest_migration(project);
    let is_current = restored.migration == newest;
    let start = if is_current { Start::Again } else { Start::Not };
    Users::of(stack)?.without(project, stack, || Ok((scratch.swap_in()?, start)))?;
    terminal::note(&format!(
        "{} {} is the database now: {} rows of {} tables",
        terminal::mark(GREEN, "ok"),
        archive.name(),
        restored.rows(),
        restored.tables.len()
    ));
    terminal::note("jobs in Redis are as they were: they are no part of a backup");
    if let Some(warning) = another_schema(restored.migration, newest) {
        terminal::warn(&warning);
    }
    Ok(())
}

/// What to say when the schema that was restored is not the code's.
fn another_schema(restored: Option<u64>, code: Option<u64>) -> Option<String> {
    let version = |version: Option<u64>| {
        version.map_or_else(|| "empty".to_owned(), |version| version.to_string())
    };
    let next = match restored.cmp(&code) {
        Ordering::Equal => return None,
        Ordering::Less => "`cargo xtask up` migrates and starts them",
        // Migrations go forward only: this code has no way back to its own schema.
        Ordering::Greater => {
            "check out the release that made the backup, or a later one; there, `cargo xtask up` starts them"
        }
    };
    Some(format!(
        "its schema is {}, and the code's is {}: api and worker were not started\n  next: {next}",
        version(restored),
        version(code)
    ))
}

/// The newest of the checkout's migrations.
fn newest_migration(project: &Project) -> Option<u64> {
    let entries = fs::read_dir(project.root().join("migrations")).ok()?;
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| {
            name.to_str()?
                .strip_suffix(".up.sql")?
                .split_once('_')?
                .0
                .parse()
                .ok()
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::another_schema;

    #[test]
    fn a_newer_schema_is_not_promised_to_be_migrated() {
        let (old, new) = (Some(20_261_101_120_000), Some(20_261_201_120_000));
        assert_eq!(another_schema(new, new), None);
        let older = another_schema(old, new).unwrap();
        assert!(
            older.contains("is 20261101120000") && older.contains("up` migrates"),
            "{older}"
        );
        assert!(
            another_schema(None, new)
                .unwrap()
                .contains("schema is empty")
        );
        let newer = another_schema(new, old).unwrap();
        assert!(
            newer.contains("check out the release") && !newer.contains("migrates"),
            "{newer}"
        );
    }
}
