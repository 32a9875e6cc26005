//! Whether data may be removed or replaced: the one question of all verbs that do it.

use anyhow::{Result, bail};

use crate::project::Project;
use crate::terminal;

/// What a verb is about to do to data.
pub(crate) struct Removal<'a> {
    /// As the end of "This ...", with what is lost by it.
    pub(crate) what: &'a str,
    /// The call that does it without asking.
    pub(crate) command: &'a str,
    /// Whether the yes was given already.
    pub(crate) yes: bool,
}

/// Asks for the project's name.
///
/// # Errors
/// When `APP_ENV` says anything but development, whatever was answered; without a terminal and without a
/// yes; and when something else than the name is typed.
pub(crate) fn permit_removal(project: &Project, removal: &Removal) -> Result<()> {
    let Removal { what, command, yes } = removal;
    refuse_protected(project)?;
    if *yes {
        return Ok(());
    }
    if !terminal::is_interactive() {
        bail!("this {what}, and nobody is there to be asked\n  next: `{command}`");
    }
    let name = project.name();
    let answer = terminal::ask(&format!("This {what}.\nType {name} to go on: "))?;
    if answer != name {
        bail!("nothing was changed: `{answer}` is not {name}");
    }
    Ok(())
}

/// The part that no answer changes.
///
/// # Errors
/// When `APP_ENV` says anything but development, or `.env` cannot be read.
pub(crate) fn refuse_protected(project: &Project) -> Result<()> {
    match project.settings()?.is_protected() {
        Some(env) => bail!(
            "APP_ENV is {env}: data of such a stack is neither removed nor replaced by this command\n  \
             next: docs/backups.md has what to do by hand"
        ),
        None => Ok(()),
    }
}
