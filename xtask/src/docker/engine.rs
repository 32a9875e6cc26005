//! What this machine's Docker can do: does it answer, is it new enough, are the images there.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::compose::{self, Compose};
use crate::project::Project;

/// The oldest Compose that reads our files: they were tested with this one.
const COMPOSE: (u32, u32) = (2, 26);

/// How long an engine may take to answer. A socket that nobody serves would block for good.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a registry may take to find an image.
const REGISTRY: Duration = Duration::from_secs(15);

/// Why Docker cannot be used here: a sentence without its full stop.
#[derive(Debug)]
pub(crate) struct Reason(pub(crate) String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether the engine answers, Compose is new enough and the images are there or can be had.
pub(super) fn usable(project: &Project, compose: &Compose) -> Result<(), Reason> {
    answers()?;
    compose_is_new_enough()?;
    for image in missing(project, compose)? {
        can_be_pulled(&image)?;
    }
    Ok(())
}

fn answers() -> Result<(), Reason> {
    let mut docker = Command::new("docker");
    docker.args(["version", "--format", "{{.Server.Version}}"]);
    match output_within(docker, ANSWER) {
        Outcome::Succeeded(_) => Ok(()),
        Outcome::NotFound => Err(Reason("Docker is not installed".to_owned())),
        Outcome::TimedOut => Err(Reason(format!(
            "the Docker engine gave no answer within {} s",
            ANSWER.as_secs()
        ))),
        Outcome::Failed(said) if said.contains("permission denied") => Err(Reason(
            "the Docker engine refuses this user: join the group `docker` and log in again"
                .to_owned(),
        )),
        Outcome::Failed(_) => Err(Reason("the Docker engine is not running".to_owned())),
    }
}

fn compose_is_new_enough() -> Result<(), Reason> {
    let (major, minor) = COMPOSE;
    match output_within(compose::version(), ANSWER) {
        Outcome::Succeeded(said) if version(&said) >= Some(COMPOSE) => Ok(()),
        Outcome::Succeeded(said) => Err(Reason(format!(
            "Docker Compose is {}, and {major}.{minor} is the oldest that will do",
            said.trim()
        ))),
        _ => Err(Reason(format!(
            "the plugin Docker Compose (>= {major}.{minor}) is not installed"
        ))),
    }
}

/// Major and minor of `2.26.1-4` or `v2.29.0`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The first missing image of each registry: when that one can be had, so can the rest.
fn missing(project: &Project, compose: &Compose) -> Result<Vec<String>, Reason> {
    let images = images(project, compose).map_err(|error| Reason(format!("{error:#}")))?;
    let mut by_registry = BTreeMap::new();
    for image in images {
        if !is_present(&image) {
            by_registry
                .entry(registry(&image).to_owned())
                .or_insert(image);
        }
    }
    Ok(by_registry.into_values().collect())
}

/// The images that are not ours: those of the data services, and what our own is built from.
fn images(project: &Project, compose: &Compose) -> anyhow::Result<Vec<String>> {
    let settings = project.settings()?;
    let listed = compose.read(&["config", "--images"])?;
    let built = format!("{}:", project.name());
    let mut images: Vec<String> = listed
        .lines()
        .filter(|image| !image.starts_with(&built))
        .map(str::to_owned)
        .collect();
    if settings.get("SLIPWAY_IMAGE").is_none() {
        let dockerfile = std::fs::read_to_string(project.root().join("docker/Dockerfile"))?;
        for argument in ["RUST_IMAGE", "RUNTIME_IMAGE"] {
            images.extend(
                settings
                    .get(argument)
                    .or_else(|| default_of(&dockerfile, argument)),
            );
        }
    }
    images.sort();
    images.dedup();
    Ok(images)
}

/// The default of a Dockerfile's `ARG`.
fn default_of(dockerfile: &str, argument: &str) -> Option<String> {
    dockerfile.lines().find_map(|line| {
        let value = line
            .strip_prefix("ARG ")?
            .strip_prefix(argument)?
            .strip_prefix('=')?;
        Some(value.trim().to_owned())
    })
}

fn is_present(image: &str) -> bool {
    let mut docker = Command::new("docker");
    docker.args(["image", "inspect", "--format", "{{.Id}}", image]);
    matches!(output_within(docker, ANSWER), Outcome::Succeeded(_))
}

/// The registry's host in an image's name; Docker Hub where none is named.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// Begins a pull and waits for its first line, which comes when the registry has found the image.
///
/// By the engine, not by a request of our own: it may have a proxy or a mirror that we do not know.
fn can_be_pulled(image: &str) -> Result<(), Reason> {
    let refusal = |why: &str| {
        Err(Reason(format!(
            "the image {image} is not on this machine and cannot be pulled: {why}"
        )))
    };
    let child = Command::new("docker")
        .args(["pull", image])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return refusal("`docker` cannot be started");
    };
    let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return refusal("its output cannot be read");
    };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        // Nobody listens any more after the time-out.
        sender.send(read.is_ok_and(|bytes| bytes > 0)).ok();
    });
    let began = receiver.recv_timeout(REGISTRY);
    // What has begun is not needed: `up` pulls with progress. What hangs must not stay.
    child.kill().ok();
    match began {
        Ok(true) => {
            child.wait().ok();
            Ok(())
        }
        Ok(false) => {
            let mut said = String::new();
            stderr.read_to_string(&mut said).ok();
            child.wait().ok();
            refusal(said.lines().last().unwrap_or("the engine did not say why"))
        }
        Err(_) => {
            child.wait().ok();
            refusal(&format!(
                "no registry answered within {} s",
                REGISTRY.as_secs()
            ))
        }
    }
}

