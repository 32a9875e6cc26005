//! `cargo xtask down`: stops everything; data goes only when asked for, and never by accident.

use anyhow::Result;
use clap::Args;

use crate::docker;
use crate::permission::{Removal, permit_removal};
use crate::project::Project;
use crate::stack::{self, Mode};
use crate::terminal;

/// Options of `down`.
#[derive(Args)]
pub(crate) struct Down {
    /// Remove the data too; asks for the project's name first
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Stops the stack that runs.
pub(crate) fn run(project: &Project, args: &Down) -> Result<()> {
    if args.volumes {
        let removal = Removal {
            what: "removes the database, the queue and all mails of this project (not its backups)",
            command: "cargo xtask down --volumes --yes",
            yes: args.yes,
        };
        permit_removal(project, &removal)?;
    }
    match project.mode() {
        Some(mode) => stack::of(mode, project)?.down(args.volumes)?,
        None if args.volumes => remove_all(project)?,
        None => {
            // Taking down what is not up is no failure.
            terminal::note("nothing runs");
            return Ok(());
        }
    }
    // After a plain `down` the mode stays known, so that `down --volumes` still finds the data.
    if args.volumes {
        project.remember_mode(None)?;
    }
    terminal::note(if args.volumes {
        "stopped; data removed"
    } else {
        "stopped; data kept"
    });
    Ok(())
}

/// Removes the data of both modes, where it is not known which one made some (`e2e` forgets its own).
fn remove_all(project: &Project) -> Result<()> {
    stack::of(Mode::Native, project)?.down(true)?;
    match docker::usable(project) {
        Ok(()) => stack::of(Mode::Docker, project)?.down(true),
        // Without an engine there are no volumes to be seen, let alone removed.
        Err(_) => Ok(()),
    }
}
