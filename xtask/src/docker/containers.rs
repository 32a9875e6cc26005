//! What runs, as `docker compose ps` and `docker inspect` say it.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::compose::Compose;
use super::ports;
use crate::clock::{self, SECOND};
use crate::project::Project;
use crate::stack::{ServiceState, service_of};
use crate::verbose::Shown as _;

/// One container of the project.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) id: String,
    /// The service's name, with a number where it has several containers.
    pub(super) name: String,
    pub(super) service: String,
    number: u32,
    /// `created`, `running`, `restarting`, `exited`, ...
    pub(super) state: String,
    /// `healthy`, `unhealthy`, `starting`, or empty without a check.
    pub(super) health: String,
    exit_code: i64,
    /// Port inside, address outside.
    published: Vec<(u64, String)>,
}

impl Container {
    fn from_json(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let publishers = value["Publishers"].as_array();
        Self {
            id: text("ID"),
            name: text("Service"),
            service: text("Service"),
            // Compose names a container `project-service-number`.
            number: text("Name")
                .rsplit('-')
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or(1),
            state: text("State"),
            health: text("Health"),
            exit_code: value["ExitCode"].as_i64().unwrap_or(0),
            published: publishers
                .into_iter()
                .flatten()
                .filter_map(|publisher| {
                    let outside = publisher["PublishedPort"]
                        .as_u64()
                        .filter(|port| *port > 0)?;
                    let host = publisher["URL"].as_str().unwrap_or("127.0.0.1");
                    Some((
                        publisher["TargetPort"].as_u64()?,
                        format!("{host}:{outside}"),
                    ))
                })
                .collect(),
        }
    }

    /// Where its port `inside` is reached from this machine.
    pub(super) fn address(&self, inside: u16) -> Option<&str> {
        self.published
            .iter()
            .find(|(port, _)| *port == u64::from(inside))
            .map(|(_, address)| address.as_str())
    }

    /// The same, if it is a container of `service`.
    pub(super) fn address_of(&self, service: &str, inside: u16) -> Option<&str> {
        self.address(inside).filter(|_| self.service == service)
    }

    /// Whether it has done its work and is gone, as a one-shot does.
    pub(super) fn is_finished(&self) -> bool {
        self.state == "exited" && self.exit_code == 0 && self.service == "migrate"
    }

    /// As the verbs show it.
    pub(super) fn to_state(&self, seconds: Option<f64>) -> ServiceState {
        ServiceState {
            name: self.name.clone(),
            state: match self.state.as_str() {
                state @ ("running" | "restarting") => state.to_owned(),
                "created" => "starting".to_owned(),
                _ => "exited".to_owned(),
            },
            health: match (self.state.as_str(), self.health.as_str()) {
                ("running", "") => "none".to_owned(),
                ("running", health) => health.to_owned(),
                _ => "none".to_owned(),
            },
            address: ports::main_port(&self.service)
                .and_then(|port| self.address(port))
                .map(str::to_owned),
            seconds,
        }
    }
}

/// Every container of the project, of services that are up or were, in the order of their start.
pub(super) fn list(compose: &Compose) -> Result<Vec<Container>> {
    let text = compose.read(&["ps", "--all", "--format", "json"])?;
    let mut containers = parse(&text)?;
    containers.sort_by_cached_key(|one| (order(&one.service), one.service.clone(), one.number));
    let services: Vec<String> = containers.iter().map(|one| one.service.clone()).collect();
    for container in &mut containers {
        // By hand, Compose can start more of them than we know of.
        let count = services
            .iter()
            .filter(|name| **name == container.service)
            .count();
        let is_scaled = count > 1 || compose.is_scaled(&container.service);
        container.name = label(&container.service, container.number, is_scaled);
    }
    Ok(containers)
}

/// What Compose calls the service of the container that people know by this name.
pub(super) fn service_called<'a>(containers: &'a [Container], name: &'a str) -> &'a str {
    let mut all = containers.iter();
    all.find(|one| one.name == name)
        .map_or(name, |one| &one.service)
}

/// How people know a container: by its service, and a number where that has several. The only one
/// that is left of several may be the second.
pub(super) fn label(service: &str, number: u32, is_scaled: bool) -> String {
    if is_scaled {
        format!("{service}-{number}")
    } else {
        service.to_owned()
    }
}

/// Where a service stands in the order of their start: it fails because of one before it.
pub(super) fn order(service: &str) -> usize {
    const ORDER: [&str; 9] = [
        "builder",
        "postgres",
        "redis",
        "maildev",
        "migrate",
        "api",
        "worker",
        "proxy",
        "prometheus",
    ];
    ORDER
        .iter()
        .position(|name| *name == service_of(service))
        .unwrap_or(ORDER.len())
}

/// The ids of the containers of this service that run. A tenth of a second faster than [`list`].
pub(super) fn running(project: &Project, service: &str) -> Result<Vec<String>> {
    let label = |name: &str, value: &str| format!("label=com.docker.compose.{name}={value}");
    let ids = ps(&[
        "--quiet",
        "--filter",
        &label("service", service),
        "--filter",
        &label("project", project.name()),
        "--filter",
        &label("oneoff", "False"),
    ])?;
    Ok(ids.lines().map(str::to_owned).collect())
}

/// What `docker ps` prints.
pub(super) fn ps(words: &[&str]) -> Result<String> {
    let output = Command::new("docker")
        .arg("ps")
        .args(words)
        .shown()
        .output()
        .context("`docker` cannot be started")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("Docker does not answer: {said}\n  next: `cargo xtask doctor` says why");
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// One object per line; before 2.21 it was one array.
pub(super) fn parse(text: &str) -> Result<Vec<Container>> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let value = serde_json::from_str(line).context("`docker compose ps` gave no JSON")?;
            Ok(Container::from_json(&value))
        })
        .collect()
}

