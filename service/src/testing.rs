//! A collector of spans, for tests of what the binaries export.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, Status, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

/// How long a test waits for a span.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the collector does with a batch.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// It takes it.
    Ok,
    /// It refuses it.
    Status(u16),
    /// It never answers.
    Never,
}

/// An OTLP server on a port of its own, until it is dropped.
#[derive(Debug)]
pub struct Collector {
    addr: SocketAddr,
    seen: Arc<Seen>,
    serving: JoinHandle<()>,
}

#[derive(Debug)]
struct Seen {
    answer: Answer,
    spans: Mutex<Vec<Exported>>,
    batches: Mutex<Vec<HeaderMap>>,
}

/// A span as it came, with ids in hexadecimal digits and all values as texts.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Who exported it: `service.name`.
    pub service: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: SpanKind,
    /// The trace.
    pub trace_id: String,
    /// The span.
    pub span_id: String,
    /// The span above it; empty for the first of a trace.
    pub parent_id: String,
    /// What others have noted on the trace.
    pub tracestate: String,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Whether it failed.
    pub failed: bool,
    /// All of it, as text.
    pub text: String,
}

impl Exported {
    /// Asserts that it has these attributes.
    ///
    /// # Panics
    /// When one is missing, or another value.
    pub fn assert_has(&self, expected: &[(&str, &str)]) {
        for (name, value) in expected {
            let found = self.attributes.get(*name).map(String::as_str);
            assert_eq!(found, Some(*value), "{name} of {self:#?}");
        }
    }
}

impl Collector {
    /// Starts one.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(answer: Answer) -> Self {
        let seen = Arc::new(Seen {
            answer,
            spans: Mutex::default(),
            batches: Mutex::default(),
        });
        let routes = Router::new().route("/v1/traces", post(take));
        let routes = routes.with_state(Arc::clone(&seen));
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let serving = tokio::spawn(async move {
            // It ends with the test.
            let _ = axum::serve(listener, routes).await;
        });
        Self {
            addr,
            seen,
            serving,
        }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT` that leads here.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The spans that have come.
    pub fn spans(&self) -> Vec<Exported> {
        let spans = self.seen.spans.lock();
        spans.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The headers of the batches that have come.
    pub fn batches(&self) -> Vec<HeaderMap> {
        let batches = self.seen.batches.lock();
        batches.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for spans of this name, until there are as many.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for(&self, name: &str, count: usize) -> Vec<Exported> {
        let come = async {
            loop {
                let mut spans = self.spans();
                spans.retain(|span| span.name == name);
                if spans.len() >= count {
                    return spans;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let come = tokio::time::timeout(PATIENCE, come).await;
        come.unwrap_or_else(|_| panic!("{count} of {name:?} among {:#?}", self.spans()))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(State(seen): State<Arc<Seen>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let batch = ExportTraceServiceRequest::decode(body).expect("a batch as OTLP has it");
    keep(&seen.batches, headers);
    match seen.answer {
        Answer::Ok => {}
        Answer::Status(status) => {
            return StatusCode::from_u16(status).expect("a test's status");
        }
        Answer::Never => std::future::pending().await,
    }
    for of_one in batch.resource_spans {
        let resource = of_one.resource.unwrap_or_default();
        let service = attributes(resource.attributes).remove("service.name");
        let service = service.unwrap_or_default();
        let scopes = of_one.scope_spans.into_iter();
        let all = scopes.flat_map(|scope| scope.spans);
        all.for_each(|span| keep(&seen.spans, exported(&service, span)));
    }
    StatusCode::OK
}

fn keep<T>(all: &Mutex<Vec<T>>, one: T) {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    all.push(one);
}

fn exported(service: &str, span: Span) -> Exported {
    let status = span.status.as_ref().map(Status::code);
    Exported {
        service: service.to_owned(),
        text: format!("{span:?}"),
        kind: span.kind(),
        failed: status == Some(SpanStatus::Error),
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        tracestate: span.trace_state,
        attributes: attributes(span.attributes),
        name: span.name,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(pairs: Vec<KeyValue>) -> BTreeMap<String, String> {
    let pairs = pairs.into_iter();
    pairs.map(|pair| (pair.key, text(pair.value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
