//! `up` in native mode, in order: servers, build, data, roles, migrations, services.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Native;
use super::account;
use super::binaries;
use super::control::{self, Others, Place, Status};
use super::environment::{self, Ports};
use super::health;
use super::plan::{Spec, stamp};
use super::postgres::{self, Cluster};
use super::probe::Probe;
use super::process;
use super::redis;
use super::servers;
use super::supervisor;
use crate::board::{Board, LIMIT, Step};
use crate::ports;
use crate::project::Project;
use crate::scale;
use crate::secrets::fit;
use crate::stack::{Mode, UpOptions, service_of};
use crate::terminal::{self, Progress};

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
    if options.dev {
        terminal::note(
            "--dev reloads in Docker only; here, run `cargo xtask up` again after an edit",
        );
    }
    // Two at once would make the same data folder.
    place.make()?;
    let guard = fs::File::create(project.state_dir().join("native/up.lock"))?;
    guard.lock().context("another `up` cannot be waited for")?;

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
        services(project, ports, &workers, &binaries)?
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

/// What is to run, with what each needs, in the order of their start.
///
/// # Errors
/// For a name that is no service; the sentence lists those that are.
fn wanted(options: &UpOptions) -> Result<Vec<&'static str>> {
    const NEEDS: [(&str, &[&str]); 5] = [
        ("postgres", &[]),
        ("redis", &[]),
        ("migrate", &["postgres"]),
        ("api", &["postgres", "redis", "migrate"]),
        ("worker", &["postgres", "redis", "migrate"]),
    ];
    let all = NEEDS.map(|(name, _)| name);
    if let Some(unknown) = options
        .services
        .iter()
        .find(|name| !all.contains(&name.as_str()))
    {
        bail!(
            "there is no service `{unknown}`\n  next: take one of {}",
            all.join(", ")
        );
    }
    let is_named = |name: &str| options.services.iter().any(|named| named == name);
    let is_wanted = |name: &&str| match (options.infra, options.services.is_empty()) {
        (true, _) => matches!(*name, "postgres" | "redis"),
        (false, true) => true,
        (false, false) => {
            let needs = |(by, needed): &(&str, &[&str])| is_named(by) && needed.contains(name);
            is_named(name) || NEEDS.iter().any(needs)
        }
    };
    Ok(all.into_iter().filter(is_wanted).collect())
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

/// The port of each service: the one it listens on now, the wanted one, or a free one.
fn choose_ports(project: &Project, place: &Place) -> Result<Ports> {
    let running = control::status(place)?.unwrap_or_default();
    let current = |name: &str| current_port(&running, name);
    let internal = |name: &str| current(name).map_or_else(|| ports::any(project, name), Ok);
    let wanted = match project.settings()?.get("API_PORT") {
        Some(text) => text
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .with_context(|| format!("API_PORT is `{text}`, which is no port: 1 to 65535"))?,
        None => API_PORT,
    };
    let api = match current("api") {
        // It had to give way at its start, and may go home only when that is free again.
        Some(port) if port == wanted || !ports::is_free(wanted) => port,
        _ => ports::choose(project, "api", wanted)?,
    };
    Ok(Ports {
        api,
        postgres: internal("postgres")?,
        redis: internal("redis")?,
        worker: internal("worker")?,
    })
}

fn current_port(running: &[Status], name: &str) -> Option<u16> {
    let mut all = running.iter();
    let status = all.find(|status| status.name == name && status.pid.is_some())?;
    status.address.rsplit_once(':')?.1.parse().ok()
}

/// The worker's processes, each with the port that it answers health checks on.
fn workers(project: &Project, place: &Place, ports: Ports) -> Result<Vec<(String, u16)>> {
    let count = scale::count(project, "worker");
    if count == 1 {
        return Ok(vec![("worker".to_owned(), ports.worker)]);
    }
    let running = control::status(place)?.unwrap_or_default();
    let worker = |number| {
        let name = format!("worker-{number}");
        let port = match current_port(&running, &name) {
            Some(port) => port,
            None => ports::any(project, &name)?,
        };
        Ok((name, port))
    };
    (1..=count).map(worker).collect()
}

