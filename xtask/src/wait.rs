//! `cargo xtask wait`: until services are healthy, for scripts and the impatient.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::board::{Board, Step};
use crate::nearest::unknown_service;
use crate::project::Project;
use crate::stack::{self, ServiceState, Stack};

/// From one look at the services to the next.
const POLL: Duration = Duration::from_millis(200);

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
/// When they are not within the time, naming them; at once when nothing runs at all, and for one that
/// does not exist.
pub(crate) fn run(project: &Project, args: &Wait) -> Result<()> {
    let stack = stack::current(project)?;
    let began = Instant::now();
    let limit = Duration::from_secs(args.timeout.into());
    let mut board = Board::new();
    loop {
        let late = look(stack.as_ref(), &args.services, &mut board)?;
        board.draw(None);
        if late.is_empty() {
            board.keep();
            return Ok(());
        }
        if began.elapsed() >= limit {
            board.keep();
            let (names, first) = (late.join(", "), &late[0]);
            bail!(
                "not healthy after {} s: {names}\n  next: `cargo xtask logs {first}` says why",
                args.timeout
            );
        }
        pause();
    }
}

/// Looks once; returns the names of those that are not healthy yet.
fn look(stack: &dyn Stack, wanted: &[String], board: &mut Board) -> Result<Vec<String>> {
    let services = stack.ps()?;
    let wanted = chosen(&services, wanted)?;
    for service in &wanted {
        board.set(&service.name, step(service));
    }
    let late = wanted.into_iter().filter(|service| !is_well(service));
    Ok(late.map(|service| service.name.clone()).collect())
}

/// Those that are meant: `worker` means all of `worker-1`, `worker-2`, ...
fn chosen<'a>(services: &'a [ServiceState], wanted: &[String]) -> Result<Vec<&'a ServiceState>> {
    // Nobody starts them again: those that crashed are `restarting`.
    if services.iter().all(|service| service.state == "exited") {
        return Err(stack::nothing_runs());
    }
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

#[expect(
    clippy::disallowed_methods,
    reason = "the command has no executor to block"
)]
fn pause() {
    std::thread::sleep(POLL);
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
    fn only_what_runs_and_is_not_ill_is_well() {
        assert!(is_well(&service("api", "running", "healthy")));
        assert!(is_well(&service("api", "running", "none")));
        assert!(!is_well(&service("api", "running", "starting")));
        assert!(!is_well(&service("api", "exited", "none")));
    }
}
