//! `cargo xtask down`: stops everything; data goes only when asked for, and never by accident.

use anyhow::Result;
use clap::Args;

use crate::docker;
use crate::permission::{Removal, permit_removal, refuse_protected};
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
        refuse_protected(project)?;
        docker::require_own(project)?;
        let is_virgin = project.mode().is_none() && !project.state_dir().join("data").exists();
        if is_virgin && !stack::has_data(project)? {
            terminal::note("nothing runs, and there is no data");
            return Ok(());
        }
        let removal = Removal {
            what: "removes the database, the queue, all mails and metrics of this project (not its backups)",
            command: "cargo xtask down --volumes --yes",
            yes: args.yes,
        };
        permit_removal(project, &removal)?;
    }
    if args.volumes {
        remove_all(project)?;
        project.remember_mode(None)?;
    } else if let Some(mode) = project.mode() {
        // The mode stays known, so that the next `up` finds the data.
        stack::of(mode, project)?.down(false)?;
    } else {
        // Taking down what is not up is no failure.
        terminal::note("nothing runs");
        return Ok(());
    }
    terminal::note(if args.volumes {
        "stopped; data removed"
    } else {
        "stopped; data kept"
    });
    Ok(())
}

/// Stops the stack and removes the data of both modes: the one before this `up` may have been in
/// the other.
fn remove_all(project: &Project) -> Result<()> {
    if project.mode() == Some(Mode::Docker) {
        stack::of(Mode::Docker, project)?.down(true)?;
        return stack::of(Mode::Native, project)?.down(true);
    }
    stack::of(Mode::Native, project)?.down(true)?;
    match docker::has_volumes(project) {
        Ok(true) => stack::of(Mode::Docker, project)?.down(true),
        Ok(false) => Ok(()),
        Err(reason) => {
            if docker::was_used(project) {
                terminal::warn(&format!(
                    "{reason}, so what an `up` has left there stays\n  \
                     next: {}, then `cargo xtask down --volumes` again",
                    reason.remedy
                ));
            }
            Ok(())
        }
    }
}