fn services(
    project: &Project,
    ports: Ports,
    workers: &[(String, u16)],
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<Vec<Spec>> {
    let service = |name: &str, word: &str, ports: Ports| -> Result<Spec> {
        let program_name = service_of(name);
        let port = if program_name == "api" {
            ports.api
        } else {
            ports.worker
        };
        let program = binaries
            .get(program_name)
            .with_context(|| format!("cargo built no `{program_name}`"))?
            .clone();
        let mut env = environment::inherited();
        env.extend(environment::of(project, ports, program_name)?);
        // As in containers: `cargo xtask logs` makes it readable, and machines can read it.
        env.entry("LOG_FORMAT".to_owned())
            .or_insert_with(|| "json".to_owned());
        let grace = env
            .get("SHUTDOWN_GRACE_SECONDS")
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(25);
        let files: Vec<PathBuf> = env
            .iter()
            .filter(|(name, _)| name.ends_with("_FILE"))
            .map(|(_, path)| path.into())
            .collect();
        let read: Vec<&std::path::Path> = files
            .iter()
            .chain([&program])
            .map(PathBuf::as_path)
            .collect();
        Ok(Spec {
            name: name.to_owned(),
            args: vec![word.to_owned()],
            folder: project.root().to_path_buf(),
            account: None,
            probe: Probe::Http {
                address: format!("127.0.0.1:{port}"),
            },
            address: format!("127.0.0.1:{port}"),
            stops_on_interrupt: false,
            // A little longer than the service gives itself.
            grace_seconds: grace + 5,
            stamp: stamp(&read),
            env,
            program,
        })
    };
    let mut services = vec![service("api", "serve", ports)?];
    for (name, worker) in workers {
        services.push(service(
            name,
            "run",
            Ports {
                worker: *worker,
                ..ports
            },
        )?);
    }
    Ok(services)
}

/// `migrate` as the schema's owner.
fn migrate_command(
    project: &Project,
    ports: Ports,
    binaries: &BTreeMap<String, PathBuf>,
    args: &[String],
) -> Result<Command> {
    let program = binaries
        .get("migrate")
        .context("cargo built no `migrate`")?;
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(environment::inherited())
        .envs(environment::of(project, ports, "migrate")?)
        .current_dir(project.root());
    Ok(command)
}

/// Runs `migrate`; its output passes through.
pub(super) fn migrate(
    project: &Project,
    ports: Ports,
    binaries: &BTreeMap<String, PathBuf>,
    args: &[String],
) -> Result<()> {
    let status = migrate_command(project, ports, binaries, args)?
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

/// Applies what is missing, as a service on the board; what it applied is told.
fn migrate_on(
    board: &mut Board,
    project: &Project,
    ports: Ports,
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<()> {
    board.set("migrate", Step::Starts);
    let mut command = migrate_command(project, ports, binaries, &["run".to_owned()])?;
    let output = thread::scope(|scope| {
        let running = scope.spawn(move || command.output());
        while !running.is_finished() {
            board.draw(None);
            process::pause(Duration::from_millis(20));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_comes_with_what_it_needs() {
        let wanted_for = |services: &[&str], infra| {
            let services = services.iter().map(|&name| name.to_owned()).collect();
            let options = UpOptions {
                services,
                infra,
                ..UpOptions::default()
            };
            wanted(&options).map(|names| names.join(" "))
        };
        assert_eq!(wanted_for(&["redis"], false).unwrap(), "redis");
        assert_eq!(
            wanted_for(&["worker"], false).unwrap(),
            "postgres redis migrate worker"
        );
        assert_eq!(
            wanted_for(&[], false).unwrap(),
            "postgres redis migrate api worker"
        );
        assert_eq!(wanted_for(&[], true).unwrap(), "postgres redis");
        let error = wanted_for(&["wroker"], false).unwrap_err().to_string();
        assert!(
            error.contains("no service `wroker`") && error.contains("worker"),
            "{error}"
        );
    }
}
