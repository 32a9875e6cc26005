//! Servers for tests: on free ports, in a temporary folder, gone with whoever asked for them.
//!
//! They live in a process of their own that reads its standard input: it ends when the asking
//! process ends, in whatever way (the end of the tests, Ctrl-C, SIGKILL), and takes the servers and
//! their folder with it. So nothing has to be caught and nothing is left behind.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::account;
use super::postgres::Cluster;
use super::probe::Probe;
use super::process;
use super::servers;
use crate::docker;
use crate::ports;
use crate::project::Project;
use crate::terminal;
use crate::verbose::Shown as _;

/// Fast instead of safe: what these servers hold is worth nothing after the tests.
const POSTGRES_SETTINGS: [&str; 7] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_connections=400",
    "autovacuum_naptime=60",
];

/// How long a server may take to accept connections.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Running servers; dropping this stops them.
pub(crate) struct ThrowAway {
    keeper: Child,
    /// As the superuser, without a password.
    pub(crate) database_url: String,
    /// None when only Postgres was asked for.
    pub(crate) redis_url: Option<String>,
}

impl ThrowAway {
    /// Starts Postgres and, unless it is not wanted, Redis. Missing servers are installed as `up`
    /// does it; where that cannot be, containers take their place.
    ///
    /// A folder given here has the Redis that is wanted, and no other will do.
    pub(crate) fn start(project: &Project, with_redis: bool, redis: Option<&Path>) -> Result<Self> {
        let in_docker = match servers::ensure(false, with_redis && redis.is_none()) {
            Ok(_) => false,
            Err(error) if redis.is_some() => return Err(error),
            Err(error) => match docker::usable(project) {
                Ok(()) => {
                    terminal::note(&format!("{error:#}\nusing containers instead"));
                    true
                }
                Err(reason) => {
                    return Err(
                        error.context(format!("and Docker cannot be used either: {reason}"))
                    );
                }
            },
        };
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("throw-away")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if !with_redis {
            command.arg("--postgres-only");
        }
        if in_docker {
            command.arg("--docker");
        }
        if let Some(redis) = redis {
            command.env("PATH", servers::path_after(redis)?);
        }
        let mut keeper = command
            .shown()
            .spawn()
            .context("the keeper of the servers cannot be started")?;
        let mut line = String::new();
        if let Some(output) = keeper.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| json!({ "error": "its keeper ended" }));
        if let Some(error) = said["error"].as_str() {
            keeper.wait()?;
            bail!("the throw-away servers did not start: {error}");
        }
        let url = |key: &str| said[key].as_str().map(str::to_owned);
        let database_url = url("database_url").context("the keeper named no database")?;
        Ok(Self {
            keeper,
            database_url,
            redis_url: url("redis_url"),
        })
    }
}

impl Drop for ThrowAway {
    fn drop(&mut self) {
        // Its end of input is the keeper's sign to clear up.
        drop(self.keeper.stdin.take());
        if let Err(error) = self.keeper.wait() {
            terminal::warn(&format!("the throw-away servers may still run: {error}"));
        }
    }
}

/// The hidden verb: starts the servers, says where they are, and stops them when its input ends.
pub(crate) fn keep(project: &Project, with_redis: bool, in_docker: bool) -> Result<()> {
    // Out of the terminal's reach: Ctrl-C is for the tests; it reaches us as the end of input.
    rustix::process::setsid().context("the keeper needs a session of its own")?;
    let result = if in_docker {
        keep_containers(project, with_redis)
    } else {
        keep_processes(with_redis)
    };
    if let Err(error) = &result {
        let said = json!({ "error": format!("{error:#}") });
        let _ = writeln!(std::io::stdout(), "{said}");
    }
    result
}

fn keep_containers(project: &Project, with_redis: bool) -> Result<()> {
    let servers = docker::throw_away(project, with_redis)?;
    announce(&servers.database_url, servers.redis_url.as_deref());
    wait_for_end_of_input();
    docker::remove(&servers.containers)
}

fn keep_processes(with_redis: bool) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("slipway-test-{}", std::process::id()));
    let mut children = Vec::new();
    let result = start_processes(&folder, with_redis, &mut children);
    if let Ok((database_url, redis_url)) = &result {
        announce(database_url, redis_url.as_deref());
        wait_for_end_of_input();
    }
    for (child, signal) in &mut children {
        stop(child, *signal);
    }
    let cleared = fs::remove_dir_all(&folder)
        .with_context(|| format!("{} cannot be removed", folder.display()));
    result?;
    cleared
}

/// Whoever asked may be gone already: then the end of the input says so, and all is cleared up.
fn announce(database_url: &str, redis_url: Option<&str>) {
    let said = json!({ "database_url": database_url, "redis_url": redis_url });
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{said}").and_then(|()| out.flush());
}

fn wait_for_end_of_input() {
    // An error ends the input as well.
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
}

type Urls = (String, Option<String>);

fn start_processes(
    folder: &Path,
    with_redis: bool,
    children: &mut Vec<(Child, Signal)>,
) -> Result<Urls> {
    let (postgres, redis) = servers::ensure(false, with_redis)?;
    // Not one that is there already: it could be anybody's.
    fs::create_dir(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let account = account::for_postgres()?;
    let data = folder.join("postgres");
    let cluster = Cluster {
        postgres: &postgres,
        account,
        data: &data,
    };
    cluster.make(None)?;
    let port = ports::unused()?;
    let log = fs::File::create(folder.join("postgres.log"))?;
    let child = process::command(&postgres.program("postgres"), account)
        .args(cluster.args(port, &POSTGRES_SETTINGS))
        .current_dir(&data)
        .stdout(log.try_clone()?)
        .stderr(log)
        .shown()
        .spawn()
        .context("Postgres cannot be started")?;
    // SIGQUIT: leave at once, and take the server's own children along.
    children.push((child, Signal::QUIT));
    let postgres_probe = Probe::Postgres {
        program: postgres.program("pg_isready"),
        port,
    };
    let mut redis_url = None;
    if let Some(redis) = redis.filter(|_| with_redis) {
        let port = ports::unused()?;
        let log = fs::File::create(folder.join("redis.log"))?;
        let child = process::command(&redis.server, None)
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
            ])
            .arg(folder)
            .stdout(log.try_clone()?)
            .stderr(log)
            .shown()
            .spawn()
            .context("Redis cannot be started")?;
        children.push((child, Signal::TERM));
        wait_for(&Probe::Redis { port }, &folder.join("redis.log"))?;
        redis_url = Some(format!("redis://127.0.0.1:{port}"));
    }
    wait_for(&postgres_probe, &folder.join("postgres.log"))?;
    Ok((
        format!("postgres://postgres@127.0.0.1:{port}/postgres"),
        redis_url,
    ))
}

fn wait_for(probe: &Probe, log: &Path) -> Result<()> {
    if process::wait_until(START_LIMIT, || probe.is_healthy()) {
        return Ok(());
    }
    bail!(
        "a server did not start; it says:\n{}",
        fs::read_to_string(log).unwrap_or_default()
    )
}

fn stop(child: &mut Child, gently: Signal) {
    process::signal(child.id(), gently);
    if !process::wait_until(Duration::from_secs(5), || {
        matches!(child.try_wait(), Ok(Some(_)))
    }) {
        let _ = child.kill();
        let _ = child.wait();
    }
}
