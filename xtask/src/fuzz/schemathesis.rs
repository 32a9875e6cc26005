//! The fuzzer itself: a Python program, in an environment below `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::native::packages::{self, Server};
use crate::project::Project;
use crate::terminal;
use crate::verbose::Shown as _;

/// What goes into the environment.
const REQUIREMENTS: &str = "requirements.txt";

/// Makes the environment unless it is there with the same requirements, and gives the program.
pub(super) fn ensure(project: &Project) -> Result<PathBuf> {
    let wanted = read(project, REQUIREMENTS)?;
    let folder = folder(project);
    let venv = folder.join("venv");
    let program = venv.join("bin/schemathesis");
    // Written last: half an environment has none.
    let installed = folder.join(REQUIREMENTS);
    if fs::read_to_string(&installed).is_ok_and(|there| there == wanted) && program.exists() {
        return Ok(program);
    }
    fs::create_dir_all(&folder)?;
    make_venv(&venv)?;
    terminal::note("installing schemathesis below target/");
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ])
    .arg("--requirement")
    .arg(project.root().join("api/fuzz").join(REQUIREMENTS));
    if !pip.shown().status()?.success() {
        bail!("schemathesis could not be installed; pip says why above");
    }
    fs::write(installed, wanted)?;
    Ok(program)
}

/// Debian's Python comes without what makes environments: then that is installed first.
fn make_venv(venv: &Path) -> Result<()> {
    let make = || {
        let mut python = Command::new("python3");
        python.args(["-m", "venv", "--clear"]).arg(venv);
        let output = python
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .shown()
            .status();
        output.is_ok_and(|status| status.success())
    };
    if make() {
        return Ok(());
    }
    packages::install(&[Server::Python], true)?;
    if !make() {
        bail!("`python3 -m venv {}` fails", venv.display());
    }
    Ok(())
}

/// Who the fuzzer logs in as: an address and a password each.
pub(super) fn users(project: &Project) -> Result<Vec<(String, String)>> {
    let users: Value = serde_json::from_str(&read(project, "users.json")?)?;
    let users = users["auth"].as_array();
    let users = users.into_iter().flatten().filter_map(|user| {
        let login = &user["loginEndpointAuth"]["payloadUserPwd"];
        let text = |key: &str| login[key].as_str().map(str::to_owned);
        text("username").zip(text("password"))
    });
    Ok(users.collect())
}

/// A file of `api/fuzz`.
fn read(project: &Project, name: &str) -> Result<String> {
    let path = project.root().join("api/fuzz").join(name);
    fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Writes down how the fuzzer shall go about it, and gives the file's path.
pub(super) fn config(project: &Project, log_in: bool) -> Result<PathBuf> {
    let mut config = read(project, "schemathesis.toml")?;
    let folder = folder(project);
    if log_in {
        config += &read(project, "log-in.toml")?;
        fs::write(folder.join("users.json"), read(project, "users.json")?)?;
    }
    let path = folder.join("schemathesis.toml");
    fs::write(&path, config)?;
    Ok(path)
}

/// One run of all checks against the service at `url`.
pub(super) fn command(program: &Path, config: &Path, url: &str) -> Command {
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("{url}/openapi.json"), "--checks", "all"])
        // All that is wrong, not only the first; and nothing that is only a remark.
        .args(["--continue-on-failure", "--warnings", "off"]);
    // Beside its configuration: it keeps examples for the next run.
    if let Some(folder) = config.parent() {
        command.current_dir(folder);
    }
    command
}

/// Where all of this lies.
pub(super) fn folder(project: &Project) -> PathBuf {
    project.root().join("target/fuzz")
}
