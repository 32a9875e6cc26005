//! Our own binaries, built by cargo.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::project::Project;

/// Builds packages and returns where each binary lies. Cargo shows its progress on the terminal.
pub(crate) fn build(project: &Project, packages: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = crate::cargo::command(project);
    cargo.args(["build", "--message-format=json-render-diagnostics"]);
    for package in packages {
        cargo.args(["-p", package]);
    }
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo cannot be started")?;
    let mut binaries = BTreeMap::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            binaries.extend(binary(&line?));
        }
    }
    if !child.wait()?.success() {
        bail!("the build failed; the compiler says why above");
    }
    Ok(binaries)
}

/// Name and path of the binary that a line of cargo's messages is about, if it is.
fn binary(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = message.get("executable")?.as_str()?;
    Some((message["target"]["name"].as_str()?.to_owned(), path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_about_binaries_name_one() {
        let api =
            r#"{"reason":"compiler-artifact","target":{"name":"api"},"executable":"/t/debug/api"}"#;
        assert_eq!(binary(api), Some(("api".to_owned(), "/t/debug/api".into())));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"api"},"executable":null}"#;
        assert_eq!(binary(library), None);
        assert_eq!(binary("not json"), None);
    }
}
