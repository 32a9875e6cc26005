//! A line of JSON for each event: its own fields and those of its spans, side by side.

use std::{error::Error, fmt};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    field::RecordFields,
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
/// There is a line for every request, so it is written as it goes: a span's fields are made into
/// JSON when it begins, and are copied from there.
pub(super) struct JsonLines;

impl<S> FormatEvent<S, Self> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Self>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut own = Members::with_room();
        event.record(&mut own);

        let metadata = event.metadata();
        let mut timestamp = String::with_capacity(32);
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut line = Vec::with_capacity(512);
        line.extend_from_slice(b"{\"timestamp\":");
        json(&mut line, &timestamp);
        line.extend_from_slice(b",\"level\":");
        json(&mut line, metadata.level().as_str());
        line.extend_from_slice(b",\"target\":");
        match &own.target {
            Some(target) => line.extend_from_slice(target),
            None => json(&mut line, metadata.target()),
        }
        line.extend_from_slice(b",\"message\":");
        line.extend_from_slice(own.message.as_deref().unwrap_or(b"\"\""));
        line.extend_from_slice(&own.text);

        // From the innermost span outwards: the nearest one decides.
        let mut named = Named {
            own: own.names,
            of_spans: Vec::new(),
        };
        let mut spans = context.event_scope().into_iter().flatten().peekable();
        while let Some(span) = spans.next() {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<Self>>() {
                let declares = |name: &str| span.fields().field(name).is_some();
                named.append(&fields.fields, declares, spans.peek().is_some(), &mut line);
            }
        }
        line.extend_from_slice(b"}\n");
        writer.write_str(text(&line)?)
    }
}

/// A span's fields, as an object.
impl<'writer> FormatFields<'writer> for JsonLines {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut members = Members::with_room();
        fields.record(&mut members);
        // As an object: the first comma becomes its brace.
        match members.text.first_mut() {
            Some(comma) => *comma = b'{',
            None => members.text.push(b'{'),
        }
        members.text.push(b'}');
        writer.write_str(text(&members.text)?)
    }

    /// A value that comes later takes the place of the one before.
    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let mut added = Members::with_room();
        fields.record(&mut added);
        if added.text.is_empty() {
            return Ok(());
        }
        let doubled = |name: &&str| may_name(&current.fields, name);
        if !added.names.iter().any(doubled) && current.fields.ends_with('}') {
            let is_first = current.fields == "{}";
            current.fields.pop();
            let members = if is_first {
                &added.text[1..]
            } else {
                &added.text
            };
            current.fields.push_str(text(members)?);
            current.fields.push('}');
            return Ok(());
        }
        let mut named = Named {
            own: added.names,
            of_spans: Vec::new(),
        };
        named.append(&current.fields, |_| true, false, &mut added.text);
        let members = added.text.strip_prefix(b",").unwrap_or(b"");
        current.fields = format!("{{{}}}", text(members)?);
        Ok(())
    }
}

/// The names that a line has already.
struct Named {
    own: Vec<&'static str>,
    of_spans: Vec<String>,
}

impl Named {
    /// Appends the fields of a span, an object, but for those that the line has; with `more`
    /// spans to come, it learns their names. A name that the span does not declare is none of its.
    fn append(
        &mut self,
        object: &str,
        declares: impl Fn(&str) -> bool,
        more: bool,
        line: &mut Vec<u8>,
    ) {
        let inner = object
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let Some(members) = inner.filter(|members| !members.is_empty()) else {
            return;
        };
        let may_have = |name: &str| declares(name) && may_name(members, name);
        let doubled = self.of_spans.iter().any(|name| may_have(name))
            || self.own.iter().any(|name| may_have(name));
        if !doubled && !more {
            line.push(b',');
            line.extend_from_slice(members.as_bytes());
            return;
        }
        let Ok(fields) = serde_json::from_str::<Map<String, Value>>(object) else {
            return;
        };
        for (name, value) in fields {
            if !self.own.contains(&&*name) && !self.of_spans.contains(&name) {
                begin(line, &name);
                json(line, &value);
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

/// The fields of an event or a span, as JSON: `,"name":value` for each.
#[derive(Default)]
struct Members {
    message: Option<Vec<u8>>,
    /// A library that logs with `log` instead of `tracing` arrives with its target in a field.
    target: Option<Vec<u8>>,
    text: Vec<u8>,
    names: Vec<&'static str>,
}

impl Members {
    /// For some fields, so that few of them make it grow.
    fn with_room() -> Self {
        Self {
            text: Vec::with_capacity(256),
            names: Vec::with_capacity(8),
            ..Self::default()
        }
    }

    fn insert(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        match field.name() {
            "message" => json(self.message.insert(Vec::new()), value),
            "log.target" => json(self.target.insert(Vec::new()), value),
            name if name.starts_with("log.") => {}
            name => {
                begin(&mut self.text, name);
                json(&mut self.text, value);
                self.names.push(name);
            }
        }
    }
}

impl Visit for Members {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, &format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, &value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.insert(field, &format_args!("{}", chain(value)));
    }
}

/// Names are those of fields in the source: none needs an escape.
fn begin(line: &mut Vec<u8>, name: &str) {
    line.extend_from_slice(b",\"");
    line.extend_from_slice(name.as_bytes());
    line.extend_from_slice(b"\":");
}

/// Texts and numbers always are JSON; infinite ones become `null`.
fn json(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let written = serde_json::to_writer(&mut *line, value);
    debug_assert!(written.is_ok());
}

/// JSON that was written from texts is one.
fn text(json: &[u8]) -> Result<&str, fmt::Error> {
    std::str::from_utf8(json).map_err(|_| fmt::Error)
}
