//! `cargo xtask wait`: until services are healthy, for scripts and the impatient.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::board::{Board, Step};
use crate::clock;
use crate::nearest::unknown_service;
use crate::project::Project;
use crate::stack::{self, ServiceState};
use crate::up;

/// From one look at the services to the next.
const POLL: Duration = Duration::from_millis(200);

/// So long a service must have been ended to be given up: one that is reloaded is for a moment.
const AT_REST: Duration = Duration::from_secs(1);

/// Options of `wait`.
#[derive(Args)]
pub(crate) struct Wait {
    /// api, worker, postgres, redis, ...; all when none is named
    services: Vec<String>,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u32,
}

/// Returns when these services, or all, are healthy.
///
/// # Errors
/// When they are not within the time, naming them; at once when nothing runs at all, for one that does
/// not exist, and for one that has ended while nobody is about to start it.
pub(crate) fn run(project: &Project, args: &Wait) -> Result<()> {
    let stack = stack::current(project)?;
    let began = Instant::now();
    let limit = Duration::from_secs(args.timeout.into());
    let mut board = Board::new();
    let mut ended_since = None;
    loop {
        let services = stack.ps()?;
        let is_under_way = up::is_under_way(project);
        let is_up = services.iter().any(|service| service.state != "exited");
        if !is_up && !is_under_way {
            return Err(stack::nothing_runs());
        }
        // Of an `up` that has just begun, nothing may be there yet.
        let late = match services.is_empty() {
            true => args.services.clone(),
            false => {
                let wanted = chosen(&services, &args.services)?;
                let late = look(&wanted, &mut board);
                match first_ended(&wanted).filter(|_| !is_under_way) {
                    Some(name) => {
                        let since = *ended_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= AT_REST {
                            board.keep();
                            return Err(stack.ending(name)?.into());
                        }
                    }
                    None => ended_since = None,
                }
                late
            }
        };
        board.draw(None);
        if late.is_empty() && !services.is_empty() {
            board.keep();
            return Ok(());
        }
        if began.elapsed() >= limit {
            board.keep();
            let names = late.join(", ");
            let first = late.first().map_or("", String::as_str);
            bail!(
                "not healthy after {} s: {names}\n  next: `cargo xtask logs {first}` says why",
                args.timeout
            );
        }
        clock::pause(POLL);
    }
}

/// Shows them; returns the names of those that are not healthy yet.
fn look(wanted: &[&ServiceState], board: &mut Board) -> Vec<String> {
    for service in wanted {
        board.set(&service.name, step(service));
    }
    let late = wanted.iter().filter(|service| !is_well(service));
    late.map(|service| service.name.clone()).collect()
}

/// One that nobody starts again by itself: those that crashed are `restarting`.
fn first_ended<'a>(wanted: &[&'a ServiceState]) -> Option<&'a str> {
    let mut ended = wanted.iter().filter(|service| service.state == "exited");
    ended.next().map(|service| service.name.as_str())
}

/// Those that are meant: `worker` means all of `worker-1`, `worker-2`, ...
fn chosen<'a>(services: &'a [ServiceState], wanted: &[String]) -> Result<Vec<&'a ServiceState>> {
    let mut chosen = Vec::new();
    for name in wanted {
        let found = services.iter().filter(|service| service.is_called(name));
        let before = chosen.len();
        chosen.extend(found);
        if chosen.len() == before {
            let names: Vec<&str> = services.iter().map(|one| one.name.as_str()).collect();
            bail!(unknown_service(name, &names));
        }
    }
    Ok(if wanted.is_empty() {
        services.iter().collect()
    } else {
        chosen
    })
}

fn is_well(service: &ServiceState) -> bool {
    service.state == "running" && matches!(service.health.as_str(), "healthy" | "none")
}

fn step(service: &ServiceState) -> Step {
    match (service.state.as_str(), is_well(service)) {
        (_, true) => Step::Healthy(service.seconds),
        ("exited", false) => Step::Waits,
        _ => Step::Starts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, state: &str, health: &str) -> ServiceState {
        ServiceState {
            name: name.to_owned(),
            state: state.to_owned(),
            health: health.to_owned(),
            address: None,
            seconds: None,
        }
    }

    #[test]
    fn a_service_means_all_of_its_processes() {
        let services = ["api", "worker-1", "worker-2"].map(|name| service(name, "running", "none"));
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
            let chosen = chosen(&services, &wanted).unwrap();
            chosen
                .iter()
                .map(|one| one.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&["worker"]), ["worker-1", "worker-2"]);
        assert_eq!(names(&["worker-2", "api"]), ["worker-2", "api"]);
        assert_eq!(names(&[]).len(), 3);
        let error = chosen(&services, &["apis".to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no service `apis`; did you mean `api`?\n  next: name one of api, worker-1, worker-2"
        );
    }

    #[test]
    fn one_that_has_ended_is_told_from_one_that_is_started_again() {
        let api = service("api", "running", "starting");
        for (state, expected) in [
            ("exited", Some("worker")),
            ("restarting", None),
            ("starting", None),
        ] {
            let worker = service("worker", state, "none");
            assert_eq!(first_ended(&[&api, &worker]), expected, "{state}");
        }
    }

    #[test]
    fn only_what_runs_and_is_not_ill_is_well() {
        assert!(is_well(&service("api", "running", "healthy")));
        assert!(is_well(&service("api", "running", "none")));
        assert!(!is_well(&service("api", "running", "starting")));
        assert!(!is_well(&service("api", "exited", "none")));
    }
}
