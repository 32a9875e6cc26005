//! The stack as processes of this machine.
//!
//! | file | what it holds |
//! |---|---|
//! | `servers`, `packages`, `account` | finding or installing Postgres and Redis, and who runs them |
//! | `postgres`, `redis`, `binaries`, `environment`, `clients` | how each service is made, run and asked |
//! | `plan`, `probe` | what travels to the supervisor |
//! | `supervisor`, `service`, `control` | the parent of all services, and speaking with it |
//! | `start`, `services`, `health` | `up`, in order; what it starts; why something is not healthy |
//! | `throw_away` | servers for tests, gone with the process that asked for them |
//!
//! Everything lies in `.slipway/`: `state.json` (mode, ports), `data/`, `mail/`, `logs/`, `native/`.

pub(crate) mod account;
mod binaries;
mod clients;
mod control;
mod environment;
mod health;
pub(crate) mod kinds;
mod links;
mod logs;
pub(crate) mod packages;
mod plan;
pub(crate) mod postgres;
mod probe;
pub(crate) mod process;
mod redis;
pub(crate) mod servers;
mod service;
mod services;
mod start;
mod supervisor;
pub(crate) mod throw_away;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use self::control::Place;
use self::environment::Ports;
pub(crate) use self::{binaries::build, environment::inherited};
use crate::exec::NoProgram;
use crate::logs::View;
use crate::migrate;
use crate::nearest::unknown_service;
use crate::project::Project;
use crate::secrets::{self, Role};
use crate::stack::{
    self, Fault, Link, LogOptions, Mode, ServiceFailure, ServiceState, Stack, UpOptions, service_of,
};
use crate::verbose::Shown as _;

/// The services, in the order of their start.
const SERVICES: [&str; 4] = ["postgres", "redis", "api", "worker"];

/// The stack of one checkout as processes.
pub(crate) struct Native<'a> {
    project: &'a Project,
    place: Place,
}

/// The hidden verb: the parent of all services.
pub(crate) fn supervise(root: &Path) -> Result<()> {
    supervisor::run(&Place::at(root))
}

/// What `doctor` wants to know: the servers that were found, or that none was.
pub(crate) fn found_servers() -> (Option<String>, Option<String>) {
    let postgres = servers::postgres(None)
        .map(|found| format!("Postgres {} in {}", found.major, found.bin.display()));
    let redis = servers::redis()
        .map(|found| format!("Redis {} at {}", found.major, found.server.display()));
    (postgres, redis)
}

/// The major version of Postgres that made the data, when no server of it is here.
pub(crate) fn version_without_server(project: &Project) -> Option<u32> {
    let major = Native::new(project).version_of_data()?;
    // Without any, they are installed first, and then it is seen what came.
    servers::postgres(None)?;
    servers::postgres(Some(major)).is_none().then_some(major)
}

/// What a killed supervisor left running, as `postgres (pid 12)`. None while a supervisor lives, or
/// when the last one ended in order.
pub(crate) fn leftovers(project: &Project) -> Option<Vec<String>> {
    let place = Place::at(project.root());
    if place.is_supervised() {
        return None;
    }
    supervisor::leftovers(&place)
}

/// Stops it, and forgets it.
pub(crate) fn stop_leftovers(project: &Project) {
    supervisor::stop_leftovers(&Place::at(project.root()));
}

impl<'a> Native<'a> {
    /// For this checkout.
    pub(crate) fn new(project: &'a Project) -> Self {
        Self {
            project,
            place: Place::at(project.root()),
        }
    }

    fn status(&self) -> Result<Vec<control::Status>> {
        control::status(&self.place)?.ok_or_else(stack::nothing_runs)
    }

    fn port(&self, service: &str) -> Result<u16> {
        self.project
            .port(service)
            .with_context(|| format!("{service} has never run: start it with `cargo xtask up`"))
    }

    fn ports(&self) -> Result<Ports> {
        Ok(Ports {
            postgres: self.port("postgres")?,
            redis: self.port("redis")?,
            // With `up --infra` the developer runs these two, on the usual ports.
            api: self.project.port("api").unwrap_or(start::API_PORT),
            worker: self.project.port("worker").unwrap_or(start::WORKER_PORT),
        })
    }

