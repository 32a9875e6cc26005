//! `cargo xtask migrate`: moves the schema, or makes the files for a move.

use anyhow::Result;

use crate::cli::Migrate;
use crate::project::Project;
use crate::stack;

/// `new` needs no database; the others run the `migrate` binary as the schema's owner.
pub(crate) fn run(project: &Project, action: Migrate) -> Result<()> {
    let word = match action {
        Migrate::Run => "run",
        Migrate::Status => "status",
        Migrate::Revert => "revert",
        Migrate::Check => "check",
        Migrate::New { name } => return create(project, &name),
    };
    stack::current(project)?.migrate(&[word.to_owned()])
}

fn create(_project: &Project, _name: &str) -> Result<()> {
    anyhow::bail!("not there yet")
}
