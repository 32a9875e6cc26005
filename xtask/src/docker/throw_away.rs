//! Servers for tests in containers, where this machine has none of its own.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Docker;
use crate::clock;
use crate::project::Project;

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Running servers. They stay until [`remove`] is called.
pub(crate) struct Servers {
    /// As the superuser, without a password.
    pub(crate) database_url: String,
    /// None when only Postgres was asked for.
    pub(crate) redis_url: Option<String>,
    /// For [`remove`].
    pub(crate) containers: Vec<String>,
}

/// Starts Postgres and, where wanted, Redis, from the stack's images, on free ports of 127.0.0.1.
/// What they hold is in memory, and worth nothing.
pub(crate) fn throw_away(project: &Project, with_redis: bool) -> Result<Servers> {
    let mut containers = Vec::new();
    let urls = start(project, with_redis, &mut containers);
    match urls {
        Ok((database_url, redis_url)) => Ok(Servers {
            database_url,
            redis_url,
            containers,
        }),
        Err(error) => {
            remove(&containers)?;
            Err(error)
        }
    }
}

/// Removes containers of [`throw_away`] with all that they held.
pub(crate) fn remove(containers: &[String]) -> Result<()> {
    if containers.is_empty() {
        return Ok(());
    }
    let ids = containers.iter().map(String::as_str);
    docker(
        &["rm", "--force", "--volumes"]
            .into_iter()
            .chain(ids)
            .collect::<Vec<_>>(),
    )
    .map(drop)
}

fn start(
    project: &Project,
    with_redis: bool,
    containers: &mut Vec<String>,
) -> Result<(String, Option<String>)> {
    let image = |service: &str| image(project, service);
    let memory = [
        "--tmpfs",
        "/var/lib/postgresql/data",
        "--env",
        "POSTGRES_HOST_AUTH_METHOD=trust",
    ];
    let fast = [
        "-c",
        "fsync=off",
        "-c",
        "synchronous_commit=off",
        "-c",
        "max_connections=400",
    ];
    let postgres = run("5432", &memory, &image("postgres")?, &fast)?;
    containers.push(postgres.clone());
    let redis = if with_redis {
        let id = run(
            "6379",
            &[],
            &image("redis")?,
            &["redis-server", "--save", ""],
        )?;
        containers.push(id.clone());
        Some(id)
    } else {
        None
    };
    // By TCP: while it makes its data, Postgres listens on the socket alone.
    wait_for(&["exec", &postgres, "pg_isready", "-q", "-h", "127.0.0.1"])?;
    let database_url = format!("postgres://postgres@{}/postgres", published(&postgres)?);
    let Some(redis) = redis else {
        return Ok((database_url, None));
    };
    wait_for(&["exec", &redis, "redis-cli", "-e", "ping"])?;
    Ok((
        database_url,
        Some(format!("redis://{}", published(&redis)?)),
    ))
}

/// The image that the Compose file, with `.env`, names for a service.
pub(crate) fn image(project: &Project, service: &str) -> Result<String> {
    let text = Docker::new(project)
        .compose()?
        .read(&["config", "--format", "json"])?;
    let config: Value = serde_json::from_str(&text).context("the Compose file cannot be read")?;
    let image = config["services"][service]["image"].as_str();
    Ok(image
        .with_context(|| format!("no image of {service} in the Compose file"))?
        .to_owned())
}

fn run(port: &str, options: &[&str], image: &str, command: &[&str]) -> Result<String> {
    let publish = format!("127.0.0.1::{port}");
    let mut words = vec!["run", "--detach", "--rm", "--publish", &publish];
    words.extend(options);
    words.push(image);
    words.extend(command);
    docker(&words)
}

/// Where the container's only port is reached.
fn published(container: &str) -> Result<String> {
    let listed = docker(&["port", container])?;
    let address = listed.lines().find_map(|line| line.split_once(" -> "));
    Ok(address
        .with_context(|| format!("no port of {container}: {listed}"))?
        .1
        .to_owned())
}

fn wait_for(probe: &[&str]) -> Result<()> {
    let start = Instant::now();
    while let Err(error) = docker(probe) {
        if start.elapsed() > START_LIMIT {
            return Err(error.context("a throw-away server did not start"));
        }
        clock::pause(Duration::from_millis(100));
    }
    Ok(())
}

fn docker(words: &[&str]) -> Result<String> {
    let output = Command::new("docker")
        .args(words)
        .output()
        .context("docker cannot be started")?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("`docker {}` failed: {}", words[0], error.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
