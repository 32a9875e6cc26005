//! `up` in native mode, in order: servers, build, data, roles, migrations, services.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Native;
use super::account;
use super::binaries;
use super::control::{self, Others, Place, Status};
use super::environment::{self, Ports};
use super::logs;
use super::plan::{Spec, stamp};
use super::postgres::{self, Cluster};
use super::probe::Probe;
use super::process;
use super::redis;
use super::servers;
use super::supervisor;
use crate::ports;
use crate::project::Project;
use crate::secrets::fit;
use crate::stack::{Mode, ServiceFailure, UpOptions};
use crate::terminal::{self, GREEN};
use crate::verbose::Shown as _;

/// The packages whose binaries run.
pub(super) const PACKAGES: [&str; 3] = ["api", "worker", "migrations"];

/// Where the API listens unless `API_PORT` says otherwise or the port is taken.
pub(super) const API_PORT: u16 = 8000;

/// Where the worker answers health checks when the developer runs it.
pub(super) const WORKER_PORT: u16 = 8001;

/// The longest that a service may take until it is healthy. Postgres after a crash reads its log.
const START_LIMIT: Duration = Duration::from_secs(90);

/// How many lines of a failed service's log are shown.
const LAST_LINES: usize = 15;

/// Brings everything up; what runs unchanged is left alone.
pub(super) fn up(native: &Native, options: &UpOptions) -> Result<()> {
    let (project, place) = (native.project, &native.place);
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
    let binaries = if options.infra {
        BTreeMap::new()
    } else {
        binaries::build(project, &PACKAGES)?
    };

    let ports = choose_ports(project, place)?;
    let account = account::for_postgres()?;
    let data = account::postgres_data(project, account)?;
    let cluster = Cluster {
        postgres: &server,
        account,
        data: &data,
    };
    if postgres::version_of_data(&data).is_none() {
        terminal::note("making the database");
        cluster.make(Some(&crate::secrets::read(
            project,
            "postgres_superuser_password",
        )?))?;
    }
    postgres::write_passwords(project, place, ports.postgres)?;
    let infra = vec![
        cluster.spec(ports.postgres),
        redis::spec(project, place, &redis, ports.redis)?,
    ];
    let services = if options.infra {
        Vec::new()
    } else {
        services(project, ports, &binaries)?
    };

    // A full start leaves our own services as they run until the schema is theirs; `--infra` ends them.
    let others = if options.infra {
        Others::Stop
    } else {
        Others::Keep
    };
    control::apply(project, &infra, others)?;
    wait_until_healthy(place, &["postgres", "redis"])?;
    settle_secrets(native, &cluster, options.yes)?;
    postgres::make_roles(project, place, &server, ports.postgres)?;
    fit::settled(project, Mode::Native)?;
    if options.infra {
        return Ok(());
    }
    migrate(project, ports, &binaries, &["run".to_owned()])?;
    fs::create_dir_all(environment::mail_folder(project)?)?;
    control::apply(project, &[infra, services].concat(), Others::Stop)?;
    wait_until_healthy(place, &["api", "worker"])
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
    wait_until_healthy(&native.place, &["postgres"])
}

/// The port of each service: the one it listens on now, the wanted one, or a free one.
fn choose_ports(project: &Project, place: &Place) -> Result<Ports> {
    let running = control::status(place)?.unwrap_or_default();
    let current = |name: &str| {
        let status = running
            .iter()
            .find(|status| status.name == name && status.pid.is_some())?;
        status.address.rsplit_once(':')?.1.parse::<u16>().ok()
    };
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

fn services(
    project: &Project,
    ports: Ports,
    binaries: &BTreeMap<String, PathBuf>,
) -> Result<Vec<Spec>> {
    let service = |name: &str, word: &str, port: u16| -> Result<Spec> {
        let program = binaries
            .get(name)
            .with_context(|| format!("cargo built no `{name}`"))?
            .clone();
        let mut env = environment::inherited();
        env.extend(environment::of(project, ports, name)?);
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
    Ok(vec![
        service("api", "serve", ports.api)?,
        service("worker", "run", ports.worker)?,
    ])
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
    let mut plan = services(project, ports, binaries)?;
    plan.retain(|spec| Some(&spec.program) == binaries.get(service));
    control::apply(project, &plan, Others::Keep)?;
    let start = Instant::now();
    for spec in &plan {
        while !spec.probe.is_healthy() {
            let services = control::status(place)?.context("the supervisor is gone")?;
            let status = services.iter().find(|status| status.name == spec.name);
            let status = status.with_context(|| format!("no such service: {}", spec.name))?;
            if status.state != "running" || start.elapsed() > START_LIMIT {
                return Err(not_healthy(place, status)?.into());
            }
            process::pause(Duration::from_millis(10));
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

/// Waits for these services, telling of each.
///
/// # Errors
/// A [`ServiceFailure`] for the first that ends, or that is not healthy in time.
pub(super) fn wait_until_healthy(place: &Place, names: &[&str]) -> Result<()> {
    let start = Instant::now();
    let mut pending: Vec<&str> = names.to_vec();
    while !pending.is_empty() {
        let services = control::status(place)?.context("the supervisor is gone")?;
        for status in &services {
            if !pending.contains(&status.name.as_str()) {
                continue;
            }
            if status.state == "running" && status.health == "healthy" {
                pending.retain(|name| *name != status.name);
                report(status);
            } else if status.state != "running" || start.elapsed() > START_LIMIT {
                return Err(not_healthy(place, status)?.into());
            }
        }
        if let Some(absent) = pending
            .iter()
            .find(|name| services.iter().all(|status| status.name != **name))
        {
            bail!("no such service: {absent}");
        }
        if !pending.is_empty() {
            process::pause(Duration::from_millis(30));
        }
    }
    Ok(())
}

fn report(status: &Status) {
    let seconds = status
        .seconds
        .map(|seconds| format!(" ({seconds:.1} s)"))
        .unwrap_or_default();
    terminal::note(&format!(
        "{} {} is healthy{seconds}",
        terminal::mark(GREEN, "ok"),
        status.name
    ));
}

/// Why a service does not run, or runs and is not healthy in time.
fn not_healthy(place: &Place, status: &Status) -> Result<ServiceFailure> {
    let cause = match (status.state.as_str(), &status.last_exit) {
        ("running", _) => format!("is not healthy after {} s", START_LIMIT.as_secs()),
        (_, Some(how)) => format!("ended at its start: {how}"),
        (_, None) => "ended at its start: it was stopped".to_owned(),
    };
    let (last_lines, _) =
        logs::last_lines(&place.log(&status.name), LAST_LINES, status.log_offset)?;
    Ok(ServiceFailure {
        service: status.name.clone(),
        cause,
        last_lines,
        next_step: format!(
            "`cargo xtask logs {}` shows all of it; correct the cause and run `cargo xtask up` again",
            status.name
        ),
    })
}
