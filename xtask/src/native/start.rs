//! `up` in native mode, in order: servers, build, data, roles, migrations, services.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Native;
use super::account;
use super::binaries;
use super::control::{self, Others, Place};
use super::environment::{self, Ports};
use super::health;
use super::plan::Spec;
use super::postgres::{self, Cluster};
use super::process;
use super::redis;
use super::servers;
use super::services::{choose_ports, services, wanted, workers};
use super::supervisor;
use crate::board::{Board, LIMIT, Step};
use crate::clock;
use crate::project::Project;
use crate::secrets::fit;
use crate::stack::{Mode, UpOptions, service_of};
use crate::terminal::{self, Progress};
use crate::verbose::Shown as _;

/// The packages whose binaries run.
pub(super) const PACKAGES: [&str; 3] = ["api", "worker", "migrations"];

/// Where the API listens unless `API_PORT` says otherwise or the port is taken.
pub(super) const API_PORT: u16 = 8000;

/// Where the worker answers health checks when the developer runs it.
pub(super) const WORKER_PORT: u16 = 8001;

/// Brings everything up; what runs unchanged is left alone.
pub(super) fn up(native: &Native, options: &UpOptions) -> Result<()> {
    let (project, place) = (native.project, &native.place);
    let wanted = wanted(options)?;
    let wants = |name: &str| wanted.contains(&name);
    place.make()?;
    if control::status(place)?.is_none() {
        // Before ports are chosen: what a killed supervisor left behind still holds its own.
        process::wait_until(control::DEATH, || !place.is_supervised());
        supervisor::stop_leftovers(place);
    }

    let data = account::chosen_postgres_data(project);
    let (server, redis) = servers::ensure(options.yes, true)?;
    let server = match data.as_deref().and_then(postgres::version_of_data) {
        Some(major) if major != server.major => servers::postgres(Some(major)).with_context(|| {
            format!(
                "the data was made by Postgres {major}, and only {} is here\n  next: install Postgres {major}, \
                 or `cargo xtask down --volumes` to begin with an empty database",
                server.major
            )
        })?,
        _ => server,
    };
    let redis = redis.context("no Redis is installed")?;
    let binaries = if wants("migrate") {
        binaries::build(project, &PACKAGES)?
    } else {
        BTreeMap::new()
    };

    let ports = choose_ports(project, place)?;
    let account = account::for_postgres()?;
    let data = account::postgres_data(project, account)?;
    let cluster = Cluster {
        postgres: &server,
        account,
        data: &data,
    };
    if wants("postgres") && postgres::version_of_data(&data).is_none() {
        let _progress = Progress::start("making the database");
        cluster.make(Some(&crate::secrets::read(
            project,
            "postgres_superuser_password",
        )?))?;
    }
    postgres::write_passwords(project, place, ports.postgres)?;
    let mut infra = vec![
        cluster.spec(ports.postgres),
        redis::spec(project, place, &redis, ports.redis)?,
    ];
    infra.retain(|spec| wants(&spec.name));
    let mut services = if wants("migrate") {
        let workers = workers(project, place, ports)?;
        services(project, place, ports, &workers, &binaries)?
    } else {
        Vec::new()
    };
    services.retain(|spec| wants(service_of(&spec.name)));

    let limit = options.wait.unwrap_or(LIMIT);
    let mut board = Board::new();
    show_first(&mut board, place, &infra, &services, wants("migrate"))?;
    // A full start leaves our own services as they run until the schema is theirs; `--infra` ends them.
    let others = if options.infra {
        Others::Stop
    } else {
        Others::Keep
    };
    control::apply(project, &infra, others)?;
    health::watch(place, &names(&infra), limit, &mut board)?;
    if wants("postgres") {
        settle_secrets(native, &cluster, options.yes)?;
        postgres::make_roles(project, place, &server, ports.postgres)?;
        fit::settled(project, Mode::Native)?;
    }
    if !wants("migrate") {
        return Ok(());
    }
    migrate_on(&mut board, project, ports, &binaries)?;
    fs::create_dir_all(environment::mail_folder(project)?)?;
    let others = if options.services.is_empty() {
        Others::Stop
    } else {
        Others::Keep
    };
    let names = names(&services);
    control::apply(project, &[infra, services].concat(), others)?;
    health::watch(place, &names, limit, &mut board)
}

