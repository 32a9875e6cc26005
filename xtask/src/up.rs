//! `cargo xtask up`: from a clone to a running stack.

use std::fmt::Write;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueHint, value_parser};

use crate::docker;
use crate::doctor;
use crate::interrupt::{self, Guard};
use crate::project::{Project, no_access};
use crate::ps;
use crate::scale::{self, Scale};
use crate::secrets;
use crate::settings;
use crate::stack::{self, Link, Mode, ServiceState, Stack, UpOptions};
use crate::terminal::{self, BOLD, DIM, Progress};

/// Options of `up`.
#[derive(Args)]
pub(crate) struct Up {
    /// In containers, with Docker Compose
    #[arg(long, conflicts_with = "native")]
    pub(crate) docker: bool,
    /// As processes of this machine
    #[arg(long)]
    pub(crate) native: bool,
    /// Only Postgres, Redis and mail; you run the services
    #[arg(long)]
    pub(crate) infra: bool,
    /// Answer every question with yes
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Only these services, with what they need: up worker
    #[arg(conflicts_with = "infra")]
    pub(crate) services: Vec<String>,
    /// How many of a service: --scale worker=3. Remembered until another number is given
    #[arg(long, value_name = "SERVICE=NUMBER", value_parser = scale::parse)]
    #[arg(value_hint = ValueHint::Other)]
    pub(crate) scale: Vec<Scale>,
    /// How long the services may take to become healthy [default: 180]
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..))]
    pub(crate) wait_timeout: Option<u32>,
}

/// Starts everything, and says where it is and what to try next.
pub(crate) fn run(project: &Project, args: &Up) -> Result<()> {
    let forced = args
        .docker
        .then_some(Mode::Docker)
        .or(args.native.then_some(Mode::Native));
    let options = UpOptions {
        infra: args.infra,
        yes: args.yes,
        services: args.services.clone(),
        wait: args
            .wait_timeout
            .map(|seconds| Duration::from_secs(seconds.into())),
        scale: args.scale.clone(),
        ..UpOptions::default()
    };
    let (stack, services) = start(project, forced, &options)?;
    terminal::print(&format!("\n{}\n", ps::table(&services, true)));
    let links = stack.links()?;
    for Link { label, address, .. } in &links {
        terminal::print(&format!("  {label:<10} {}", terminal::paint(BOLD, address)));
    }
    terminal::print(&format!(
        "\n{}",
        next_steps(&links, args.infra, terminal::room())
    ));
    Ok(())
}

/// Brings the stack up for another verb, without the closing page.
pub(crate) fn bring_up(project: &Project, mode: Option<Mode>) -> Result<()> {
    start(project, mode, &UpOptions::default()).map(drop)
}

/// Brings the stack up as asked, and says nothing of where it is.
pub(crate) fn start<'a>(
    project: &'a Project,
    forced: Option<Mode>,
    options: &UpOptions,
) -> Result<(Box<dyn Stack + 'a>, Vec<ServiceState>)> {
    // Two at once would make the same secrets and data, and Ctrl-C in one would end the other's.
    let _lock = one_at_a_time(project)?;
    if settings::ensure_file(project)? {
        terminal::note("made .env from .env.example");
    }
    let mode = choose(project, forced)?;
    if mode == Mode::Docker {
        // Before a word about data that may be another checkout's, and before anything is made.
        docker::require_own(project)?;
    }
    make_secrets(project, mode, options.yes)?;
    doctor::before_up(project, mode)?;
    scale::remember(project, mode, &options.scale)?;
    for (service, count) in scale::of(project) {
        terminal::note(&format!(
            "scale: {count} of {service}; `--scale {service}=1` changes that"
        ));
    }
    leave_other_mode(project, mode)?;
    // Before the start, so that `ps`, `logs` and `down` know where to look when it fails half-way.
    project.remember_mode(Some(mode))?;
    let stack = stack::of(mode, project)?;
    let is_up = |services: Vec<ServiceState>| services.iter().any(|one| one.state != "exited");
    // What was there before stays there.
    let guard = (!stack.ps().is_ok_and(is_up)).then(|| takes_down(project, mode));
    let services = stack.up(options)?;
    drop(guard);
    Ok((stack, services))
}

