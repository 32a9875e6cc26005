//! `cargo xtask build`: builds what `up` would start.

use anyhow::Result;

use crate::project::Project;
use crate::stack;
use crate::up;

/// Builds for the mode of last time, or the one that `up` would choose.
pub(crate) fn run(project: &Project) -> Result<()> {
    let mode = match project.mode() {
        Some(mode) => mode,
        None => up::choose(project, None)?,
    };
    stack::of(mode, project)?.build()
}
