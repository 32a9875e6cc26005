//! `cargo xtask watch` (hidden): the watcher of the development container.

use anyhow::{Result, bail};

/// Builds and restarts what changed, until stopped.
pub(crate) fn run() -> Result<()> {
    bail!("the watcher is not there yet")
}
