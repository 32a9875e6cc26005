//! Bodies: a JSON object, field by field.

use std::fmt::Display;

use axum::{
    Json,
    extract::{FromRequest, Request, rejection::JsonRejection},
    http::StatusCode,
};
use serde_json::{Map, Value};

use crate::problem::{FieldError, Problem};

/// The most unknown fields that an answer names, and the most characters of each name.
///
/// A body of many short fields would otherwise become an answer of many times its size.
const MOST_UNKNOWN: usize = 16;
const LONGEST_NAME: usize = 64;

/// The fields of a JSON object, and what is wrong with them.
///
/// Deserializing into a struct would stop at the first wrong field. Here each is taken by itself,
/// so that a client hears of all of them in one answer:
///
/// ```
/// # use api::{body::Fields, problem::Problem};
/// fn read(mut fields: Fields) -> Result<(u16, String), Problem> {
///     let port = fields.text("port", |text| text.parse::<u16>());
///     let name = fields.text("name", |text| text.parse::<String>());
///     fields.finish(port.zip(name))
/// }
/// ```
#[derive(Debug)]
pub struct Fields {
    rest: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Takes a required text and parses it; `None` when that is not possible.
    pub fn text<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = match self.rest.remove(name) {
            Some(Value::String(text)) => parse(&text).map_err(|error| error.to_string()),
            Some(other) => Err(format!("must be a text, not {}", type_of(&other))),
            None => Err("is missing".to_owned()),
        };
        parsed.map_err(|detail| self.error(name, detail)).ok()
    }

    /// Gives `values`, if every field was right and none is left over.
    ///
    /// # Errors
    /// 422 with everything that is wrong.
    pub fn finish<T>(mut self, values: Option<T>) -> Result<T, Problem> {
        let unknown = std::mem::take(&mut self.rest);
        for name in unknown.keys().take(MOST_UNKNOWN) {
            self.error(&cut(name), "is not a field of this request".to_owned());
        }
        if let more @ 1.. = unknown.len().saturating_sub(MOST_UNKNOWN) {
            self.errors.push(FieldError {
                pointer: String::new(),
                detail: format!("has {more} more fields that are not of this request"),
            });
        }
        values
            .filter(|_| self.errors.is_empty())
            .ok_or_else(|| Problem::invalid_fields(self.errors))
    }

    fn error(&mut self, name: &str, detail: String) {
        // The escapes of RFC 6901.
        let name = name.replace('~', "~0").replace('/', "~1");
        let pointer = format!("/{name}");
        self.errors.push(FieldError { pointer, detail });
    }
}

/// The name, or its beginning when it is long.
fn cut(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(Value::Object(rest))) => Ok(Self {
                rest,
                errors: Vec::new(),
            }),
            Ok(Json(other)) => Err(Problem::invalid_fields(vec![FieldError {
                pointer: String::new(),
                detail: format!("the body must be an object, not {}", type_of(&other)),
            }])),
            Err(rejection) => Err(refusal(&rejection)),
        }
    }
}

fn refusal(rejection: &JsonRejection) -> Problem {
    match rejection.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send the body as JSON, with `Content-Type: application/json`.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The body is larger than this service accepts.",
        ),
        _ => Problem::new(
            StatusCode::BAD_REQUEST,
            format!(
                "The body is not well-formed JSON. {}",
                rejection.body_text()
            ),
        ),
    }
}
