//! Our own binaries, built by cargo.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::artifacts::Artifacts;
use crate::project::Project;
use crate::terminal;

/// A build that took longer, in seconds, had something to do.
const NOTABLE: f64 = 2.0;

/// Builds packages and returns where each binary lies.
pub(crate) fn build(project: &Project, packages: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut artifacts = Artifacts::default();
    let seconds = crate::cargo::compile(cargo(project, packages), |line| artifacts.hear(line))?;
    if seconds > NOTABLE {
        terminal::note(&format!("built in {seconds:.1} s"));
    }
    Ok(artifacts.binaries)
}

/// The call that builds them.
pub(super) fn cargo(project: &Project, packages: &[&str]) -> Command {
    let mut cargo = crate::cargo::command(project);
    cargo.args(["build", "--message-format=json-render-diagnostics"]);
    for package in packages {
        cargo.args(["-p", package]);
    }
    cargo
}