/// Whether an `up` of this checkout works now.
pub(crate) fn is_under_way(project: &Project) -> bool {
    let lock = File::open(lock_file(project));
    lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn lock_file(project: &Project) -> PathBuf {
    project.state_dir().join("up.lock")
}

/// Waits until no other `up` of this checkout works; none does as long as the file is open.
pub(crate) fn one_at_a_time(project: &Project) -> Result<File> {
    project.make_state_dir()?;
    let path = lock_file(project);
    let lock = File::create(&path).map_err(|error| no_access(&path, &error))?;
    if lock.try_lock().is_err() {
        terminal::note("another `up` works in this checkout: this one begins when it is done");
        let _progress = Progress::start("waiting for the other `up`");
        lock.lock().context("another `up` cannot be waited for")?;
    }
    Ok(lock)
}

/// On Ctrl-C, a stack that is half up is taken down; its data is kept.
pub(crate) fn takes_down(project: &Project, mode: Mode) -> Guard {
    let root = project.root().to_owned();
    interrupt::guard(move || {
        terminal::note(
            "\ninterrupted: stopping what was started; data is kept (Ctrl-C again leaves it as it is)",
        );
        let down = Project::at(&root).and_then(|project| stack::of(mode, &project)?.down(false));
        if let Err(error) = down {
            terminal::warn(&format!(
                "{error:#}\n  next: `cargo xtask down` stops the rest"
            ));
        }
    })
}

/// Makes what is missing in `secrets/`.
fn make_secrets(project: &Project, mode: Mode, yes: bool) -> Result<()> {
    if stack::of(mode, project)?.has_data()? {
        secrets::fit::permit_new_keys(project, yes)?;
    }
    let made = secrets::ensure(project)?;
    if made.len() > secrets::WORDS.len() {
        terminal::note("made secrets/ (one file each, random, not in git)");
    } else if !made.is_empty() {
        terminal::note(&format!("made in secrets/: {}", made.join(", ")));
    }
    Ok(())
}

/// The mode to run in, said in one line with the reason.
pub(crate) fn choose(project: &Project, forced: Option<Mode>) -> Result<Mode> {
    let (mode, why) = match forced {
        Some(Mode::Native) => (Mode::Native, "as asked".to_owned()),
        Some(Mode::Docker) => match docker::usable(project) {
            Ok(()) => (Mode::Docker, "as asked".to_owned()),
            Err(reason) => bail!(
                "Docker cannot be used: {reason}\n  \
                 next: {}; or `cargo xtask up --native`, which needs no Docker",
                reason.remedy
            ),
        },
        // The data are where the last `up` has put them.
        None if project.mode() == Some(Mode::Native) => (
            Mode::Native,
            "as last time; `--docker` changes that".to_owned(),
        ),
        None => match docker::usable(project) {
            Ok(()) if project.mode() == Some(Mode::Docker) => (
                Mode::Docker,
                "as last time; `--native` changes that".to_owned(),
            ),
            Ok(()) => (
                Mode::Docker,
                "its engine answers and has the images, or can get them".to_owned(),
            ),
            Err(reason) if project.mode() == Some(Mode::Docker) => bail!(
                "{reason}, and the data of the last `up` are there\n  \
                 next: {}; or `cargo xtask up --native`, which has data of its own",
                reason.remedy
            ),
            Err(reason) => (Mode::Native, reason.to_string()),
        },
    };
    terminal::note(&format!(
        "mode: {} ({why})",
        terminal::mark(BOLD, mode.name())
    ));
    Ok(mode)
}

/// Stops the stack of the other mode: two at once would fight for ports and confuse every verb.
fn leave_other_mode(project: &Project, mode: Mode) -> Result<()> {
    let Some(other) = project.mode().filter(|other| *other != mode) else {
        return Ok(());
    };
    let stack = stack::of(other, project)?;
    // An engine that is gone has nothing running that we could stop.
    if stack
        .ps()
        .is_ok_and(|services| services.iter().any(|service| service.state != "exited"))
    {
        terminal::note(&format!(
            "stopping the {other} stack first; its data is kept"
        ));
        stack.down(false)?;
    }
    Ok(())
}

/// Three things to try, as they may be typed, each with what it does: beside it, or below where so
/// many columns have no room for both.
fn next_steps(links: &[Link], infra: bool, room: Option<usize>) -> String {
    let api = links.iter().find(|link| link.word == "api");
    let curl = api.map(|api| format!("curl {}/readyz", api.address));
    let steps = match curl {
        _ if infra => vec![
            ("cargo xtask migrate run", "bring the schema up to date"),
            ("cargo xtask exec api cargo run -p api -- serve", "the API"),
            (
                "cargo xtask exec worker cargo run -p worker -- run",
                "the worker",
            ),
        ],
        Some(ref curl) => vec![
            (curl.as_str(), "ask the API whether all is well"),
            ("cargo xtask db seed", "demo accounts, and how to log in"),
            ("cargo xtask logs -f", "what the services say"),
        ],
        None => vec![
            ("cargo xtask ps", "what runs, and where"),
            ("cargo xtask logs -f", "what the services say"),
            ("cargo xtask up", "the rest"),
        ],
    };
    let width = steps
        .iter()
        .map(|(words, _)| words.len())
        .max()
        .unwrap_or(0);
    let longest = steps.iter().map(|(_, meaning)| meaning.len()).max();
    let is_narrow = room.is_some_and(|room| width + 5 + longest.unwrap_or(0) > room);
    let mut text = "Next".to_owned();
    for (words, meaning) in steps {
        let meaning = terminal::paint(DIM, meaning);
        let (width, gap) = if is_narrow {
            (0, "\n     ")
        } else {
            (width, "   ")
        };
        // A string takes all that is written to it.
        let _ = write!(text, "\n  {words:<width$}{gap}{meaning}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_steps_have_the_real_port() {
        let steps = next_steps(&Link::of_api("http://127.0.0.1:8004"), false, Some(100));
        assert!(
            steps.contains("curl http://127.0.0.1:8004/readyz  "),
            "{steps}"
        );
        assert!(!next_steps(&[], false, None).contains("curl"));
        assert!(next_steps(&[], true, None).contains("migrate run"));
        let narrow = next_steps(&[], true, Some(60));
        assert!(narrow.lines().all(|line| line.len() <= 60), "{narrow}");
        assert_eq!(narrow.lines().count(), 7);
    }
}
