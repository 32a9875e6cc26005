//! Follows a rollout until every service stands, or one does not.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail};

use super::commands::Swarm;
use super::state::{ServiceState, in_words};
use crate::stack::ServiceFailure;
use crate::terminal::Progress;

/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(1);

/// So many looks in a row have to find all as it should be: an update is noted by the engine a
/// moment after it was asked for.
const LOOKS: u32 = 3;

/// A service that is deployed for the first time is not rolled back by the engine, which starts it
/// again and again. After so many failures it is given up here.
const FAILURES: usize = 3;

/// What is deployed now.
pub(super) struct Rollout<'a> {
    swarm: &'a Swarm,
    services: Vec<String>,
    /// Tasks that had failed before.
    old: BTreeSet<String>,
    is_rollback: bool,
}

/// How far a service is.
#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Stands,
    Comes,
    Failed(String),
}

impl<'a> Rollout<'a> {
    /// To be called before anything is deployed: what has failed by then is not held against it.
    pub(super) fn begin(swarm: &'a Swarm, services: Vec<String>) -> Result<Self> {
        let states = swarm.states()?;
        let failed = states.into_iter().flat_map(|service| service.failed);
        Ok(Self {
            swarm,
            services,
            old: failed.map(|task| task.id).collect(),
            is_rollback: false,
        })
    }

    /// A rollback that was asked for ends where a failed update does.
    pub(super) fn of_a_rollback(self) -> Self {
        Self {
            is_rollback: true,
            ..self
        }
    }

    /// Waits until all services stand.
    ///
    /// # Errors
    /// With a [`ServiceFailure`] when one was rolled back, is stuck, or fails again and again; when
    /// the time is up.
    pub(super) fn follow(&self, seconds: u64) -> Result<()> {
        let progress = Progress::start(format!("{} ...", self.services.join(", ")));
        let mut looks = 0;
        loop {
            let states = self.states()?;
            let mut stand = states.len() == self.services.len();
            for service in &states {
                match judge(service, self.is_rollback) {
                    Judgement::Stands => {}
                    Judgement::Comes => stand = false,
                    Judgement::Failed(cause) => return Err(self.failure(service, cause).into()),
                }
            }
            looks = if stand { looks + 1 } else { 0 };
            if looks == LOOKS {
                return Ok(());
            }
            let line: Vec<String> = states.iter().map(said).collect();
            progress.say(line.join(", "));
            if progress.seconds() > seconds as f64 {
                bail!(
                    "after {seconds} s not everything stands: {}\n  \
                     next: cargo xtask deploy status, or wait longer with --wait-timeout",
                    line.join(", ")
                );
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Those that are waited for, with the failures since the start alone.
    fn states(&self) -> Result<Vec<ServiceState>> {
        let mut states = self.swarm.states()?;
        states.retain(|service| self.services.contains(&service.name));
        for service in &mut states {
            service.failed.retain(|task| !self.old.contains(&task.id));
        }
        Ok(states)
    }

    /// Puts back what of `services` has got the new release meanwhile: it comes as a whole or not at
    /// all. Says which; it is not waited for.
    pub(super) fn undo(&self, services: &[&str]) -> Result<Vec<String>> {
        let mut undone = Vec::new();
        for service in self.states()? {
            let has_it = matches!(service.update.as_deref(), Some("updating" | "completed"));
            if has_it && service.can_go_back() && services.contains(&service.name.as_str()) {
                self.swarm.roll_back(&service.name)?;
                undone.push(service.name);
            }
        }
        Ok(undone)
    }

    fn failure(&self, service: &ServiceState, cause: String) -> ServiceFailure {
        let task = service.failed.first();
        let undone = match (service.previous.is_some(), service.completed.is_some()) {
            (_, true) => "nothing after it was deployed; correct the migration",
            (true, _) => "the release before it runs; correct this one",
            (false, _) => "correct it",
        };
        ServiceFailure {
            service: service.name.clone(),
            cause,
            last_lines: task.map_or_else(Vec::new, |task| self.swarm.last_lines(&task.id)),
            next_step: format!(
                "{undone}, build an image with another tag, then cargo xtask deploy"
            ),
        }
    }
}

/// `api 1/2`
fn said(service: &ServiceState) -> String {
    let ServiceState {
        name,
        running,
        desired,
        ..
    } = service;
    match (service.completed, service.update.as_deref()) {
        (Some((done, wanted)), _) => format!("{name} {done}/{wanted} done"),
        (None, Some("rollback_started")) => format!("{name} goes back"),
        (None, Some("updating")) => format!("{name} {running}/{desired} rolling"),
        _ => format!("{name} {running}/{desired}"),
    }
}

/// The failures in `service` are those since the start.
fn judge(service: &ServiceState, is_rollback: bool) -> Judgement {
    let why = service.failed.first().map_or_else(String::new, |task| {
        format!(": it {}", in_words(&task.error))
    });
    match service.update.as_deref() {
        Some("updating" | "rollback_started") => Judgement::Comes,
        Some("rollback_completed") if !is_rollback => {
            Judgement::Failed(format!("was rolled back{why}"))
        }
        Some("rollback_paused") => Judgement::Failed(format!("could not be rolled back{why}")),
        Some("paused") => Judgement::Failed(format!("is stuck half-way through its update{why}")),
        _ if service.is_whole() => Judgement::Stands,
        _ if service.failed.len() >= FAILURES => {
            Judgement::Failed(format!("fails again and again{why}"))
        }
        _ => Judgement::Comes,
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::Task;
    use super::*;

    fn service(running: u64, update: Option<&str>, failures: usize) -> ServiceState {
        let failed = (0..failures).map(|n| Task {
            id: n.to_string(),
            error: "task: non-zero exit (78)".to_owned(),
        });
        ServiceState {
            name: "api".to_owned(),
            running,
            desired: 2,
            update: update.map(str::to_owned),
            failed: failed.collect(),
            ..ServiceState::default()
        }
    }

    #[test]
    fn a_service_stands_when_all_run_and_no_update_goes_on() {
        for (running, update, stands) in [
            (2, None, true),
            (2, Some("completed"), true),
            (1, None, false),
            (1, Some("completed"), false),
            (2, Some("updating"), false),
            (2, Some("rollback_started"), false),
        ] {
            let judged = judge(&service(running, update, 0), false);
            assert_eq!(judged == Judgement::Stands, stands, "{running} {update:?}");
        }
    }

    #[test]
    fn what_was_rolled_back_or_keeps_failing_has_failed() {
        for (running, update, failures, words) in [
            (
                2,
                Some("rollback_completed"),
                1,
                "rolled back: it ended with exit code 78",
            ),
            (2, Some("rollback_paused"), 1, "could not be rolled back"),
            (1, Some("paused"), 1, "half-way"),
            (0, None, FAILURES, "again and again"),
        ] {
            let Judgement::Failed(cause) = judge(&service(running, update, failures), false) else {
                panic!("{update:?} has not failed")
            };
            assert!(cause.contains(words), "{cause}");
        }
        let once = judge(&service(0, None, FAILURES - 1), false);
        assert_eq!(once, Judgement::Comes, "a first failure may be the last");
    }

    #[test]
    fn a_rollback_that_was_asked_for_ends_well() {
        let back = service(2, Some("rollback_completed"), 0);
        assert_eq!(judge(&back, true), Judgement::Stands);
    }
}
