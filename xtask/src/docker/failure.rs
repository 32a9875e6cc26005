//! Why a service did not come up: its exit code, its last lines, and what to do next.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::compose::Compose;
use super::containers::{self, Container, Details, order};
use super::start::Crash;
use crate::board::LIMIT;
use crate::clock;
use crate::diagnosis;
use crate::logs;
use crate::ports;
use crate::stack::{Mode, ServiceFailure};
use crate::verbose::Shown as _;

/// How many lines of its log are shown.
const LINES: usize = 15;

/// How long a crashed service may take to crash again.
const AT_REST: Duration = Duration::from_secs(5);

/// What the kernel did to a service that wanted too much.
const OUT_OF_MEMORY: &str = "was killed, because it used more than its memory limit";

/// The first service, in the order of their start, that failed. None when all look well.
///
/// One that was seen to crash comes before all others, then one that never started: Compose gives
/// up at once, and those that it was still waiting for then look as if they had been too slow.
/// `late` is how long it was waited for all of them, where the end of that time was the end.
pub(super) fn find(
    compose: &Compose,
    crash: Option<&Crash>,
    late: Option<Duration>,
) -> Result<Option<ServiceFailure>> {
    let (containers, details) = match crash {
        Some(_) => at_once(compose)?,
        None => at_rest(compose)?,
    };
    let mut both: Vec<_> = containers.iter().zip(&details).collect();
    let crash_of = |id: &str| crash.filter(|crash| crash.container.starts_with(id));
    both.sort_by_key(|(container, details)| {
        let crashed = crash_of(&container.id).is_some();
        (
            !crashed,
            refusal(details).is_none(),
            order(&container.service),
        )
    });
    for (container, details) in both {
        let crash = crash_of(&container.id);
        let is_for_memory = details.killed_for_memory || crash.is_some_and(|one| one.out_of_memory);
        let seen = match crash {
            Some(_) if is_for_memory => Some(OUT_OF_MEMORY.to_owned()),
            Some(crash) => Some(format!("exited with code {} at its start", crash.exit_code)),
            None => cause(container, details).or_else(|| late.and_then(|_| not_yet(container))),
        };
        let Some(cause) = seen else { continue };
        let last_lines = match crash {
            Some(crash) => last_lines(container, &crash.started, Some(&crash.ended))?,
            None => last_lines(container, &details.started_at, None)?,
        };
        let mut failure = told(container, details, is_for_memory, &cause, &last_lines);
        if let Some(limit) = late.filter(|_| is_slow(container, details)) {
            failure.next_step = format!("{}; {}", wait_longer(limit), failure.next_step);
        }
        return Ok(Some(failure));
    }
    Ok(None)
}

/// Why this one has ended.
pub(super) fn of_service(compose: &Compose, name: &str) -> Result<ServiceFailure> {
    let (containers, details) = at_once(compose)?;
    let mut both = containers.iter().zip(&details);
    let found = both.find(|(container, _)| container.name == name);
    let (container, details) = found.context("it is not there any more")?;
    let cause = cause(container, details).unwrap_or_else(|| "is being started again".to_owned());
    let last_lines = last_lines(container, &details.started_at, None)?;
    let is_for_memory = details.killed_for_memory;
    Ok(told(container, details, is_for_memory, &cause, &last_lines))
}

fn at_once(compose: &Compose) -> Result<(Vec<Container>, Vec<Details>)> {
    let containers = containers::list(compose)?;
    let details = containers::details(&containers)?;
    Ok((containers, details))
}

/// What runs, at a moment when none of it has just been started again: then it would have neither an
/// exit code nor last words.
fn at_rest(compose: &Compose) -> Result<(Vec<Container>, Vec<Details>)> {
    let end = Instant::now() + AT_REST;
    loop {
        let (mut containers, details) = at_once(compose)?;
        // The list is a moment older, and may tell of the start before.
        for (container, details) in containers.iter_mut().zip(&details) {
            container.state.clone_from(&details.state);
            container.health.clone_from(&details.health);
        }
        let is_under_way = details.iter().any(|details| {
            details.restarts > 0 && details.exit_code == 0 && details.health != "healthy"
        });
        if !is_under_way || Instant::now() > end {
            return Ok((containers, details));
        }
        clock::pause(Duration::from_millis(50));
    }
}

/// The failure of Compose itself, where all containers look well.
pub(super) fn of_compose(words: &str, said: &[String]) -> anyhow::Error {
    // Its progress ("Container x  Started") says nothing about a failure.
    let is_word = |line: &&String| !line.starts_with(' ') && !line.trim().is_empty();
    let last: Vec<&str> = said.iter().filter(is_word).map(String::as_str).collect();
    match diagnosis::of(Mode::Docker, said) {
        Some(known) => anyhow!(
            "{}\n\n    {}\n\n  next: {}",
            known.cause,
            last.join("\n    "),
            known.next_step
        ),
        None => anyhow!("`docker compose {words}` failed: {}", last.join("; ")),
    }
}

