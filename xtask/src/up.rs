//! `cargo xtask up`: from a clone to a running stack.

use anyhow::{Result, bail};
use clap::Args;

use crate::docker;
use crate::doctor;
use crate::interrupt::{self, Guard};
use crate::project::Project;
use crate::ps;
use crate::secrets;
use crate::settings;
use crate::stack::{self, Mode, ServiceState, Stack, UpOptions};
use crate::terminal::{self, BOLD};

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
        ..UpOptions::default()
    };
    let (stack, services) = start(project, forced, &options)?;
    terminal::print(&format!("\n{}\n", ps::table(&services, true)));
    for (label, address) in stack.links()? {
        terminal::print(&format!(
            "  {label:<10} {}",
            terminal::paint(BOLD, &address)
        ));
    }
    terminal::print(&format!("\n{}", next_steps(args.infra)));
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
    if settings::ensure_file(project)? {
        terminal::note("made .env from .env.example");
    }
    let mode = choose(project, forced)?;
    make_secrets(project, mode, options.yes)?;
    doctor::before_up(project, mode)?;
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

/// On Ctrl-C, a stack that is half up is taken down; its data is kept.
pub(crate) fn takes_down(project: &Project, mode: Mode) -> Guard {
    let root = project.root().to_owned();
    interrupt::guard(move || {
        terminal::note("\ninterrupted: stopping what was started; data is kept");
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
        None if project.last_mode() == Some(Mode::Native) => (
            Mode::Native,
            "as last time; `--docker` changes that".to_owned(),
        ),
        None => match docker::usable(project) {
            Ok(()) => (
                Mode::Docker,
                "its engine answers and has the images, or can get them".to_owned(),
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

fn next_steps(infra: bool) -> &'static str {
    if infra {
        return "Next:
  cargo xtask migrate run                            bring the schema up to date
  cargo xtask exec api cargo run -p api -- serve     the API, with its settings
  cargo xtask exec worker cargo run -p worker -- run the worker";
    }
    "Next:
  cargo xtask logs -f   what the services say
  cargo xtask test      every test, against throw-away servers
  cargo xtask down      stop; data is kept"
}
