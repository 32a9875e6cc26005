//! `cargo xtask openapi`: `api/openapi.json`, the document of the HTTP service.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::project::Project;
use crate::terminal;
use crate::verbose::Shown as _;

/// Where the document is, below the checkout.
const FILE: &str = "api/openapi.json";

/// Writes the document anew from the handlers; or, to `check`, only says whether it differs.
pub(crate) fn run(project: &Project, check: bool) -> Result<()> {
    let fresh = document(project)?;
    let path = project.root().join(FILE);
    // There is none in a project that has just been made from this one.
    let same = fs::read_to_string(&path).is_ok_and(|here| here == fresh);
    match (same, check) {
        (true, _) => terminal::note(&format!("{FILE} is what the handlers say")),
        (false, true) => bail!("{FILE} is not what the handlers say\n  next: cargo xtask openapi"),
        (false, false) => {
            fs::write(&path, fresh).with_context(|| format!("{FILE} cannot be written"))?;
            terminal::note(&format!("{FILE} is written anew"));
        }
    }
    Ok(())
}

fn document(project: &Project) -> Result<String> {
    let output = cargo::command(project)
        .args(["run", "--quiet", "-p", "api", "--", "openapi"])
        .stderr(std::process::Stdio::inherit())
        .shown()
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("`api openapi` failed\n  next: correct what is above");
    }
    String::from_utf8(output.stdout).context("`api openapi` printed no UTF-8")
}
