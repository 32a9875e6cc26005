//! `cargo xtask check`: what CI refuses, before CI does.

use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::db;
use crate::migrate;
use crate::project::Project;
use crate::terminal::{self, GREEN};
use crate::verbose::Shown as _;

/// Format, migrations, clippy, rustdoc, then `.sqlx/`, the quick ones first. Ends at the first that fails.
pub(crate) fn run(project: &Project) -> Result<()> {
    step("format", || {
        cargo(
            project,
            &["fmt", "--all", "--check"],
            &[],
            "`cargo fmt --all` formats",
        )
    })?;
    step("migrations", || migrate::check_files(project).map(drop))?;
    step("clippy", || {
        let words = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ];
        cargo(
            project,
            &words,
            &[],
            "`cargo clippy --fix` corrects what it can",
        )
    })?;
    step("rustdoc", || {
        let words = [
            "doc",
            "--workspace",
            "--no-deps",
            "--document-private-items",
            "--quiet",
        ];
        cargo(
            project,
            &words,
            &[("RUSTDOCFLAGS", "-D warnings")],
            "correct the comments above",
        )
    })?;
    step(".sqlx", || db::prepare::check(project))
}

fn step(name: &str, check: impl FnOnce() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    check().with_context(|| format!("check: {name}"))?;
    terminal::note(&format!(
        "{} {name} ({:.1} s)",
        terminal::mark(GREEN, "ok"),
        start.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn cargo(
    project: &Project,
    words: &[&str],
    variables: &[(&str, &str)],
    remedy: &str,
) -> Result<()> {
    let status = crate::cargo::command(project)
        .args(words)
        .envs(variables.iter().copied())
        .shown()
        .status()
        .context("cargo cannot be started")?;
    if !status.success() {
        bail!("`cargo {}` found something\n  next: {remedy}", words[0]);
    }
    Ok(())
}
