//! What a request says, field by field: the object in its body, or its query.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::problem::{FieldError, Place, Problem};

/// The most unknown fields that an answer names, and the most characters of each name.
///
/// A body of many short fields would otherwise become an answer of many times its size.
const MOST_UNKNOWN: usize = 16;
const LONGEST_NAME: usize = 64;

/// A type that can be read from a request, as [`Body`](crate::body::Body) and
/// [`Query`](crate::query::Query) take it.
pub trait FromFields: Sized {
    /// Takes every field, the wrong ones too, and only then gives up with `None`.
    ///
    /// ```
    /// # use api::fields::{Fields, FromFields, text};
    /// struct Server {
    ///     port: u16,
    ///     name: Option<String>,
    /// }
    ///
    /// impl FromFields for Server {
    ///     fn read(fields: &mut Fields) -> Option<Self> {
    ///         let port = fields.required("port", text(|text| text.parse::<u16>()));
    ///         let name = fields.optional("name", text(|text| text.parse::<String>()));
    ///         Some(Self { port: port?, name: name? })
    ///     }
    /// }
    /// ```
    fn read(fields: &mut Fields) -> Option<Self>;
}

/// The fields of a request, and what is wrong with them.
///
/// Deserializing into a struct would stop at the first wrong field. Here each is taken by itself,
/// so that a client hears of all of them in one answer. Each method gives `None` for a field that
/// is wrong, after it has noted why.
#[derive(Debug)]
pub struct Fields {
    source: Source,
    rest: Map<String, Value>,
    errors: Vec<FieldError>,
}

/// Where the fields came from, which is how an error points to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Body,
    Query,
}

/// A field of a PATCH: JSON merge patch (RFC 7396) tells an absent one from null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// The field was not sent.
    Keep,
    /// It was null.
    Clear,
    /// It has this value.
    Set(T),
}

/// What is wrong with a value: where below it, as a JSON pointer, and what.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    below: String,
    detail: String,
}

impl Fault {
    /// Something about the whole value.
    pub fn new(detail: impl Into<String>) -> Vec<Self> {
        let below = String::new();
        let detail = detail.into();
        vec![Self { below, detail }]
    }
}

impl Fields {
    pub(crate) fn new(source: Source, rest: Map<String, Value>) -> Self {
        Self {
            source,
            rest,
            errors: Vec::new(),
        }
    }

    /// Takes a field that must be there.
    pub fn required<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(Value) -> Result<T, Vec<Fault>>,
    ) -> Option<T> {
        match self.rest.remove(name) {
            Some(value) => self.parsed(name, value, parse),
            None => {
                self.wrong(name, "is missing");
                None
            }
        }
    }

    /// Takes a field that may be absent or null, which mean the same.
    pub fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(Value) -> Result<T, Vec<Fault>>,
    ) -> Option<Option<T>> {
        match self.rest.remove(name) {
            Some(Value::Null) | None => Some(None),
            Some(value) => self.parsed(name, value, parse).map(Some),
        }
    }

    /// Takes a field of a PATCH that may be cleared.
    ///
    /// For one that may not be, use [`absent_or`](Self::absent_or).
    pub fn change<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(Value) -> Result<T, Vec<Fault>>,
    ) -> Option<Change<T>> {
        match self.rest.remove(name) {
            None => Some(Change::Keep),
            Some(Value::Null) => Some(Change::Clear),
            Some(value) => self.parsed(name, value, parse).map(Change::Set),
        }
    }

    /// Takes a field that may be absent but, unlike an [`optional`](Self::optional) one, not null.
    pub fn absent_or<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(Value) -> Result<T, Vec<Fault>>,
    ) -> Option<Option<T>> {
        match self.rest.remove(name) {
            None => Some(None),
            Some(value) => self.parsed(name, value, parse).map(Some),
        }
    }

    /// Notes what is wrong with a field, for rules that see more than one.
    pub fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        self.error(name, "", detail.into());
    }

    /// Reads a whole `T`, and refuses what is left over.
    ///
    /// # Errors
    /// 422 with everything that is wrong.
    pub(crate) fn read<T: FromFields>(mut self) -> Result<T, Problem> {
        let value = T::read(&mut self);
        let unknown = std::mem::take(&mut self.rest);
        let what = match self.source {
            Source::Body => "field",
            Source::Query => "parameter",
        };
        for name in unknown.keys().take(MOST_UNKNOWN) {
            self.error(&cut(name), "", format!("is not a {what} of this request"));
        }
        if let more @ 1.. = unknown.len().saturating_sub(MOST_UNKNOWN) {
            self.errors.push(FieldError {
                place: match self.source {
                    Source::Body => Place::Pointer(String::new()),
                    Source::Query => Place::Parameter(String::new()),
                },
                detail: format!("has {more} more {what}s that are not of this request"),
            });
        }
        value
            .filter(|_| self.errors.is_empty())
            .ok_or_else(|| match self.source {
                Source::Body => Problem::invalid_fields(self.errors),
                Source::Query => Problem::invalid_parameters(self.errors),
            })
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        value: Value,
        parse: impl FnOnce(Value) -> Result<T, Vec<Fault>>,
    ) -> Option<T> {
        let faults = match parse(value) {
            Ok(parsed) => return Some(parsed),
            Err(faults) => faults,
        };
        for Fault { below, detail } in faults {
            self.error(name, &below, detail);
        }
        None
    }

    fn error(&mut self, name: &str, below: &str, detail: String) {
        let place = match self.source {
            Source::Query => Place::Parameter(name.to_owned()),
            Source::Body => {
                // The escapes of RFC 6901.
                let name = name.replace('~', "~0").replace('/', "~1");
                Place::Pointer(format!("/{name}{below}"))
            }
        };
        self.errors.push(FieldError { place, detail });
    }
}

