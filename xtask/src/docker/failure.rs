//! Why a service did not come up: its exit code, its last lines, and what to do next.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::compose::Compose;
use super::containers::{self, Container, Details};
use crate::stack::ServiceFailure;
use crate::verbose::Shown as _;

/// How many lines of its log are shown.
const LINES: usize = 15;

/// How long a crashed service may take to crash again.
const AT_REST: Duration = Duration::from_secs(5);

/// The first service, in the order of their start, that failed. None when all look well.
///
/// One that never started comes before all others: Compose gives up at once, and those that it was
/// still waiting for then look as if they had been too slow.
pub(super) fn find(compose: &Compose) -> Result<Option<ServiceFailure>> {
    let (containers, details) = at_rest(compose)?;
    let mut both: Vec<_> = containers.iter().zip(&details).collect();
    both.sort_by_key(|(container, details)| (details.error.is_empty(), order(&container.service)));
    for (container, details) in both {
        if let Some(cause) = cause(container, details) {
            let last_lines = last_lines(container, details)?;
            return Ok(Some(ServiceFailure {
                next_step: next_step(&container.service, details, &last_lines),
                service: container.service.clone(),
                cause,
                last_lines,
            }));
        }
    }
    Ok(None)
}

/// What runs, at a moment when none of it has just been started again: then it would have neither an
/// exit code nor last words.
fn at_rest(compose: &Compose) -> Result<(Vec<Container>, Vec<Details>)> {
    let end = Instant::now() + AT_REST;
    loop {
        let mut containers = containers::list(compose)?;
        let details = containers::details(&containers)?;
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
        super::pause(Duration::from_millis(50));
    }
}

/// A service fails because of one that starts before it, so that one is named.
fn order(service: &str) -> usize {
    const ORDER: [&str; 7] = [
        "builder", "postgres", "redis", "migrate", "maildev", "api", "worker",
    ];
    ORDER
        .iter()
        .position(|name| *name == service)
        .unwrap_or(ORDER.len())
}

/// What is wrong with it, if anything, as the words after its name.
fn cause(container: &Container, details: &Details) -> Option<String> {
    if !details.error.is_empty() {
        return Some(format!("was not started: {}", details.error));
    }
    if details.killed_for_memory {
        return Some("was killed, because it used more than its memory limit".to_owned());
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

/// What it said since its last start: before that, it said the same.
fn last_lines(container: &Container, details: &Details) -> Result<Vec<String>> {
    let output = Command::new("docker")
        .args(["logs", "--since", &details.started_at, &container.id])
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

fn next_step(service: &str, details: &Details, lines: &[String]) -> String {
    let said = |words: &str| lines.iter().any(|line| line.contains(words));
    if details.error.contains("port is already allocated")
        || details.error.contains("address already in use")
    {
        return "run `cargo xtask up` again: it takes another port".to_owned();
    }
    if details.killed_for_memory {
        return format!("raise the memory limit of `{service}` in docker-compose.yml");
    }
    if service == "builder" {
        return "correct the code: the next save builds again".to_owned();
    }
    if said("password authentication failed") || said("WRONGPASS") {
        return "`cargo xtask up`: it sets the passwords of the data to those in secrets/, and says \
                which"
            .to_owned();
    }
    if said("No space left on device") {
        return "make room: `docker system df` says what takes it".to_owned();
    }
    match service {
        "migrate" => "`cargo xtask migrate status` says where the schema stands".to_owned(),
        _ => format!("`cargo xtask logs {service}` shows the rest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(state: &str, health: &str) -> Container {
        let line =
            serde_json::json!({"ID": "1", "Service": "api", "State": state, "Health": health});
        containers::parse(&line.to_string()).unwrap().remove(0)
    }

    fn details(state: &serde_json::Value, restarts: u32) -> Details {
        Details::from_json(&serde_json::json!({"RestartCount": restarts, "State": state}))
    }

    #[test]
    fn each_way_to_fail_has_its_words() {
        let cases = [
            (
                "exited",
                "",
                serde_json::json!({"ExitCode": 3}),
                0,
                Some("exited with code 3"),
            ),
            (
                "restarting",
                "",
                serde_json::json!({"ExitCode": 1}),
                4,
                Some("exits with code 1 at every start"),
            ),
            (
                "running",
                "starting",
                serde_json::json!({}),
                0,
                Some("did not become healthy in time"),
            ),
            ("running", "healthy", serde_json::json!({}), 0, None),
            ("created", "", serde_json::json!({}), 0, None),
        ];
        for (state, health, inspected, restarts, expected) in cases {
            let cause = cause(&container(state, health), &details(&inspected, restarts));
            assert_eq!(cause.as_deref(), expected, "{state} {health}");
        }
        let killed = details(&serde_json::json!({"OOMKilled": true, "ExitCode": 137}), 0);
        let cause = cause(&container("exited", ""), &killed).unwrap();
        assert!(cause.contains("memory"), "{cause}");
        assert!(next_step("api", &killed, &[]).contains("memory limit of `api`"));
    }

    #[test]
    fn what_comes_first_is_blamed_first() {
        assert!(order("postgres") < order("migrate"));
        assert!(order("migrate") < order("api"));
        assert!(order("api") < order("proxy"));
    }
}
