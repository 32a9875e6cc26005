//! `dev` in containers: `builder` compiles, and the containers of the services start anew.
//!
//! The source is watched from outside, where a save is seen at once and has its exact time. The
//! binaries lie in a volume that the builder writes and the services read. Cargo puts a new one
//! into place in one step and only when it is whole, so that a container which starts by itself,
//! after a crash, always finds one that has compiled.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::compose::Compose;
use super::{Docker, containers, failure};
use crate::cargo;
use crate::clock;

/// What compiles.
const BUILDER: &str = "builder";

/// Where the builder puts binaries.
const BINARIES: &str = "/var/cache/target/debug";

/// The packages of these binaries.
const PACKAGES: [&str; 3] = ["api", "worker", "migrations"];

/// The longest that a new process may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Compiles before anything is started, so that progress and mistakes are seen.
pub(super) fn first_build(docker: &Docker, compose: &Compose) -> Result<()> {
    compose.run(&["up", "--detach", "--no-deps", "--no-build", BUILDER])?;
    cargo::compile(compiler(docker)?, |_| {}).map(drop)
}

/// The call of cargo in the builder.
pub(super) fn compiler(docker: &Docker) -> Result<Command> {
    match containers::running(docker.project, BUILDER)?.first() {
        Some(builder) => Ok(compiler_in(builder)),
        None => bail!("nothing compiles here\n  next: `cargo xtask dev --docker` starts what does"),
    }
}

fn compiler_in(container: &str) -> Command {
    let mut command = Command::new("docker");
    command.arg("exec");
    // By name alone they are handed on as they are set for this call.
    for name in cargo::SET_FOR_A_BUILD {
        command.args(["--env", name]);
    }
    // The source is mounted read-only: the lock file cannot follow a changed manifest.
    command.args([container, "cargo", "build", "--locked"]);
    command.arg("--message-format=json-render-diagnostics");
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    command
}

/// Starts the containers of a service anew and waits until they are ready; runs `migrate`.
pub(super) fn reload(docker: &Docker, service: &str) -> Result<()> {
    let compose = docker.compose()?;
    if service == "migrate" {
        let words = ["run", "--rm", "--no-deps", "-T", "migrate", "run"];
        return compose.run(&words).context(
            "the schema is as it was: `migrate` says why above\n  \
             next: correct the migration and save it",
        );
    }
    let containers = containers::running(docker.project, service)?;
    if containers.is_empty() {
        bail!("{service} does not run: start it with `cargo xtask up`");
    }
    let mut restart = Command::new("docker");
    // Within the grace period of its own, which is in the container's settings.
    output(restart.arg("restart").args(&containers))?;
    let start = Instant::now();
    for container in &containers {
        while !is_ready(container, service) {
            // The engine starts it again and again when it ends by itself.
            if is_restarting(container)? || start.elapsed() > READY_WITHIN {
                return Err(match failure::find(&compose, None, None)? {
                    Some(failure) => failure.into(),
                    None => anyhow!(
                        "{service} does not become ready\n  \
                         next: `cargo xtask logs {service}` shows what it says"
                    ),
                });
            }
            clock::pause(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Whether the process in the container answers: its own check, at once and not at the next turn.
fn is_ready(container: &str, service: &str) -> bool {
    check(container, service)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn check(container: &str, service: &str) -> Command {
    let mut command = Command::new("docker");
    let program = format!("{BINARIES}/{service}");
    command.args(["exec", container, &program, "healthcheck"]);
    command
}

fn is_restarting(container: &str) -> Result<bool> {
    let mut inspect = Command::new("docker");
    inspect.args([
        "inspect",
        "--format",
        "{{.State.Status}} {{.RestartCount}}",
        container,
    ]);
    Ok(output(&mut inspect)?.trim() != "running 0")
}

/// What a call of `docker` printed.
fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("`docker` cannot be started")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("Docker refused: {said}\n  next: `cargo xtask doctor` says what is wrong with it");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> String {
        let words: Vec<_> = command
            .get_args()
            .map(|word| word.to_str().unwrap())
            .collect();
        words.join(" ")
    }

    #[test]
    fn cargo_is_called_as_the_project_is_built_and_with_colours_as_here() {
        assert_eq!(
            words(&compiler_in("c0ffee")),
            "exec --env CARGO_TERM_COLOR --env CARGO_TERM_PROGRESS_WHEN \
             --env CARGO_TERM_PROGRESS_WIDTH c0ffee cargo build --locked \
             --message-format=json-render-diagnostics \
             --package api --package worker --package migrations"
        );
    }

    #[test]
    fn the_check_is_the_one_that_compose_makes() {
        let file = std::fs::read_to_string("../docker-compose.dev.yml").unwrap();
        for service in ["api", "worker"] {
            let words = words(&check("c0ffee", service));
            let test = words.trim_start_matches("exec c0ffee ").replace(' ', ", ");
            assert!(file.contains(&format!("test: [CMD, {test}]")), "{test}");
        }
    }
}
