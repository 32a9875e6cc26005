//! `cargo xtask ci`: `check`, then `test`.

use anyhow::Result;

use crate::project::Project;
use crate::{check, test};

/// All that a change must pass.
pub(crate) fn run(project: &Project) -> Result<()> {
    check::run(project)?;
    test::run(project, None, &[])
}
