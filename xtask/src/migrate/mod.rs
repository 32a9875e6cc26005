//! `cargo xtask migrate`: moves the schema, makes the files for a move, and judges them.
//!
//! The binary `migrate` does what needs the database. What the files alone can tell is judged here,
//! so that it needs no stack and is part of `cargo xtask check`.

mod files;
mod new;
mod rules;
mod status;
mod tokens;

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

pub(crate) use self::new::{create, next_version};
use crate::permission::{Removal, permit_removal};
use crate::project::Project;
use crate::stack::{self, Stack};
use crate::terminal::{self, BOLD, GREEN};
use crate::verbose::Shown as _;

/// Verbs of `migrate`.
#[derive(Subcommand)]
pub(crate) enum Migrate {
    /// Apply what is not applied yet
    #[command(trailing_var_arg = true)]
    Run {
        /// Passed on to the `migrate` binary: --wait SECONDS
        #[arg(allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Which migrations there are, and which are applied
    Status {
        /// For machines: [{"version", "name", "state", "applied_at"}]
        #[arg(long)]
        json: bool,
    },
    /// Take back the last one; says what is lost, and asks (refused where APP_ENV is staging or production)
    Revert {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Find files that are edited, out of order, half missing, or hurt what runs
    ///
    /// Without a stack, it judges the files: names, line ends, the order after the main branch's, and
    /// statements that lose data or lock a table that others use. Such a statement is accepted when a
    /// comment directly above says why it does no harm: `-- safe: nobody has read it since 1.4`. With
    /// a stack, it also compares them with what is applied. `cargo xtask check` judges the files, too.
    Check,
    /// Make the two files of a new migration; needs no database
    New {
        /// In words: add_orders
        name: String,
    },
}

/// What needs the database is done by the `migrate` binary, as the schema's owner.
pub(crate) fn run(project: &Project, action: Migrate) -> Result<()> {
    match action {
        Migrate::Run { args } => {
            let words: Vec<String> = ["run".to_owned()].into_iter().chain(args).collect();
            stack::current(project)?.migrate(&words)
        }
        Migrate::Status { json } => {
            let stack = stack::current(project)?;
            let text = stack.read_migrate(&["status", "--json"])?;
            let page = if json {
                text.trim_end().to_owned()
            } else {
                status::table(&status::parse(&text)?)
            };
            terminal::print(&page);
            Ok(())
        }
        Migrate::Revert { yes } => revert(project, yes),
        Migrate::Check => check(project),
        Migrate::New { name } => create(project, &name),
    }
}

/// What the binary prints; what it says on failing becomes the error.
pub(crate) fn read(mut command: Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .shown()
        .output()
        .context("migrate cannot be started")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // Docker says more, about the container.
    let own = said.lines().find(|line| line.starts_with("migrate: "));
    match own.unwrap_or_else(|| said.trim()) {
        "" => bail!("migrate ended with {}", output.status),
        said => bail!("{said}"),
    }
}

fn revert(project: &Project, yes: bool) -> Result<()> {
    if let Some(env) = project.settings()?.is_protected() {
        bail!(
            "APP_ENV is {env}: nothing is taken back there, for data would be lost\n  \
             next: write a migration that goes forward: `cargo xtask migrate new NAME`"
        );
    }
    let stack = stack::current(project)?;
    let lines = status::parse(&stack.read_migrate(&["status", "--json"])?)?;
    let Some(newest) = status::newest_applied(&lines) else {
        terminal::note("nothing to take back: no migration is applied");
        return Ok(());
    };
    let (all, _) = files::read(project)?;
    let is_down = |name: &str| {
        name.starts_with(&format!("{}_", newest.version)) && name.ends_with(".down.sql")
    };
    let (name, text) = all
        .iter()
        .find(|(name, _)| is_down(name))
        .with_context(|| {
            format!(
                "{} {} is applied, but its down file is not here\n  next: check out the release that has it",
                newest.version, newest.name
            )
        })?;
    terminal::note(&format!(
        "takes back {} {}: what migrations/{name} does",
        newest.version,
        terminal::mark(BOLD, &newest.name)
    ));
    for line in text.lines() {
        terminal::note(&format!("  {line}"));
    }
    let removal = Removal {
        what: "removes what this migration has added, with all that is stored in it",
        command: "cargo xtask migrate revert --yes",
        yes,
    };
    permit_removal(project, &removal)?;
    stack.migrate(&["revert".to_owned(), "--yes".to_owned()])
}

fn check(project: &Project) -> Result<()> {
    let count = check_files(project)?;
    match stack::current(project) {
        // Its last line is about all of them, too.
        Ok(stack) if has_database(stack.as_ref()) => stack.migrate(&["check".to_owned()]),
        _ => {
            terminal::print(&format!(
                "{} {count} migrations, by their files",
                terminal::paint(GREEN, "ok")
            ));
            terminal::note(
                "not checked: whether an applied file was edited, for the database is not up\n  \
                 next: `cargo xtask up`, then this again",
            );
            Ok(())
        }
    }
}

fn has_database(stack: &dyn Stack) -> bool {
    let services = stack.ps().unwrap_or_default();
    let mut services = services.iter();
    services.any(|service| service.name == "postgres" && service.health == "healthy")
}

/// Judges the files alone, and says how many migrations there are.
///
/// # Errors
/// When something is wrong; all of it is printed before.
pub(crate) fn check_files(project: &Project) -> Result<usize> {
    let (files, safe) = files::read(project)?;
    let main = files::on_main(project.root());
    let findings = files::findings(&files, &safe, main.as_ref());
    for finding in &findings {
        terminal::print(&format!(
            "migrations/{}\n    {}\n    next: {}",
            terminal::paint(BOLD, &finding.place),
            finding.what,
            finding.remedy
        ));
    }
    match findings.len() {
        0 => Ok(files
            .keys()
            .filter(|name| name.ends_with(".up.sql"))
            .count()),
        1 => bail!("one thing in migrations/ needs a change, as said above"),
        count => bail!("{count} things in migrations/ need a change, as said above"),
    }
}
