//! Spans as a collector gets them, from the binary itself.

use domain::accounts::{Email, Password, sign_up};
use migrations::testing::{TestDatabase, database};
use serde_json::Value;
use service::testing::{Answer, Collector};

use super::process::{Process, Running};
use super::smtp::Server;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const REQUEST: &str = "b7ad6b7169203331";

/// A worker that exports, with the folder of its mails.
struct Worker {
    database: TestDatabase,
    process: Process,
    _dir: tempfile::TempDir,
}

impl Worker {
    async fn exporting(collector: &Collector) -> Self {
        let (database, dir) = (database().await, tempfile::tempdir().unwrap());
        let mut process = Process::new(&database, dir.path());
        process.set("LOG_FORMAT", &"json");
        process.set("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
        Self {
            database,
            process,
            _dir: dir,
        }
    }

    /// Somebody signs up, in a request with this span or in none.
    async fn sign_up(&self, email: &str, span: Option<&str>) {
        let email = Email::parse(email).unwrap();
        let password = Password::parse("correct horse battery").unwrap();
        let signing_up = sign_up(&self.database.pool, &email, password);
        match span {
            Some(traceparent) => queue::trace::scope(traceparent.to_owned(), signing_up).await,
            None => signing_up.await,
        }
        .unwrap();
    }
}

/// Ends it; the lines that it has logged with this message.
async fn logged(running: Running, message: &str) -> Vec<Value> {
    let (status, log) = running.terminate().await;
    assert!(status.success(), "{log}");
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &Value| line["message"] == message)
        .collect()
}

#[tokio::test]
async fn a_job_is_a_span_below_what_has_enqueued_it() {
    let collector = Collector::start(Answer::Ok).await;
    let worker = Worker::exporting(&collector).await;
    let request = format!("00-{TRACE}-{REQUEST}-01");
    let unwanted = format!("00-{}-{REQUEST}-00", "5".repeat(32));
    let running = worker.process.run();
    for span in [Some(&*request), Some(&*unwanted), None] {
        worker.sign_up("ada@example.com", span).await;
    }
    let spans = collector.wait_for("process send_email", 2).await;
    let below = |parent: &str| spans.iter().find(|span| span.parent_id == parent).unwrap();
    let (job, root) = (below(REQUEST), below(""));
    assert_eq!((&*job.trace_id, &*job.service), (TRACE, "slipway-worker"));
    assert_eq!(format!("{:?}", job.kind), "Consumer");
    job.assert_has(&[
        ("messaging.system", "redis"),
        ("messaging.operation.type", "process"),
        ("messaging.message.delivery_attempt", "1"),
        ("job.name", "send_email"),
    ]);
    assert!(job.attributes.contains_key("messaging.message.id") && !job.failed);
    let relayed = collector.wait_for("send outbox", 1).await;
    assert_eq!(format!("{:?}", relayed[0].kind), "Producer");
    assert!(
        relayed[0]
            .attributes
            .contains_key("messaging.batch.message_count")
    );

    // The one that is not exported may be the last.
    super::until("the outbox is empty", async || {
        super::process::left(&worker.database).await == 0
    })
    .await;
    let sent = logged(running, "sent").await;
    assert_eq!(sent.len(), 3);
    let mut ids: Vec<_> = sent.iter().map(|line| &line["trace.id"]).collect();
    ids.sort_by_key(ToString::to_string);
    let mut expected = [TRACE, &"5".repeat(32), &root.trace_id];
    expected.sort_unstable();
    assert_eq!(ids, expected, "what is logged is what is exported");
    let all = collector.spans();
    let jobs = all.iter().filter(|span| span.name.starts_with("process"));
    assert_eq!(jobs.count(), 2, "the third is not sampled: {all:#?}");
    for span in all {
        assert!(!span.text.contains("ada@"), "{span:#?}");
    }
}

#[tokio::test]
async fn an_attempt_that_fails_is_an_error_without_its_words() {
    let collector = Collector::start(Answer::Ok).await;
    let mut worker = Worker::exporting(&collector).await;
    let server = Server::start("450 ada@example.com is busy").await;
    worker.process.set("SMTP_HOST", &server.addr.ip());
    worker.process.set("SMTP_PORT", &server.addr.port());
    worker.process.set("SMTP_TLS", &"none");
    let running = worker.process.run();
    worker
        .sign_up("ada@example.com", Some(&format!("00-{TRACE}-{REQUEST}-01")))
        .await;
    let attempts = collector.wait_for("process send_email", 2).await;
    for (span, number) in attempts.iter().zip(["1", "2"]) {
        span.assert_has(&[
            ("error.type", "retried"),
            ("messaging.message.delivery_attempt", number),
        ]);
        assert!(span.failed, "{span:#?}");
        assert_eq!((&*span.trace_id, &*span.parent_id), (TRACE, REQUEST));
        assert!(
            !span.text.contains("busy") && !span.text.contains("ada@"),
            "{span:#?}"
        );
    }
    let failed = logged(running, "attempt failed").await;
    assert!(
        failed.len() >= 2 && failed[0]["trace.id"] == TRACE,
        "{failed:#?}"
    );
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_neither_jobs_nor_the_end() {
    let collector = Collector::start(Answer::Never).await;
    let worker = Worker::exporting(&collector).await;
    let running = worker.process.run();
    worker.sign_up("ada@example.com", None).await;
    super::until("a batch is on its way", async || {
        !collector.batches().is_empty()
    })
    .await;
    worker.sign_up("eve@example.com", None).await;
    super::until("the outbox is empty", async || {
        super::process::left(&worker.database).await == 0
    })
    .await;
    let sent = logged(running, "sent").await;
    assert_eq!(sent.len(), 2);
}
