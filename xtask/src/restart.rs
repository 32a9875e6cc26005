//! `cargo xtask restart`: restarts services and waits until they are healthy.

use anyhow::{Result, bail};

use crate::project::Project;
use crate::stack;
use crate::up;

/// Restarts these, or all.
pub(crate) fn run(project: &Project, services: &[String]) -> Result<()> {
    if services.iter().any(|name| name == "migrate") {
        bail!(
            "`migrate` runs once and ends, so there is nothing to restart\n  \
             next: `cargo xtask migrate run`"
        );
    }
    // What is stopped for a moment has not ended, for those who `wait`.
    let stack = stack::current(project)?;
    let _lock = up::one_at_a_time(project)?;
    stack.restart(services)
}