/// How a command ended that was given a time.
enum Outcome {
    Succeeded(String),
    Failed(String),
    TimedOut,
    NotFound,
}

/// Runs a command that prints little; it is killed when the time is over.
fn output_within(mut command: Command, time: Duration) -> Outcome {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return Outcome::NotFound;
    };
    let end = Instant::now() + time;
    while Instant::now() < end {
        match child.try_wait() {
            Ok(None) => super::pause(Duration::from_millis(5)),
            Ok(Some(_)) | Err(_) => {
                let Ok(output) = child.wait_with_output() else {
                    return Outcome::Failed(String::new());
                };
                return if output.status.success() {
                    Outcome::Succeeded(String::from_utf8_lossy(&output.stdout).into_owned())
                } else {
                    Outcome::Failed(String::from_utf8_lossy(&output.stderr).into_owned())
                };
            }
        }
    }
    child.kill().ok();
    child.wait().ok();
    Outcome::TimedOut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_written() {
        assert_eq!(version("2.26.1-4\n"), Some((2, 26)));
        assert_eq!(version("v2.40.3"), Some((2, 40)));
        assert_eq!(version("dev"), None);
        assert!(version("5.0.1") >= Some(COMPOSE));
        assert!(version("2.9.0") < Some(COMPOSE));
    }

    #[test]
    fn a_registry_is_the_part_that_looks_like_a_host() {
        assert_eq!(registry("postgres:17.11-trixie"), "docker.io");
        assert_eq!(registry("maildev/maildev:2.2.1"), "docker.io");
        assert_eq!(registry("gcr.io/distroless/cc-debian13:nonroot"), "gcr.io");
        assert_eq!(registry("localhost:5000/shop"), "localhost:5000");
    }

    #[test]
    fn arguments_of_the_dockerfile_are_found() {
        let text = "ARG RUST_VERSION=1.0\nARG RUST_IMAGE=rust:1.0-slim\nFROM ${RUST_IMAGE}\n";
        assert_eq!(
            default_of(text, "RUST_IMAGE").as_deref(),
            Some("rust:1.0-slim")
        );
        assert_eq!(default_of(text, "RUNTIME_IMAGE"), None);
    }

    #[test]
    fn a_command_that_hangs_is_ended() {
        let mut sleep = Command::new("sleep");
        sleep.arg("60");
        let outcome = output_within(sleep, Duration::from_millis(50));
        assert!(matches!(outcome, Outcome::TimedOut));
    }

    #[test]
    fn a_command_that_is_not_there_is_told_from_one_that_fails() {
        let absent = output_within(Command::new("no-such-command-here"), ANSWER);
        assert!(matches!(absent, Outcome::NotFound));
        let failing = output_within(Command::new("false"), ANSWER);
        assert!(matches!(failing, Outcome::Failed(_)));
    }
}
