//! `cargo xtask db backup`: the database into a file, whole or not at all.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use super::census::{Census, Session};
use super::scratch::{CHUNK, Discard};
use super::{DATABASE, OWNER, archive, finish, listen, megabytes, running};
use crate::project::Project;
use crate::stack::Stack;
use crate::terminal::{self, GREEN, Progress};
use crate::verbose::Shown as _;

/// Write the database into a file, while everything runs on
///
/// A compressed dump of `pg_dump`, taken in one snapshot as the schema's owner, and beside it
/// FILE.json with the rows of each table and the schema's version. The file has its name only when
/// it is whole. It holds all data, and neither jobs in Redis nor secrets/: see docs/backups.md.
///
///   cargo xtask db backup                     .slipway/backups/NAME-20261130-235959.dump
///   cargo xtask db backup /mnt/usb/shop.dump
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Backup {
    /// Where to; without it, a name with the time in .slipway/backups/
    file: Option<PathBuf>,
}

/// Writes it, and prints where it is.
pub(super) fn run(project: &Project, args: &Backup) -> Result<()> {
    if let Some(folder) = args.file.as_deref().and_then(missing_folder) {
        bail!(
            "there is no folder {folder} to write to\n  next: `mkdir -p {folder}`, or give another name",
            folder = folder.display()
        );
    }
    let stack = running(project)?;
    let session = Session::open(stack.as_ref(), DATABASE)?;
    let path = match &args.file {
        Some(path) => std::path::absolute(path)?,
        None => default_path(project, &session.census)?,
    };
    if path.exists() {
        bail!(
            "{} is there already, and a backup is never overwritten\n  next: give another name",
            path.display()
        );
    }
    let progress = Progress::start("dumping");
    let partial = path.with_extension(format!("dump.{}.partial", std::process::id()));
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)
        .map_err(|error| {
            anyhow!(
                "{} cannot be written: {error}\n  next: give another name",
                path.display()
            )
        })?;
    let discard = Discard::file(project, &partial)?;
    let bytes = dump(stack.as_ref(), &session, file, &progress)?;
    let census = session.close()?;
    progress.say("reading its contents again");
    archive::check(stack.as_ref(), &partial)
        .context("the dump that was just written is damaged")?;
    archive::describe(project, &path, bytes, &census)?;
    fs::rename(&partial, &path)
        .with_context(|| format!("{} cannot be given its name", path.display()))?;
    drop(discard);
    let seconds = progress.seconds();
    drop(progress);
    terminal::note(&format!(
        "{} {} rows of {} tables in {} ({seconds:.1} s)",
        terminal::mark(GREEN, "ok"),
        census.rows(),
        census.tables.len(),
        megabytes(bytes),
    ));
    terminal::print(&path.display().to_string());
    terminal::note("next: `cargo xtask db verify` restores it beside, and compares");
    Ok(())
}

/// The folder of this file, when it is not there.
fn missing_folder(file: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(file).ok()?;
    let folder = path.parent()?;
    (!folder.is_dir()).then(|| folder.to_path_buf())
}

/// `.slipway/backups/NAME-YYYYMMDD-HHMMSS.dump`, in UTC.
fn default_path(project: &Project, census: &Census) -> Result<PathBuf> {
    let folder = archive::folder(project);
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    // Whoever reads it has everything.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    let stem = format!("{}-{}", project.name(), compact(&census.taken_at));
    // Two within a second.
    let names = (1..).map(|number| match number {
        1 => format!("{stem}.dump"),
        _ => format!("{stem}-{number}.dump"),
    });
    let mut paths = names.map(|name| folder.join(name));
    paths.find(|path| !path.exists()).context("no name is free")
}

/// `20261130-235959` of `2026-11-30 23:59:59`.
fn compact(time: &str) -> String {
    time.chars()
        .filter(|c| c.is_ascii_digit() || *c == ' ')
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Streams `pg_dump` into the file and returns its length; on the disk when this returns.
fn dump(stack: &dyn Stack, session: &Session, mut file: File, progress: &Progress) -> Result<u64> {
    let mut dump = stack
        .postgres_client("pg_dump", OWNER)?
        .args(["--format=custom", "--dbname", DATABASE])
        .arg(format!("--snapshot={}", session.snapshot))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .shown()
        .spawn()
        .context("pg_dump cannot be started")?;
    let said = listen(&mut dump);
    let mut output = dump.stdout.take().context("pg_dump cannot be read")?;
    let (mut chunk, mut bytes) = (vec![0; CHUNK], 0);
    loop {
        let count = output.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        file.write_all(&chunk[..count])
            .context("the dump cannot be written; what was there stays as it was")?;
        bytes += count as u64;
        progress.say(format!(
            "dumping  {} of a database of {}",
            megabytes(bytes),
            megabytes(session.census.bytes)
        ));
    }
    finish(dump, said, "pg_dump").context("the database cannot be dumped")?;
    file.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn a_time_becomes_part_of_a_name() {
        assert_eq!(compact("2026-11-30 23:59:59"), "20261130-235959");
    }
}
