//! `cargo xtask doctor`: what is wrong with this machine or checkout, and the remedy.

use anyhow::Result;

use crate::project::Project;

/// Runs every check.
pub(crate) fn run(_project: &Project, _as_json: bool) -> Result<()> {
    anyhow::bail!("not there yet")
}
