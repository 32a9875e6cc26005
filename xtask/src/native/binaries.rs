//! Our own binaries, built by cargo.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use crate::project::Project;
use crate::terminal;

/// A build that took longer, in seconds, had something to do.
const NOTABLE: f64 = 2.0;

/// Builds packages and returns where each binary lies.
pub(crate) fn build(project: &Project, packages: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut cargo = crate::cargo::command(project);
    cargo.args(["build", "--message-format=json-render-diagnostics"]);
    for package in packages {
        cargo.args(["-p", package]);
    }
    let mut binaries = BTreeMap::new();
    let seconds = crate::cargo::compile(cargo, |line| binaries.extend(binary(line)))?;
    if seconds > NOTABLE {
        terminal::note(&format!("built in {seconds:.1} s"));
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