/// What the engine knows about one container beyond `ps`.
#[derive(Debug)]
pub(super) struct Details {
    /// As [`Container::state`], at the moment of all that is said here.
    pub(super) state: String,
    /// As [`Container::health`].
    pub(super) health: String,
    /// RFC 3339. Changes with every start.
    pub(super) started_at: String,
    pub(super) exit_code: i64,
    pub(super) killed_for_memory: bool,
    pub(super) restarts: i64,
    /// What the engine itself says, for example about a port that is taken.
    pub(super) error: String,
    /// What the last health check printed.
    pub(super) last_check: String,
    /// From the start to the first success of the health check.
    pub(super) seconds: Option<f64>,
}

/// The details of these containers, in their order.
pub(super) fn details(containers: &[Container]) -> Result<Vec<Details>> {
    if containers.is_empty() {
        return Ok(Vec::new());
    }
    let output = Command::new("docker")
        .args(["container", "inspect"])
        .args(containers.iter().map(|container| &container.id))
        .shown()
        .output()
        .context("`docker` cannot be started")?;
    if !output.status.success() {
        bail!(
            "`docker container inspect` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let inspected: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    Ok(inspected.iter().map(Details::from_json).collect())
}

impl Details {
    pub(super) fn from_json(container: &Value) -> Self {
        let state = &container["State"];
        let checks: Vec<&Value> = state["Health"]["Log"]
            .as_array()
            .into_iter()
            .flatten()
            .collect();
        let started_at = state["StartedAt"].as_str().unwrap_or_default();
        let started = clock::parse(started_at);
        // The engine keeps the last five checks: soon after a start its first success is there, and
        // so may be successes from before that start.
        let healthy_after = checks
            .iter()
            .filter(|check| check["ExitCode"] == 0)
            .filter_map(|check| Some(clock::parse(check["End"].as_str()?)? - started?))
            .find(|nanos| *nanos >= 0)
            .map(|nanos| nanos as f64 / SECOND as f64);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            state: text(&state["Status"]),
            health: text(&state["Health"]["Status"]),
            started_at: started_at.to_owned(),
            exit_code: state["ExitCode"].as_i64().unwrap_or(0),
            killed_for_memory: state["OOMKilled"] == true,
            restarts: container["RestartCount"].as_i64().unwrap_or(0),
            error: state["Error"].as_str().unwrap_or_default().to_owned(),
            last_check: checks
                .last()
                .and_then(|check| check["Output"].as_str())
                .unwrap_or_default()
                .trim()
                .to_owned(),
            seconds: healthy_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PS: &str = r#"{"ID":"a1","Service":"maildev","State":"running","Health":"healthy","ExitCode":0,"Publishers":[{"URL":"","TargetPort":1025,"PublishedPort":0},{"URL":"127.0.0.1","TargetPort":1080,"PublishedPort":1081}]}
{"ID":"b2","Service":"migrate","State":"exited","Health":"","ExitCode":0,"Publishers":null}
{"ID":"c3","Service":"worker","State":"exited","Health":"","ExitCode":0,"Publishers":null}
"#;

    #[test]
    fn the_lines_of_ps_become_states() {
        let containers = parse(PS).unwrap();
        let maildev = containers[0].to_state(None);
        assert_eq!(maildev.address.as_deref(), Some("127.0.0.1:1081"));
        assert_eq!(
            (maildev.state.as_str(), maildev.health.as_str()),
            ("running", "healthy")
        );
        assert_eq!(containers[2].to_state(None).state, "exited");
    }

    #[test]
    fn only_the_one_shot_may_end_well() {
        let finished: Vec<bool> = parse(PS)
            .unwrap()
            .iter()
            .map(Container::is_finished)
            .collect();
        assert_eq!(finished, [false, true, false]);
    }

    #[test]
    fn what_comes_first_is_named_first() {
        assert!(order("postgres") < order("migrate"));
        assert!(order("migrate") < order("api"));
        assert!(order("api") < order("proxy"));
        assert!(order("proxy") < order("somebody-elses"));
    }

    #[test]
    fn containers_of_one_service_have_a_number() {
        assert_eq!(label("worker", 2, false), "worker");
        assert_eq!(label("worker", 1, true), "worker-1");
        let third = r#"{"ID":"d4","Name":"shop-1a2b3c-worker-3","Service":"worker"}"#;
        let mut containers = parse(third).unwrap();
        assert_eq!(containers[0].number, 3);
        containers[0].name = label("worker", 3, true);
        for name in ["worker-3", "worker"] {
            assert_eq!(service_called(&containers, name), "worker");
        }
        assert_eq!(service_called(&containers, "redis-6"), "redis-6");
    }

    #[test]
    fn details_tell_how_long_a_start_took() {
        let inspected = serde_json::json!({
            "RestartCount": 2,
            "State": {
                "StartedAt": "2026-11-22T23:59:59.5Z", "OOMKilled": false, "Error": "",
                "Health": {"Log": [
                    {"End": "2026-11-22T23:58:53.2Z", "ExitCode": 0, "Output": "before\n"},
                    {"End": "2026-11-23T00:00:00.0Z", "ExitCode": 1, "Output": "no\n"},
                    {"End": "2026-11-23T01:00:01.25+01:00", "ExitCode": 0, "Output": "yes\n"},
                ]},
            },
        });
        let details = Details::from_json(&inspected);
        assert_eq!(details.seconds, Some(1.75));
        assert_eq!((details.restarts, details.last_check.as_str()), (2, "yes"));
    }
}
