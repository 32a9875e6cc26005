//! The seam between the verbs and the two ways to run the stack.
//!
//! A verb never asks which mode it is in: it takes a [`Stack`] and calls it. `crate::docker` and
//! `crate::native` implement the trait; `up` chooses one, `.slipway/state.json` remembers it, and
//! [`current`] hands the remembered one to every other verb.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::clock::Nanos;
use crate::docker;
use crate::interrupt;
use crate::logs::View;
use crate::logs::line::Level;
use crate::project::Project;
use crate::scale::Scale;
use crate::secrets::Role;
use crate::verbose::Shown as _;

/// How the stack runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Containers, by `docker compose`.
    Docker,
    /// Processes of this machine, under a supervisor of our own.
    Native,
}

impl Mode {
    /// The word in `ps --json` and in the state file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Native => "native",
        }
    }

    /// The reverse of [`Mode::name`].
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Docker, Self::Native]
            .into_iter()
            .find(|mode| mode.name() == name)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What `up` was asked for, beyond the mode.
#[derive(Debug, Clone, Default)]
pub(crate) struct UpOptions {
    /// To be watched by `dev` (docker: the dev override file).
    pub(crate) dev: bool,
    /// Only postgres, redis and mail.
    pub(crate) infra: bool,
    /// Every question is answered with yes.
    pub(crate) yes: bool,
    /// These, and what they need, instead of all.
    pub(crate) services: Vec<String>,
    /// How many of a service, where it was said.
    pub(crate) scale: Vec<Scale>,
    /// How long the services may take to become healthy, where it was said.
    pub(crate) wait: Option<Duration>,
}

/// What `logs` was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogOptions {
    /// Go on with new lines as they come.
    pub(crate) follow: bool,
    /// Lines of the past to begin with, of each service; all when none.
    pub(crate) tail: Option<usize>,
    /// Nothing older than this.
    pub(crate) since: Option<Nanos>,
    /// Nothing below this.
    pub(crate) level: Option<Level>,
    /// As they were written.
    pub(crate) raw: bool,
    /// All of them when empty.
    pub(crate) services: Vec<String>,
}

/// Something that happens to a service: what `e2e` proves the stack against, and how `db restore`
/// takes services away from the database for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL, with nothing said before. Its supervisor may start it again by itself.
    Kill,
    /// An orderly stop that lasts until `Start`.
    Stop,
    /// Ends a stop: starts the service unless it runs, and waits until it is healthy.
    Start,
}

/// One service, as `ps` and the closing table of `up` show it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ServiceState {
    /// The name in `docker-compose.yml`: `api`, `worker`, `postgres`, `redis`, ... With a number,
    /// `worker-2`, where `up --scale` asked for more than one.
    pub(crate) name: String,
    /// `running`, `starting`, `restarting` or `exited`.
    pub(crate) state: String,
    /// `healthy`, `unhealthy`, `starting`, or `none` for a service without a check.
    pub(crate) health: String,
    /// Where it can be reached from this machine: `127.0.0.1:8000`. None when it is not published.
    pub(crate) address: Option<String>,
    /// From its start until it was healthy. None when that is not known.
    pub(crate) seconds: Option<f64>,
}

impl ServiceState {
    /// Whether `word` means this one: by its name, or by that of the service that it is one of.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        self.name == word || service_of(&self.name) == word
    }
}

/// The service that `worker-2` is one of; others are their own.
pub(crate) fn service_of(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((service, number)) if number.parse::<u32>().is_ok() => service,
        _ => name,
    }
}

/// An address worth opening.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Link {
    /// The word that `open` takes: `api`, `docs`, `mail`, ...
    pub(crate) word: &'static str,
    /// What it is called on the page.
    pub(crate) label: &'static str,
    /// A URL, a path, or host and port.
    pub(crate) address: String,
}

impl Link {
    /// The API at this base URL, and what it serves to a browser.
    pub(crate) fn of_api(url: &str) -> Vec<Self> {
        let link = |word, label, path: &str| Self {
            word,
            label,
            address: format!("{url}{path}"),
        };
        vec![
            link("api", "API", ""),
            link("docs", "Documents", "/docs"),
            link("jobs", "Jobs page", "/admin"),
        ]
    }
}

/// A service that did not come up. `main` prints it and exits with 1.
#[derive(Debug)]
pub(crate) struct ServiceFailure {
    /// The service's name.
    pub(crate) service: String,
    /// In words, with the exit code where there is one: `exited with code 1`.
    pub(crate) cause: String,
    /// The end of its log.
    pub(crate) last_lines: Vec<String>,
    /// One thing to do, as a command where there is one.
    pub(crate) next_step: String,
}

impl fmt::Display for ServiceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.cause)?;
        if !self.last_lines.is_empty() {
            write!(f, "\n\n  its last lines:")?;
            for line in &self.last_lines {
                write!(f, "\n    {line}")?;
            }
            writeln!(f)?;
        }
        write!(f, "\n  next: {}", self.next_step)
    }
}

impl std::error::Error for ServiceFailure {}

/// One way to run the stack.
///
/// Functions that end in an interactive program (`exec`, `psql`, `redis_cli`, `jobs`, `logs` of docker)
/// replace this process where the platform can, so that signals and exit codes pass straight
/// through; elsewhere they exit with the program's code.
pub(crate) trait Stack {
    /// Which one this is.
    fn mode(&self) -> Mode;

    /// Builds, starts in order and waits until all is healthy. Idempotent, and quick when nothing
    /// changed. `.env` and `secrets/` are there already. Fails with a [`ServiceFailure`].
    fn up(&self, options: &UpOptions) -> Result<Vec<ServiceState>>;

