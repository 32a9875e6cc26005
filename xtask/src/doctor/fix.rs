//! `doctor --fix`: the remedies that lose nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::finding::{Finding, Severity};
use super::report::Group;
use crate::db;
use crate::native;
use crate::project::{Project, write_whole};
use crate::secrets;
use crate::settings;
use crate::terminal::{self, GREEN, RED, YELLOW};

/// What can be done about a finding.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fix {
    /// `.env` from its example.
    Environment,
    /// `secrets/`, where none of it is there.
    Secrets,
    /// 0700 for the folder, 0444 for its files.
    SecretModes,
    /// LF in these files.
    LineEnds(Vec<PathBuf>),
    /// Ends what a killed supervisor left.
    Leftovers,
    /// `cargo xtask db prepare`.
    OfflineData,
    /// Installs Postgres and Redis. Asks.
    Servers,
    /// Installs this toolchain. Asks.
    Toolchain(String),
}

/// What became of one.
enum Outcome {
    Done(String),
    /// Left to the developer, and why.
    Left(String),
}

/// Does all of them, and says of each what it did, and of the rest what is left to do.
pub(super) fn all(project: &Project, groups: Vec<Group>) {
    let findings: Vec<Finding> = groups
        .into_iter()
        .flat_map(|group| group.findings)
        .filter(|finding| finding.fix.is_some() || finding.severity != Severity::Ok)
        .collect();
    if findings.is_empty() {
        return;
    }
    for finding in findings {
        say(project, finding);
    }
    terminal::note("");
}

fn say(project: &Project, finding: Finding) {
    let remedy = finding.remedy.unwrap_or_default();
    let (mark, said) = match finding.fix.map(|fix| apply(project, &fix)) {
        Some(Ok(Outcome::Done(said))) => (terminal::mark(GREEN, "fixed"), said),
        Some(Ok(Outcome::Left(why))) => (terminal::mark(YELLOW, "left "), why),
        Some(Err(error)) => (terminal::mark(RED, "failed"), format!("{error:#}")),
        None => (terminal::mark(YELLOW, "left "), remedy),
    };
    terminal::note(&format!("  {mark}  {:<10}  {said}", finding.name));
}

fn apply(project: &Project, fix: &Fix) -> Result<Outcome> {
    let done = |said: &str| Ok(Outcome::Done(said.to_owned()));
    match fix {
        Fix::Environment => {
            settings::ensure_file(project)?;
            done("made .env from .env.example")
        }
        Fix::Secrets => {
            let made = secrets::ensure(project)?;
            Ok(Outcome::Done(format!(
                "made {} files in secrets/",
                made.len()
            )))
        }
        Fix::SecretModes => {
            set_modes(&project.secrets_dir())?;
            done("secrets/ is 0700 and its files are 0444")
        }
        Fix::LineEnds(paths) => {
            paths.iter().try_for_each(|path| make_lf(path))?;
            let plural = if paths.len() == 1 { "" } else { "s" };
            Ok(Outcome::Done(format!("LF in {} file{plural}", paths.len())))
        }
        Fix::Leftovers => {
            native::stop_leftovers(project);
            done("stopped what the killed supervisor had left")
        }
        Fix::OfflineData => {
            db::prepare::run(project)?;
            done("wrote .sqlx/ anew: commit it")
        }
        Fix::Servers => {
            if !terminal::is_interactive() {
                return Ok(Outcome::Left(
                    "Postgres and Redis: installing needs somebody who says yes".to_owned(),
                ));
            }
            native::servers::ensure(false, true)?;
            done("installed what was missing")
        }
        Fix::Toolchain(channel) => install_toolchain(channel),
    }
}

fn set_modes(folder: &Path) -> Result<()> {
    let set = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .with_context(|| format!("the mode of {} cannot be set", path.display()))
    };
    set(folder, 0o700)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            set(&path, 0o444)?;
        }
    }
    Ok(())
}

fn make_lf(path: &Path) -> Result<()> {
    let text =
        fs::read_to_string(path).with_context(|| format!("{} is not text", path.display()))?;
    write_whole(path, &text.replace("\r\n", "\n").replace('\r', "\n"))
}

fn install_toolchain(channel: &str) -> Result<Outcome> {
    let question = format!("Install Rust {channel} with rustup?");
    if !terminal::is_interactive() || !terminal::confirm(&question)? {
        return Ok(Outcome::Left(format!(
            "`rustup toolchain install {channel}`"
        )));
    }
    let status = Command::new("rustup")
        .args(["toolchain", "install", channel])
        .status()
        .context("`rustup` cannot be started: install it from https://rustup.rs")?;
    if !status.success() {
        bail!("`rustup toolchain install {channel}` failed; it says why above");
    }
    Ok(Outcome::Done(format!("installed Rust {channel}")))
}
