//! `cargo xtask doctor`: what is wrong with this machine or checkout, and the remedy.
//!
//! | file | what it asks about |
//! |---|---|
//! | `machine` | toolchain, disk, memory, clock |
//! | `containers` | Docker: its engine, Compose, images, disk, memory and clock |
//! | `servers` | Postgres and Redis of this machine, and what a killed supervisor left |
//! | `listeners` | ports, and who holds them |
//! | `settings`, `secrets` | `.env` and `secrets/` |
//! | `sources` | `.sqlx`, line ends, git |
//! | `fix` | what `--fix` does |
//! | `finding`, `report` | what a check says, and how it is shown |
//!
//! A new check is a function that returns a [`Finding`], in the list of its file.

mod containers;
mod finding;
mod fix;
mod listeners;
mod machine;
mod report;
mod secrets;
mod servers;
mod settings;
mod sources;

use anyhow::{Result, bail};
use clap::Args;

use self::finding::{Finding, Severity};
use self::report::Group;
use crate::project::Project;
use crate::stack::Mode;
use crate::terminal;

/// Options of `doctor`.
#[derive(Args)]
pub(crate) struct Doctor {
    /// For machines: {"checks": [{"group", "name", "status", "finding", "remedy", "fixable"}]}
    #[arg(long)]
    pub(crate) json: bool,
    /// Do the remedies that lose nothing; asks before it installs or removes
    #[arg(long)]
    pub(crate) fix: bool,
}

type Checks = fn(&Project) -> Vec<Finding>;

/// The groups, in the order in which they are shown.
const GROUPS: [(&str, Checks); 7] = [
    ("Machine", machine::all),
    ("Docker", containers::all),
    ("Native", servers::all),
    ("Ports", listeners::all),
    ("Settings", settings::all),
    ("Secrets", secrets::all),
    ("Sources", sources::all),
];

/// Runs every check and prints the results; an error when one failed.
pub(crate) fn run(project: &Project, args: &Doctor) -> Result<()> {
    let mut groups = examine(project, &GROUPS);
    if args.fix {
        fix::all(project, groups);
        // Whether it helped is seen, not assumed.
        groups = examine(project, &GROUPS);
    }
    terminal::print(&if args.json {
        report::document(&groups)
    } else {
        report::page(&groups)
    });
    match report::count(&groups, Severity::Fail) {
        0 => Ok(()),
        1 => bail!("1 check failed"),
        count => bail!("{count} checks failed"),
    }
}

/// What `up` asks before it starts anything in this mode: the checks whose failure would cost
/// minutes or end in somebody else's words. Silent when all is well, and done in a moment.
///
/// What may go well is a warning on standard error.
///
/// # Errors
/// When the start cannot go well: what is wrong, and the next step.
pub(crate) fn before_up(project: &Project, mode: Mode) -> Result<()> {
    let of_the_mode: Checks = match mode {
        Mode::Docker => containers::before_up,
        Mode::Native => servers::before_up,
    };
    let groups = examine(
        project,
        &[
            ("", machine::before_up),
            ("", of_the_mode),
            ("", settings::all),
            ("", secrets::before_up),
            ("", sources::before_up),
        ],
    );
    let mut failures = Vec::new();
    for finding in groups.iter().flat_map(|group| &group.findings) {
        match finding.severity {
            Severity::Ok => {}
            Severity::Warn => terminal::warn(&report::sentence(finding)),
            Severity::Fail => failures.push(report::sentence(finding)),
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    bail!("{}", failures.join("\n"))
}

/// Runs the groups at the same time: most of them wait for another program.
fn examine(project: &Project, groups: &[(&'static str, Checks)]) -> Vec<Group> {
    std::thread::scope(|scope| {
        let started: Vec<_> = groups
            .iter()
            .map(|(title, checks)| (*title, scope.spawn(|| checks(project))))
            .collect();
        started
            .into_iter()
            .map(|(title, checks)| Group {
                title,
                findings: checks
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            })
            .collect()
    })
}
