//! The stack in containers, by `docker compose`.

mod build;
mod clients;
mod compose;
mod containers;
mod engine;
mod events;
mod failure;
mod images;
mod infra;
mod logs;
mod ports;
mod programs;
mod reload;
mod start;
mod throw_away;
mod up;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use serde_json::Value;

use self::compose::Compose;
use self::containers::order;
use self::ports::PORTS;
use self::programs::{cargo_run, lacks, replace};
use crate::board::{Board, LIMIT};
use crate::exec::NoProgram;
use crate::logs::View;
use crate::migrate;
use crate::project::Project;
use crate::scale;
use crate::secrets::{self, Role};
use crate::stack::{Fault, Link, LogOptions, Mode, ServiceFailure, ServiceState, Stack, UpOptions};
use crate::terminal::Progress;

pub(crate) use self::engine::{Engine, Reason, compose_version, describe};
pub(crate) use self::images::{Image, can_be_had};
pub(crate) use self::throw_away::{image, remove, throw_away};

/// Whether the engine answers, Compose is new enough and the images are there or can be had.
pub(crate) fn usable(project: &Project) -> Result<(), Reason> {
    engine::usable(project, &Docker::new(project).compose()?)
}

/// The images that the stack needs and that are not built here.
///
/// # Errors
/// When Compose cannot read its files, or the engine does not answer.
pub(crate) fn images(project: &Project) -> Result<Vec<Image>> {
    images::needed(project, &Docker::new(project).compose()?)
}

/// Whether the engine has volumes of the project that are this checkout's.
///
/// # Errors
/// When the engine cannot be asked.
pub(crate) fn has_volumes(project: &Project) -> Result<bool, Reason> {
    let label = format!("label=com.docker.compose.project={}", project.name());
    let listed = engine::ask(&["volume", "ls", "--quiet", "--filter", &label])?;
    // A name that was given, in `.env` or by the shell, may be that of others.
    let is_given = project.settings()?.get("COMPOSE_PROJECT_NAME").is_some();
    Ok(!listed.is_empty() && (was_used(project) || !is_given))
}

/// Whether an `up` of this checkout has been in Docker.
pub(crate) fn was_used(project: &Project) -> bool {
    project.recall("docker").is_some()
}

/// The container that publishes a port on this machine.
pub(crate) fn container_on(port: u16) -> Option<String> {
    let mut docker = Command::new("docker");
    docker.args(["ps", "--format", "{{.Names}}", "--filter"]);
    docker.arg(format!("publish={port}"));
    match engine::output_within(docker, engine::ANSWER) {
        engine::Outcome::Succeeded(printed) => printed.lines().next().map(str::to_owned),
        _ => None,
    }
}

/// Another checkout whose containers have this one's project name, as a copied `.env` makes it.
///
/// One that is not there any more has been moved here.
pub(crate) fn other_checkout(project: &Project) -> Option<PathBuf> {
    let mut docker = Command::new("docker");
    docker
        .args(["ps", "--all", "--filter"])
        .arg(format!(
            "label=com.docker.compose.project={}",
            project.name()
        ))
        .args([
            "--format",
            "{{.Label \"com.docker.compose.project.working_dir\"}}",
        ]);
    let engine::Outcome::Succeeded(printed) = engine::output_within(docker, engine::ANSWER) else {
        return None;
    };
    let mut folders = printed.lines().map(PathBuf::from);
    folders.find(|folder| folder != project.root() && folder.exists())
}

/// Refuses to touch what another checkout runs under the same name.
pub(crate) fn require_own(project: &Project) -> Result<()> {
    match other_checkout(project) {
        Some(other) => bail!(
            "the containers of the name {} belong to the checkout at {}\n  \
             next: `cargo xtask down` there; here, remove COMPOSE_PROJECT_NAME from .env or the shell",
            project.name(),
            other.display()
        ),
        None => Ok(()),
    }
}

/// The stack of one checkout in Docker.
pub(crate) struct Docker<'a> {
    project: &'a Project,
}

impl<'a> Docker<'a> {
    /// For this checkout.
    pub(crate) fn new(project: &'a Project) -> Self {
        Self { project }
    }

