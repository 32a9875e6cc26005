//! Waiting until services are healthy, and why one is not.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::control::{self, Place, Status};
use super::logs;
use crate::board::{Board, LIMIT, Step};
use crate::clock;
use crate::diagnosis;
use crate::stack::{Mode, ServiceFailure};

/// How many lines of a failed service's log are shown.
const LAST_LINES: usize = 15;

/// From one look at the services to the next.
const POLL: Duration = Duration::from_millis(30);

/// Waits for these services, telling of each.
///
/// # Errors
/// A [`ServiceFailure`] for the first that ends, or that is not healthy in time.
pub(super) fn wait_until_healthy(place: &Place, names: &[&str]) -> Result<()> {
    let mut board = Board::new();
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    watch(place, &names, LIMIT, &mut board)?;
    board.keep();
    Ok(())
}

/// As [`wait_until_healthy`], within `limit`, and with each service on the board.
pub(super) fn watch(
    place: &Place,
    names: &[String],
    limit: Duration,
    board: &mut Board,
) -> Result<()> {
    let start = Instant::now();
    loop {
        let services = control::status(place)?.context("the supervisor is gone")?;
        let mut is_waiting = false;
        for name in names {
            let Some(status) = services.iter().find(|status| status.name == *name) else {
                bail!("no such service: {name}");
            };
            if status.state != "running" {
                board.set(name, Step::Failed);
                board.draw(None);
                return Err(failure(place, status)?.into());
            }
            if status.health == "healthy" {
                board.set(name, Step::Healthy(status.seconds));
            } else if start.elapsed() > limit {
                return Err(failure(place, status)?.into());
            } else {
                board.set(name, Step::Starts);
                is_waiting = true;
            }
        }
        board.draw(None);
        if !is_waiting {
            return Ok(());
        }
        clock::pause(POLL);
    }
}

/// Why a service does not run, or runs and is not healthy in time.
pub(super) fn failure(place: &Place, status: &Status) -> Result<ServiceFailure> {
    let cause = match (status.state.as_str(), &status.last_exit) {
        ("running", _) => "did not become healthy in time".to_owned(),
        (_, Some(how)) => format!("{how} at its start"),
        (_, None) => "was stopped at its start".to_owned(),
    };
    let (last_lines, _) =
        logs::last_lines(&place.log(&status.name), LAST_LINES, status.log_offset)?;
    Ok(told(&status.name, &cause, &last_lines))
}

/// How a service that had come up has ended.
pub(super) fn ending_of(place: &Place, status: &Status) -> Result<ServiceFailure> {
    let cause = status.last_exit.as_deref().unwrap_or("was stopped");
    let (last_lines, _) =
        logs::last_lines(&place.log(&status.name), LAST_LINES, status.log_offset)?;
    Ok(told(&status.name, cause, &last_lines))
}

/// The failure of a service, with what is known of its last lines.
pub(super) fn told(name: &str, cause: &str, last_lines: &[String]) -> ServiceFailure {
    let known = diagnosis::of(Mode::Native, last_lines);
    let next_step = match (&known, name) {
        (Some(known), _) => known.next_step.clone(),
        (None, "migrate") => "`cargo xtask migrate status` says where the schema stands".to_owned(),
        (None, _) => format!(
            "`cargo xtask logs {name}` shows all of it; correct the cause and run `cargo xtask up` again"
        ),
    };
    ServiceFailure {
        service: name.to_owned(),
        cause: known.map_or_else(
            || cause.to_owned(),
            |known| format!("{cause}: {}", known.cause),
        ),
        last_lines: crate::logs::readable(last_lines),
        next_step,
    }
}

/// How a process ended, as the words after its service's name.
pub(super) fn ending(status: ExitStatus, pid: u32) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(9)) if was_killed_for_memory(pid) => {
            "was killed by the kernel, because memory ran out,".to_owned()
        }
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => format!("ended ({status})"),
    }
}

/// Whether the kernel's log has it. Not everybody may read that log, and then it is not known.
fn was_killed_for_memory(pid: u32) -> bool {
    let Ok(output) = Command::new("dmesg").output() else {
        return false;
    };
    is_in_kernel_log(&String::from_utf8_lossy(&output.stdout), pid)
}

fn is_in_kernel_log(log: &str, pid: u32) -> bool {
    log.contains(&format!("Killed process {pid} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_has_its_words() {
        assert_eq!(
            ending(ExitStatus::from_raw(1 << 8), 0),
            "exited with code 1"
        );
        assert_eq!(
            ending(ExitStatus::from_raw(15), 0),
            "was ended by signal 15"
        );
    }

    #[test]
    fn the_kernels_victims_are_found_by_their_id() {
        let log = "[1.2] Memory cgroup out of memory: Killed process 4711 (api) total-vm:1kB";
        assert!(is_in_kernel_log(log, 4711));
        assert!(!is_in_kernel_log(log, 471));
    }

    #[test]
    fn a_known_cause_stands_in_the_failure() {
        let said = ["migrate: 7 accounts failed and was rolled back: syntax error".to_owned()];
        let failure = told("migrate", "exited with code 1", &said);
        assert!(
            failure.cause.contains("migration 7 accounts failed"),
            "{failure}"
        );
        assert!(failure.next_step.contains("migrations/"), "{failure}");
    }
}
