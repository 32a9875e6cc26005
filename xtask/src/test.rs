//! `cargo xtask test`: every test, against throw-away servers.

use anyhow::{Context, Result};

use crate::cargo;
use crate::native::kinds::{self, Kind};
use crate::native::servers::path_after;
use crate::native::throw_away::ThrowAway;
use crate::project::Project;
use crate::terminal;
use crate::verbose::Shown as _;

/// Starts the servers, runs `cargo test`, removes the servers.
///
/// Tests that start servers of their own find the wanted kind of Redis in PATH, too.
pub(crate) fn run(project: &Project, redis: Option<Kind>, args: &[String]) -> Result<()> {
    let redis = redis.map(|kind| kinds::folder(project, kind)).transpose()?;
    let servers = ThrowAway::start(project, true, redis.as_deref())?;
    let redis_url = servers
        .redis_url
        .as_deref()
        .context("no Redis was started")?;
    terminal::note(&format!(
        "throw-away servers: {} and {redis_url}",
        servers.database_url
    ));
    let mut tests = cargo::command(project);
    if let Some(redis) = &redis {
        tests.env("PATH", path_after(redis)?);
    }
    let status = tests
        .args(arguments(args))
        .env("RUST_TEST_THREADS", threads().to_string())
        .env("TEST_DATABASE_URL", &servers.database_url)
        .env("TEST_REDIS_URL", redis_url)
        .shown()
        .status()
        .context("cargo cannot be started")?;
    // Gone before we are, whatever the outcome.
    drop(servers);
    if !status.success() {
        terminal::error("the tests failed");
        // cargo's own: 101 for a test that failed.
        std::process::exit(status.code().unwrap_or(1));
    }
    Ok(())
}

/// Tests at once, unless `-- --test-threads=N` says another number: most wait for servers and
/// clocks, so twice as many as there are cores.
fn threads() -> usize {
    2 * std::thread::available_parallelism().map_or(2, usize::from)
}

/// The words for cargo: the whole workspace, unless packages are named.
fn arguments(args: &[String]) -> Vec<String> {
    let cargos = args.split(|arg| arg == "--").next().unwrap_or_default();
    let names_packages = cargos
        .iter()
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package"));
    let all = if names_packages {
        None
    } else {
        Some("--workspace")
    };
    ["test"]
        .into_iter()
        .chain(all)
        .map(str::to_owned)
        .chain(args.iter().cloned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_packages_narrow_the_run() {
        let words = |args: &[&str]| {
            arguments(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()).join(" ")
        };
        assert_eq!(words(&[]), "test --workspace");
        assert_eq!(words(&["-p", "queue", "lease"]), "test -p queue lease");
        assert_eq!(
            words(&["lease", "--", "-p"]),
            "test --workspace lease -- -p"
        );
    }
}