/// Cause, last lines and next step of one service, with what is known of its last lines.
fn told(
    container: &Container,
    details: &Details,
    is_for_memory: bool,
    cause: &str,
    last_lines: &[String],
) -> ServiceFailure {
    let known = diagnosis::of(Mode::Docker, last_lines).filter(|_| !is_for_memory);
    let next_step = match &known {
        Some(known) => known.next_step.clone(),
        None => next_step(&container.service, details, is_for_memory),
    };
    ServiceFailure {
        service: container.name.clone(),
        cause: known.map_or_else(
            || cause.to_owned(),
            |known| format!("{cause}: {}", known.cause),
        ),
        last_lines: logs::readable(last_lines),
        next_step,
    }
}

/// What is wrong with it, if anything, as the words after its name.
fn cause(container: &Container, details: &Details) -> Option<String> {
    if let Some(error) = refusal(details) {
        return Some(not_started(error));
    }
    if details.killed_for_memory {
        return Some(OUT_OF_MEMORY.to_owned());
    }
    match (container.state.as_str(), container.health.as_str()) {
        ("exited" | "dead", _) if !container.is_finished() => {
            Some(format!("exited with code {}", details.exit_code))
        }
        ("restarting", _) => Some(format!(
            "exits with code {} at every start",
            details.exit_code
        )),
        ("running", "starting" | "unhealthy") if details.restarts > 0 => Some(format!(
            "ends after every start, {} times up to now",
            details.restarts
        )),
        ("running", "unhealthy") if details.last_check.is_empty() => {
            Some("runs, but its health check fails".to_owned())
        }
        ("running", "unhealthy") => Some(format!(
            "runs, but its health check says: {}",
            details.last_check
        )),
        ("running", "starting") => Some("did not become healthy in time".to_owned()),
        _ => None,
    }
}

/// What the engine says about a container that it could not start. That a start of ours was
/// interrupted tells nothing about the container.
fn refusal(details: &Details) -> Option<&str> {
    let error = details.error.as_str();
    (!error.is_empty() && !error.contains("context canceled")).then_some(error)
}

/// What is not wrong with a container, and yet not done when the time is over.
fn not_yet(container: &Container) -> Option<String> {
    match (container.state.as_str(), container.service.as_str()) {
        ("created", _) => Some("was not started in time".to_owned()),
        ("running", "migrate") => Some("was not done in time".to_owned()),
        _ => None,
    }
}

/// Whether more time may be all that it needs.
fn is_slow(container: &Container, details: &Details) -> bool {
    let is_starting = container.state == "running" && container.health == "starting";
    details.restarts == 0 && (is_starting || not_yet(container).is_some())
}

/// The failure of a start whose time is over although all containers look well, or are not there yet.
pub(super) fn of_all(limit: Duration) -> anyhow::Error {
    anyhow!(
        "the services were not healthy in time\n  next: {}",
        wait_longer(limit)
    )
}

fn wait_longer(limit: Duration) -> String {
    let longer = limit.as_secs().saturating_mul(2).max(LIMIT.as_secs());
    format!("`cargo xtask up --wait-timeout {longer}` waits longer")
}

/// What it said since a start, until its end where that is known: before and after, it said the same.
///
/// The engine gives a line the time at which it has read it, which may be after that end: where
/// nothing is in between, the last of all is what is looked for.
fn last_lines(container: &Container, since: &str, until: Option<&str>) -> Result<Vec<String>> {
    let mut between = vec!["--since", since];
    between.extend(until.map(|until| ["--until", until]).into_iter().flatten());
    let lines = said(container, &between)?;
    if !lines.is_empty() {
        return Ok(lines);
    }
    said(container, &[])
}

fn said(container: &Container, between: &[&str]) -> Result<Vec<String>> {
    let output = Command::new("docker")
        .args(["logs", "--tail", "200"])
        .args(between)
        .arg(&container.id)
        .shown()
        .output()
        .context("`docker` cannot be started")?;
    let mut lines: Vec<String> = [output.stdout, output.stderr]
        .iter()
        .flat_map(|bytes| {
            String::from_utf8_lossy(bytes)
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    Ok(lines.split_off(lines.len().saturating_sub(LINES)))
}

/// The engine's words about a container that it could not start, in ours where they are known.
fn not_started(error: &str) -> String {
    if !is_about_port(error) {
        return format!("was not started: {error}");
    }
    let words = error.split([' ', ':']).map(str::parse::<u16>);
    // The last number that is a port: addresses come before it.
    match words.flatten().last() {
        Some(port) => format!(
            "was not started: port {port} is taken by {} since a moment ago",
            ports::holder_in_words(port)
        ),
        None => "was not started: its port is taken since a moment ago".to_owned(),
    }
}

fn is_about_port(error: &str) -> bool {
    error.contains("port is already allocated") || error.contains("address already in use")
}

fn next_step(service: &str, details: &Details, is_for_memory: bool) -> String {
    if is_about_port(&details.error) {
        return "run `cargo xtask up` again: it takes another port".to_owned();
    }
    if is_for_memory {
        return format!("raise the memory limit of `{service}` in docker-compose.yml");
    }
    match service {
        "builder" => "correct the code: the next save builds again".to_owned(),
        "migrate" => "`cargo xtask migrate status` says where the schema stands".to_owned(),
        _ => format!("`cargo xtask logs {service}` shows the rest"),
    }
}

#[cfg(test)]
mod tests;
