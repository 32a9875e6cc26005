//! Spans, exported by OTLP over HTTP when a collector is set; without one, nothing here is done.
//!
//! Every span of `tracing` down to the level `info` becomes one of OpenTelemetry's, so that a
//! handler that begins a span of its own sees it in the trace of its request. Log lines do not
//! go along: they have the trace's id. The ids are those of [`TraceContext`], which logs show and
//! jobs carry.
//!
//! Ended spans wait for a thread of their own, which sends a batch every few seconds. Where more
//! come than it can send, they are dropped and counted: nobody waits for a collector.

mod client;
mod conventions;
mod outbound;

use std::{cell::Cell, sync::OnceLock, time::Duration};

use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    trace::{IdGenerator, Sampler, SdkTracer, SdkTracerProvider},
};
use tokio::sync::oneshot;
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::{
    settings::{Environment, Sampling, Traces},
    shutdown::Shutdown,
    trace::TraceContext,
};

/// How long a process that ends waits for the collector to take its last spans.
const LAST_BATCH: Duration = Duration::from_secs(3);

/// What exports, once it was started.
static EXPORT: OnceLock<Export> = OnceLock::new();

struct Export {
    provider: SdkTracerProvider,
    sampling: Sampling,
}

/// Starts the export; `service` is the binary's name.
///
/// # Panics
/// When it was started before, or outside of a runtime.
pub(super) fn start(settings: &Traces, service: &str) -> SdkTracer {
    let sampling = settings.sampling;
    let provider = SdkTracerProvider::builder()
        .with_span_processor(outbound::processor(settings))
        // What a caller may decide is in the parent that `of_request` gives to a span.
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
            sampling.ratio,
        ))))
        .with_id_generator(Ids)
        .with_resource(resource(settings, service))
        .build();
    let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
    let started = EXPORT.set(Export { provider, sampling });
    assert!(started.is_ok(), "spans are exported already");
    tracer
}

/// Who exports. Nothing of it is looked up: neither in the environment nor in the host.
fn resource(settings: &Traces, service: &str) -> Resource {
    let name = settings.service.clone();
    let environment = match settings.environment {
        Environment::Development => "development",
        Environment::Staging => "staging",
        Environment::Production => "production",
    };
    Resource::builder_empty()
        .with_service_name(name.unwrap_or_else(|| format!("slipway-{service}")))
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("deployment.environment.name", environment),
        ])
        .build()
}

/// Makes spans of `tracing` those of OpenTelemetry, whatever the filter of the log.
pub(super) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    OpenTelemetryLayer::new(tracer)
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_filter(
            filter_fn(|metadata| metadata.is_span() && *metadata.level() <= Level::INFO)
                .with_max_level_hint(Level::INFO),
        )
}

/// Exports the span of a request, as `trace` below its `caller`; returns what goes on from there.
///
/// Where callers are not followed, the ratio decides, by a chance that no caller can sway.
#[inline]
pub fn of_request(
    span: &Span,
    trace: TraceContext,
    caller: Option<TraceContext>,
    tracestate: impl Fn() -> Option<String>,
) -> TraceContext {
    let Some(export) = EXPORT.get() else {
        return trace;
    };
    let Sampling {
        ratio,
        follows_callers,
    } = export.sampling;
    let parent = caller.map(|caller| {
        if follows_callers {
            caller
        } else {
            caller.with_sampled(fastrand::f64() < ratio)
        }
    });
    begin(span, trace, parent, tracestate().as_deref())
}

/// Says how the request of a span was answered, and at which path.
#[inline]
pub fn answered<'p>(span: &Span, status: u16, path: impl Fn() -> &'p str) {
    if EXPORT.get().is_none() {
        return;
    }
    span.set_attribute("url.path", path().to_owned());
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_attribute("error.type", status.to_string());
    }
}

/// Exports the span of a job below what has enqueued it, and as that was decided; returns the
/// `traceparent` of the job itself. The span gets the id of a trace that begins with it.
pub fn of_job(span: &Span, traceparent: Option<&str>) -> Option<String> {
    EXPORT.get()?;
    let parent = traceparent.and_then(TraceContext::parse);
    let trace = parent.map_or_else(TraceContext::root, TraceContext::child);
    if parent.is_none() {
        span.record("trace.id", trace.trace_id());
    }
    Some(begin(span, trace, parent, None).to_string())
}

/// Begins a span with the ids of `own`.
fn begin(
    span: &Span,
    own: TraceContext,
    parent: Option<TraceContext>,
    tracestate: Option<&str>,
) -> TraceContext {
    let context = parent.map_or_else(Context::new, |parent| {
        let (trace_id, span_id) = parent.ids();
        let flags = TraceFlags::default().with_sampled(parent.is_sampled());
        // Whatever is wrong with it, the trace goes on without.
        let state = tracestate.and_then(|state| state.parse().ok());
        Context::new().with_remote_span_context(SpanContext::new(
            TraceId::from(trace_id),
            SpanId::from(span_id),
            flags,
            true,
            state.unwrap_or_default(),
        ))
    });
    // It fails for a span that nobody wants, and there is none to be exported then.
    let _ = span.set_parent(context);
    NEXT.set(Some(own));
    let sampled = span.context().span().span_context().is_sampled();
    NEXT.set(None);
    own.with_sampled(sampled)
}

thread_local! {
    /// The ids of the span that this thread is about to begin, if they are chosen.
    static NEXT: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

/// The ids that [`begin`] chose; any others for spans within.
#[derive(Debug)]
struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        let (trace_id, _) = NEXT.get().unwrap_or_else(TraceContext::root).ids();
        TraceId::from(trace_id)
    }

    fn new_span_id(&self) -> SpanId {
        let (_, span_id) = NEXT.get().unwrap_or_else(TraceContext::root).ids();
        SpanId::from(span_id)
    }
}

/// Exports what is left, at the end of a process; for 3 seconds at most, and not after the hard
/// signal.
pub async fn flush(shutdown: &Shutdown) {
    let Some(export) = EXPORT.get() else {
        return;
    };
    let (done, flushed) = oneshot::channel();
    // A thread that the runtime's end does not wait for.
    std::thread::spawn(move || done.send(export.provider.shutdown_with_timeout(LAST_BATCH)));
    let late = tokio::select! {
        flushed = flushed => !matches!(flushed, Ok(Ok(()))),
        () = shutdown.hard.cancelled() => true,
    };
    if late {
        tracing::warn!("left without exporting the last spans");
    }
}