    fn ask(&self, what: &str, service: &str) -> Result<()> {
        let request = json!({ "do": what, "service": service });
        control::ask(&self.place, &request)?
            .ok_or_else(stack::nothing_runs)
            .map(drop)
    }

    fn require(&self, service: &str) -> Result<()> {
        let is_running =
            |status: &control::Status| status.name == service && status.state == "running";
        if self.status()?.iter().any(is_running) {
            return Ok(());
        }
        Err(stack::does_not_run(service))
    }

    /// The services named, or all that the supervisor has, in the order of their start; `worker` means
    /// each of its processes. A name that it has not is an error.
    fn named(&self, services: &[String]) -> Result<Vec<String>> {
        let all: Vec<String> = self
            .status()?
            .into_iter()
            .map(|status| status.name)
            .collect();
        let is_meant = |name: &str, word: &str| name == word || service_of(name) == word;
        let is_known = |word: &&String| all.iter().any(|name| is_meant(name, word));
        if let Some(unknown) = services.iter().find(|word| !is_known(word)) {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            bail!(unknown_service(unknown, &all));
        }
        let is_named = |name: &String| services.iter().any(|word| is_meant(name, word));
        Ok(all
            .into_iter()
            .filter(|name| services.is_empty() || is_named(name))
            .collect())
    }
}

