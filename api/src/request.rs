//! The identity of a request: its id, its trace, its span and its log line.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    response::Response,
};
use service::{telemetry::spans, trace::TraceContext};
use tracing::{Instrument, Span, field, instrument::Instrumented};
use uuid::Uuid;

use crate::metrics::{self, Measured, Requests, Route};

/// The header that carries a request's id, in both directions.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The most bytes of a `tracestate`, which is as much as everybody has to pass on (W3C Trace Context,
/// 3.3.1.5); of a longer one, which may fill a head, nothing is kept.
const LONGEST_TRACESTATE: usize = 512;

/// The most characters of a path that a log line or a problem shows.
const LONGEST_PATH: usize = 256;

/// What ties an answer to its log lines. Handlers find it among a request's extensions.
#[derive(Clone)]
pub struct RequestId(Arc<Known>);

struct Known {
    id: String,
    /// Found by the router, on the way in; told on the way out.
    route: OnceLock<Arc<Route>>,
}

impl RequestId {
    /// The caller's own id if it is harmless, otherwise a new one.
    fn accept(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let given = given.filter(|id| is_harmless(id));
        let id = given.map_or_else(|| Uuid::new_v4().to_string(), ToOwned::to_owned);
        let route = OnceLock::new();
        Self(Arc::new(Known { id, route }))
    }

    /// Notes which route it is.
    pub(crate) fn found(&self, route: &Arc<Route>) {
        // A request passes one route; were there another, the first stays.
        let _ = self.0.route.set(Arc::clone(route));
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({:?})", self.0.id)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.id)
    }
}

/// Whether an id can stand in logs and headers as it is.
fn is_harmless(id: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&id.len()) && id.bytes().all(harmless)
}

/// Whether `Accept-Encoding` has gzip and does not refuse it (RFC 9110, 12.5.3).
pub(crate) fn reads_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").map(str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|q| q.is_ok_and(|q| q > 0.0))
    })
}

/// What is known of a request before anything else is done.
pub(crate) struct Identity<'a> {
    id: RequestId,
    trace: TraceContext,
    path: Uri,
    span: Span,
    begun: Instant,
    measured: Measured<'a>,
}

impl<'a> Identity<'a> {
    /// Gives the request its id and its span, and counts it.
    pub(crate) fn of(request: &mut Request, requests: &'a Requests) -> Self {
        let id = RequestId::accept(request.headers());
        let caller = caller_of(request.headers());
        let trace = caller.map_or_else(TraceContext::root, TraceContext::child);
        // At the highest level, so that a filter of `warn` or `error` leaves the ids in its lines.
        let span = tracing::error_span!(
            "request",
            request.id = id.0.id,
            trace.id = trace.trace_id(),
            http.method = metrics::name(request.method()),
            http.route = field::Empty,
        );
        let tracestate = || tracestate_of(request.headers());
        let trace = spans::of_request(&span, trace, caller, tracestate);
        request.extensions_mut().insert(id.clone());
        Self {
            id,
            trace,
            path: request.uri().clone(),
            span,
            begun: Instant::now(),
            measured: requests.begin(request.method()),
        }
    }

    /// Has all of an answer in the span, its end included when it is given up.
    pub(crate) fn enclose<F: Future>(&self, answer: F) -> Instrumented<F> {
        answer.instrument(self.span.clone())
    }

    /// Has its jobs in the trace, and counts it and logs a line when it is answered.
    pub(crate) async fn around(self, answer: impl Future<Output = Response>) -> Response {
        let answer = async {
            let response = answer.await;
            let took = self.begun.elapsed();
            let route = self.id.0.route.get();
            self.measured.answered(route, response.status(), took);
            let line = || log(self.path.path(), &response, took);
            self.span.in_scope(line);
            let status = response.status().as_u16();
            spans::answered(&self.span, status, || shortened(self.path.path()));
            response
        };
        let mut response = queue::trace::scope(self.trace.to_string(), answer).await;
        if let Ok(value) = HeaderValue::from_str(&self.id.0.id) {
            response.headers_mut().insert(HEADER, value);
        }
        response
    }
}

/// Says in the current span which route it is.
pub(crate) fn name_route(route: &str) {
    Span::current().record("http.route", route);
}

/// The caller's trace, if it sends one along.
fn caller_of(headers: &HeaderMap) -> Option<TraceContext> {
    let value = headers.get("traceparent")?;
    TraceContext::parse(value.to_str().ok()?)
}

/// What others have noted on the caller's trace; it may come in parts.
fn tracestate_of(headers: &HeaderMap) -> Option<String> {
    let parts = headers.get_all("tracestate").iter();
    let parts: Vec<_> = parts.filter_map(|part| part.to_str().ok()).collect();
    let length: usize = parts.iter().map(|part| part.len() + 1).sum();
    (1..=LONGEST_TRACESTATE)
        .contains(&length)
        .then(|| parts.join(","))
}

/// The path, or its beginning when it is longer than any of ours; never half an escape.
pub(crate) fn shortened(path: &str) -> &str {
    let Some((end, _)) = path.char_indices().nth(LONGEST_PATH) else {
        return path;
    };
    let cut = &path[..end];
    match cut.rfind('%') {
        Some(escape) if escape + 3 > end => &cut[..escape],
        _ => cut,
    }
}

fn log(path: &str, response: &Response, took: Duration) {
    let status = response.status().as_u16();
    let latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // Probes ask every few seconds; their answers would bury everything else.
    if matches!(path, "/livez" | "/readyz") {
        tracing::debug!(http.status = status, latency_ms, "answered");
    } else {
        tracing::info!(
            http.status = status,
            http.path = shortened(path),
            latency_ms,
            "answered"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_cut_between_its_characters() {
        assert_eq!(shortened("/v1/me"), "/v1/me");
        assert_eq!(shortened(&"a".repeat(300)), "a".repeat(256));
        for before in [253, 254, 255] {
            let path = format!("{}%c3%bc", "a".repeat(before));
            let end = if before == 253 { "%c3" } else { "" };
            assert_eq!(shortened(&path), format!("{}{end}", "a".repeat(before)));
        }
    }

    #[test]
    fn only_harmless_ids_are_taken_over() {
        let given = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_str(id).unwrap());
            RequestId::accept(&headers).to_string() == id
        };
        assert!(given("a.B-9_"));
        assert!(given(&"x".repeat(128)));
        for id in ["", "a b", "a\tb", "a/b", "\"", "<script>", &"x".repeat(129)] {
            assert!(!given(id), "{id:?}");
        }
    }

    #[test]
    fn gzip_is_sent_to_those_who_ask_for_it() {
        let reads = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            reads_gzip(&headers)
        };
        assert!(!reads_gzip(&HeaderMap::new()));
        for value in [
            "gzip",
            "br, GZIP",
            "deflate;q=0.5, gzip;q=0.1",
            "gzip ; q=1",
        ] {
            assert!(reads(value), "{value}");
        }
        for value in ["", "br", "gzip;q=0", "gzip;q=0.0", "xgzip"] {
            assert!(!reads(value), "{value}");
        }
    }
}
