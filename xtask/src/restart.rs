//! `cargo xtask restart`: restarts services and waits until they are healthy.

use anyhow::Result;

use crate::project::Project;
use crate::stack;

/// Restarts these, or all.
pub(crate) fn run(project: &Project, services: &[String]) -> Result<()> {
    stack::current(project)?.restart(services)
}