    /// Stops all and leaves nothing running. `volumes` removes the data too (already confirmed).
    fn down(&self, volumes: bool) -> Result<()>;

    /// Restarts these services (all long-running ones when empty) and waits until they are healthy.
    fn restart(&self, services: &[String]) -> Result<()>;

    /// Why a service that has ended has ended, with its last lines.
    fn ending(&self, service: &str) -> Result<ServiceFailure>;

    /// The services that exist, running or not; empty when nothing was started.
    fn ps(&self) -> Result<Vec<ServiceState>>;

    /// Hands the lines of logs to `view`: first the past, then, when following, what comes. A
    /// service that is not known is an error that names those that are.
    fn logs(&self, options: &LogOptions, view: &mut View) -> Result<()>;

    /// Builds what `up` would start.
    fn build(&self) -> Result<()>;

    /// The call of cargo that builds what `dev` runs, with its messages as JSON: see
    /// [`crate::cargo::compile`].
    fn compiler(&self) -> Result<Command>;

    /// Starts `service` anew from what was built (`binaries`: where each lies) and returns when the
    /// new process answers its readiness. `migrate` moves the schema and ends. Fails with a
    /// [`ServiceFailure`] when the new one does not come up.
    fn reload(&self, service: &str, binaries: &BTreeMap<String, PathBuf>) -> Result<()>;

    /// Runs a command in the service's container, or natively with the service's environment.
    fn exec(&self, service: &str, command: &[String]) -> Result<()>;

    /// An interactive `psql` on the stack's database as `slipway_owner`.
    fn psql(&self, args: &[String]) -> Result<()>;

    /// An interactive `redis-cli` on the stack's Redis as the user `slipway`.
    fn redis_cli(&self, args: &[String]) -> Result<()>;

    /// Runs the `migrate` binary with these arguments as the schema's owner; output passes through.
    /// Postgres must run.
    fn migrate(&self, args: &[String]) -> Result<()>;

    /// As [`Stack::migrate`], but what it prints is returned.
    fn read_migrate(&self, args: &[&str]) -> Result<String>;

    /// Applies all migrations to another database of the server. What `migrate` says on failing is
    /// the error. Postgres must run.
    fn migrate_database(&self, database: &str) -> Result<()>;

    /// Runs the program of `service` with these words and the service's settings; output passes
    /// through. The service need not run, but `needed` must.
    fn run_program(&self, service: &str, words: &[String], needed: &str) -> Result<()>;

    /// A client program of Postgres (`psql`, `pg_dump`, `pg_restore`) that logs in as this role; its
    /// input and output are the caller's to connect. Postgres must run.
    fn postgres_client(&self, program: &str, role: &str) -> Result<Command>;

    /// What the stack's Redis answers to one command of the user `slipway`.
    fn ask_redis(&self, words: &[&str]) -> Result<String>;

    /// Whether the role is let in with the password that its file in `secrets/` has. Postgres must run.
    fn takes_password(&self, role: &Role) -> Result<bool>;

    /// Whether an earlier `up` in this mode has left data.
    fn has_data(&self) -> Result<bool>;

    /// Does this to one service.
    fn inflict(&self, service: &str, fault: Fault) -> Result<()>;

    /// Addresses worth opening, for the end of `up` and for `open`.
    fn links(&self) -> Result<Vec<Link>>;
}

/// What a client program prints; it must succeed.
///
/// # Errors
/// With what it said.
pub(crate) fn answer(command: &mut Command) -> Result<String> {
    let output = interrupt::apart(command)
        .stdin(Stdio::null())
        .shown()
        .output()
        .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The implementation of `mode`.
pub(crate) fn of(mode: Mode, project: &Project) -> Result<Box<dyn Stack + '_>> {
    match mode {
        Mode::Docker => Ok(Box::new(crate::docker::Docker::new(project))),
        Mode::Native => Ok(Box::new(crate::native::Native::new(project))),
    }
}

/// The stack that `up` started last.
///
/// # Errors
/// When `up` has never run here, or its data were removed: the sentence names `up`.
pub(crate) fn current(project: &Project) -> Result<Box<dyn Stack + '_>> {
    match project.mode() {
        Some(mode) => of(mode, project),
        None => Err(nothing_runs()),
    }
}

/// The stack that `up` started last, of which at least one service runs.
///
/// # Errors
/// As [`current`], and when all of it was stopped.
pub(crate) fn running(project: &Project) -> Result<Box<dyn Stack + '_>> {
    let stack = current(project)?;
    match stack.ps()?.iter().any(|service| service.state != "exited") {
        true => Ok(stack),
        false => Err(nothing_runs()),
    }
}

/// What a verb says that needs what is not there, in either mode.
pub(crate) fn nothing_runs() -> anyhow::Error {
    anyhow!("nothing runs here\n  next: `cargo xtask up` starts it")
}

/// The same of one service, beside others that may run.
pub(crate) fn does_not_run(service: &str) -> anyhow::Error {
    anyhow!("{service} does not run\n  next: `cargo xtask up` starts it")
}

/// Whether an `up` in either mode has left data. An engine that cannot be asked may have some, when
/// an `up` was there.
pub(crate) fn has_data(project: &Project) -> Result<bool> {
    let is_in_docker = docker::has_volumes(project).unwrap_or_else(|_| docker::was_used(project));
    Ok(is_in_docker || of(Mode::Native, project)?.has_data()?)
}
