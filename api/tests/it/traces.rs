//! Spans as a collector gets them, from the binary itself.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use axum::http::StatusCode;
use domain::jobs::SendEmail;
use migrations::testing::{TestDatabase, database};
use queue::redis::ConnectionAddr;
use serde_json::Value;
use service::testing::{Answer, Collector};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// `api serve` with real servers and the settings of its export.
struct Serving {
    child: Child,
    addr: String,
    log: Arc<Mutex<Vec<Value>>>,
    reading: JoinHandle<()>,
}

impl Serving {
    fn start(database: &TestDatabase, settings: &[(&str, &str)]) -> Self {
        let redis = queue::testing::settings();
        let ConnectionAddr::Tcp(host, port) = redis.redis.addr().clone() else {
            panic!("TEST_REDIS_URL is no TCP address");
        };
        let login = redis.redis.redis_settings();
        let mut child = Command::new(env!("CARGO_BIN_EXE_api"))
            .arg("serve")
            .env_clear()
            .envs(database.env())
            .envs([
                ("API_ADDR", "127.0.0.1:0"),
                ("LOG_FORMAT", "json"),
                ("JWT_SECRET", "q4Zt8vN2kLx7Rb0YwJ5mHc9PdF3sGa6T"),
                ("WEBHOOK_SECRET", "hT5nQ8wYc2Vz9KfR4mLx7Bd0Js3GpA6e"),
                ("REDIS_HOST", &host),
                ("REDIS_PORT", &port.to_string()),
                ("REDIS_USER", login.username().unwrap_or("default")),
                (
                    "REDIS_PASSWORD",
                    login.password().unwrap_or("k3Vx8aPq0ZtR5mWy"),
                ),
                ("QUEUE_NAMESPACE", &redis.namespace),
            ])
            .envs(settings.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::default();
        let addr = loop {
            let line = next(&mut lines, &log).expect("it listens before it ends");
            if line["message"] == "listening" {
                break line["address"].as_str().unwrap().to_owned();
            }
        };
        let kept = Arc::clone(&log);
        let reading = std::thread::spawn(move || while next(&mut lines, &kept).is_some() {});
        Self {
            child,
            addr,
            log,
            reading,
        }
    }

    fn exporting(database: &TestDatabase, collector: &Collector) -> Self {
        let endpoint = collector.endpoint();
        Self::start(database, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)])
    }

    /// Sends a request, with header lines of its own, and gives the answer's status.
    async fn send(&self, line: &str, headers: &str, body: &str) -> StatusCode {
        let mut stream = TcpStream::connect(&self.addr).await.unwrap();
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        status.parse().unwrap_or_else(|_| panic!("{answer}"))
    }

    async fn sign_up(&self, headers: &str) {
        let body = r#"{"email":"ada@example.com","password":"correct horse battery"}"#;
        let status = self.send("POST /v1/accounts?ref=Xq7", headers, body).await;
        assert_eq!(status, StatusCode::ACCEPTED);
    }

    /// The trace ids of the requests that were logged.
    fn logged(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let answered = log.iter().filter(|line| line["message"] == "answered");
        let ids = answered.filter_map(|line| line["trace.id"].as_str());
        ids.map(ToOwned::to_owned).collect()
    }

    /// Asks it to stop, and waits for its end.
    fn stop(mut self) -> (ExitStatus, Vec<Value>) {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(asked.unwrap().success());
        let status = self.child.wait().unwrap();
        self.reading.join().unwrap();
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        (status, log)
    }
}

fn next(lines: &mut BufReader<ChildStderr>, log: &Mutex<Vec<Value>>) -> Option<Value> {
    let mut line = String::new();
    if lines.read_line(&mut line).unwrap() == 0 {
        return None;
    }
    // The reason of a failure is for people, and no JSON.
    let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| line.trim().into());
    log.lock().unwrap().push(line.clone());
    Some(line)
}

