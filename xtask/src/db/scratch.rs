//! A database beside the other: filled from a dump, compared, given the rights that
//! `docker/postgres/database.sql` has, and swapped in or dropped.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, anyhow};

use super::archive::Archive;
use super::{DATABASE, OWNER, finish, listen, megabytes, superuser};
use crate::project::Project;
use crate::stack::{self, Stack};
use crate::terminal::{self, Progress};
use crate::verbose::Shown as _;

/// How much of a file is handed on at a time, in bytes.
pub(super) const CHUNK: usize = 64 * 1024;

/// Gone with whoever asked for it, in whatever way that ends.
///
/// A process of its own waits for the end of its input, which also Ctrl-C and SIGKILL of ours are,
/// and clears up then.
pub(super) struct Discard {
    keeper: Child,
}

impl Discard {
    /// Of a database.
    pub(super) fn database(project: &Project, name: &str) -> Result<Self> {
        Self::start(project, "--database", name.as_ref())
    }

    /// Of a file.
    pub(super) fn file(project: &Project, path: &Path) -> Result<Self> {
        Self::start(project, "--file", path)
    }

    fn start(project: &Project, option: &str, what: &Path) -> Result<Self> {
        let keeper = Command::new(std::env::current_exe()?)
            .args(["db", "discard", option])
            .arg(what)
            .current_dir(project.root())
            // Out of the terminal's reach: Ctrl-C is for the one who asked.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .shown()
            .spawn()
            .context("the process that clears up cannot be started")?;
        Ok(Self { keeper })
    }
}

impl Drop for Discard {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            terminal::warn(&format!("something may be left behind: {error}"));
        }
    }
}

/// The hidden verb: waits for the end of its input, then drops and removes. What is not there any
/// more was swapped in or renamed, and stays.
pub(super) fn discard(
    project: &Project,
    database: Option<&str>,
    file: Option<PathBuf>,
) -> Result<()> {
    // An error ends the input as well.
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
    if let Some(file) = file.filter(|file| file.exists()) {
        fs::remove_file(&file).with_context(|| format!("{} stays", file.display()))?;
    }
    if let Some(database) = database {
        drop_database(stack::current(project)?.as_ref(), database)?;
    }
    Ok(())
}

fn drop_database(stack: &dyn Stack, name: &str) -> Result<()> {
    let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE);");
    superuser(stack, "postgres", &sql)
        .map(drop)
        .with_context(|| format!("the database {name} stays"))
}

/// A database that nobody else knows.
pub(super) struct Scratch<'a> {
    project: &'a Project,
    stack: &'a dyn Stack,
    /// Its name: what it is for, and the process that made it.
    pub(super) name: String,
    /// Drops it.
    _discard: Discard,
}

impl<'a> Scratch<'a> {
    /// An empty one. Those that a crash of the machine has left are dropped first.
    pub(super) fn make(project: &'a Project, stack: &'a dyn Stack, purpose: &str) -> Result<Self> {
        let pattern = format!("^{DATABASE}_(verified|restored|emptied|replaced)_[0-9]+$");
        let sql = format!("SELECT datname FROM pg_database WHERE datname ~ '{pattern}';");
        for left in superuser(stack, "postgres", &sql)?.lines() {
            drop_database(stack, left)?;
        }
        let name = format!("{DATABASE}_{purpose}_{}", std::process::id());
        let discard = Discard::database(project, &name)?;
        let sql = format!("CREATE DATABASE {name} OWNER {OWNER};");
        superuser(stack, "postgres", &sql)?;
        Ok(Self {
            project,
            stack,
            name,
            _discard: discard,
        })
    }

    /// Gives it the rights that the stack's database has. Behind a dump, not before it: default
    /// privileges would give the services what a dump does not know to take away, such as the right
    /// to write `_sqlx_migrations`.
    pub(super) fn give_rights(&self) -> Result<()> {
        let path = self.project.root().join("docker/postgres/database.sql");
        let script = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let script = format!("\\set database {}\n{script}", self.name);
        superuser(self.stack, "postgres", &script).map(drop)
    }

    /// Fills it from a dump, as the owner.
    ///
    /// # Errors
    /// At the first thing that cannot be restored.
    pub(super) fn fill(&self, archive: &Archive) -> Result<()> {
        let progress = Progress::start("restoring");
        let mut restore = self
            .stack
            .postgres_client("pg_restore", OWNER)?
            .args(["--exit-on-error", "--no-owner", "--dbname", &self.name])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .shown()
            .spawn()
            .context("pg_restore cannot be started")?;
        let said = listen(&mut restore);
        let mut stdin = restore.stdin.take().context("pg_restore takes no input")?;
        let (mut file, mut chunk, mut read) = (File::open(&archive.path)?, vec![0; CHUNK], 0);
        loop {
            let count = file.read(&mut chunk)?;
            // One that ends early says why: it is asked below.
            if count == 0 || stdin.write_all(&chunk[..count]).is_err() {
                break;
            }
            read += count as u64;
            let (read, all) = (megabytes(read), megabytes(archive.bytes));
            progress.say(format!("restoring  {read} of {all}"));
        }
        drop(stdin);
        finish(restore, said, "pg_restore").map_err(|error| {
            anyhow!(
                "{} cannot be restored: {error}; nothing was changed\n  \
                 next: take another one, `cargo xtask db backups` lists them",
                archive.path.display()
            )
        })
    }

    /// Puts it in the place of the stack's database, in one step: there is one of them at any time.
    /// Whoever is still connected to the other one loses the connection; it goes with what is
    /// returned.
    pub(super) fn swap_in(&self) -> Result<Discard> {
        let old = format!("{DATABASE}_replaced_{}", std::process::id());
        let discard = Discard::database(self.project, &old)?;
        rename(self.stack, [DATABASE, &old], [&self.name, DATABASE])?;
        Ok(discard)
    }
}

/// Renames both or none. A pool may come back between the end of its connections and the rename.
fn rename(stack: &dyn Stack, first: [&str; 2], second: [&str; 2]) -> Result<()> {
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname IN ('{}', '{}') AND pid <> pg_backend_pid();
         BEGIN;
         ALTER DATABASE {} RENAME TO {};
         ALTER DATABASE {} RENAME TO {};
         COMMIT;",
        first[0], second[0], first[0], first[1], second[0], second[1]
    );
    let mut tries = 3;
    loop {
        tries -= 1;
        match superuser(stack, "postgres", &sql) {
            Ok(_) => return Ok(()),
            Err(error) if tries == 0 => {
                return Err(error.context("the databases cannot be swapped; all is as it was"));
            }
            Err(_) => {}
        }
    }
}
