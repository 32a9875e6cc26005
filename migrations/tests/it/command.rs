//! The binary, as an operator runs it.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use migrations::testing::{TestDatabase, empty_database};
use migrations::{applied_version, expected_version};
use sqlx::Connection as _;

fn migrate(database: &TestDatabase, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_migrate"));
    command
        .args(args)
        .env_clear()
        .envs(database.env())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Exit code, standard output, standard error.
fn run(mut command: Command) -> (Option<i32>, String, String) {
    parts(command.output().unwrap())
}

fn parts(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn run_applies_what_is_pending_and_then_has_nothing_to_do() {
    let database = empty_database().await;
    let (code, out, err) = run(migrate(&database, &["run"]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(
        out.starts_with("applied 20261121100000 accounts in "),
        "{out}"
    );
    assert_eq!(
        applied_version(&database.pool).await.unwrap(),
        Some(expected_version())
    );
    let (code, out, _) = run(migrate(&database, &["run"]));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("up to date: "), "{out}");
}

#[tokio::test]
async fn many_at_once_apply_everything_once() {
    let database = empty_database().await;
    let runs: Vec<_> = (0..4)
        .map(|_| migrate(&database, &["run"]).spawn().unwrap())
        .collect();
    let mut applied = 0;
    for run in runs {
        let (code, out, err) = parts(run.wait_with_output().unwrap());
        assert_eq!((code, err.as_str()), (Some(0), ""));
        applied += out.matches("applied 20261121100000 accounts").count();
    }
    assert_eq!(applied, 1);
}

#[tokio::test]
async fn the_wait_for_another_migrator_is_limited() {
    let database = empty_database().await;
    let mut other = database.pool.acquire().await.unwrap().detach();
    sqlx::query("SELECT pg_advisory_lock(x'736c697077617900'::bigint)")
        .execute(&mut other)
        .await
        .unwrap();
    let (code, out, err) = run(migrate(&database, &["run", "--wait", "1"]));
    assert_eq!(code, Some(1));
    assert!(out.contains("waiting for it, at most 1 s"), "{out}");
    assert!(
        err.contains("still works on this database after 1 s"),
        "{err}"
    );
    other.close().await.unwrap();
    assert_eq!(run(migrate(&database, &["run"])).0, Some(0));
}

#[tokio::test]
async fn every_migration_can_be_reverted_and_applied_again() {
    let database = empty_database().await;
    assert_eq!(run(migrate(&database, &["run"])).0, Some(0));
    loop {
        let (code, out, err) = run(migrate(&database, &["revert", "--yes"]));
        assert_eq!((code, err.as_str()), (Some(0), ""));
        if out.starts_with("nothing to revert") {
            break;
        }
        assert!(out.starts_with("reverted "), "{out}");
    }
    let left: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_sqlx_migrations'",
    )
    .fetch_one(&database.pool)
    .await
    .unwrap();
    assert_eq!(left, 0, "a down file leaves tables behind");
    assert_eq!(run(migrate(&database, &["run"])).0, Some(0));
}

#[tokio::test]
async fn revert_asks_for_consent() {
    let database = empty_database().await;
    assert_eq!(run(migrate(&database, &["run"])).0, Some(0));
    let (code, _, err) = run(migrate(&database, &["revert"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("add --yes"), "{err}");

    for (named, allowed) in [
        (None, false),
        (Some("staging"), false),
        (Some("production"), true),
    ] {
        let mut command = migrate(&database, &["revert", "--yes"]);
        command.env("APP_ENV", "production");
        command.args(named.map(|name| format!("--environment={name}")));
        let (code, _, err) = run(command);
        assert_eq!(code == Some(0), allowed, "{named:?}: {err}");
        assert!(allowed || err.contains("--environment production"), "{err}");
    }
    assert!(applied_version(&database.pool).await.unwrap() < Some(expected_version()));
}

#[tokio::test]
async fn status_shows_each_migration_for_people_and_for_programs() {
    let database = empty_database().await;
    let (code, out, _) = run(migrate(&database, &["status"]));
    assert_eq!(code, Some(0));
    assert!(out.lines().nth(1).unwrap().contains("accounts"), "{out}");
    assert!(out.contains("pending"), "{out}");
    assert_eq!(run(migrate(&database, &["run"])).0, Some(0));
    let (_, out, _) = run(migrate(&database, &["status", "--json"]));
    let lines: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(lines[0]["version"], 20_261_121_100_000_i64);
    assert_eq!(lines[0]["state"], "applied");
    assert!(lines[0]["applied_at"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn check_and_run_refuse_an_edited_file() {
    let database = empty_database().await;
    assert_eq!(run(migrate(&database, &["run"])).0, Some(0));
    assert_eq!(run(migrate(&database, &["check"])).0, Some(0));
    sqlx::query("UPDATE _sqlx_migrations SET checksum = '' WHERE version = 20261121100000")
        .execute(&database.pool)
        .await
        .unwrap();
    let (code, out, _) = run(migrate(&database, &["check"]));
    assert_eq!(code, Some(1));
    assert!(
        out.contains("20261121100000 accounts: edited after it was applied"),
        "{out}"
    );
    let (code, _, err) = run(migrate(&database, &["run"]));
    assert_eq!(code, Some(1));
    assert!(err.contains("was edited after it was applied"), "{err}");
}

#[tokio::test]
async fn wrong_settings_are_all_named_and_usage_errors_have_their_code() {
    let database = empty_database().await;
    let mut command = migrate(&database, &["status"]);
    command
        .env("DATABASE_PORT", "many")
        .env("DATABASE_PASSWORD", "short")
        .env("APP_ENV", "here");
    let (code, _, err) = run(command);
    assert_eq!(code, Some(1));
    for name in ["DATABASE_PORT", "DATABASE_PASSWORD", "APP_ENV"] {
        assert!(err.contains(name), "{err}");
    }
    assert_eq!(run(migrate(&database, &["sideways"])).0, Some(2));
    let (code, out, _) = run(migrate(&database, &["--version"]));
    assert_eq!((code, out.starts_with("migrate ")), (Some(0), true));
}

#[tokio::test]
async fn a_server_that_is_away_is_named() {
    let database = empty_database().await;
    let mut command = migrate(&database, &["status"]);
    command.env("DATABASE_PORT", "1");
    let started = std::time::Instant::now();
    let (code, _, err) = run(command);
    assert_eq!(code, Some(1));
    assert!(err.contains("127.0.0.1:1 as "), "{err}");
    assert!(started.elapsed() < Duration::from_secs(30));
}