    /// A call of Compose with the files and ports of the last `up`.
    fn compose(&self) -> Result<Compose> {
        let mut environment = vec![("COMPOSE_PROFILES".to_owned(), self.profiles()?.join(","))];
        for port in &PORTS {
            if let Some(number) = port.current(self.project)? {
                environment.push((port.variable.to_owned(), number.to_string()));
            }
        }
        let compose = Compose::new(self.project.root(), self.project.name(), self.is_dev());
        Ok(compose
            .with_environment(environment)
            .with_scale(scale::of(self.project)))
    }

    /// Whether the last `up` added `docker-compose.dev.yml`: for hot reload, or for its ports.
    fn is_dev(&self) -> bool {
        self.was("dev") || self.is_infra()
    }

    fn is_infra(&self) -> bool {
        self.was("infra")
    }

    fn was(&self, option: &str) -> bool {
        let shape = self.project.recall("docker");
        shape.is_some_and(|shape| shape[option] == true)
    }

    /// The profiles that are on: those of `.env`, without MailDev where a mail server is set.
    fn profiles(&self) -> Result<Vec<String>> {
        let settings = self.project.settings()?;
        let listed = settings.get("COMPOSE_PROFILES").unwrap_or_default();
        let has_server = settings.get("SMTP_HOST").is_some();
        Ok(profiles(&listed, has_server))
    }

    /// Waits until services that were started are healthy.
    fn wait(&self, services: &[&str]) -> Result<()> {
        let mut words = vec![
            "up",
            "--detach",
            "--wait",
            "--no-build",
            "--no-deps",
            "--no-recreate",
        ];
        words.extend(services);
        let mut board = Board::in_order(order);
        start::watched(&self.compose()?, &words, LIMIT, &mut board)?;
        board.keep();
        Ok(())
    }
}

fn profiles(listed: &str, has_mail_server: bool) -> Vec<String> {
    listed
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .filter(|name| *name != "mail" || !has_mail_server)
        .map(str::to_owned)
        .collect()
}

