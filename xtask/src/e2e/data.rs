//! What an operator does with the data: keep a copy, bring it back, change passwords.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::{fs, time::Duration};

use super::{PASSWORD, Run};

/// How long the API may take to be ready again.
const READY: Duration = Duration::from_secs(30);

pub(super) fn backup_and_restore(run: &Run) -> Result<String> {
    let email = run.verified_account()?;
    let folder = std::env::temp_dir().join(format!("slipway-e2e-{}", run.stamp));
    fs::create_dir(&folder)?;
    let file = folder.join("e2e.dump").display().to_string();
    let outcome = there_and_back(run, &email, &file);
    fs::remove_dir_all(folder)?;
    outcome
}

fn there_and_back(run: &Run, email: &str, file: &str) -> Result<String> {
    run.command(&["db", "backup", file])?;
    let sql = format!("DELETE FROM accounts WHERE email = '{email}'");
    run.command(&["psql", "-c", &sql])?;
    let session = json!({"email": email, "password": PASSWORD});
    run.client
        .post("/v1/sessions", &session)?
        .expect_problem(401)?;

    let table = run.command(&["db", "verify", file])?;
    let tables = table.lines().filter(|line| line.ends_with("same")).count();
    ensure!(tables > 0, "no table was compared: {table}");

    // A file that breaks off loses nothing: what is there, and what is not, stays so.
    let whole = fs::read(file)?;
    let cut = format!("{file}.cut");
    fs::write(&cut, &whole[..whole.len() / 2])?;
    let restore = |file: &str| run.command(&["db", "restore", file, "--yes", "--force"]);
    ensure!(restore(&cut).is_err(), "half a file was restored");
    run.client
        .post("/v1/sessions", &session)?
        .expect_problem(401)?;

    let refused = run.command(&["db", "restore", file, "--yes"]);
    let said = refused
        .err()
        .context("it was restored under the services")?;
    ensure!(
        said.to_string().contains("api and worker run"),
        "the services are not named: {said}"
    );
    restore(file)?;
    run.until_ready(READY)?;
    run.log_in(email)?;
    let right = "SELECT has_table_privilege('slipway_app', '_sqlx_migrations', 'INSERT')";
    let answer = run.command(&["psql", "-Atc", right])?;
    ensure!(
        answer == "f",
        "the services may write the list of migrations"
    );
    Ok(format!("{tables} tables"))
}

pub(super) fn rotate_passwords(run: &Run) -> Result<String> {
    let email = run.verified_account()?;
    let secret = |name: &str| fs::read_to_string(run.root.join("secrets").join(name));
    let (old, old_redis) = (secret("postgres_app_password")?, secret("redis_password")?);
    run.command(&["db", "rotate-password"])?;
    run.until_ready(READY)?;
    run.log_in(&email)?;
    // Through the outbox, Redis and the worker.
    run.verified_account()?;
    ensure!(
        secret("redis_password")? != old_redis,
        "the password of Redis is as it was"
    );

    // In a container the port is Postgres' own.
    let services = run.stack.ps()?;
    let postgres = services.into_iter().find(|state| state.name == "postgres");
    let address = postgres.and_then(|state| state.address);
    let address = address.unwrap_or_else(|| "127.0.0.1:5432".to_owned());
    for (password, is_taken) in [(old, false), (secret("postgres_app_password")?, true)] {
        let url = format!("postgresql://slipway_app:{password}@{address}/slipway");
        let answer = run.command(&["psql", "-d", &url, "-c", "SELECT 1"]);
        ensure!(
            answer.is_ok() == is_taken,
            "a password that is{} the present one: {answer:?}",
            if is_taken { "" } else { " not" }
        );
    }
    Ok(String::new())
}

pub(super) fn two_workers(run: &Run) -> Result<String> {
    let file = std::env::temp_dir().join(format!("slipway-e2e-{}.dump", run.stamp));
    let described = file.with_extension("dump.json");
    let path = file.display().to_string();
    let outcome = (|| {
        run.command(&["up", "--scale", "worker=2"])?;
        run.command(&["restart", "worker-2"])?;
        let said = run.command(&["logs", "--raw", "--tail", "1", "worker-1"])?;
        ensure!(!said.is_empty(), "worker-1 has said nothing");
        run.command(&["db", "rotate-password", "app"])?;
        run.command(&["db", "backup", &path])?;
        run.command(&["db", "restore", &path, "--yes", "--force"])?;
        let services = run.stack.ps()?;
        let healthy = |name: &&str| {
            let mut all = services.iter();
            all.any(|one| one.name == **name && one.health == "healthy")
        };
        let missing = ["worker-1", "worker-2"].iter().find(|name| !healthy(name));
        ensure!(missing.is_none(), "{missing:?} does not run");
        run.verified_account().map(drop)
    })();
    run.command(&["up", "--scale", "worker=1"])?;
    for left in [file, described] {
        // A failure before the backup has left none.
        let _ = fs::remove_file(left);
    }
    outcome.map(|()| String::new())
}
