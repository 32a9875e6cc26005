//! `cargo xtask db reset`: an empty database with the whole schema, and an empty queue.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::scratch::Scratch;
use super::users::{Start, Users};
use super::{lock, running};
use crate::permission::{Removal, permit_removal};
use crate::project::Project;
use crate::terminal::{self, GREEN};
use crate::verbose::Shown as _;

/// Begin with an empty database and an empty queue; asks for the project's name first
///
/// A new database is made, all migrations run, and the old one is dropped only then. Redis is
/// emptied with it: its jobs are about rows that are gone, and its limits count who is gone. Mails,
/// backups and secrets/ stay. `cargo xtask db seed` fills it with demo data.
#[derive(Args)]
pub(crate) struct Reset {
    /// Do not ask for the name
    #[arg(long, short)]
    yes: bool,
    /// Stop api and worker, and end other connections, without asking
    #[arg(long)]
    force: bool,
}

/// All keys, a thousand at a time. The services' user may remove keys, and not flush the server.
const EMPTY: &str = "local cursor, removed = '0', 0
repeat
  local found = redis.call('SCAN', cursor, 'COUNT', 1000)
  cursor = found[1]
  if #found[2] > 0 then removed = removed + redis.call('UNLINK', unpack(found[2])) end
until cursor == '0'
return removed";

/// Swaps an empty database in, migrates it, empties Redis.
pub(super) fn run(project: &Project, args: &Reset) -> Result<()> {
    let removal = Removal {
        what: "removes all rows of the database and all jobs of the queue",
        command: "cargo xtask db reset --yes",
        yes: args.yes,
    };
    permit_removal(project, &removal)?;
    let stack = running(project)?;
    let stack = stack.as_ref();
    let _lock = lock(project)?;
    let users = Users::of(stack)?;
    users.permit(args.force, "cargo xtask db reset --yes --force")?;
    let removed = users.without(stack, || {
        let scratch = Scratch::make(project, stack, "emptied")?;
        scratch.give_rights()?;
        let replaced = scratch.swap_in()?;
        if let Err(error) = migrate(project) {
            replaced.swap_back()?;
            return Err(error.context("the database is as it was"));
        }
        let removed = stack
            .ask_redis(&["EVAL", EMPTY, "0"])
            .context("the database is empty, but the queue cannot be emptied")?;
        Ok((removed, Start::Again))
    })?;
    terminal::note(&format!(
        "{} the database is empty, with the whole schema; {removed} keys of the queue are gone",
        terminal::mark(GREEN, "ok")
    ));
    terminal::note("next: `cargo xtask db seed` makes demo accounts");
    Ok(())
}

/// `migrate run`, which ends in another program and so needs a process of its own.
fn migrate(project: &Project) -> Result<()> {
    let status = Command::new(std::env::current_exe()?)
        .args(["migrate", "run"])
        .current_dir(project.root())
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .shown()
        .status()
        .context("`migrate run` cannot be started")?;
    if !status.success() {
        bail!(
            "the migrations did not run, and say why above\n  \
             next: correct the last of them, then `cargo xtask db reset` again"
        );
    }
    Ok(())
}
