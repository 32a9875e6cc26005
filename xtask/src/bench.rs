//! `cargo xtask bench`: measures the queue, the outbox or the API, on throw-away servers.

use anyhow::{Context, Result, bail};

use crate::cargo;
use crate::native::throw_away::ThrowAway;
use crate::project::Project;
use crate::verbose::Shown as _;

/// What `bench` can measure.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Bench {
    /// Jobs through Redis
    Queue,
    /// Jobs through Postgres into Redis
    Outbox,
    /// Requests, against the SQL that they run
    Api,
}

impl Bench {
    /// The package and its example.
    fn example(self) -> (&'static str, &'static str) {
        match self {
            Self::Queue => ("queue", "bench"),
            Self::Outbox => ("outbox", "outbox_bench"),
            Self::Api => ("api", "bench_api"),
        }
    }
}

/// Builds the benchmark, starts the servers, and runs it.
pub(crate) fn run(project: &Project, what: Bench, args: &[String]) -> Result<()> {
    let (package, example) = what.example();
    let target = ["--release", "--package", package, "--example", example];
    // Before the servers are there: a build beside them would only disturb it.
    let built = cargo::command(project)
        .arg("build")
        .args(target)
        .shown()
        .status();
    if !built.context("cargo cannot be started")?.success() {
        bail!("the benchmark does not build");
    }
    let servers = ThrowAway::start(project, true, None)?;
    let redis = servers.redis_url.as_deref();
    let redis = redis.context("no Redis was started")?;
    let words = words(what, &servers.database_url, redis);
    let ran = cargo::command(project)
        .args(["run", "--quiet"])
        .args(target)
        .arg("--")
        .args(words)
        .args(args)
        .env("TEST_DATABASE_URL", &servers.database_url)
        .env("TEST_REDIS_URL", redis)
        .shown()
        .status();
    drop(servers);
    if !ran.context("cargo cannot be started")?.success() {
        bail!("the benchmark failed");
    }
    Ok(())
}

/// What the benchmark is told of the servers.
fn words(what: Bench, database: &str, redis: &str) -> Vec<String> {
    let words: &[&str] = match what {
        Bench::Queue => &["--redis", redis],
        Bench::Outbox => &["--database", database, "--redis", redis],
        // It asks the environment, as the tests do.
        Bench::Api => &[],
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_of_the_servers_that_it_uses() {
        let words = |what| words(what, "D", "R").join(" ");
        assert_eq!(words(Bench::Queue), "--redis R");
        assert_eq!(words(Bench::Outbox), "--database D --redis R");
        assert_eq!(words(Bench::Api), "");
    }
}
