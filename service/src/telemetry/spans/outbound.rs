//! The way out: a bounded number of spans waits, and what is lost is told now and then.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::Context;
use opentelemetry_otlp::{
    Protocol, SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};
use secrecy::ExposeSecret as _;

use super::{
    client::{self, Client},
    conventions::conventional,
};
use crate::settings::Traces;

/// The most spans that wait; some 2 MB.
const MOST_WAITING: usize = 4096;

/// The most spans that are sent together, and how long they wait for others.
const BATCH: usize = 512;
const DELAY: Duration = Duration::from_secs(2);

/// The time between two lines about spans that were lost.
const QUIET: Duration = Duration::from_secs(60);

/// Takes spans that have ended, for the collector of these settings.
///
/// # Panics
/// Outside of a runtime.
pub(super) fn processor(settings: &Traces) -> Bounded {
    let client = Client::new();
    let headers = settings.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
    // All is said here: it wins over what the library finds in the environment by itself.
    let otlp = Otlp::builder()
        .with_http()
        .with_http_client(client.clone())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{}/v1/traces", settings.endpoint))
        .with_headers(headers.collect())
        .with_timeout(client::TIMEOUT)
        .build()
        .expect("settings have checked the address, and it has a client");
    let waiting = Arc::new(Waiting::default());
    let exporter = Exporter {
        otlp,
        client,
        waiting: Arc::clone(&waiting),
        losses: Mutex::default(),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(MOST_WAITING)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(DELAY)
        .build();
    Bounded {
        batches: BatchSpanProcessor::new(exporter, config),
        waiting,
    }
}

/// Counts the spans that wait. The library counts what it drops too, and keeps it to itself.
#[derive(Debug, Default)]
struct Waiting {
    spans: AtomicUsize,
    dropped: AtomicU64,
}

impl Waiting {
    /// Whether there is room for one more.
    fn enter(&self) -> bool {
        let room = self.spans.fetch_add(1, Ordering::Relaxed) < MOST_WAITING;
        if !room {
            self.spans.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    fn leave(&self, spans: usize) {
        self.spans.fetch_sub(spans, Ordering::Relaxed);
    }
}

/// The library's batches, with a count of what finds no room.
#[derive(Debug)]
pub(super) struct Bounded {
    batches: BatchSpanProcessor,
    waiting: Arc<Waiting>,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.enter() {
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// Sends a batch, and tells what becomes of it where that is news.
#[derive(Debug)]
struct Exporter {
    otlp: Otlp,
    client: Client,
    waiting: Arc<Waiting>,
    losses: Mutex<Losses>,
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.waiting.leave(batch.len());
        let batch: Vec<_> = batch.into_iter().filter_map(conventional).collect();
        let spans = batch.len() as u64;
        if spans == 0 {
            return Ok(());
        }
        let sent = self.otlp.export(batch).await;
        let dropped = self.waiting.dropped.swap(0, Ordering::Relaxed);
        let why = sent.as_ref().err().map(|error| {
            let reason = self.client.last_failure();
            reason.unwrap_or_else(|| error.to_string())
        });
        let lost = dropped + if sent.is_err() { spans } else { 0 };
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.note(lost, why, Instant::now());
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.otlp.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.otlp.set_resource(resource);
    }
}

/// What was lost and not told yet.
#[derive(Debug, Default)]
struct Losses {
    spans: u64,
    told: Option<Instant>,
    failing: bool,
}

impl Losses {
    /// Adds up, and logs at most one warning in [`QUIET`]; returns what that says was lost.
    fn note(&mut self, lost: u64, why: Option<String>, now: Instant) -> Option<u64> {
        self.spans += lost;
        if self.failing && why.is_none() {
            tracing::info!("spans are exported again");
        }
        self.failing = why.is_some();
        let quiet = self
            .told
            .is_some_and(|told| now.duration_since(told) < QUIET);
        if self.spans == 0 || quiet {
            return None;
        }
        let spans = std::mem::take(&mut self.spans);
        self.told = Some(now);
        let error = why.unwrap_or_else(|| "there are more than can be sent".to_owned());
        tracing::warn!(spans.lost = spans, error, "spans are not exported");
        Some(spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted() {
        let waiting = Waiting::default();
        let entered = (0..MOST_WAITING + 3).filter(|_| waiting.enter()).count();
        assert_eq!(entered, MOST_WAITING);
        assert_eq!(waiting.dropped.load(Ordering::Relaxed), 3);
        waiting.leave(1);
        assert!(waiting.enter() && !waiting.enter());
    }

    #[test]
    fn losses_are_told_once_in_a_while_and_none_is_forgotten() {
        let (mut losses, begun) = (Losses::default(), Instant::now());
        let away = || Some("connection refused".to_owned());
        let mut at =
            |seconds, lost, why| losses.note(lost, why, begun + Duration::from_secs(seconds));
        assert_eq!(at(0, 0, None), None);
        assert_eq!(at(1, 5, away()), Some(5), "the first is news");
        assert_eq!(at(3, 5, away()), None);
        assert_eq!(at(5, 0, None), None, "it is back");
        assert_eq!(at(7, 2, None), None);
        assert_eq!(at(61, 1, away()), Some(8));
    }
}
