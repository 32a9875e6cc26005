//! Logs, on standard error: standard output belongs to the answer of a command.
//!
//! As JSON, each event is one object in one line with `timestamp`, `level`, `target`, `message`,
//! and the fields of the event and of the spans around it side by side, so that `request.id` or
//! `job.id` is found in the same place in every line.

use std::{
    error::Error,
    fmt::{self, Write as _},
    io::{self, IsTerminal},
};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter,
        format::{JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    registry::{LookupSpan, Registry, Scope},
    util::SubscriberInitExt,
};

use crate::settings::{LogFormat, Telemetry};

/// Starts logging for this process; a panic becomes a log line too.
///
/// Colours appear on a terminal only, and never when `NO_COLOR` is set (the subscriber sees to
/// that). To be called once, at the start.
///
/// # Panics
/// When logging has been started already.
pub fn init(settings: &Telemetry) {
    subscriber(settings, io::stderr, io::stderr().is_terminal()).init();
    std::panic::set_hook(Box::new(|info| {
        let message = info
            .payload_as_str()
            .unwrap_or("the panic's payload is not a text");
        tracing::error!(
            panic.location = info.location().map(tracing::field::display),
            panic.backtrace = %std::backtrace::Backtrace::capture(),
            "panicked: {message}",
        );
    }));
}

/// The text of an error and of all its causes: `outer: middle: inner`.
pub fn chain(error: &(dyn Error + 'static)) -> impl fmt::Display {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn subscriber<W>(settings: &Telemetry, writer: W, terminal: bool) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Json => Box::new(lines.fmt_fields(JsonFields::new()).event_format(JsonLines)),
        LogFormat::Pretty if terminal => Box::new(lines),
        LogFormat::Pretty => Box::new(lines.with_ansi(false)),
    };
    Registry::default()
        .with(lines)
        .with(EnvFilter::new(&settings.filter))
}

/// Writes an event and the fields of its spans as one flat JSON object.
///
/// The subscriber's own JSON format nests the spans' fields, and shows the innermost span or all.
struct JsonLines;

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    target: Value,
    message: Value,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;

        let mut fields = Fields::default();
        // From the outermost span inwards, so that the nearest one decides.
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let extensions = span.extensions();
            if let Some(formatted) = extensions.get::<FormattedFields<N>>()
                && let Ok(of_span) = serde_json::from_str::<Map<_, _>>(&formatted.fields)
            {
                fields.0.extend(of_span);
            }
        }
        event.record(&mut fields);
        let Fields(mut fields) = fields;

        let metadata = event.metadata();
        // A library that logs with `log` instead of `tracing` arrives with its target in a field.
        let target = fields.remove("log.target");
        fields.retain(|name, _| !name.starts_with("log."));
        let line = Line {
            timestamp,
            level: metadata.level().as_str(),
            target: target.unwrap_or_else(|| metadata.target().into()),
            message: fields.remove("message").unwrap_or_else(|| "".into()),
            fields,
        };
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.insert(field, chain(value).to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let settings = Telemetry {
            format,
            filter: filter.to_owned(),
        };
        let writer = buffer.clone();
        let subscriber = subscriber(&settings, move || writer.clone(), false);
        tracing::subscriber::with_default(subscriber, log);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_are_flat_and_the_nearest_span_decides() {
        let text = logged(LogFormat::Json, "info", || {
            let outer = tracing::info_span!(
                "outer",
                request.id = "r-1",
                depth = 1,
                late = tracing::field::Empty
            );
            let _outer = outer.enter();
            let _inner = tracing::info_span!("inner", depth = 2, job.id = %"j-1").entered();
            outer.record("late", "yes");
            tracing::info!(
                count = 3,
                fine = true,
                text = "a \"quote\"\nand a line",
                "hello"
            );
            tracing::debug!("not shown");
        });
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.starts_with(r#"{"timestamp":"20"#), "{text}");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["target"], "service::telemetry::tests");
        assert_eq!(line["message"], "hello");
        assert_eq!(line["request.id"], "r-1");
        assert_eq!(line["job.id"], "j-1");
        assert_eq!(line["depth"], 2);
        assert_eq!(line["late"], "yes");
        assert_eq!(line["count"], 3);
        assert_eq!(line["fine"], true);
        assert_eq!(line["text"], "a \"quote\"\nand a line");
    }

    #[test]
    fn pretty_lines_have_no_colours_away_from_a_terminal() {
        let text = logged(LogFormat::Pretty, "info", || {
            let _span = tracing::info_span!("request", request.id = "r-1").entered();
            tracing::warn!("careful");
        });
        assert!(text.contains("WARN") && text.contains("careful") && text.contains("r-1"));
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn an_error_is_logged_with_its_causes_and_without_repetition() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot answer")]
        struct Outer(#[source] Middle);
        #[derive(Debug, thiserror::Error)]
        #[error("cannot ask: {0}")]
        struct Middle(#[source] fmt::Error);
        let error = Outer(Middle(fmt::Error));
        let expected = format!("cannot answer: cannot ask: {}", fmt::Error);
        assert_eq!(chain(&error).to_string(), expected);
    }
}
