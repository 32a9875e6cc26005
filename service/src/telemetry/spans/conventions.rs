//! Names: in logs a request has an `http.method`, in traces an `http.request.method`.
//!
//! The semantic conventions of OpenTelemetry (<https://opentelemetry.io/docs/specs/semconv/>), for
//! HTTP servers and for messaging. What follows from a name is added here as well, away from
//! requests and jobs, in the thread that exports.

use opentelemetry::{
    Key, KeyValue,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::trace::SpanData;

/// Names of attributes that have another one in the conventions.
const RENAMED: [(&str, &str); 5] = [
    ("http.method", METHOD),
    ("job.id", "messaging.message.id"),
    ("job.attempt", "messaging.message.delivery_attempt"),
    ("queue.name", "messaging.destination.name"),
    ("outbox.jobs", "messaging.batch.message_count"),
];

const METHOD: &str = "http.request.method";
const ROUTE: &str = "http.route";

/// The methods that the conventions know; a stranger's invention would be one more name to store.
const METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];

/// The span by the names of the conventions; `None` for the answer to a probe.
pub(super) fn conventional(mut span: SpanData) -> Option<SpanData> {
    // The span's own id of its trace says it already.
    span.attributes
        .retain(|attribute| attribute.key.as_str() != "trace.id");
    for attribute in &mut span.attributes {
        let renamed = RENAMED.iter().find(|(ours, _)| is(attribute, ours));
        if let Some((_, theirs)) = renamed {
            attribute.key = Key::from_static_str(theirs);
        }
    }
    match &*span.name {
        "request" => {
            let route = value(&span, ROUTE);
            if matches!(route.as_deref(), Some("/livez" | "/readyz")) {
                return None;
            }
            served(&mut span, route);
        }
        "job" => {
            let job = value(&span, "job.name").unwrap_or_default();
            sent_by(&mut span, SpanKind::Consumer, "process");
            span.name = format!("process {job}").into();
        }
        "relay" => {
            sent_by(&mut span, SpanKind::Producer, "send");
            span.name = "send outbox".into();
        }
        _ => {}
    }
    if value(&span, "error.type").is_some() {
        // What exactly went wrong is in the log: an error may quote an address or a payload.
        span.status = Status::error("");
    }
    Some(span)
}

fn served(span: &mut SpanData, route: Option<String>) {
    span.span_kind = SpanKind::Server;
    // Whoever speaks TLS in front of us speaks HTTP to us.
    span.attributes.push(KeyValue::new("url.scheme", "http"));
    let mut named = "HTTP".to_owned();
    let method = span.attributes.iter_mut().find(|a| is(a, METHOD));
    if let Some(method) = method {
        if METHODS.contains(&&*method.value.as_str()) {
            named = method.value.to_string();
        } else {
            method.value = "_OTHER".into();
        }
    }
    if let Some(route) = route {
        named = format!("{named} {route}");
    }
    span.name = named.into();
}

fn sent_by(span: &mut SpanData, kind: SpanKind, operation: &'static str) {
    span.span_kind = kind;
    span.attributes.extend([
        KeyValue::new("messaging.system", "redis"),
        KeyValue::new("messaging.operation.name", operation),
        KeyValue::new("messaging.operation.type", operation),
    ]);
}

fn is(attribute: &KeyValue, name: &str) -> bool {
    attribute.key.as_str() == name
}

fn value(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|a| is(a, name))?;
    Some(found.value.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use opentelemetry::{InstrumentationScope, SpanId, trace::SpanContext};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;

    fn span(name: &'static str, attributes: &[(&'static str, &'static str)]) -> SpanData {
        let attributes = attributes.iter();
        SpanData {
            span_context: SpanContext::empty_context(),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: attributes.map(|(k, v)| KeyValue::new(*k, *v)).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[test]
    fn a_request_is_named_by_its_route_and_never_by_its_path() {
        let named = |attributes: &[_]| conventional(span("request", attributes)).map(|s| s.name);
        let get = ("http.method", "GET");
        let routed = named(&[get, ("http.route", "/v1/events/{id}")]);
        assert_eq!(routed.unwrap(), "GET /v1/events/{id}");
        assert_eq!(named(&[get, ("url.path", "/wp-admin")]).unwrap(), "GET");
        assert_eq!(named(&[("http.method", "PWN")]).unwrap(), "HTTP");
        assert_eq!(named(&[get, ("http.route", "/readyz")]), None);
    }

    #[test]
    fn a_failure_is_an_error_without_its_text() {
        let done = conventional(span("job", &[("job.name", "send_email")])).unwrap();
        assert_eq!(
            (&*done.name, &done.status),
            ("process send_email", &Status::Unset)
        );
        let failed = conventional(span("job", &[("error.type", "retried")])).unwrap();
        assert_eq!(failed.status, Status::error(""));
    }

    #[test]
    fn a_span_of_a_handler_stays_as_it_is() {
        let own = span("charge", &[("card.kind", "debit")]);
        assert_eq!(conventional(own.clone()), Some(own));
    }
}
