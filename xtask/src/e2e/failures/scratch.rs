//! A checkout for one failure: the files that containers are started from, and nothing to build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Said;
use crate::docker;
use crate::e2e::Run;
use crate::project::Project;

/// A folder whose stack is taken down with all data, and which is removed, at the end.
pub(super) struct Scratch {
    pub(super) root: PathBuf,
}

impl Scratch {
    /// In `folder` below `.slipway/`, with the image that the stack runs and the settings given.
    pub(super) fn new(run: &Run, folder: &str, settings: &str) -> Result<Self> {
        let image = docker::image(&Project::at(run.root)?, "api")?;
        let scratch = Self {
            root: run.root.join(".slipway/e2e").join(folder),
        };
        let root = &scratch.root;
        fs::create_dir_all(root.join("xtask"))?;
        for file in [
            "docker-compose.yml",
            "docker-compose.dev.yml",
            ".env.example",
        ] {
            fs::copy(run.root.join(file), root.join(file))?;
        }
        copy_folder(&run.root.join("docker"), &root.join("docker"))?;
        fs::write(
            root.join(".env"),
            format!("SLIPWAY_IMAGE={image}\n{settings}"),
        )?;
        Ok(scratch)
    }

    /// This command, in here.
    pub(super) fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(words)
            .env("CARGO_MANIFEST_DIR", self.root.join("xtask"))
            .current_dir(&self.root);
        // What the stack's own checkout was told is not for this one.
        for name in [
            "API_PORT",
            "COMPOSE_PROFILES",
            "COMPOSE_PROJECT_NAME",
            "POSTGRES_IMAGE",
            "SLIPWAY_IMAGE",
        ] {
            command.env_remove(name);
        }
        Ok(command)
    }

    /// What it says.
    pub(super) fn say(&self, words: &[&str]) -> Result<Said> {
        Said::of(&mut self.command(words)?)
    }

    /// What it prints; it has to succeed.
    pub(super) fn ask(&self, words: &[&str]) -> Result<String> {
        let output = self.command(words)?.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words:?} failed: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Replaces words of `docker-compose.yml` behind a line, the first that come.
    pub(super) fn edit(&self, behind: &str, old: &str, new: &str) -> Result<()> {
        let path = self.root.join("docker-compose.yml");
        let text = fs::read_to_string(&path)?;
        let (before, after) = text
            .split_once(&format!("\n{behind}\n"))
            .with_context(|| format!("docker-compose.yml has no line {behind:?}"))?;
        ensure!(after.contains(old), "docker-compose.yml has no {old:?}");
        let after = after.replacen(old, new, 1);
        fs::write(path, format!("{before}\n{behind}\n{after}"))?;
        Ok(())
    }

    /// All of it in another folder, as `cp -a` makes it.
    pub(super) fn copy(&self) -> Result<Self> {
        let root = self.root.with_extension("copy");
        let copied = Command::new("cp")
            .arg("-a")
            .args([&self.root, &root])
            .status();
        ensure!(
            copied?.success(),
            "{} cannot be copied",
            self.root.display()
        );
        Ok(Self { root })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Also after a failure, which is what is told.
        let down = self.ask(&["down", "--volumes", "--yes"]);
        if let Err(error) = down.and_then(|_| Ok(fs::remove_dir_all(&self.root)?)) {
            crate::terminal::warn(&format!("{} stays: {error:#}", self.root.display()));
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (from, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