/// A text that `parse` takes. Postgres can store every character but U+0000.
pub fn text<T, E: Display>(
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> impl FnOnce(Value) -> Result<T, Vec<Fault>> {
    |value| match value {
        Value::String(text) if text.contains('\0') => {
            Err(Fault::new("must not contain the character U+0000"))
        }
        Value::String(text) => parse(&text).map_err(|error| Fault::new(error.to_string())),
        other => Err(not_a("a text", &other)),
    }
}

/// `true` or `false`.
///
/// # Errors
/// When it is neither.
pub fn boolean(value: Value) -> Result<bool, Vec<Fault>> {
    match value {
        Value::Bool(is) => Ok(is),
        other => Err(not_a("a boolean", &other)),
    }
}

/// A list of at most `most` texts, each of which `parse` takes.
pub fn texts<T, E: Display>(
    most: usize,
    parse: impl Fn(&str) -> Result<T, E>,
) -> impl FnOnce(Value) -> Result<Vec<T>, Vec<Fault>> {
    move |value| {
        let Value::Array(items) = value else {
            return Err(not_a("an array", &value));
        };
        if items.len() > most {
            return Err(Fault::new(format!("must have at most {most} items")));
        }
        let (mut parsed, mut faults) = (Vec::with_capacity(items.len()), Vec::new());
        for (index, item) in items.into_iter().enumerate() {
            match text(&parse)(item) {
                Ok(item) => parsed.push(item),
                Err(wrong) => faults.extend(wrong.into_iter().map(|fault| Fault {
                    below: format!("/{index}{}", fault.below),
                    ..fault
                })),
            }
        }
        if faults.is_empty() {
            Ok(parsed)
        } else {
            Err(faults)
        }
    }
}

fn not_a(wanted: &str, value: &Value) -> Vec<Fault> {
    Fault::new(format!("must be {wanted}, not {}", type_of(value)))
}

/// The name, or its beginning when it is long.
fn cut(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(source: Source, value: &Value) -> Fields {
        Fields::new(source, value.as_object().unwrap().clone())
    }

    fn word(text: &str) -> Result<String, &'static str> {
        let short = (1..=3).contains(&text.len());
        short.then(|| text.to_owned()).ok_or("must be short")
    }

    #[derive(Debug, PartialEq)]
    struct Everything {
        name: String,
        tags: Vec<String>,
        on: Option<bool>,
        note: Change<String>,
        size: Option<String>,
    }

    impl FromFields for Everything {
        fn read(fields: &mut Fields) -> Option<Self> {
            let name = fields.required("name", text(word));
            let tags = fields.required("tags", texts(2, word));
            let on = fields.optional("on", boolean);
            let note = fields.change("note", text(word));
            let size = fields.absent_or("size", text(word));
            Some(Self {
                name: name?,
                tags: tags?,
                on: on?,
                note: note?,
                size: size?,
            })
        }
    }

    #[test]
    fn absent_null_and_set_are_told_apart() {
        let read = |value: Value| fields(Source::Body, &value).read::<Everything>().unwrap();
        let least = read(json!({ "name": "a", "tags": [], "on": null }));
        assert_eq!(least.on, None);
        assert_eq!(least.note, Change::Keep);
        assert_eq!(least.size, None);
        let cleared = read(json!({ "name": "a", "tags": ["b"], "on": false, "note": null }));
        assert_eq!(cleared.on, Some(false));
        assert_eq!(cleared.note, Change::Clear);
        let set = read(json!({ "name": "a", "tags": [], "note": "c", "size": "d" }));
        assert_eq!(set.note, Change::Set("c".to_owned()));
        assert_eq!(set.size.as_deref(), Some("d"));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_where() {
        let wrong = json!({
            "name": "a\u{0}", "tags": [1, "long"], "on": "yes", "size": null, "~/": 1,
        });
        let problem = fields(Source::Body, &wrong)
            .read::<Everything>()
            .unwrap_err();
        let told: Vec<(&str, &str)> = problem
            .errors()
            .iter()
            .map(|error| match &error.place {
                Place::Pointer(pointer) => (pointer.as_str(), error.detail.as_str()),
                Place::Parameter(name) => panic!("{name} is no pointer"),
            })
            .collect();
        assert_eq!(
            told,
            [
                ("/name", "must not contain the character U+0000"),
                ("/tags/0", "must be a text, not a number"),
                ("/tags/1", "must be short"),
                ("/on", "must be a boolean, not a text"),
                ("/size", "must be a text, not null"),
                ("/~0~1", "is not a field of this request"),
            ]
        );
        let many = json!({ "name": "a", "tags": ["a", "b", "c"] });
        let problem = fields(Source::Body, &many)
            .read::<Everything>()
            .unwrap_err();
        assert_eq!(problem.errors()[0].detail, "must have at most 2 items");
    }

    #[test]
    fn a_query_is_pointed_into_by_its_parameters() {
        let problem = fields(
            Source::Query,
            &json!({ "name": "long", "a/b": "1", "tags": [] }),
        )
        .read::<Everything>()
        .unwrap_err();
        let places: Vec<&Place> = problem.errors().iter().map(|error| &error.place).collect();
        let parameter = |name: &str| Place::Parameter(name.to_owned());
        assert_eq!(places, [&parameter("name"), &parameter("a/b")]);
    }
}
