//! Logs, on standard error: standard output belongs to the answer of a command.
//!
//! As JSON, each event is one object in one line with `timestamp`, `level`, `target`, `message`,
//! and the fields of the event and of the spans around it side by side, so that `request.id` or
//! `job.id` is found in the same place in every line.

mod json_lines;
pub mod spans;

use std::{
    error::Error,
    fmt::{self, Write as _},
    io::{self, IsTerminal},
};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt, registry::Registry,
    util::SubscriberInitExt,
};

use self::json_lines::JsonLines;
use crate::settings::{LogFormat, Telemetry, Traces};

/// Starts logging for this process; a panic becomes a log line too.
///
/// Colours appear on a terminal only, and never when `NO_COLOR` is set (the subscriber sees to
/// that). To be called once, at the start.
///
/// # Panics
/// When logging has been started already.
pub fn init(settings: &Telemetry) {
    subscriber(settings, io::stderr, io::stderr().is_terminal()).init();
    log_panics();
}

/// As [`init`], and exports spans where a collector is set; `service` is the binary's name.
/// [`spans::flush`] sends the last ones.
///
/// # Panics
/// When logging has been started already, or outside of a runtime.
pub fn init_with_spans(settings: &Telemetry, traces: Option<&Traces>, service: &str) {
    let Some(traces) = traces else {
        return init(settings);
    };
    let tracer = spans::start(traces, service);
    // A filter for each: what is exported does not depend on what is logged.
    let filter = EnvFilter::new(&settings.filter);
    let lines = lines(settings, io::stderr, io::stderr().is_terminal());
    Registry::default()
        .with(lines.with_filter(filter))
        .with(spans::layer(tracer))
        .init();
    log_panics();
}

fn log_panics() {
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
    Registry::default()
        .with(lines(settings, writer, terminal))
        .with(EnvFilter::new(&settings.filter))
}

fn lines<W>(
    settings: &Telemetry,
    writer: W,
    terminal: bool,
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match settings.format {
        LogFormat::Json => Box::new(lines.fmt_fields(JsonLines).event_format(JsonLines)),
        LogFormat::Pretty if terminal => Box::new(lines),
        LogFormat::Pretty => Box::new(lines.with_ansi(false)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

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
            let bare = tracing::info_span!("bare", late = tracing::field::Empty);
            bare.record("late", tracing::field::Empty);
            bare.record("late", "too");
            let _bare = bare.entered();
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
    fn one_line_has_each_name_once() {
        let text = logged(LogFormat::Json, "info", || {
            let _span = tracing::info_span!("request", id = "a", path = "/\"depth\":").entered();
            tracing::info!(depth = 1, "plain");
            tracing::info!(id = "b", log.line = 7, log.target = "elsewhere", "nearer");
        });
        let [plain, nearer] = [0, 1].map(|line| text.lines().nth(line).unwrap());
        for (line, id) in [(plain, "a"), (nearer, "b")] {
            let value: Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                (&value["id"], &value["path"]),
                (&id.into(), &"/\"depth\":".into())
            );
            assert_eq!(line.matches("\"id\":").count(), 1, "{line}");
        }
        assert!(plain.contains("\"depth\":1"), "{plain}");
        assert!(nearer.contains("\"target\":\"elsewhere\"") && !nearer.contains("log."));
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