/// Puts all that is to run on the board, as it is now.
fn show_first(
    board: &mut Board,
    place: &Place,
    infra: &[Spec],
    services: &[Spec],
    migrates: bool,
) -> Result<()> {
    let running = control::status(place)?.unwrap_or_default();
    let is_healthy = |name: &str| {
        let mut all = running.iter();
        all.any(|status| status.name == name && status.health == "healthy")
    };
    let migrate = migrates.then(|| "migrate".to_owned());
    for name in names(infra)
        .into_iter()
        .chain(migrate)
        .chain(names(services))
    {
        let step = if is_healthy(&name) {
            Step::Healthy(None)
        } else {
            Step::Waits
        };
        board.begin(&name, step);
    }
    Ok(())
}

fn names(specs: &[Spec]) -> Vec<String> {
    specs.iter().map(|spec| spec.name.clone()).collect()
}

/// Says which passwords are about to be set, and sets the superuser's, who sets the others'.
fn settle_secrets(native: &Native, cluster: &Cluster, yes: bool) -> Result<()> {
    let misfits = fit::misfits(native)?;
    fit::permit_settling(native.project, &misfits, yes)?;
    if misfits.iter().all(|role| role.name != "postgres") {
        return Ok(());
    }
    native.ask("stop", "postgres")?;
    let set = postgres::reset_superuser(cluster, native.project);
    native.ask("start", "postgres")?;
    set?;
    health::wait_until_healthy(&native.place, &["postgres"])
}

/// Starts a service from its new binary and returns when that answers.
///
/// The old process has ended by then: both would want the same port. It finishes what it has, so
/// that no request is lost; connections are refused for the moment between the two.
pub(super) fn replace(
    project: &Project,
    place: &Place,
    ports: Ports,
    binaries: &BTreeMap<String, PathBuf>,
    service: &str,
) -> Result<()> {
    let workers = workers(project, place, ports)?;
    let mut plan = services(project, place, ports, &workers, binaries)?;
    plan.retain(|spec| Some(&spec.program) == binaries.get(service));
    control::apply(project, &plan, Others::Keep)?;
    let start = Instant::now();
    for spec in &plan {
        while !spec.probe.is_healthy() {
            let services = control::status(place)?.context("the supervisor is gone")?;
            let status = services.iter().find(|status| status.name == spec.name);
            let status = status.with_context(|| format!("no such service: {}", spec.name))?;
            if status.state != "running" || start.elapsed() > LIMIT {
                return Err(health::failure(place, status)?.into());
            }
            clock::pause(Duration::from_millis(10));
        }
    }
    Ok(())
}

/// Runs `migrate` as the schema's owner; its output passes through.
pub(super) fn migrate(
    project: &Project,
    ports: Ports,
    binaries: &BTreeMap<String, PathBuf>,
    args: &[String],
) -> Result<()> {
    let status = migrate_command(project, ports, binaries)?
        .args(args)
        .shown()
        .status()
        .context("migrate cannot be started")?;
    if !status.success() {
        bail!(
            "`migrate {}` ended with {status}; it says why above\n  \
             next: `cargo xtask migrate status` shows where the schema stands",
            args.join(" ")
        );
    }
    Ok(())
}

/// The binary `migrate` with its settings, and no words yet.
pub(super) fn migrate_command(
    project: &Project,
    ports: Ports,
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<Command> {
    let program = binaries
        .get("migrate")
        .context("cargo built no `migrate`")?;
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(environment::inherited())
        .envs(environment::of(project, ports, "migrate")?)
        .current_dir(project.root());
    Ok(command)
}

/// Applies what is missing, as a service on the board; what it applied is told.
fn migrate_on(
    board: &mut Board,
    project: &Project,
    ports: Ports,
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<()> {
    board.set("migrate", Step::Starts);
    let mut command = migrate_command(project, ports, binaries)?;
    command.arg("run").shown();
    let output = thread::scope(|scope| {
        let running = scope.spawn(move || command.output());
        while !running.is_finished() {
            board.draw(None);
            clock::pause(Duration::from_millis(20));
        }
        running.join()
    });
    let output = output
        .ok()
        .context("migrate cannot be waited for")?
        .context("migrate cannot be started")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<String> = said.lines().map(str::to_owned).collect();
    if !output.status.success() {
        board.set("migrate", Step::Failed);
        let cause = health::ending(output.status, 0);
        return Err(health::told("migrate", &cause, &lines).into());
    }
    for line in lines.iter().filter(|line| line.starts_with("applied")) {
        terminal::note(&format!("  {line}"));
    }
    board.set("migrate", Step::Done(board.seconds("migrate")));
    Ok(())
}