impl Stack for Native<'_> {
    fn mode(&self) -> Mode {
        Mode::Native
    }

    fn up(&self, options: &UpOptions) -> Result<Vec<ServiceState>> {
        start::up(self, options)?;
        self.ps()
    }

    fn down(&self, volumes: bool) -> Result<()> {
        match control::ask(&self.place, &json!({ "do": "stop" }))? {
            Some(_) => {
                let is_gone = || !self.place.is_supervised();
                if !process::wait_until(Duration::from_secs(10), is_gone) {
                    bail!(
                        "the supervisor does not end; its log is {}",
                        self.place.log("supervisor").display()
                    );
                }
            }
            // The supervisor was killed: what it started may be there still.
            None => supervisor::stop_leftovers(&self.place),
        }
        if volumes {
            self.remove_data()?;
        }
        Ok(())
    }

    fn restart(&self, services: &[String]) -> Result<()> {
        secrets::fit::require_settled(self.project, Mode::Native)?;
        let names = self.named(services)?;
        for name in names.iter().rev() {
            self.ask("stop", name)?;
        }
        for name in &names {
            self.ask("start", name)?;
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        health::wait_until_healthy(&self.place, &names)
    }

    fn ending(&self, service: &str) -> Result<ServiceFailure> {
        let services = self.status()?;
        let status = services.iter().find(|status| status.name == service);
        health::ending_of(&self.place, status.context("it is not there any more")?)
    }

    fn ps(&self) -> Result<Vec<ServiceState>> {
        // Without a supervisor there are none, as there are no containers after `down`.
        let services = control::status(&self.place)?.unwrap_or_default();
        let shown = |status: control::Status| ServiceState {
            address: Some(status.address).filter(|_| status.state == "running"),
            name: status.name,
            state: status.state,
            health: status.health,
            seconds: status.seconds,
        };
        let mut services: Vec<ServiceState> = services.into_iter().map(shown).collect();
        // A part that was started later stands behind in the supervisor's list.
        services.sort_by_key(|service| {
            let name = service_of(&service.name);
            SERVICES.iter().position(|known| *known == name)
        });
        Ok(services)
    }

    fn logs(&self, options: &LogOptions, view: &mut View) -> Result<()> {
        let known: Vec<&str> = SERVICES.into_iter().chain(["supervisor"]).collect();
        if let Some(word) = options
            .services
            .iter()
            .find(|name| !known.contains(&service_of(name)))
        {
            bail!(unknown_service(word, &known));
        }
        let services = if options.services.is_empty() {
            logs::running_or_all(&self.place)?
        } else {
            options.services.clone()
        };
        let folder = self.project.state_dir().join("logs");
        logs::show(&folder, &services, options, view)
    }

    fn build(&self) -> Result<()> {
        binaries::build(self.project, &start::PACKAGES).map(drop)
    }

    fn compiler(&self) -> Result<Command> {
        Ok(binaries::cargo(self.project, &start::PACKAGES))
    }

    fn reload(&self, service: &str, binaries: &BTreeMap<String, PathBuf>) -> Result<()> {
        self.status()?;
        if service == "migrate" {
            return start::migrate(self.project, self.ports()?, binaries, &["run".to_owned()]);
        }
        start::replace(self.project, &self.place, self.ports()?, binaries, service)
    }

    fn exec(&self, service: &str, command: &[String]) -> Result<()> {
        let [program, args @ ..] = command else {
            bail!("no command given")
        };
        let known = ["api", "worker", "migrate"];
        if ["postgres", "redis"].contains(&service) {
            bail!(
                "{service} has no surroundings of its own here\n  next: `cargo xtask psql` or `cargo xtask redis-cli`"
            );
        }
        if !known.contains(&service) {
            bail!(unknown_service(service, &known));
        }
        let env = environment::of(self.project, self.ports()?, service)?;
        let mut command = Command::new(program);
        crate::cargo::forget_ours(&mut command);
        for name in env.keys().filter_map(|name| name.strip_suffix("_FILE")) {
            command.env_remove(name);
        }
        let error = command.args(args).envs(env).shown().exec();
        let said = format!("`{program}` cannot be run");
        if error.kind() == io::ErrorKind::NotFound {
            return Err(NoProgram(format!("{said}: {error}")).into());
        }
        Err(error).context(said)
    }

    fn psql(&self, args: &[String]) -> Result<()> {
        self.become_psql(args)
    }

    fn redis_cli(&self, args: &[String]) -> Result<()> {
        self.become_redis_cli(args)
    }

    fn migrate(&self, args: &[String]) -> Result<()> {
        self.require("postgres")?;
        secrets::fit::require_settled(self.project, Mode::Native)?;
        let binaries = binaries::build(self.project, &["migrations"])?;
        start::migrate(self.project, self.ports()?, &binaries, args)
    }

    fn read_migrate(&self, args: &[&str]) -> Result<String> {
        self.require("postgres")?;
        secrets::fit::require_settled(self.project, Mode::Native)?;
        let binaries = binaries::build(self.project, &["migrations"])?;
        let mut command = start::migrate_command(self.project, self.ports()?, &binaries)?;
        command.args(args);
        migrate::read(command)
    }

    fn migrate_database(&self, database: &str) -> Result<()> {
        self.require("postgres")?;
        secrets::fit::require_settled(self.project, Mode::Native)?;
        let binaries = binaries::build(self.project, &["migrations"])?;
        let mut command = start::migrate_command(self.project, self.ports()?, &binaries)?;
        command.arg("run").env("DATABASE_NAME", database);
        migrate::read(command).map(drop)
    }

    fn run_program(&self, service: &str, words: &[String], needed: &str) -> Result<()> {
        self.require(needed)?;
        secrets::fit::require_settled(self.project, Mode::Native)?;
        // All that `up` builds: alone, a package would be compiled anew with fewer features.
        let binaries = binaries::build(self.project, &start::PACKAGES)?;
        let program = binaries
            .get(service)
            .with_context(|| format!("cargo built no `{service}`"))?;
        let mut command = Command::new(program);
        command
            .args(words)
            .env_clear()
            .envs(environment::inherited())
            .envs(environment::of(self.project, self.ports()?, service)?)
            .current_dir(self.project.root());
        Err(command.shown().exec()).with_context(|| format!("{service} cannot be started"))
    }

    fn postgres_client(&self, program: &str, role: &str) -> Result<Command> {
        self.postgres_program(program, role)
    }

    fn ask_redis(&self, words: &[&str]) -> Result<String> {
        self.redis_answer(words)
    }

    fn takes_password(&self, role: &Role) -> Result<bool> {
        secrets::lets_in(self.postgres_program("psql", role.name)?, None)
    }

    fn has_data(&self) -> Result<bool> {
        Ok(self.version_of_data().is_some())
    }

    fn inflict(&self, service: &str, fault: Fault) -> Result<()> {
        match fault {
            Fault::Kill => self.ask("kill", service),
            Fault::Stop => self.ask("stop", service),
            Fault::Start => {
                self.ask("start", service)?;
                health::wait_until_healthy(&self.place, &[service])
            }
        }
    }

    fn links(&self) -> Result<Vec<Link>> {
        links::of(self.project, &self.ps()?)
    }
}