/// The trace contexts of the jobs that wait in the outbox.
async fn enqueued(database: &TestDatabase) -> Vec<Option<String>> {
    let jobs = outbox::testing::enqueued::<SendEmail>(&database.pool).await;
    let jobs = jobs.into_iter();
    jobs.map(|job| job.envelope.traceparent).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_of_its_callers_trace_and_above_its_jobs() {
    let (database, collector) = (database().await, Collector::start(Answer::Ok).await);
    let serving = Serving::exporting(&database, &collector);
    let headers =
        format!("traceparent: 00-{TRACE}-{CALLER}-01\r\ntracestate: a=1\r\ntracestate: b=2\r\n");
    serving.sign_up(&headers).await;
    serving.sign_up("").await;
    assert_eq!(
        serving.send("GET /v1/me?token=Xq7", "", "").await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(serving.send("GET /livez", "", "").await, StatusCode::OK);

    let spans = collector.wait_for("POST /v1/accounts", 2).await;
    let span = &spans[0];
    assert_eq!((&*span.trace_id, &*span.parent_id), (TRACE, CALLER));
    assert_eq!(span.tracestate, "a=1,b=2");
    assert_eq!(span.service, "slipway-api");
    assert_eq!(format!("{:?}", span.kind), "Server");
    span.assert_has(&[
        ("http.request.method", "POST"),
        ("http.route", "/v1/accounts"),
        ("http.response.status_code", "202"),
        ("url.path", "/v1/accounts"),
        ("url.scheme", "http"),
    ]);
    assert!(span.attributes.contains_key("request.id") && !span.failed);

    let root = &spans[1];
    assert_eq!(root.parent_id, "", "{root:#?}");
    assert_ne!(root.trace_id, span.trace_id);
    let logged = serving.logged();
    assert_eq!(logged[..2], [span.trace_id.clone(), root.trace_id.clone()]);
    let jobs = enqueued(&database).await;
    for span in [span, root] {
        let expected = format!("00-{}-{}-01", span.trace_id, span.span_id);
        assert!(jobs.contains(&Some(expected)), "{span:#?} {jobs:?}");
    }

    let refused = &collector.wait_for("GET /v1/me", 1).await[0];
    refused.assert_has(&[("http.response.status_code", "401")]);
    assert!(
        !refused.failed,
        "what the client has done wrong is no error of ours"
    );
    let (status, _) = serving.stop();
    assert!(status.success());
    let all = collector.spans();
    assert_eq!(all.len(), 3, "probes are not exported: {all:#?}");
    for span in all {
        for secret in ["ada@", "correct horse", "Xq7"] {
            assert!(!span.text.contains(secret), "{span:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_service_is_one_in_the_trace() {
    let (database, collector) = (database().await, Collector::start(Answer::Ok).await);
    let serving = Serving::start(
        &database,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=Zp7Lw2Qx9Rt4Yb6N"),
            ("OTEL_SERVICE_NAME", "shop"),
            ("LOG_LEVEL", "off,api=info"),
            ("DATABASE_PORT", "1"),
        ],
    );
    let body = r#"{"email":"ada@example.com","password":"correct horse battery"}"#;
    let status = serving.send("POST /v1/accounts", "", body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    // What was not sent yet is sent at the end.
    let (status, _) = serving.stop();
    assert!(status.success());
    let spans = collector.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert!(spans[0].failed && spans[0].service == "shop", "{spans:#?}");
    spans[0].assert_has(&[("error.type", "503")]);
    assert_eq!(collector.batches()[0]["x-team"], "Zp7Lw2Qx9Rt4Yb6N");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_is_logged_all_the_same() {
    let (database, collector) = (database().await, Collector::start(Answer::Ok).await);
    for (sampler, flags, exported) in [
        ("always_off", "01", 0),
        ("parentbased_always_off", "00", 0),
        ("parentbased_always_off", "01", 1),
        ("parentbased_always_on", "00", 0),
        ("always_on", "00", 1),
    ] {
        let before = collector.spans().len();
        let serving = Serving::start(
            &database,
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
                ("OTEL_TRACES_SAMPLER", sampler),
            ],
        );
        let headers = format!("traceparent: 00-{TRACE}-{CALLER}-{flags}\r\n");
        serving.sign_up(&headers).await;
        let jobs = enqueued(&database).await;
        let last = jobs.last().cloned().flatten().unwrap();
        assert!(last.ends_with(&format!("-0{exported}")), "{sampler} {last}");
        let (status, log) = serving.stop();
        assert!(status.success());
        let answered = log.iter().find(|line| line["message"] == "answered");
        assert_eq!(answered.unwrap()["trace.id"], TRACE, "{sampler}");
        assert_eq!(
            collector.spans().len() - before,
            exported,
            "{sampler} {flags}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_ill_costs_a_warning_and_no_more() {
    let database = database().await;
    let hanging = Collector::start(Answer::Never).await;
    let ill = Collector::start(Answer::Status(500)).await;
    let cases = [
        ("http://127.0.0.1:1".to_owned(), "cannot be connected to"),
        (ill.endpoint(), "status code: 500"),
        (hanging.endpoint(), "left without exporting the last spans"),
    ];
    for (endpoint, told) in cases {
        let serving = Serving::start(&database, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
        for _ in 0..3 {
            serving.sign_up("").await;
        }
        let (status, log) = serving.stop();
        assert!(status.success(), "{log:#?}");
        let warned = log.iter().filter(|line| line["level"] == "WARN");
        let warned: Vec<_> = warned.map(Value::to_string).collect();
        let telling = warned.iter().filter(|line| line.contains(told));
        assert_eq!(telling.count(), 1, "{endpoint} {warned:#?}");
        let of_spans = warned.iter().filter(|line| line.contains("spans"));
        assert!(of_spans.count() <= 2, "{endpoint} {warned:#?}");
    }
}

#[test]
fn an_endpoint_that_is_none_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_api"))
        .arg("serve")
        .env_clear()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    let expected =
        "OTEL_EXPORTER_OTLP_ENDPOINT  \"collector:4318\" is not an http or https address";
    assert!(told.contains(expected), "{told}");
}