impl Stack for Docker<'_> {
    fn mode(&self) -> Mode {
        Mode::Docker
    }

    fn up(&self, options: &UpOptions) -> Result<Vec<ServiceState>> {
        up::run(self, options)
    }

    fn down(&self, volumes: bool) -> Result<()> {
        require_own(self.project)?;
        // With every file and profile, or it would leave what it does not know.
        let compose = Compose::new(self.project.root(), self.project.name(), true);
        let mut words = vec!["--profile", "*", "down", "--remove-orphans"];
        if volumes {
            words.push("--volumes");
            secrets::fit::unsettle(self.project, Mode::Docker)?;
        }
        let _progress = Progress::start("stopping");
        compose.quietly(&words)?;
        if volumes {
            self.project.remember("docker", Value::Null)?;
        }
        Ok(())
    }

    fn restart(&self, services: &[String]) -> Result<()> {
        secrets::fit::require_settled(self.project, Mode::Docker)?;
        let compose = self.compose()?;
        let running = containers::list(&compose)?;
        let is_there = |name: &&str| running.iter().any(|one| one.service == **name);
        let called = |name| containers::service_called(&running, name);
        let mut names: Vec<&str> = services.iter().map(|name| called(name)).collect();
        if let Some(missing) = names.iter().find(|name| !is_there(name)) {
            self.require(missing)?;
        }
        if names.is_empty() {
            names = running
                .iter()
                .filter(|container| !container.is_finished())
                .map(|container| container.service.as_str())
                .collect();
        }
        // Several containers of one service stand side by side.
        names.dedup();
        let mut words = vec!["restart"];
        words.extend(&names);
        let progress = Progress::start(format!("restarting {}", names.join(", ")));
        compose.quietly(&words)?;
        drop(progress);
        self.wait(&names)
    }

    fn ending(&self, service: &str) -> Result<ServiceFailure> {
        failure::of_service(&self.compose()?, service)
    }

    fn ps(&self) -> Result<Vec<ServiceState>> {
        let containers = containers::list(&self.compose()?)?;
        Ok(containers
            .iter()
            .filter(|container| !container.is_finished())
            .map(|container| container.to_state(None))
            .collect())
    }

    fn logs(&self, options: &LogOptions, view: &mut View) -> Result<()> {
        logs::show(self, options, view)
    }

    fn build(&self) -> Result<()> {
        build::build(self.project, &self.compose()?, self.was("dev"))
    }

    fn compiler(&self) -> Result<Command> {
        reload::compiler(self)
    }

    fn reload(&self, service: &str, _binaries: &BTreeMap<String, PathBuf>) -> Result<()> {
        reload::reload(self, service)
    }

    fn exec(&self, service: &str, command: &[String]) -> Result<()> {
        if self.is_infra() && infra::is_left_out(service) {
            return replace(infra::command(self.project, service, command)?);
        }
        if !self.was("dev") && lacks(service, command) {
            let said = format!(
                "the image of {service} has neither a shell nor tools, only api, worker and migrate\n  \
                 next: `cargo xtask exec {service} api --help`, or `docker inspect` for its environment"
            );
            return Err(NoProgram(said).into());
        }
        let mut words = vec![service];
        words.extend(command.iter().map(String::as_str));
        self.replace_by_exec(&words)
    }

    fn psql(&self, args: &[String]) -> Result<()> {
        self.become_psql(args)
    }

    fn redis_cli(&self, args: &[String]) -> Result<()> {
        self.become_redis_cli(args)
    }

    fn migrate(&self, args: &[String]) -> Result<()> {
        programs::run(self.migrate_command(args, None)?)
    }

    fn read_migrate(&self, args: &[&str]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|word| (*word).to_owned()).collect();
        let (command, _guard) = self.migrate_command(&args, None)?;
        migrate::read(command)
    }

    fn migrate_database(&self, database: &str) -> Result<()> {
        let (command, _guard) = self.migrate_command(&["run".to_owned()], Some(database))?;
        migrate::read(command).map(drop)
    }

    fn run_program(&self, service: &str, words: &[String], needed: &str) -> Result<()> {
        self.require(needed)?;
        secrets::fit::require_settled(self.project, Mode::Docker)?;
        if self.is_infra() {
            let words = cargo_run(service, service, words);
            return replace(infra::command(self.project, service, &words)?);
        }
        // A container of its own: the service's may be the one that does not run.
        programs::run(self.once(service, &[], words)?)
    }

    fn postgres_client(&self, program: &str, role: &str) -> Result<Command> {
        self.postgres_program(program, role)
    }

    fn ask_redis(&self, words: &[&str]) -> Result<String> {
        self.redis_answer(words)
    }

    fn takes_password(&self, role: &Role) -> Result<bool> {
        self.lets_in(role)
    }

    fn has_data(&self) -> Result<bool> {
        self.has_volume()
    }

    fn inflict(&self, service: &str, fault: Fault) -> Result<()> {
        let compose = self.compose()?;
        let containers = containers::list(&compose)?;
        let service = containers::service_called(&containers, service);
        match fault {
            Fault::Kill => compose.quietly(&["kill", "--signal", "KILL", service]),
            Fault::Stop => compose.quietly(&["stop", service]),
            Fault::Start => self.wait(&[service]),
        }
    }

    fn links(&self) -> Result<Vec<Link>> {
        let containers = containers::list(&self.compose()?)?;
        let address = |service: &str| {
            let inside = ports::main_port(service)?;
            let mut all = containers.iter();
            all.find_map(|container| container.address_of(service, inside))
        };
        let others = [
            ("proxy", "Proxy", "proxy", "http://"),
            ("mail", "Mail", "maildev", "http://"),
            ("postgres", "Postgres", "postgres", ""),
            ("redis", "Redis", "redis", ""),
            ("prometheus", "Prometheus", "prometheus", "http://"),
        ];
        let mut links =
            address("api").map_or_else(Vec::new, |api| Link::of_api(&format!("http://{api}")));
        links.extend(others.iter().filter_map(|&(word, label, service, scheme)| {
            let address = format!("{scheme}{}", address(service)?);
            Some(Link {
                word,
                label,
                address,
            })
        }));
        Ok(links)
    }
}

#[cfg(test)]
mod tests {
    use super::profiles;

    #[test]
    fn maildev_gives_way_to_a_mail_server() {
        assert_eq!(profiles("mail, proxy", false), ["mail", "proxy"]);
        assert_eq!(profiles("mail,proxy", true), ["proxy"]);
        assert!(profiles("", false).is_empty());
    }
}
