//! A line of JSON for each event: its own fields and those of its spans, side by side.

use std::{error::Error, fmt};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use super::chain;

/// Writes an event and the fields of its spans as one flat JSON object.
///
/// The subscriber's own JSON format nests the spans' fields, and shows the innermost span or all.
/// There is a line for every request, so it is written as it goes: a span's fields were made into
/// JSON when it began, and are copied from there.
pub(super) struct JsonLines;

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
        let mut own = Members::default();
        event.record(&mut own);

        let metadata = event.metadata();
        let mut line = String::with_capacity(256 + own.text.len());
        line.push_str("{\"timestamp\":\"");
        SystemTime.format_time(&mut Writer::new(&mut line))?;
        line.push_str("\",\"level\":\"");
        line.push_str(metadata.level().as_str());
        line.push_str("\",\"target\":");
        match &own.target {
            Some(target) => line.push_str(target),
            None => line.push_str(&json(metadata.target())),
        }
        line.push_str(",\"message\":");
        line.push_str(own.message.as_deref().unwrap_or("\"\""));
        line.push_str(&own.text);

        // From the innermost span outwards: the nearest one decides.
        let mut named = Named {
            own: own.names,
            of_spans: Vec::new(),
        };
        let mut spans = context.event_scope().into_iter().flatten().peekable();
        while let Some(span) = spans.next() {
            let extensions = span.extensions();
            let Some(fields) = extensions.get::<FormattedFields<N>>() else {
                continue;
            };
            named.append(&fields.fields, spans.peek().is_some(), &mut line);
        }
        line.push('}');
        writeln!(writer, "{line}")
    }
}

/// The names that a line has already.
struct Named {
    own: Vec<&'static str>,
    of_spans: Vec<String>,
}

impl Named {
    /// Appends the fields of a span, an object, but for those that the line has; with `more`
    /// spans to come, it learns their names.
    fn append(&mut self, object: &str, more: bool, line: &mut String) {
        let inner = object
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let Some(members) = inner.filter(|members| !members.is_empty()) else {
            return;
        };
        let doubled = self.of_spans.iter().map(String::as_str);
        let doubled = doubled
            .chain(self.own.iter().copied())
            .any(|name| may_name(members, name));
        if !doubled && !more {
            line.push(',');
            line.push_str(members);
            return;
        }
        let Ok(fields) = serde_json::from_str::<Map<String, Value>>(object) else {
            return;
        };
        for (name, value) in fields {
            if !self.own.contains(&&*name) && !self.of_spans.contains(&name) {
                member(line, &name, &json(&value));
                self.of_spans.push(name);
            }
        }
    }
}

/// Whether `name` is the name of one of these members; a text in one may look like it too.
fn may_name(members: &str, name: &str) -> bool {
    members.match_indices(name).any(|(at, _)| {
        members[..at].ends_with('"') && members[at + name.len()..].starts_with("\":")
    })
}

/// The event's own fields.
#[derive(Default)]
struct Members {
    message: Option<String>,
    /// A library that logs with `log` instead of `tracing` arrives with its target in a field.
    target: Option<String>,
    text: String,
    names: Vec<&'static str>,
}

impl Members {
    fn insert(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = Some(value),
            "log.target" => self.target = Some(value),
            name if name.starts_with("log.") => {}
            name => {
                member(&mut self.text, name, &value);
                self.names.push(name);
            }
        }
    }
}

impl Visit for Members {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, json(&format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, json(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, json(&value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.to_string());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.insert(field, json(&chain(value).to_string()));
    }
}

fn member(text: &mut String, name: &str, value: &str) {
    text.push_str(",\"");
    // Names are those of fields in the source: none needs an escape.
    text.push_str(name);
    text.push_str("\":");
    text.push_str(value);
}

/// As JSON. Texts and numbers always are; infinite ones become `null`.
fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
