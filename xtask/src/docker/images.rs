//! The images that are not ours: are they here, for which machine, and can they be had.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Result, bail};

use super::compose::Compose;
use super::engine::{ANSWER, Outcome, Reason, output_within};
use crate::project::Project;
use crate::verbose::Shown as _;

/// How long a registry may take to find an image before a start.
pub(super) const REGISTRY: Duration = Duration::from_secs(15);

/// An image that the stack needs.
#[derive(Debug, PartialEq)]
pub(crate) struct Image {
    pub(crate) name: String,
    /// The machine that it is for, as `amd64`. None when it is not here.
    pub(crate) architecture: Option<String>,
}

/// The data services' images, and what our own is built from.
pub(super) fn needed(project: &Project, compose: &Compose) -> Result<Vec<Image>> {
    let names = names(project, compose)?;
    // One call for all. It fails when one is missing, and still prints the others.
    let mut docker = Command::new("docker");
    docker
        .args(["image", "inspect", "--format"])
        .arg("{{.Architecture}}{{range .RepoTags}} {{.}}{{end}}{{range .RepoDigests}} {{.}}{{end}}")
        .args(&names);
    let printed = match output_within(docker, ANSWER) {
        Outcome::Succeeded(printed) | Outcome::Failed { printed, .. } => printed,
        Outcome::TimedOut | Outcome::NotFound => bail!("`docker image inspect` gave no answer"),
    };
    let architecture = |name: &str| {
        let mut lines = printed.lines().map(|line| line.split(' '));
        lines.find_map(|mut words| {
            let architecture = words.next()?;
            words
                .any(|tag| tag == name || tag.strip_suffix(":latest") == Some(name))
                .then(|| architecture.to_owned())
        })
    };
    let image = |name: String| Image {
        architecture: architecture(&name).or_else(|| inspect(&name)),
        name,
    };
    Ok(names.into_iter().map(image).collect())
}

/// The architecture of one image, under whatever name it is called: by its id, or with its host.
fn inspect(name: &str) -> Option<String> {
    let mut docker = Command::new("docker");
    docker.args(["image", "inspect", "--format", "{{.Architecture}}", name]);
    match output_within(docker, ANSWER) {
        Outcome::Succeeded(said) => Some(said.trim().to_owned()),
        _ => None,
    }
}

/// The names of the images that are needed and not here.
pub(super) fn missing(project: &Project, compose: &Compose) -> Result<Vec<String>, Reason> {
    let images = needed(project, compose).map_err(|error| {
        Reason::new(
            format!("Compose cannot read its files: {error:#}"),
            "correct what it names",
        )
    })?;
    let missing = images
        .into_iter()
        .filter(|image| image.architecture.is_none());
    Ok(missing.map(|image| image.name).collect())
}

fn names(project: &Project, compose: &Compose) -> Result<Vec<String>> {
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

/// The registry's host in an image's name; Docker Hub where none is named.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// Whether each registry lets us have the first of its images: then so it does with the rest.
pub(crate) fn can_be_had(missing: &[String], within: Duration) -> Result<(), Reason> {
    let mut by_registry = BTreeMap::new();
    for image in missing {
        by_registry.entry(registry(image)).or_insert(image);
    }
    by_registry
        .into_values()
        .try_for_each(|image| can_be_pulled(image, within))
}

/// Begins a pull and waits for its first line, which comes when the registry has found the image.
///
/// By the engine, not by a request of our own: it may have a proxy or a mirror that we do not know.
fn can_be_pulled(image: &str, within: Duration) -> Result<(), Reason> {
    let child = Command::new("docker")
        .args(["pull", image])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .shown()
        .spawn();
    let Ok(mut child) = child else {
        return Err(refusal(image, "`docker` cannot be started"));
    };
    let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(refusal(image, "its output cannot be read"));
    };
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        // Said by the client alone, before it asks anybody.
        let of_the_registry = |line: &String| !line.starts_with("Using default tag");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        // Nobody listens any more after the time-out.
        sender.send(lines.any(|line| of_the_registry(&line))).ok();
    });
    let began = receiver.recv_timeout(within);
    // What has begun is not needed: `up` pulls with progress. What hangs must not stay.
    child.kill().ok();
    let mut said = String::new();
    if began == Ok(false) {
        stderr.read_to_string(&mut said).ok();
    }
    child.wait().ok();
    match began {
        Ok(true) => Ok(()),
        Ok(false) => Err(refusal(image, said.lines().last().unwrap_or_default())),
        Err(_) => Err(refusal(image, "i/o timeout")),
    }
}

/// Why an image cannot be had, from the last line that `docker pull` said.
fn refusal(image: &str, said: &str) -> Reason {
    let host = registry(image);
    let said_one_of = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let (why, remedy) = if said_one_of(&[
        "no such host",
        "timeout",
        "refused",
        "unreachable",
        "deadline exceeded",
        "Temporary failure",
    ]) {
        (
            format!("the registry {host} cannot be reached"),
            format!(
                "connect this machine and `docker pull {image}`, or bring the image with `docker load`"
            ),
        )
    } else if said_one_of(&["toomanyrequests", "rate limit"]) {
        (
            format!("the registry {host} has had too many pulls from here"),
            "`docker login`, which raises the limit, or wait an hour".to_owned(),
        )
    } else if said_one_of(&["denied", "unauthorized", "authentication", "credentials"]) {
        (
            format!("the registry {host} does not give it, or does not have it"),
            format!("`docker login {host}`, or correct its name in .env"),
        )
    } else if said_one_of(&[
        "not found",
        "manifest unknown",
        "no matching manifest",
        "invalid reference",
    ]) {
        (
            format!("the registry {host} has no such image for this machine"),
            "correct its name in .env: the variables that end in _IMAGE".to_owned(),
        )
    } else {
        (
            format!("its pull ends with `{said}`"),
            format!("`docker pull {image}` shows all of it"),
        )
    };
    Reason::new(
        format!("the image {image} is not on this machine, and {why}"),
        remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_a_registry_says_is_told_in_words() {
        let cases = [
            (
                "dial tcp: lookup registry-1.docker.io: no such host",
                "cannot be reached",
            ),
            (
                "pull access denied for x, repository does not exist",
                "does not give it",
            ),
            (
                "manifest for postgres:99 not found: manifest unknown",
                "no such image",
            ),
            (
                "toomanyrequests: You have reached your pull rate limit",
                "too many pulls",
            ),
            ("something new", "its pull ends with `something new`"),
        ];
        for (said, expected) in cases {
            let reason = refusal("postgres:99", said);
            assert!(reason.cause.contains(expected), "{reason}");
            assert!(!reason.remedy.is_empty());
        }
    }
}
