//! `cargo xtask db reset`: an empty database with the whole schema, and an empty queue.

use anyhow::{Context, Result, anyhow};
use clap::Args;

use super::scratch::Scratch;
use super::users::{Start, Users};
use super::{lock, running};
use crate::permission::{Removal, permit_removal};
use crate::project::Project;
use crate::terminal::{self, GREEN};

/// Begin with an empty database and an empty queue; asks for the project's name first
///
/// A new database is made, all migrations run on it, and only then it takes the old one's place. Redis is
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

/// Migrates an empty database while everything runs on, swaps it in, empties Redis.
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
    // Before the long part; those who come meanwhile are sent away with them.
    Users::of(stack)?.permit(args.force, "cargo xtask db reset --yes --force")?;

    let scratch = Scratch::make(project, stack, "emptied")?;
    scratch.give_rights()?;
    stack.migrate_database(&scratch.name).map_err(|error| {
        anyhow!(
            "the migrations do not run on an empty database: {error}; the database is as it was\n  \
             next: correct the last of them, then `cargo xtask db reset` again"
        )
    })?;
    let (_replaced, removed) = Users::of(stack)?.without(project, stack, || {
        let replaced = scratch.swap_in()?;
        let removed = stack
            .ask_redis(&["EVAL", EMPTY, "0"])
            .context("the database is empty, but the queue cannot be emptied")?;
        Ok(((replaced, removed), Start::Again))
    })?;
    terminal::note(&format!(
        "{} the database is empty, with the whole schema; {removed} keys of the queue are gone",
        terminal::mark(GREEN, "ok")
    ));
    terminal::note("next: `cargo xtask db seed` makes demo accounts");
    Ok(())
}
