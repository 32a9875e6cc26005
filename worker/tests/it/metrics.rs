//! What Prometheus reads of the running binary.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;

use migrations::testing::database;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::process::{Process, left, signed_up};
use super::until;

/// A free address; the process takes it a moment later.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn text(addr: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(addr).await.ok()?;
    let request = b"GET /metrics HTTP/1.0\r\nhost: t\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, text) = answer.split_once("\r\n\r\n")?;
    let kind = "content-type: text/plain; version=0.0.4";
    assert!(head.starts_with("HTTP/1.0 200") && head.contains(kind));
    Some(text.to_owned())
}

/// What is told when Redis and Postgres are as they should be, or away: one that is only slow to
/// answer is away in one scrape, and there in the next.
async fn until_up(addr: SocketAddr, redis: &str, postgres: &str) -> BTreeMap<String, String> {
    let seen = Mutex::new(BTreeMap::new());
    until("both are as they are", async || {
        let series = scrape(addr).await;
        let is = |name: &str, up: &str| series.get(name).is_some_and(|value| value == up);
        let are = is("queue_up", redis) && is("outbox_up", postgres);
        *seen.lock().unwrap() = series;
        are
    })
    .await;
    seen.into_inner().unwrap()
}

/// The series with their values.
async fn scrape(addr: SocketAddr) -> BTreeMap<String, String> {
    let text = text(addr).await.unwrap_or_default();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| line.rsplit_once(' ').unwrap());
    let series: BTreeMap<_, _> = samples
        .clone()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(series.len(), samples.count(), "a series stands twice");
    series
}

#[tokio::test]
async fn jobs_mails_and_what_waits_are_told() {
    let (database, dir) = (database().await, tempfile::tempdir().unwrap());
    let mut process = Process::new(&database, dir.path());
    let addr = free();
    process.set("METRICS_ADDR", &addr);
    process.set("WORKER_CONCURRENCY", &7);
    let running = process.run();
    process.ready().await;
    let idle = scrape(addr).await;
    signed_up(&database).await;
    signed_up(&database).await;
    until("the mails are sent", async || left(&database).await == 0).await;
    let of_mails = r#"kind="send_email",outcome="done",queue="default""#;
    let finished = format!("jobs_finished_total{{{of_mails}}}");
    assert_eq!(idle[&finished], "0", "it is there from the start");
    until("both are counted", async || {
        scrape(addr)
            .await
            .get(&finished)
            .is_some_and(|count| count == "2")
    })
    .await;
    let series = until_up(addr, "1", "1").await;
    for (name, value) in [
        (
            r#"job_duration_seconds_count{kind="send_email",queue="default"}"#,
            "2",
        ),
        (
            r#"jobs_in_progress{kind="send_email",queue="default"}"#,
            "0",
        ),
        (
            r#"jobs_finished_total{kind="send_email",outcome="dead",queue="default"}"#,
            "0",
        ),
        (r#"mails_total{outcome="sent"}"#, "2"),
        (r#"mails_total{outcome="failed"}"#, "0"),
        (r#"webhook_deliveries_total{outcome="delivered"}"#, "0"),
        ("worker_slots", "7"),
        ("outbox_jobs", "0"),
        (r#"queue_jobs{queue="webhooks",state="dead"}"#, "0"),
        (r#"queue_paused{queue="default"}"#, "0"),
        (r#"queue_workers{queue="default"}"#, "1"),
    ] {
        assert_eq!(series.get(name).map(String::as_str), Some(value), "{name}");
    }
    let (status, log) = running.terminate().await;
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn without_redis_the_rest_is_told_and_that_it_is_away() {
    let (database, dir) = (database().await, tempfile::tempdir().unwrap());
    let mut process = Process::new(&database, dir.path());
    let addr = free();
    process.set("METRICS_ADDR", &addr);
    process.set("REDIS_PORT", &1);
    let _running = process.run();
    signed_up(&database).await;
    let series = until_up(addr, "0", "1").await;
    assert_eq!(series["outbox_jobs"], "1");
    let age: f64 = series["outbox_oldest_job_age_seconds"].parse().unwrap();
    assert!((0.0..600.0).contains(&age), "{age}");
    assert!(!series.keys().any(|name| name.starts_with("queue_jobs")));
}

#[tokio::test]
async fn without_postgres_likewise() {
    let (database, dir) = (database().await, tempfile::tempdir().unwrap());
    let mut process = Process::new(&database, dir.path());
    let addr = free();
    process.set("METRICS_ADDR", &addr);
    process.set("DATABASE_PORT", &1);
    let _running = process.run();
    let series = until_up(addr, "1", "0").await;
    assert!(!series.contains_key("outbox_jobs"));
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let (database, dir) = (database().await, tempfile::tempdir().unwrap());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let mut process = Process::new(&database, dir.path());
    process.set("METRICS_ADDR", &addr);
    let said = process.refused().await;
    let expected = format!("cannot listen on {addr}; METRICS_ADDR names another address");
    assert!(said.contains(&expected), "{said}");
}

#[tokio::test]
async fn the_table_of_the_documents_is_what_is_told() {
    let (database, dir) = (database().await, tempfile::tempdir().unwrap());
    let mut process = Process::new(&database, dir.path());
    let addr = free();
    process.set("METRICS_ADDR", &addr);
    let _running = process.run();
    process.ready().await;
    until_up(addr, "1", "1").await;
    let text = text(addr).await.unwrap();
    let types = text.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned()))
    });
    let table = include_str!("../../../docs/observability.md");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let own = cells[2].contains("worker");
        own.then(|| (cells[1].trim_matches('`').to_owned(), cells[3].to_owned()))
    });
    let (told, documented): (BTreeSet<_>, BTreeSet<_>) = (types.collect(), rows.collect());
    assert_eq!(told, documented);
}
